"""Determine which of a film's side data and format changes an output can't hold."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from vsr.media.decode.conform import Tag, is_specified, name_of
from vsr.media.decode.side_data import (
    ASPECT,
    CAPTIONS,
    DOLBY_VISION,
    HDR10_PLUS,
    SIDE_DATA_NAMES,
    SPHERICAL,
    STEREO,
    TIMECODE,
    USER_DATA,
)
from vsr.media.decode.survey import Survey
from vsr.media.encode.codecs import FRAME_PACKING
from vsr.media.encode.sei import holds
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import HDR10_PLUS_HEADER, Hdr, Message, StreamInfo

_AS_MESSAGES = {
    CAPTIONS: Message(4, b""),
    ASPECT: Message(4, b""),
    HDR10_PLUS: Message(4, HDR10_PLUS_HEADER),
    USER_DATA: Message(5, b""),
}
_ABLE = {HDR10_PLUS: "hevc and av1", USER_DATA: "h264 and hevc"}
"""Codecs that hold a message, where these aren't h264, hevc and av1."""
_STEREO_MODES = {
    ".mp4": frozenset({1, 3}),
    ".webm": frozenset({1, 2, 3, 11}),
    ".mkv": frozenset(range(1, 15)),
}
"""Matroska's StereoModes that FFmpeg's muxer of each container can write."""
_SPHERICAL = frozenset({".mp4", ".mkv", ".webm"})


def unsupported_side_data(
    source: StreamInfo,
    survey: Survey,
    output: StreamInfo,
    suffix: str,
    settings: EncoderSettings,
    tags: Mapping[str, str],
    is_rotated: bool = False,
) -> list[str]:
    """List the side data of a film that is lost, one line each.

    `tags` are those of the video stream. With `is_rotated`, `source` describes rotated frames.
    """
    lost = []
    types = dict(survey.side_data)
    if source.dolby_vision:
        types.setdefault(DOLBY_VISION, 0.0)
    if source.projection:
        types.setdefault(SPHERICAL, 0.0)
    if "timecode" in tags:  # a tag that is copied
        types.pop(TIMECODE, None)
    for side_data in sorted(types):
        name = SIDE_DATA_NAMES[side_data]
        if side_data in _AS_MESSAGES:
            if not holds(settings.codec, _AS_MESSAGES[side_data]):
                able = _ABLE.get(side_data, "h264, hevc and av1")
                lost.append(f"{name} ({settings.codec} holds none; {able} do)")
        elif side_data in (STEREO, SPHERICAL) and is_rotated:
            lost.append(f"{name} (can't be rotated with the picture by --rotate apply)")
        elif side_data == STEREO:
            if not output.stereo_mode:
                lost.append(f"{name} ({suffix or 'the pipe'} can't hold it; .mkv may)")
        elif side_data == SPHERICAL:
            if not output.projection:
                lost.append(f"{name} ({suffix or 'the pipe'} can't hold it; .mp4 and .mkv can)")
        elif side_data == DOLBY_VISION:
            lost.append(name + _base_layer_warning(source.dolby_vision))
        else:
            lost.append(name)
    return lost


def pipe_losses(source: StreamInfo, form: Literal["nut", "y4m"]) -> list[str]:
    """Describe what raw video in a pipe can't say of a film's frames."""
    lost, colour = [], source.colour
    tags: dict[Tag, int] = {
        "matrix": colour.matrix,
        "primaries": colour.primaries,
        "transfer": colour.transfer,
    }
    said = [f"{tag} {name_of(tag, code)}" for tag, code in tags.items() if is_specified(code)]
    if colour.full_range and form == "nut":
        said.insert(0, "range full")
    if said:
        lost.append(f"colour {', '.join(said)} (raw video in {form} doesn't say it)")
    if source.hdr != Hdr():
        lost.append(f"HDR10 metadata (raw video in {form} doesn't say it)")
    if source.display_matrix:
        lost.append(f"rotation (raw video in {form} doesn't say it; --rotate apply turns frames)")
    return lost


def without_unsupported(output: StreamInfo, suffix: str, settings: EncoderSettings) -> StreamInfo:
    """Remove a 3D layout or projection from a description where the output can't hold it."""
    stereo = output.stereo_mode if output.stereo_mode in _supported_stereo(suffix, settings) else 0
    projection = output.projection if suffix in _SPHERICAL else b""
    return replace(output, stereo_mode=stereo, projection=projection)


def _supported_stereo(suffix: str, settings: EncoderSettings) -> frozenset[int]:
    """Return the StereoModes that an output's container or bitstream can hold."""
    in_bitstream = settings.codec == "h264" and settings.encoder == "cpu"
    coded = frozenset(FRAME_PACKING) if in_bitstream else frozenset()
    return _STEREO_MODES.get(suffix, frozenset()) | coded


def unsupported_changes(source: StreamInfo, survey: Survey, output: StreamInfo) -> list[str]:
    """List format changes within a film that the output can't hold, one line each."""
    lost = [
        f"{what} {seen.change.new}, {seen.where}: shown as {seen.change.old}"
        for what, seen in survey.changes.items()
        if not seen.change.converted
    ]
    stored = output.layout
    better = [
        layout
        for layout in survey.layouts - {source.layout}
        if layout.bit_depth > stored.bit_depth
        or (layout.across, layout.down) < (stored.across, stored.down)
    ]
    if "pixel format" in survey.changes and better:
        seen = survey.changes["pixel format"]
        lost.append(f"pixel format {seen.change.new}, {seen.where}: stored as {stored.name}")
    return lost


def _base_layer_warning(configuration: bytes) -> str:
    """Return a warning if Dolby Vision's base layer has wrong colours, by profile (bits 17-23)."""
    if len(configuration) >= 3 and configuration[2] >> 1 == 5:
        return " (profile 5: without it, colours are wrong)"
    return ""
