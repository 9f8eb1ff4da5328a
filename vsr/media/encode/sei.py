"""Insert SEI messages, such as captions, into coded pictures.

H.264 (ITU-T H.264, 7.3.2.3) and HEVC (ITU-T H.265, 7.3.2.4) store them as NAL units before the
picture, AV1 (6.7.2 of its specification) as metadata OBUs.
"""

from collections.abc import Iterable, Sequence

from vsr.media.frame import HDR10_PLUS_HEADER, Message

HOLD_MESSAGES = frozenset({"h264", "hevc", "av1"})
"""Codecs that support messages."""
_REGISTERED = 4
_NAL_HEADERS = {"h264": b"\x06", "hevc": b"\x4e\x01"}
"""SEI, and prefix SEI of the lowest layers."""
_ACCESS_UNIT_DELIMITERS = {"h264": (9,), "hevc": (35,)}
_START = b"\x00\x00\x00\x01"
_OBU_DELIMITER, _OBU_SEQUENCE, _OBU_METADATA = 2, 1, 5
_METADATA_T35 = 4


def holds(codec: str, message: Message) -> bool:
    """Whether a codec supports a message.

    AV1 supports those registered by T.35 only. Decoders of H.264 ignore HDR10+.
    """
    if codec == "h264" and message.payload.startswith(HDR10_PLUS_HEADER):
        return False
    return codec in HOLD_MESSAGES and (codec != "av1" or message.payload_type == _REGISTERED)


def with_messages(codec: str, coded: bytes, messages: Sequence[Message]) -> bytes:
    """Insert the supported messages into a coded picture, in Annex B form for H.264 and HEVC."""
    supported = [message for message in messages if holds(codec, message)]
    if not supported:
        return coded
    position = _first_obu(coded) if codec == "av1" else _first_nal(codec, coded)
    units = _obus(supported) if codec == "av1" else _nals(codec, supported)
    return coded[:position] + units + coded[position:]


def _nals(codec: str, messages: Iterable[Message]) -> bytes:
    units = b""
    for payload_type, payload in messages:
        size = b"\xff" * (len(payload) // 255) + bytes([len(payload) % 255])
        message = bytes([payload_type]) + size + payload
        units += _START + _escaped(_NAL_HEADERS[codec] + message + b"\x80")
    return units


def _escaped(unit: bytes) -> bytes:
    """Insert emulation prevention bytes: a 3 after two zeros, before a byte of 3 or less."""
    out, zeros = bytearray(), 0
    for byte in unit:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = 0 if byte else zeros + 1
    return bytes(out)


def _first_nal(codec: str, coded: bytes) -> int:
    """Return the position for messages: the start, or after an access unit delimiter."""
    start = coded.find(b"\x00\x00\x01")
    if start < 0:
        return 0
    header = coded[start + 3]
    unit_type = header & 0x1F if codec == "h264" else header >> 1 & 0x3F
    if unit_type not in _ACCESS_UNIT_DELIMITERS[codec]:
        return 0
    following = coded.find(b"\x00\x00\x01", start + 3)
    return following - (coded[following - 1] == 0) if following > 0 else len(coded)


def _obus(messages: Iterable[Message]) -> bytes:
    units = b""
    for _, payload in messages:
        content = bytes([_METADATA_T35]) + payload + b"\x80"
        units += bytes([_OBU_METADATA << 3 | 2]) + _leb128(len(content)) + content
    return units


def _first_obu(coded: bytes) -> int:
    """Return the position for metadata: after temporal delimiter and sequence header."""
    position = 0
    while position < len(coded):
        header = coded[position]
        if header >> 3 & 0xF not in (_OBU_DELIMITER, _OBU_SEQUENCE) or not header & 2:
            break
        size, behind = _from_leb128(coded, position + 1 + (header >> 2 & 1))
        position = behind + size
    return position


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _from_leb128(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position
