"""A Matroska header of a few hundred bytes, to tell and to learn what PyAV has no words for.

HDR metadata can only be given to a stream that is made after the likeness of one that was
read. So one is written and read: elements by the Matroska specification (RFC 9559). And where
chroma lies, a spherical projection and Dolby Vision can only be learnt of a stream from a header
that is written after its likeness.
"""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from vsr.media.encode.encoder import CodedVideo
from vsr.media.frame import ChromaSiting, StreamInfo

Payload = bytes | int | Fraction | str | list[bytes]

_CODEC_IDS = {
    "h264": "V_MPEG4/ISO/AVC",
    "hevc": "V_MPEGH/ISO/HEVC",
    "av1": "V_AV1",
    "prores": "V_PRORES",
    "ffv1": "V_FFV1",
    "raw": "V_UNCOMPRESSED",
}
_MASTERING = range(0x55D1, 0x55D9)
"""x and y of red, green, blue and white; the luminances follow, most before least."""

_PROJECTION, _PROJECTION_TYPE = 0x7670, 0x7671
_PARENTS = frozenset({0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x55B0, 0x41E4, _PROJECTION})
"""Elements that hold others: Segment, Tracks, TrackEntry, Video, Colour, BlockAdditionMapping,
Projection."""

_SITINGS: dict[tuple[int, int], ChromaSiting] = {
    (1, 2): "left",
    (2, 2): "center",
    (1, 1): "topleft",
}
"""By ChromaSitingHorz and ChromaSitingVert: 1 is at the first luma sample, 2 half-way."""


def stream_like(video: CodedVideo, info: StreamInfo) -> InputContainer:
    """An open container whose only stream says what a coded video should."""
    colour = []
    if info.hdr.light:
        colour += [_element(0x55BC, info.hdr.light[0]), _element(0x55BD, info.hdr.light[1])]
    if info.hdr.mastering:
        *primaries, least, most = info.hdr.mastering
        values = [*zip(_MASTERING, primaries, strict=True), (0x55D9, most), (0x55DA, least)]
        colour.append(_element(0x55D0, [_element(key, value) for key, value in values]))
    picture = [_element(0xB0, info.width), _element(0xBA, info.height), _element(0x55B0, colour)]
    if info.stereo_mode:
        picture.append(_element(0x53B8, info.stereo_mode))
    if info.projection:
        picture.append(_element(_PROJECTION, info.projection))
    private = video.extradata or video.tag.encode("latin-1")
    if video.codec == "raw":
        picture.append(_element(0x2EB524, video.tag.encode("latin-1")))
        private = b""
    track = [
        *(_element(0xD7, 1), _element(0x73C5, 1), _element(0x83, 1)),  # number, UID, video
        _element(0x86, _CODEC_IDS[video.codec]),
        *([_element(0x63A2, private)] if private else []),
        _element(0xE0, picture),
    ]
    segment = [
        _element(0x1549A966, [_element(0x2AD7B1, 1_000_000)]),
        _element(0x1654AE6B, [_element(0xAE, track)]),
        _element(0x1F43B675, [_element(0xE7, 0)]),
    ]
    head = _element(0x1A45DFA3, [_element(0x4282, "matroska")])
    whole = io.BytesIO(head + _element(0x18538067, segment))
    return av.open(whole, mode="r", format="matroska")


class Likeness(NamedTuple):
    """What a stream says of itself that PyAV has no words for."""

    siting: ChromaSiting
    """Where chroma lies; left if nothing says so."""
    projection: bytes
    """Content of Matroska's element for spherical video; empty for flat pictures."""
    dolby_vision: bytes
    """The configuration record of Dolby Vision; empty without it."""


def likeness_of(stream: VideoStream) -> Likeness:
    """Read what a stream's bitstream or container says from a header written after it."""
    written = io.BytesIO()
    try:
        with av.open(written, "w", format="matroska") as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return Likeness("left", b"", b"")  # nothing that Matroska holds
    found = dict(_elements(written.getvalue()))
    across, down = (int.from_bytes(found.get(key, b"")) for key in (0x55B7, 0x55B8))
    dolby_vision = b""
    if found.get(0x41E7, b"") in (b"dvcC", b"dvvC", b"dvwC"):  # BlockAddIDType
        dolby_vision = found.get(0x41ED, b"")
    siting = _SITINGS.get((across, down), "left")
    # A flat picture has the element too, if players turn it.
    is_flat = not any(found.get(_PROJECTION_TYPE, b""))
    return Likeness(siting, b"" if is_flat else found[_PROJECTION], dolby_vision)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of a header with one track, those inside others too."""
    place = 0
    while place < len(data):
        key, place = _number(data, place, keeps_marker=True)
        size, place = _number(data, place, keeps_marker=False)
        content = data[place : place + size]  # one of unknown size goes to the end
        yield key, content
        if key in _PARENTS:
            yield from _elements(content)
        place += size


def _number(data: bytes, place: int, keeps_marker: bool) -> tuple[int, int]:
    """A number of variable length (RFC 8794, 4), and the place behind it."""
    length = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + length])
    return value if keeps_marker else value & ((1 << 7 * length) - 1), place + length


def _element(key: int, payload: Payload) -> bytes:
    match payload:
        case list():
            content = b"".join(payload)
        case Fraction():
            content = struct.pack(">d", payload)
        case int():
            content = payload.to_bytes(max(1, (payload.bit_length() + 7) // 8), "big")
        case str():
            content = payload.encode()
        case bytes():
            content = payload
    name = key.to_bytes((key.bit_length() + 7) // 8, "big")
    return name + b"\x01" + len(content).to_bytes(7, "big") + content
