"""Media of every kind, made by Debian's ffmpeg: containers, clocks, pixels, and more."""

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import av

from tests.helpers.side_data import captioned, dolby_vision, hdr10_plus, spherical

CONTAINERS = (".mp4", ".mov", ".mkv", ".webm", ".ts", ".avi")

_SIZE, _SECONDS = "64x48", "0.8"
_H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-bf", "0"]
_VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M"]
_VIDEO = {
    ".webm": _VP9,
    ".avi": ["-c:v", "mpeg4", "-q:v", "2"],
}
_AUDIO = {".webm": "libopus", ".avi": "libmp3lame"}
_RATE_FILTER = "setpts=(N+mod(N*N\\,5)*0.15+gte(N\\,12)*9)/25/TB"
_X264_CONTAINERS = (".mp4", ".mov", ".mkv", ".ts")
_MASTERING = (
    "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"  # P3, 1000 cd/m2
)


class CantBeMade(Exception):
    """The container has no place for it, or ffmpeg can't write it there."""


def _video(container: str, *more: str) -> list[str]:
    return [*_VIDEO.get(container, _H264), "-pix_fmt", "yuv420p", *more]


def _only(*containers: str) -> Callable[[str], None]:
    def check(container: str) -> None:
        if container not in containers:
            raise CantBeMade(container)

    return check


def _plain(path: Path, *more: str, audio: int = 1) -> None:
    """A film of twenty frames and so many beeps; `more` are ffmpeg's arguments."""
    inputs = ["-f", "lavfi", "-i", f"testsrc2=size={_SIZE}:rate=25:duration={_SECONDS}"]
    maps = ["-map", "0:v"]
    for number in range(audio):
        tone = 440 + 110 * number
        inputs += ["-f", "lavfi", "-i", f"sine=frequency={tone}:sample_rate=48000:duration=0.8"]
        maps += ["-map", f"{number + 1}:a"]
    sound = ["-c:a", _AUDIO.get(path.suffix, "aac")] if audio else []
    _ffmpeg(*inputs, *maps, *_video(path.suffix), *sound, *more, str(path))


def _ffmpeg(*arguments: str) -> None:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise CantBeMade(done.stderr.strip().splitlines()[-1] if done.stderr else "failed")


def _steady(path: Path) -> None:
    _plain(path)


def _variable_rate(path: Path) -> None:
    _plain(path, "-vf", _RATE_FILTER, "-fps_mode", "vfr", "-enc_time_base", "1:1000")


def _later_start(path: Path) -> None:
    _plain(path, "-output_ts_offset", "1.5")


def _b_frames(path: Path) -> None:
    if path.suffix == ".webm":  # VP9 has hidden frames in their stead
        _plain(path, "-deadline", "good", "-auto-alt-ref", "1", "-lag-in-frames", "12")
    else:
        _plain(path, "-bf", "3")


def _open_gop(path: Path) -> None:
    _only(*_X264_CONTAINERS)(path.suffix)
    _plain(path, "-x264-params", "open-gop=1:keyint=8:min-keyint=4:bframes=3:b-adapt=0")


def _edit_list(path: Path) -> None:
    _only(".mp4", ".mov")(path.suffix)
    whole = path.with_name(f"whole{path.suffix}")
    _plain(whole, "-bf", "2", "-g", "10")
    _ffmpeg("-ss", "0.5", "-i", str(whole), "-map", "0", "-c", "copy", str(path))
    whole.unlink()


def _pixels(pixel_format: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        alpha = pixel_format.startswith("yuva")
        coder = _H264
        if path.suffix == ".webm":
            coder = _VP9
            if alpha and pixel_format != "yuva420p":
                raise CantBeMade("VP9 has alpha in 8 bit 4:2:0 alone")
            coder = [*coder, "-auto-alt-ref", "0"] if alpha else coder
        elif path.suffix == ".avi" or (alpha and path.suffix == ".mkv"):
            coder = ["-c:v", "ffv1", "-strict", "-2"]
        elif alpha:
            _only(".mov")(path.suffix)
            if pixel_format != "yuva444p10le":
                raise CantBeMade("ProRes has alpha in 10 bit 4:4:4 alone")
            coder = ["-c:v", "prores_ks", "-profile:v", "4"]
        picture = (
            ["-vf", "format=rgba,geq=r='p(X,Y)':g='p(X,Y)':b='p(X,Y)':a='4*X'"] if alpha else []
        )
        _plain(path, *picture, *coder, "-pix_fmt", pixel_format)

    return make


def _tracks(count: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        words = []
        for number, (language, title) in enumerate(
            (("eng", "Main"), ("fra", "Commentaire"), ("deu", "Ton"))[:count]
        ):
            words += [f"-metadata:s:a:{number}", f"language={language}"]
            words += [f"-metadata:s:a:{number}", f"title={title}"]
        if count == 3:
            words += ["-disposition:a:0", "0", "-disposition:a:1", "default+comment"]
        _plain(path, *words, audio=count)

    return make


def _sound(codec: str, container: str) -> Callable[[Path], None]:
    """A film whose sound is converted for some containers, made in one that holds it."""

    def make(path: Path) -> None:
        _only(container)(path.suffix)
        _plain(path, "-c:a", codec)

    return make


def _subtitles(codec: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        words = path.with_name("words.srt")
        words.write_text(
            "1\n00:00:00,100 --> 00:00:00,300\nHere <i>and</i> there\n\n"
            "2\n00:00:00,400 --> 00:00:00,700\nZwei Zeilen\nübereinander\n"
        )
        base = path.with_name(f"base{path.suffix}")
        _plain(base)
        _ffmpeg(
            *("-i", str(base), "-i", str(words), "-map", "0", "-map", "1", "-c", "copy"),
            *("-c:s", codec, "-metadata:s:s:0", "language=ger", "-disposition:s:0", "forced"),
            str(path),
        )
        base.unlink()
        words.unlink()
        with av.open(str(path)) as made:  # some muxers take them and write nothing
            if not made.streams.subtitles:
                raise CantBeMade("no subtitles in it")

    return make


def _overlapping_subtitles(path: Path) -> None:
    _only(".mkv")(path.suffix)
    words, base = path.with_name("words.srt"), path.with_name(f"base{path.suffix}")
    words.write_text(
        "1\n00:00:00,100 --> 00:00:00,500\nlong\n\n2\n00:00:00,300 --> 00:00:00,400\nat once\n\n"
        "3\n00:00:00,700 --> 00:00:00,790\nlast\n"
    )
    _plain(base)
    _ffmpeg(*("-i", str(base), "-i", str(words), "-map", "0", "-map", "1", "-c", "copy"),
            *("-c:s", "srt", str(path)))  # fmt: skip
    base.unlink()
    words.unlink()


def _two_videos(path: Path) -> None:
    """The second is the default one, where the container knows of any."""
    other = ["-f", "lavfi", "-i", f"testsrc2=size=96x64:rate=25:duration={_SECONDS}"]
    first = ["-f", "lavfi", "-i", f"testsrc2=size={_SIZE}:rate=25:duration={_SECONDS}"]
    _ffmpeg(*first, *other, "-map", "0", "-map", "1", *_video(path.suffix),
            *("-disposition:v:0", "0", "-disposition:v:1", "default", str(path)))  # fmt: skip
    with av.open(str(path)) as made:
        if len(made.streams.video) < 2:
            raise CantBeMade("one video in it")


def _data_without_durations(path: Path) -> None:
    _only(".mp4", ".mov")(path.suffix)
    base, stream, blob = (path.with_name(name) for name in ("base.mp4", "base.ts", "blob.bin"))
    blob.write_bytes(bytes(range(200)))
    _plain(base)
    _ffmpeg(*("-i", str(base), "-f", "data", "-i", str(blob), "-map", "0", "-map", "1"),
            *("-c", "copy", str(stream)))  # fmt: skip
    _ffmpeg(*("-i", str(stream), "-map", "0", "-c", "copy", "-tag:d", "gpmd", "-copy_unknown"),
            str(path))  # fmt: skip
    for made in (base, stream, blob):
        made.unlink()


def _chapters(path: Path) -> None:
    chapters = path.with_name("chapters.txt")
    chapters.write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=320\ntitle=Öffnung\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=320\nEND=800\ntitle=Ende\n"
    )
    base = path.with_name(f"base{path.suffix}")
    _plain(base)
    _ffmpeg(*("-i", str(base), "-i", str(chapters), "-map", "0", "-map_metadata", "1"),
            *("-map_chapters", "1", "-c", "copy", str(path)))  # fmt: skip
    base.unlink()
    chapters.unlink()
    with av.open(str(path)) as made:
        if not made.chapters():
            raise CantBeMade("no chapters in it")


def _attachments(path: Path) -> None:
    _only(".mkv")(path.suffix)
    font = path.with_name("font.ttf")
    font.write_bytes(bytes(range(256)) * 9)
    _plain(path, "-attach", str(font), "-metadata:s:t", "mimetype=application/x-truetype-font")
    font.unlink()


def _cover(path: Path) -> None:
    _only(".mp4", ".mov")(path.suffix)
    base, cover = path.with_name(f"base{path.suffix}"), path.with_name("cover.png")
    _plain(base)
    _ffmpeg("-f", "lavfi", "-i", "testsrc2=size=32x32", "-frames:v", "1", str(cover))
    _ffmpeg(*("-i", str(base), "-i", str(cover), "-map", "0", "-map", "1", "-c", "copy"),
            *("-disposition:v:1", "attached_pic", str(path)))  # fmt: skip
    base.unlink()
    cover.unlink()


def _rotation(path: Path) -> None:
    _only(".mp4", ".mov", ".mkv", ".webm")(path.suffix)
    base = path.with_name(f"base{path.suffix}")
    _plain(base)
    quarter = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    with av.open(str(base)) as source, av.open(str(path), "w") as output:
        lanes = {}
        for stream in source.streams:
            lanes[stream.index] = copy = output.add_stream_from_template(stream)
            if stream.type == "video":
                copy.set_display_matrix(quarter)  # type: ignore[attr-defined]
        for packet in source.demux():
            if packet.size:
                packet.stream = lanes[packet.stream.index]
                output.mux(packet)
    base.unlink()


def _pixel_aspect(path: Path) -> None:
    _plain(path, "-vf", "setsar=4/3")


def _hdr10(path: Path) -> None:
    tags = ["-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"]
    if path.suffix == ".webm":
        raise CantBeMade("no encoder at hand writes it")
    _only(*_X264_CONTAINERS)(path.suffix)
    hdr_params = f"log-level=error:hdr10=1:repeat-headers=1:master-display={_MASTERING}"
    hdr_params += ":max-cll=1000,400"
    _plain(path, "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le",
           "-x265-params", hdr_params, *tags)  # fmt: skip


def _twelve_bits(path: Path) -> None:
    if path.suffix == ".webm":
        coder = [*_VP9, "-profile:v", "2"]
    elif path.suffix in (".mkv", ".avi"):
        coder = ["-c:v", "ffv1", "-strict", "-2"]
    else:
        coder = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error"]
    _plain(path, *coder, "-pix_fmt", "yuv420p12le")


def _side_data(make_film: Callable[[Path], Path]) -> Callable[[Path], None]:
    """A film of H.264 or HEVC whose pictures have side data, made in MP4 or as they are."""

    def make(path: Path) -> None:
        _only(*_X264_CONTAINERS)(path.suffix)
        make_film(path)

    return make


def _in_mp4(make_film: Callable[[Path], Path], *containers: str) -> Callable[[Path], None]:
    """A film that is made in MP4, as that is a box, and copied into other containers."""

    def make(path: Path) -> None:
        _only(*containers)(path.suffix)
        base = make_film(path.with_name("base.mp4"))
        _ffmpeg("-i", str(base), "-c", "copy", "-strict", "unofficial", str(path))
        base.unlink()

    return make


def _stereo(path: Path) -> None:
    if path.suffix == ".webm":
        _plain(path, "-metadata:s:v", "stereo_mode=left_right")
    else:
        _only(*_X264_CONTAINERS)(path.suffix)
        _plain(path, "-x264-params", "frame-packing=3")


def _interlaced(path: Path) -> None:
    weave = ["-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ildct+ilme"]
    if path.suffix in _X264_CONTAINERS:
        _plain(path, *weave, "-x264-params", "tff=1")
    else:
        _only(".avi")(path.suffix)
        _plain(path, *weave, "-top", "1")


def _colours(path: Path) -> None:
    _plain(path, "-vf", "scale=out_range=full", "-color_range", "pc", "-colorspace", "smpte170m",
           "-color_primaries", "smpte170m", "-color_trc", "smpte170m")  # fmt: skip


def _tags(path: Path) -> None:
    words = {"title": "Holiday", "comment": "By the sea", "creation_time": "2001-02-03T04:05:06Z"}
    if path.suffix in (".mov", ".mp4"):
        words["timecode"] = "01:02:03:04"
    _plain(path, *(w for key, value in words.items() for w in ("-metadata", f"{key}={value}")))


FEATURES: dict[str, Callable[[Path], None]] = {
    "constant rate": _steady,
    "variable rate, a gap": _variable_rate,
    "start at 1.5 s": _later_start,
    "B frames": _b_frames,
    "open GOP": _open_gop,
    "edit list": _edit_list,
    "8 bit 4:2:2": _pixels("yuv422p"),
    "8 bit 4:4:4": _pixels("yuv444p"),
    "10 bit 4:2:0": _pixels("yuv420p10le"),
    "10 bit 4:2:2": _pixels("yuv422p10le"),
    "10 bit 4:4:4": _pixels("yuv444p10le"),
    "8 bit with alpha": _pixels("yuva420p"),
    "10 bit 4:4:4 with alpha": _pixels("yuva444p10le"),
    "no sound": _tracks(0),
    "three tracks": _tracks(3),
    "Windows Media sound": _sound("wmav2", ".mkv"),
    "8 bit PCM": _sound("pcm_u8", ".avi"),
    "QuickTime ADPCM": _sound("adpcm_ima_qt", ".mov"),
    "mov_text subtitles": _subtitles("mov_text"),
    "SubRip subtitles": _subtitles("srt"),
    "ASS subtitles": _subtitles("ass"),
    "WebVTT subtitles": _subtitles("webvtt"),
    "SubRip that overlaps": _overlapping_subtitles,
    "two videos": _two_videos,
    "data without durations": _data_without_durations,
    "chapters": _chapters,
    "an attached font": _attachments,
    "a cover picture": _cover,
    "turned by 90 degrees": _rotation,
    "pixel aspect 4:3": _pixel_aspect,
    "full range BT.601": _colours,
    "HDR10": _hdr10,
    "HDR10+": _side_data(hdr10_plus),
    "Dolby Vision": _in_mp4(dolby_vision, ".mp4", ".mkv"),
    "12 bit 4:2:0": _twelve_bits,
    "captions in the pictures": _side_data(captioned),
    "3D, side by side": _stereo,
    "360 degrees": _in_mp4(spherical, ".mp4", ".mkv"),
    "interlaced": _interlaced,
    "title, date, timecode": _tags,
}
"""What a film may have, by name; each makes one, or raises `CantBeMade`."""


def make(container: str, feature: str, folder: Path) -> Path:
    """A film of twenty frames with one feature. Raises `CantBeMade`."""
    path = folder / f"in{container}"
    FEATURES[feature](path)
    if not path.is_file() or path.stat().st_size < struct.calcsize("q"):
        raise CantBeMade(feature)
    return path
