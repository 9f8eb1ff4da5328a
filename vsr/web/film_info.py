"""Describe what a film or picture holds, and what a default output would lose of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from vsr.config import Config

_MATRICES = {0: "RGB", 1: "BT.709", 5: "BT.601", 6: "BT.601", 9: "BT.2020", 10: "BT.2020"}
_PRIMARIES = {1: "BT.709", 5: "BT.601 (PAL)", 6: "BT.601 (NTSC)", 9: "BT.2020", 12: "Display P3"}
_TRANSFERS = {1: "BT.709", 6: "BT.601", 13: "sRGB", 14: "BT.2020", 16: "PQ", 18: "HLG"}
"""Names of the common code points of ITU-T H.273."""
_UNSPECIFIED = 2
_COUNT_SECONDS = 0.5
"""Time limit for counting frames."""


class Track(Config):
    """Sound, or subtitles."""

    codec: str
    """FFmpeg's name."""
    language: str
    """As the file has it; empty without one."""
    title: str
    """Title; empty without one."""
    is_default: bool
    """Whether players choose it."""
    channels: str = ""
    """Layout of the channels of sound, such as `stereo`."""
    sample_rate: int = 0
    """Samples per second of sound."""


class Chapter(Config):
    """A chapter."""

    start: float
    """Seconds."""
    title: str
    """Title; empty without one."""


class Fields(Config):
    """Whether frames consist of two fields."""

    flagged: bool
    """Whether frames are flagged as interlaced."""
    looks: bool
    """Whether frames look interlaced."""
    telecined: bool
    """Whether frames look like film with 3:2 pulldown."""


class FilmInfo(Config):
    """What a film holds."""

    kind: Literal["film"] = "film"
    """Type of the file."""
    file: str
    """Reference of the file."""
    name: str
    """Name of the file."""
    bytes: int
    """Size of the file."""
    container: str
    """FFmpeg's name of the format, such as `matroska,webm`."""
    width: int
    """Width of the frames as coded."""
    height: int
    """Height of the frames as coded."""
    display_width: int
    """Width as players show it, after rotation, with square pixels."""
    display_height: int
    """Height as players show it."""
    pixel_aspect: str
    """Width of a pixel over its height, such as `16/15`."""
    rotation: int
    """Degrees by which players turn frames clockwise; 0 for none."""
    frame_rate: float
    """Average frames per second."""
    frames: int | None
    """Count, or an estimate; null if unknown."""
    seconds: float | None
    """Length; null if unknown."""
    codec: str
    """FFmpeg's name of the video codec."""
    bits: int
    """Bits per sample."""
    chroma: str
    """Subsampling, such as `4:2:0`."""
    alpha: bool
    """Whether frames have transparency."""
    colour: str
    """Matrix, primaries, transfer and range, in words."""
    hdr: str
    """`PQ`, `HLG` or empty, with the metadata that comes with it."""
    audio: list[Track]
    """Sound."""
    subtitles: list[Track]
    """Subtitles."""
    chapters: list[Chapter]
    """Chapters."""
    attachments: list[str]
    """Names of attached files and cover pictures."""
    videos: int
    """Count of the video streams that can be chosen."""
    interlaced: Fields
    """Whether frames consist of fields."""
    notes: list[str]
    """Findings, and advice on options."""
    left_out: list[str]
    """Contents that the default output can't keep."""


class PictureInfo(Config):
    """What a picture holds."""

    kind: Literal["picture"] = "picture"
    """Type of the file."""
    file: str
    """Reference of the file."""
    name: str
    """Name of the file."""
    bytes: int
    """Size of the file."""
    width: int
    """Width after the orientation is applied."""
    height: int
    """Height after the orientation is applied."""
    bits: int
    """Bits per sample."""
    alpha: bool
    """Whether it has transparency."""
    grey: bool
    """Whether it is greyscale."""
    pages: int
    """Pages, or frames of an animation."""
    notes: list[str]
    """Parts of the file that aren't read."""


def describe_film(folder: Path, path: Path, suffix: str = ".mp4") -> dict[str, Any]:
    """Describe a film, except for the keys `file` and `name`. Raises `MediaError`.

    `suffix` is that of the output, whose losses are listed.
    """
    from vsr.engine.field_notes import field_advice
    from vsr.media.decode.frame_times import count_frames
    from vsr.media.decode.reader import VideoReader
    from vsr.media.decode.rotation import rotation_of
    from vsr.media.decode.stream_choice import candidates
    from vsr.media.decode.survey import survey_film

    survey = survey_film(path)
    with VideoReader(path) as reader:
        info = reader.info
        frames = info.frame_count
        if not (reader.is_indexed or survey.is_flagged):
            frames = count_frames(path, _COUNT_SECONDS) or frames
        rotation = rotation_of(info.display_matrix)
        width, height = round(info.width * info.sample_aspect_ratio), info.height
        if rotation is not None and rotation.transposed:
            width, height = height, width
        streams = list(reader.container.streams)
        losses = list(_losses(reader, survey, suffix))
        advice = field_advice(survey.fields, survey.is_flagged, reader.source_rate, "auto")
        return {
            "bytes": path.stat().st_size,
            "container": reader.container.format.name,
            "width": info.width,
            "height": info.height,
            "display_width": width,
            "display_height": height,
            "pixel_aspect": str(info.sample_aspect_ratio),
            "rotation": _degrees(info.display_matrix),
            "frame_rate": float(info.frame_rate),
            "frames": frames,
            "seconds": float(frames / info.frame_rate) if frames else None,
            "codec": reader.codec,
            "bits": info.bits,
            "chroma": {(2, 2): "4:2:0", (2, 1): "4:2:2"}.get(
                (info.layout.across, info.layout.down), "4:4:4"
            ),
            "alpha": info.layout.alpha,
            "colour": _colour(info.colour),
            "hdr": _hdr(info, survey.side_data),
            "audio": [_track(stream) for stream in streams if stream.type == "audio"],
            "subtitles": [_track(stream) for stream in streams if stream.type == "subtitle"],
            "chapters": list(_chapters(reader.container.chapters())),
            "attachments": list(_attachments(streams)),
            "videos": len(candidates(reader.container)),
            "interlaced": {
                "flagged": survey.is_flagged,
                "looks": survey.fields.is_interlaced,
                "telecined": survey.fields.is_telecined,
            },
            "notes": [*reader.notes, *advice],
            "left_out": losses,
        }


def describe_picture(folder: Path, path: Path) -> dict[str, Any]:
    """Describe a picture, except for the keys `file` and `name`. Raises `MediaError`."""
    from vsr.media.image import read_still

    still = read_still(path)
    height, width = still.rgb.shape[:2]
    return {
        "bytes": path.stat().st_size,
        "width": width,
        "height": height,
        "bits": still.bits,
        "alpha": still.alpha is not None,
        "grey": still.grey,
        "pages": still.pages,
        "notes": list(still.lost),
    }


def _losses(reader: Any, survey: Any, suffix: str) -> Iterator[str]:
    """List what an output with default settings can't keep."""
    from vsr.errors import OutputError
    from vsr.media.decode.conform import is_specified
    from vsr.media.encode.settings import EncoderSettings, output_info, unsupported_features
    from vsr.media.mux.stream_copy import plan_copy
    from vsr.media.side_data_support import unsupported_changes, unsupported_side_data

    settings, info = EncoderSettings(), reader.info
    matrix = info.colour.matrix if is_specified(info.colour.matrix) else 1
    output = output_info(info, (info.width, info.height), matrix, settings)
    tags = reader.stream.metadata
    yield from unsupported_features(info, output, settings, reader.codec)
    yield from unsupported_side_data(info, survey, output, suffix, settings, tags)
    yield from unsupported_changes(info, survey, output)
    try:
        yield from plan_copy(reader, suffix).left_out
    except OutputError as error:
        yield str(error).removeprefix(f"{reader.path}: ")


def _colour(colour: Any) -> str:
    """Describe a colour space in words."""
    names = [
        f"{what} {table.get(code, code)}"
        for what, table, code in (
            ("matrix", _MATRICES, colour.matrix),
            ("primaries", _PRIMARIES, colour.primaries),
            ("transfer", _TRANSFERS, colour.transfer),
        )
        if code != _UNSPECIFIED
    ]
    return ", ".join([*names, f"{'full' if colour.full_range else 'limited'} range"])


def _hdr(info: Any, side_data: Mapping[str, float]) -> str:
    from vsr.media.decode.side_data import HDR10_PLUS

    name = _TRANSFERS.get(info.colour.transfer, "")
    if name not in ("PQ", "HLG"):
        return ""
    parts = [
        text
        for text, is_there in (
            ("HDR10 metadata", info.hdr.mastering or info.hdr.light),
            ("HDR10+", HDR10_PLUS in side_data),
            ("Dolby Vision", info.dolby_vision),
        )
        if is_there
    ]
    return ", ".join([name, *parts])


def _degrees(matrix: tuple[int, ...] | None) -> int:
    """Return the clockwise rotation of a display matrix, to the nearest degree."""
    import math

    if matrix is None:
        return 0
    return round(math.degrees(math.atan2(matrix[1], matrix[0]))) % 360


def _track(stream: Any) -> dict[str, Any]:
    from av.stream import Disposition

    context = stream.codec_context
    track: dict[str, Any] = {
        "codec": context.codec.canonical_name if context else "unknown",
        "language": stream.metadata.get("language", ""),
        "title": stream.metadata.get("title", ""),
        "is_default": bool(stream.disposition & Disposition.default),
    }
    if context and stream.type == "audio":
        track |= {"channels": context.layout.name, "sample_rate": context.sample_rate or 0}
    return track


def _chapters(chapters: Any) -> Iterator[dict[str, Any]]:
    for chapter in chapters:
        start = float(chapter["start"] * (chapter["time_base"] or 1))
        yield {"start": start, "title": chapter["metadata"].get("title", "")}


def _attachments(streams: list[Any]) -> Iterator[str]:
    from av.stream import Disposition

    for number, stream in enumerate(streams):
        is_cover = bool(stream.disposition & Disposition.attached_pic)
        if is_cover or stream.type == "attachment":
            default = "cover picture" if is_cover else f"attachment {number}"
            yield stream.metadata.get("filename") or default
