"""Write a Matroska header that passes stream properties to a muxer.

PyAV has no attributes for HDR metadata, 3D layout and projection. An output stream takes them from
the stream that serves as its template. The template is therefore read from a header of a few
hundred bytes, written according to the Matroska specification (RFC 9559).
"""

import io
import struct
from fractions import Fraction

import av
from av.container import InputContainer

from vsr.media.decode.header_probe import PROJECTION
from vsr.media.encode.encoder import CodedVideo
from vsr.media.frame import StreamInfo

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
"""x and y of red, green, blue and white; the luminances follow, maximum before minimum."""


def template_stream(video: CodedVideo, info: StreamInfo) -> InputContainer:
    """Open a container in memory whose only stream has the properties of a coded video."""
    colour = []
    if info.hdr.light:
        colour += [_element(0x55BC, info.hdr.light[0]), _element(0x55BD, info.hdr.light[1])]
    if info.hdr.mastering:
        *primaries, darkest, brightest = info.hdr.mastering
        values = [*zip(_MASTERING, primaries, strict=True), (0x55D9, brightest), (0x55DA, darkest)]
        colour.append(_element(0x55D0, [_element(key, value) for key, value in values]))
    picture = [_element(0xB0, info.width), _element(0xBA, info.height), _element(0x55B0, colour)]
    if info.stereo_mode:
        picture.append(_element(0x53B8, info.stereo_mode))
    if info.projection:
        picture.append(_element(PROJECTION, info.projection))
    private = video.extradata or video.tag.encode("latin-1")
    if video.codec == "raw":
        picture.append(_element(0x2EB524, video.tag.encode("latin-1")))
        private = b""
    track = [
        _element(0xD7, 1),  # TrackNumber
        _element(0x73C5, 1),  # TrackUID
        _element(0x83, 1),  # TrackType: video
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
