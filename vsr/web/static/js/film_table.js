/** What a film or picture holds, as a table. */

import { h } from "./dom.js";
import { bytes, clock, codec, duration, number, plural, short, size } from "./format.js";

/** A line for the head of the page. */
export function filmFacts(info) {
  if (info.kind === "picture") return `${size(info.width, info.height)} · ${bytes(info.bytes)}`;
  return [
    size(info.width, info.height),
    `${short(info.frame_rate, 3)} frames/s`,
    duration(info.seconds),
    codec(info.codec),
    bytes(info.bytes),
  ].join(" · ");
}

export function filmTable(info) {
  const rows = info.kind === "picture" ? pictureRows(info) : filmRows(info);
  const cell = (value) => (Array.isArray(value) ? h("ul", {}, value.map((line) => h("li", {}, line))) : value);
  return h("table", { class: "holds" },
    h("tbody", {}, rows.map(([name, value, mark]) => h("tr", { class: mark }, h("th", { scope: "row" }, name), h("td", {}, cell(value))))));
}

function filmRows(info) {
  const rows = [
    ["File", `${bytes(info.bytes)}, ${container(info)}`],
    ["Picture", picture(info)],
    ["Rate", `${short(info.frame_rate, 3)} frames/s`],
    ["Length", length(info)],
    ["Video", `${codec(info.codec)}, ${info.bits} bits, ${info.chroma}${info.alpha ? ", transparency" : ""}`],
    ["Colour", info.hdr ? `${info.colour}; HDR: ${info.hdr}` : info.colour],
    ["Interlaced", interlaced(info.interlaced), info.interlaced.flagged || info.interlaced.looks ? "warn" : null],
    ["Sound", list(info.audio.map(sound))],
    ["Subtitles", list(info.subtitles.map(track))],
    ["Chapters", info.chapters.length ? info.chapters.map((one) => `${clock(one.start)} ${one.title}`.trim()) : "none"],
    ["Attachments", list(info.attachments)],
  ];
  if (info.videos > 1) rows.push(["Video streams", String(info.videos)]);
  rows.push(["What would be lost", info.left_out.length ? info.left_out : "nothing, with default settings", info.left_out.length ? "warn" : null]);
  if (info.notes.length) rows.push(["Notes", info.notes]);
  return rows;
}

function pictureRows(info) {
  return [
    ["File", bytes(info.bytes)],
    ["Picture", size(info.width, info.height)],
    ["Samples", `${info.bits} bits${info.grey ? ", grey" : ""}${info.alpha ? ", transparency" : ""}`],
    ["Pages", String(info.pages)],
    ["Notes", list(info.notes)],
  ];
}

/** The one of the names of a format that is the file's suffix, or else the first. */
function container({ name, container: names }) {
  const all = names.split(",");
  const suffix = name.split(".").pop().toLowerCase();
  return all.includes(suffix) ? suffix : all[0];
}

function picture(info) {
  const parts = [size(info.width, info.height)];
  if (info.rotation) parts.push(`turned by ${info.rotation}°`);
  if (info.display_width !== info.width || info.display_height !== info.height) {
    parts.push(`shown as ${size(info.display_width, info.display_height)}`);
  }
  return parts.join(", ");
}

function length(info) {
  if (info.seconds === null) return "unknown";
  return info.frames === null ? clock(info.seconds) : `${clock(info.seconds)}, ${plural(info.frames, "frame")}`;
}

function interlaced({ flagged, looks, telecined }) {
  if (telecined) return "looks like film with 3:2 pulldown";
  if (flagged) return looks ? "yes: flagged, and looks so" : "flagged, but doesn't look so";
  return looks ? "looks interlaced, but isn't flagged" : "no";
}

function sound(one) {
  const parts = [codec(one.codec), one.channels, one.sample_rate ? `${number(one.sample_rate)} Hz` : ""];
  return `${parts.filter(Boolean).join(", ")}${named(one)}`;
}

const track = (one) => `${codec(one.codec)}${named(one)}`;

function named({ language, title }) {
  const names = [language === "und" ? "" : language, title].filter(Boolean);
  return names.length ? ` (${names.join(", ")})` : "";
}

const list = (lines) => (lines.length ? (lines.length === 1 ? lines[0] : lines) : "none");
