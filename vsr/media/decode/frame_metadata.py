"""Read HDR metadata, rotation, 3D layout and SEI messages from a frame's side data."""

import struct
from collections.abc import Sequence
from fractions import Fraction

from av.video.frame import VideoFrame

from vsr.media.decode.hdr10_plus import hdr10_plus_message
from vsr.media.decode.side_data import (
    ASPECT,
    CAPTIONS,
    HDR10_PLUS,
    STEREO,
    USER_DATA,
    SideData,
    is_worth_a_line,
    side_data_of,
    stereo_mode,
)
from vsr.media.frame import Hdr, Message

_MASTERING = struct.Struct("@20i2i")
"""AVMasteringDisplayMetadata: primaries, white point, minimum and maximum luminance as fractions,
then one flag for the primaries and one for the luminances."""
_LIGHT = struct.Struct("@2I")
_IDENTITY = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
_REGISTERED, _UNREGISTERED = 4, 5
"""H.274 payload types of messages."""
_ATSC = b"\xb5\x00\x31"
"""Country and provider code of ATSC A/53 in ITU-T T.35."""
_MAX_CAPTIONS = 31
"""Three-byte units in one message (ATSC A/53 Part 4, 6.2.3)."""


def hdr_of(frame: VideoFrame) -> Hdr:
    """Read the HDR10 metadata of a frame, from its bitstream or its container."""
    mastering: tuple[Fraction, ...] | None = None
    light: tuple[int, int] | None = None
    for data in side_data_of(frame):
        if data.type == "MASTERING_DISPLAY_METADATA":
            *values, has_primaries, has_luminance = _MASTERING.unpack_from(data.payload)
            pairs = list(zip(values[::2], values[1::2], strict=True))
            if has_primaries and has_luminance and all(bottom for _, bottom in pairs):
                mastering = tuple(Fraction(top, bottom) for top, bottom in pairs)
        elif data.type == "CONTENT_LIGHT_LEVEL":
            maximum, mean = _LIGHT.unpack_from(data.payload)
            light = (maximum, mean)
    return Hdr(mastering, light)


def display_matrix_of(frame: VideoFrame) -> tuple[int, ...] | None:
    """Read a frame's display matrix; None for the identity. See `StreamInfo.display_matrix`."""
    for data in side_data_of(frame):
        if data.type == "DISPLAYMATRIX":
            matrix = struct.unpack_from("@9i", data.payload)
            return None if matrix == _IDENTITY else matrix
    return None


def stereo_mode_of(frame: VideoFrame) -> int:
    """Read a frame's 3D layout; see `StreamInfo.stereo_mode`."""
    modes = [stereo_mode(item) for item in side_data_of(frame) if item.type == STEREO]
    return next((mode for mode in modes if mode), 0)


def messages_of(side_data: Sequence[SideData]) -> tuple[Message, ...]:
    """Convert a frame's captions, active format, HDR10+ and user data to SEI messages.

    User data in which the source's encoder names itself is dropped: it doesn't describe the output.
    """
    messages = []
    for item in side_data:
        if item.type == CAPTIONS:
            count = len(item.payload) // 3
            for first in range(0, count, _MAX_CAPTIONS):
                part = item.payload[3 * first : 3 * (first + _MAX_CAPTIONS)]
                header = _ATSC + b"GA94\x03" + bytes([0xC0 | len(part) // 3, 0xFF])
                messages.append(Message(_REGISTERED, header + part + b"\xff"))
        elif item.type == ASPECT:
            payload = _ATSC + b"DTG1" + bytes([0x41, 0xF0 | item.payload[0] & 0xF])
            messages.append(Message(_REGISTERED, payload))
        elif item.type == HDR10_PLUS:
            messages.append(Message(_REGISTERED, hdr10_plus_message(item.payload)))
        elif item.type == USER_DATA and is_worth_a_line(item):
            messages.append(Message(_UNREGISTERED, item.payload))
    return tuple(messages)
