"""What of a video's side data an output holds, and what is lost, in words."""

from collections.abc import Mapping
from dataclasses import replace

from vsr.media.decode.side_data import (
    ASPECT,
    CAPTIONS,
    DOLBY_VISION,
    SPHERICAL,
    STEREO,
    TIMECODE,
    USER_DATA,
    WORDS,
)
from vsr.media.decode.survey import Survey
from vsr.media.encode.codecs import FRAME_PACKING
from vsr.media.encode.sei import holds
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Message, StreamInfo

_AS_MESSAGES = {CAPTIONS: Message(4, b""), ASPECT: Message(4, b""), USER_DATA: Message(5, b"")}
_STEREO_MODES = {
    ".mp4": frozenset({1, 3}),
    ".webm": frozenset({1, 2, 3, 11}),
    ".mkv": frozenset(range(1, 15)),
}
"""Of Matroska's modes, those for which FFmpeg's muxer of a container writes a box or element."""
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
    """The side data of a film that isn't kept; `tags` are those of the video stream.

    `is_rotated` says that frames are turned, and `source` describes the turned ones.
    """
    lost = []
    kinds = dict(survey.side_data)
    if source.dolby_vision:
        kinds.setdefault(DOLBY_VISION, 0.0)
    if source.projection:
        kinds.setdefault(SPHERICAL, 0.0)
    if "timecode" in tags:  # which goes along
        kinds.pop(TIMECODE, None)
    for kind in sorted(kinds):
        words = WORDS[kind]
        if kind in _AS_MESSAGES:
            if not holds(settings.codec, _AS_MESSAGES[kind]):
                able = "h264 and hevc" if kind == USER_DATA else "h264, hevc and av1"
                lost.append(f"{words} ({settings.codec} holds none; {able} do)")
        elif kind in (STEREO, SPHERICAL) and is_rotated:
            lost.append(f"{words} (can't be turned with the picture by --rotate apply)")
        elif kind == STEREO:
            if not output.stereo_mode:
                lost.append(f"{words} ({suffix or 'the pipe'} doesn't say it; .mkv may)")
        elif kind == SPHERICAL:
            if not output.projection:
                lost.append(f"{words} ({suffix or 'the pipe'} doesn't say it; .mp4 and .mkv do)")
        elif kind == DOLBY_VISION:
            lost.append(words + _base_of(source.dolby_vision))
        else:
            lost.append(words)
    return lost


def without_unsupported(output: StreamInfo, suffix: str, settings: EncoderSettings) -> StreamInfo:
    """The description of an output without a 3D layout or projection that it can't have."""
    stereo = output.stereo_mode if output.stereo_mode in _held_stereo(suffix, settings) else 0
    projection = output.projection if suffix in _SPHERICAL else b""
    return replace(output, stereo_mode=stereo, projection=projection)


def _held_stereo(suffix: str, settings: EncoderSettings) -> frozenset[int]:
    """The 3D layouts that an output can say it has, in its container or its bitstream."""
    in_bitstream = settings.codec == "h264" and settings.encoder == "cpu"
    coded = frozenset(FRAME_PACKING) if in_bitstream else frozenset()
    return _STEREO_MODES.get(suffix, frozenset()) | coded


def unsupported_changes(source: StreamInfo, survey: Survey, output: StreamInfo) -> list[str]:
    """What changes in mid-film to something that the output doesn't hold."""
    lost = [
        f"{what} {seen.change.new}, {seen.where}: shown as {seen.change.old}"
        for what, seen in survey.changes.items()
        if not seen.change.converted
    ]
    held = output.layout
    more = [
        layout
        for layout in survey.layouts - {source.layout}
        if layout.bit_depth > held.bit_depth
        or (layout.across, layout.down) < (held.across, held.down)
    ]
    if "pixel format" in survey.changes and more:
        seen = survey.changes["pixel format"]
        lost.append(f"pixel format {seen.change.new}, {seen.where}: stored as {held.name}")
    return lost


def _base_of(configuration: bytes) -> str:
    """What is left of Dolby Vision without its metadata, by its profile (bits 17 to 23)."""
    if len(configuration) >= 3 and configuration[2] >> 1 == 5:
        return " (profile 5: without it, colours are wrong)"
    return ""
