"""Read the side data of decoded frames, and classify it as kept, lost or irrelevant."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from av.video.frame import VideoFrame

from vsr.media.decode.hdr10_plus import is_whole_picture

CAPTIONS, ASPECT, USER_DATA = "A53_CC", "AFD", "SEI_UNREGISTERED"
STEREO, SPHERICAL, TIMECODE = "STEREO3D", "SPHERICAL", "S12M_TIMECODE"
PANSCAN, DOLBY_VISION = "PANSCAN", "DOVI_METADATA"
HDR10_PLUS, HDR10_PLUS_WINDOWS = "DYNAMIC_HDR_PLUS", "DYNAMIC_HDR_PLUS_WINDOWS"
UNREADABLE = "unreadable"
"""Stands for all side data of a frame where one item has a type that PyAV doesn't know."""

SIDE_DATA_NAMES: Mapping[str, str] = {
    CAPTIONS: "closed captions in the pictures",
    ASPECT: "active format description",
    USER_DATA: "user data in the bitstream",
    STEREO: "3D layout",
    SPHERICAL: "360 degree projection",
    TIMECODE: "timecodes in the pictures",
    HDR10_PLUS: "HDR10+ metadata",
    HDR10_PLUS_WINDOWS: "HDR10+ metadata of windows in the picture",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    DOLBY_VISION: "Dolby Vision metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "FILM_GRAIN_PARAMS": "film grain parameters",
    "ICC_PROFILE": "ICC profile",
    PANSCAN: "pan-and-scan windows",
    UNREADABLE: "side data that can't be read (Exif, or a newer type)",
}
"""Names for users of the side data worth reporting.

By the names of `av.sidedata.sidedata.Type`; windows of HDR10+ have one of their own.
"""
_SAME_TYPE = {"DOVI_RPU_BUFFER": DOLBY_VISION, "GOP_TIMECODE": TIMECODE}

_ENCODER_UUIDS = frozenset(
    {
        bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef"),  # x264
        bytes.fromhex("2ca2de09b51747dbbb55a4fe7fc2fc4e"),  # x265
    }
)
"""UUIDs of user data in which an encoder names itself and its settings."""
_STEREO = struct.Struct("@2i")
"""The first two of AVStereo3D: type, and flags, whose bit 0 exchanges the views."""
_MATROSKA_STEREO = {(1, 0): 1, (1, 1): 11, (2, 0): 3, (2, 1): 2, (4, 0): 5, (4, 1): 4}
_MATROSKA_STEREO |= {(6, 0): 7, (6, 1): 6, (7, 0): 9, (7, 1): 8, (3, 0): 13, (3, 1): 14}
"""Matroska's StereoMode by type and flag (RFC 9559, 5.1.4.1.28.3)."""
_PANSCAN = struct.Struct("@3i6h")
"""AVPanScan: id, width and height, and three positions."""


class SideData(NamedTuple):
    """One item of a frame's side data."""

    type: str
    """A key of `SIDE_DATA_NAMES`, or FFmpeg's name of another type."""
    payload: bytes


def side_data_of(frame: VideoFrame) -> list[SideData]:
    """List the side data of a frame; one `UNREADABLE` item where PyAV fails to read it."""
    try:
        items: Iterator[Any] = iter(frame.side_data)  # PyAV's stubs call it a mapping
        return [_classified(item.type.name, bytes(item)) for item in items]
    except ValueError:  # PyAV enumerates the types it knows, and fails on others
        return [SideData(UNREADABLE, b"")]


def _classified(name: str, payload: bytes) -> SideData:
    if name == HDR10_PLUS and not is_whole_picture(payload):
        return SideData(HDR10_PLUS_WINDOWS, payload)
    return SideData(_SAME_TYPE.get(name, name), payload)


def is_worth_a_line(item: SideData) -> bool:
    """Whether side data matters to a viewer or a later tool, so that its loss is reported."""
    if item.type == USER_DATA:
        return item.payload[:16] not in _ENCODER_UUIDS
    if item.type == STEREO:
        return bool(_STEREO.unpack_from(item.payload)[0])  # 0 is a plain 2D picture
    if item.type == PANSCAN:  # every MPEG-2 frame has windows: only displaced ones count
        return any(_PANSCAN.unpack_from(item.payload)[3:])
    return item.type in SIDE_DATA_NAMES


def is_zero_timecode(item: SideData) -> bool:
    """Whether a timecode is 00:00:00:00, as in MPEG-2 streams without a clock."""
    if len(item.payload) == 8:  # of a group of pictures: 5, 6, 1, 6 and 6 bits, 1 a marker
        return int.from_bytes(item.payload, "little") & 0xFFEFFF == 0
    return int.from_bytes(item.payload[4:8], "little") & 0x3F7F7F3F == 0


def stereo_mode(item: SideData) -> int:
    """Convert 3D side data to Matroska's StereoMode; 0 for an arrangement without one."""
    arrangement, flags = _STEREO.unpack_from(item.payload)
    return _MATROSKA_STEREO.get((arrangement, flags & 1), 0)
