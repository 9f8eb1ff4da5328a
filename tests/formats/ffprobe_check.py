"""Compare a film with its source by Debian's ffprobe, which shares no code with PyAV."""

import json
import re
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

_TEXT = {"subrip", "srt", "mov_text", "text"}
_COUNTED = {"ATSC A53 Part 4 Closed Captions", "HDR Dynamic Metadata SMPTE2094-40 (HDR10+)"}
_FREE = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")


def probe(path: Path) -> dict[str, Any]:
    """Streams, frames, packets with hashes, chapters and tags of a file."""
    command = ["ffprobe", "-loglevel", "error", "-of", "json", "-show_format", "-show_streams"]
    command += ["-show_chapters", "-show_packets", "-show_frames", "-show_data_hash", "md5"]
    done = subprocess.run(
        [*command, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def decodes_cleanly(path: Path) -> bool:
    """Whether a decoder reports no error in any picture or sound stream."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(path), "-map", "0:v"]
    command += ["-map", "0:a?", "-fps_mode", "passthrough", "-enc_time_base", "-1"]
    done = subprocess.run(
        [*command, "-f", "null", "-"], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode == 0 and not done.stderr.strip()


def losses(
    before: dict[str, Any], output: Path, scale: int, deinterlaced: bool = False
) -> list[str]:
    """What the output lacks or has otherwise than the probed source, a line each."""
    after = probe(output)
    lost = [*_video_losses(before, after, scale, deinterlaced), *_other_losses(before, after)]
    wanted, found = (
        [
            (round(float(c["start_time"]), 3), c.get("tags", {}).get("title"))
            for c in film["chapters"]
        ]
        for film in (before, after)
    )
    if wanted != found:
        lost.append(f"chapters: {wanted}, now {found}")
    lost += _tags_lost("film", before["format"], after["format"])
    if not decodes_cleanly(output):
        lost.append("the output doesn't decode cleanly")
    return lost


def _video_losses(
    before: dict[str, Any], after: dict[str, Any], scale: int, deinterlaced: bool
) -> list[str]:
    one, other = _video(before), _video(after)
    lost = []
    for key in ("width", "height"):
        if other[key] != scale * one[key]:
            lost.append(f"{key}: {one[key]}, now {other[key]}")
    unsaid = {"unknown", None, "unspecified", "tv", "left"}
    keys = ["sample_aspect_ratio", "color_range", "color_space", "color_primaries"]
    for key in [*keys, "color_transfer", "chroma_location"]:
        mine, theirs = one.get(key), other.get(key)
        aspects = {mine, theirs} <= {None, "1:1", "0:1", "N/A"}
        if mine != theirs and not (mine in unsaid or (key == "sample_aspect_ratio" and aspects)):
            lost.append(f"{key}: {mine}, now {theirs}")
    if _depth(one) > _depth(other) or _chroma(one) > _chroma(other):
        lost.append(f"pixels: {one['pix_fmt']}, now {other['pix_fmt']}")
    if _has_alpha(one) and not _has_alpha(other):
        lost.append("alpha")
    if not deinterlaced and one.get("field_order") not in (None, "unknown", "progressive"):
        lost.append("fields")
    mine, theirs = _side_data(before, one), _side_data(after, other)
    for kind in mine:
        if theirs.get(kind) != mine[kind]:
            lost.append(f"{kind}: {mine[kind]}, now {theirs.get(kind)}")
    times = [_frame_times(film, stream) for film, stream in ((before, one), (after, other))]
    slack = max(Fraction(stream["time_base"]) for stream in (one, other)) / 2
    late = [abs(a - b) for a, b in zip(*times, strict=False)]
    counts = [len(_frames(film, stream)) for film, stream in ((before, one), (after, other))]
    if counts[0] != counts[1] or max(late, default=0) > slack + Fraction(1, 10**6):
        lost.append(f"{counts[0]} frames, now {counts[1]}; {float(max(late)):.4f} s off")
    return lost


def _other_losses(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    lost = []
    videos = _video(before)["index"], _video(after)["index"]
    left = [stream for stream in after["streams"] if stream["index"] != videos[1]]
    for stream in before["streams"]:
        if stream["index"] == videos[0] or stream.get("codec_tag_string") == "tmcd":
            continue
        kind, codec = stream.get("codec_type", "data"), stream.get("codec_name", "")
        if codec == "bin_data" and stream.get("codec_tag_string") == "text":
            continue  # mp4's chapters, as a track of text
        name = f"{kind} {codec}"
        same = next((other for other in left if _alike(stream, other)), None)
        if same is None:
            lost.append(f"{name}: gone")
            continue
        left.remove(same)
        mine, theirs = _packets(before, stream), _packets(after, same)
        if codec == "aac" and not stream.get("extradata_size"):  # headers of MPEG-TS go
            mine, theirs = ([p[:1] for p in packets] for packets in (mine, theirs))
            if _sound(before, stream) != _sound(after, same):
                lost.append(f"{name}: sounds otherwise")
        seen = kind == "video" and not stream["disposition"]["attached_pic"]
        if seen and _pictures(before, stream) != _pictures(after, same):
            lost.append(f"{name}: looks otherwise")
        if codec in _TEXT:
            mine, theirs = ([p[:1] for p in packets] for packets in (mine, theirs))
        if stream.get("codec_type") in ("audio", "subtitle"):
            slack = max(float(Fraction(s["time_base"])) for s in (stream, same)) + 1e-6
            off = [abs(a[0] - b[0]) for a, b in zip(mine, theirs, strict=False)]
            alike = [a[1:] for a in mine] == [b[1:] for b in theirs]
            if len(mine) != len(theirs) or not alike or max(off, default=0) > slack:
                lost.append(f"{name}: {len(mine)} packets, now {len(theirs)}, same: {alike}")
        lost += [
            line
            for line in _tags_lost(name, stream, same)
            # The film says when it was made, and players show the title as its handler's name.
            if "tag creation_time" not in line
            and same.get("tags", {}).get("handler_name") != stream.get("tags", {}).get("title", "")
        ]
        for flag in ("forced", "comment", "hearing_impaired"):
            if stream["disposition"][flag] > same["disposition"][flag]:
                lost.append(f"{name}: {flag}")
    return lost


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if other.get("codec_type") == "attachment" or one.get("codec_type") == "attachment":
        return bool(
            one.get("codec_type") == other.get("codec_type")
            and one.get("extradata_hash") == other.get("extradata_hash")
        ) or bool(one["disposition"]["attached_pic"])
    mine, theirs = one.get("codec_name"), other.get("codec_name")
    same = mine == theirs or {mine, theirs} <= _TEXT
    languages = [s.get("tags", {}).get("language", "und") for s in (one, other)]
    return same and languages[0] == languages[1]


def _packets(film: dict[str, Any], stream: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Time and hash of each of a stream's packets; empty ones fill gaps in mp4's subtitles."""
    return [
        (float(p.get("pts_time", 0)), p["data_hash"])
        for p in _items(film, "packet")
        if p["stream_index"] == stream["index"] and int(p["size"]) > 2
    ]


def _sound(film: dict[str, Any], stream: dict[str, Any]) -> str:
    """A hash of what is heard."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", film["format"]["filename"]]
    command += ["-map", f"0:{stream['index']}", "-f", "md5", "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _pictures(film: dict[str, Any], stream: dict[str, Any]) -> str:
    """A hash of what is seen."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", film["format"]["filename"]]
    command += ["-map", f"0:{stream['index']}", "-fps_mode", "passthrough", "-f", "md5", "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _tags_lost(name: str, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    found = {key.lower(): value for key, value in other.get("tags", {}).items()}
    return [
        f"{name} tag {key}: {value}, now {found.get(key.lower())}"
        for key, value in one.get("tags", {}).items()
        if key.lower() not in (*_FREE, "handler_name", "vendor_id")
        and not (key == "language" and value == "und")
        and not key.lower().startswith(("bps", "number_of", "_statistics"))
        and found.get(key.lower()) != value
    ]


def _items(film: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    both = film.get("packets_and_frames", [])
    return [item for item in both if item.get("type") == kind] or film.get(f"{kind}s", [])


def _video(film: dict[str, Any]) -> dict[str, Any]:
    videos: list[dict[str, Any]] = [
        s
        for s in film["streams"]
        if s.get("codec_type") == "video" and not s["disposition"]["attached_pic"]
    ]
    return next((s for s in videos if s["disposition"]["default"]), videos[0])


def _frames(film: dict[str, Any], video: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame for frame in _items(film, "frame") if frame["stream_index"] == video["index"]]


def _frame_times(film: dict[str, Any], video: dict[str, Any]) -> list[Fraction]:
    base = Fraction(video["time_base"])
    frames = _frames(film, video)
    # AVI tells when frames are decoded, not when they are shown.
    reported = [f.get("pts", f.get("best_effort_timestamp", f.get("pkt_dts"))) for f in frames]
    return [Fraction(time) * base for time in sorted(time for time in reported if time is not None)]


def _side_data(film: dict[str, Any], video: dict[str, Any]) -> dict[str, Any]:
    frame = _frames(film, video)[0]
    found = {}
    for data in (*video.get("side_data_list", []), *frame.get("side_data_list", [])):
        kind = data["side_data_type"]
        if kind == "Display Matrix":
            found["rotation"] = data["rotation"]
        elif kind == "Mastering display metadata":
            found["mastering"] = [
                round(float(Fraction(value)), 4)
                for key, value in sorted(data.items())
                if key != "side_data_type"
            ]
        elif kind == "Content light level metadata":
            found["light"] = (data["max_content"], data["max_average"])
        elif kind == "Stereo 3D":
            found["stereo"] = True  # frames say no more
        elif kind == "Spherical Mapping":
            found["projection"] = data["projection"]
        elif kind == "DOVI configuration record":
            found["Dolby Vision"] = data["dv_profile"]
    kinds = [
        data["side_data_type"]
        for shown in _frames(film, video)
        for data in shown.get("side_data_list", [])
    ]
    found |= {kind: kinds.count(kind) for kind in _COUNTED & set(kinds)}
    return found


def _depth(stream: dict[str, Any]) -> int:
    found = re.search(r"p(\d\d)[lb]e$", stream["pix_fmt"])
    return int(found[1]) if found else 8


def _chroma(stream: dict[str, Any]) -> int:
    return next((int(c) for c in ("420", "422", "444") if c in stream["pix_fmt"]), 0)


def _has_alpha(stream: dict[str, Any]) -> bool:
    return "yuva" in stream["pix_fmt"] or stream.get("tags", {}).get("alpha_mode") == "1"
