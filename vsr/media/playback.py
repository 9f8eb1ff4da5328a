"""Tell which films browsers play."""

from pathlib import Path
from typing import NamedTuple

from vsr.media.decode.reader import VideoReader
from vsr.media.frame import PixelLayout, StreamInfo

PLAYABLE_SUFFIXES = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mp4", ".webm": "webm"}
"""Subtypes of the media types of files that browsers play, by suffix."""
_CODECS = ("h264", "vp8", "vp9", "av1")


class Playback(NamedTuple):
    """What browsers need to know of a film."""

    info: StreamInfo
    codec: str
    """FFmpeg's name."""
    is_playable: bool
    """Whether browsers play it: container, codec, 8 bits and 4:2:0."""


def probe_playback(film: Path) -> Playback:
    """Describe a film for browsers. Raises `MediaError` where it can't be read."""
    with VideoReader(film) as reader:
        info, codec = reader.info, reader.codec
    is_playable = film.suffix.lower() in PLAYABLE_SUFFIXES and codec in _CODECS
    return Playback(info, codec, is_playable and info.layout == PixelLayout())
