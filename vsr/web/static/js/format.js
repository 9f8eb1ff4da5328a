/** Numbers as people read them. */

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];
const CODECS = {
  h264: "H.264", hevc: "HEVC", av1: "AV1", mpeg2video: "MPEG-2", mpeg4: "MPEG-4", vp8: "VP8", vp9: "VP9",
  prores: "ProRes", ffv1: "FFV1", dvvideo: "DV", mjpeg: "Motion JPEG", aac: "AAC", mp3: "MP3", ac3: "AC-3",
  eac3: "E-AC-3", opus: "Opus", vorbis: "Vorbis", flac: "FLAC", dts: "DTS", subrip: "SubRip", ass: "ASS",
  mov_text: "timed text", webvtt: "WebVTT", hdmv_pgs_subtitle: "PGS", dvd_subtitle: "DVD subtitles",
};

export function bytes(count) {
  if (count === null || count === undefined) return "unknown";
  let unit = 0;
  let value = count;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1;
  return `${value.toFixed(digits)}\u00a0${UNITS[unit]}`;
}

/** A duration in words: `2 h 5 min`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  if (seconds < 9.95) return `${seconds.toFixed(1)}\u00a0s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}\u00a0s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A position in a film: `1:02:03.40`. */
export function clock(seconds) {
  const hundredths = Math.round(seconds * 100);
  const whole = Math.floor(hundredths / 100);
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = `${two(whole % 60)}.${two(hundredths % 100)}`;
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

export const number = (value) => value.toLocaleString("en");

/** A number with few digits and no trailing zeros. */
export const short = (value, digits = 2) => String(Number(value.toFixed(digits)));

export const size = (width, height) => `${width} × ${height}`;

/** A speed, with three significant digits. */
export const speed = (rate) => `${rate >= 99.5 ? Math.round(rate) : Number(rate.toPrecision(3))} frames/s`;

export const codec = (name) => CODECS[name] || name;

export const percent = (share) => `${Math.floor(share * 100)} %`;

export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

/** The last part of a reference. */
export const baseName = (reference) => reference.split("/").pop();
