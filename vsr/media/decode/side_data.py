"""What decoded frames hold beside their pixels: what is kept, and what is lost."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from av.video.frame import VideoFrame

CAPTIONS, ASPECT, USER_DATA = "A53_CC", "AFD", "SEI_UNREGISTERED"
STEREO, SPHERICAL, TIMECODE = "STEREO3D", "SPHERICAL", "S12M_TIMECODE"
PANSCAN, DOLBY_VISION = "PANSCAN", "DOVI_METADATA"
UNREADABLE = "unreadable"
"""The side data of a frame with a type that PyAV doesn't know, which hides all others."""

WORDS: Mapping[str, str] = {
    CAPTIONS: "closed captions in the pictures",
    ASPECT: "active format description",
    USER_DATA: "user data in the bitstream",
    STEREO: "3D layout",
    SPHERICAL: "360 degree projection",
    TIMECODE: "timecodes in the pictures",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    DOLBY_VISION: "Dolby Vision metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "FILM_GRAIN_PARAMS": "film grain parameters",
    "ICC_PROFILE": "ICC profile",
    PANSCAN: "pan-and-scan windows",
    UNREADABLE: "side data that can't be read (Exif, or of a newer kind)",
}
"""What is worth a line, by the names of `av.sidedata.sidedata.Type`."""
_SAME_KIND = {"DOVI_RPU_BUFFER": DOLBY_VISION, "GOP_TIMECODE": TIMECODE}

_OF_ENCODERS = frozenset(
    {
        bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef"),  # x264
        bytes.fromhex("2ca2de09b51747dbbb55a4fe7fc2fc4e"),  # x265
    }
)
"""UUIDs of the user data in which an encoder names itself and its settings."""
_STEREO = struct.Struct("@2i")
"""The first two of AVStereo3D: type, and flags, of which bit 0 exchanges the views."""
_MATROSKA_STEREO = {(1, 0): 1, (1, 1): 11, (2, 0): 3, (2, 1): 2, (4, 0): 5, (4, 1): 4}
_MATROSKA_STEREO |= {(6, 0): 7, (6, 1): 6, (7, 0): 9, (7, 1): 8, (3, 0): 13, (3, 1): 14}
"""Matroska's StereoMode of a type and its flag (RFC 9559, 5.1.4.1.28.3)."""
_PANSCAN = struct.Struct("@3i6h")
"""AVPanScan: number, width and height, and three positions."""


class SideData(NamedTuple):
    """One item of a frame's side data."""

    kind: str
    """A key of `WORDS`, or the name of another type."""
    payload: bytes


def side_data_of(frame: VideoFrame) -> list[SideData]:
    """The side data of a frame. What PyAV can't read is one item, `UNREADABLE`."""
    try:
        held: Iterator[Any] = iter(frame.side_data)  # a mapping of names, to PyAV's stubs
        return [SideData(_SAME_KIND.get(i.type.name, i.type.name), bytes(i)) for i in held]
    except ValueError:  # its types are an enumeration of those that it knows
        return [SideData(UNREADABLE, b"")]


def is_worth_a_line(item: SideData) -> bool:
    """Whether a viewer or a later tool would miss it."""
    if item.kind == USER_DATA:
        return item.payload[:16] not in _OF_ENCODERS
    if item.kind == STEREO:
        return bool(_STEREO.unpack_from(item.payload)[0])  # else a plain picture
    if item.kind == PANSCAN:  # every frame of MPEG-2 has it
        return any(_PANSCAN.unpack_from(item.payload)[3:])
    return item.kind in WORDS


def is_zero_timecode(item: SideData) -> bool:
    """Whether a timecode is 00:00:00:00, as that of MPEG-2 without a clock is."""
    if len(item.payload) == 8:  # of a group of pictures: 5, 6, 1, 6 and 6 bits, 1 a marker
        return int.from_bytes(item.payload, "little") & 0xFFEFFF == 0
    return int.from_bytes(item.payload[4:8], "little") & 0x3F7F7F3F == 0


def stereo_mode(item: SideData) -> int:
    """Matroska's StereoMode of 3D side data; 0 where it has none for the arrangement."""
    kind, flags = _STEREO.unpack_from(item.payload)
    return _MATROSKA_STEREO.get((kind, flags & 1), 0)
