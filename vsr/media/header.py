"""A Matroska header of a few hundred bytes, to tell and to learn what PyAV has no words for.

HDR metadata can only be given to a stream that is made after the likeness of one that was
read. So one is written and read: elements by the Matroska specification (RFC 9559). And where
chroma lies can only be learnt of a stream from a header that is written after its likeness.
"""

import io
import struct
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from vsr.media.encoder import CodedVideo
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


def siting_of(stream: VideoStream) -> ChromaSiting:
    """Where a stream's chroma lies, as its bitstream or container says; left if neither does."""
    written = io.BytesIO()
    try:
        with av.open(written, "w", format="matroska") as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return "left"  # nothing that Matroska holds
    across, down = (_only_byte(written.getvalue(), key) for key in (0x55B7, 0x55B8))
    return _SITINGS.get((across, down), "left")


def _only_byte(header: bytes, key: int) -> int:
    """The value of a header's element of one byte; 0 if it isn't there."""
    start = header.find(key.to_bytes(2, "big") + b"\x81")
    return header[start + 3] if start >= 0 else 0


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
