"""Read the header of a JPEG XL codestream (ISO/IEC 18181-1), and embed an ICC profile in it.

Fields are bits, the lowest of a byte first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vsr.media.rgb_profile import BT709, Chromaticities

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width over height, in place of a width."""
_SIZES = ((9, 1), (13, 1), (18, 1), (30, 1))
_PREVIEW_SIZES = ((6, 1), (8, 65), (10, 321), (12, 1345))
_PREVIEW_EIGHTHS = ((0, 16), (0, 32), (5, 1), (9, 33))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_NUMBERS = ((19, 0), (19, 1 << 19), (20, 1 << 20), (21, 1 << 21))
"""Numbers are those of `bits` bits, plus an offset; two bits choose one of four."""
_GREY, _XYB = 1, 2
_ALPHA, _SPOT, _BLACK, _CFA = 0, 2, 4, 5
_CUSTOM = 2
_WHITES = {1: BT709[6:], 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
_PRIMARIES = {
    1: BT709[:6],
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
_LINEAR, _SRGB = 8, 13
_MAX_EXTRA = 64


@dataclass
class JxlHeader:
    """Size, samples and colours of a codestream; positions are in bits."""

    width: int = 0
    height: int = 0
    orientation: int = 1
    animated: bool = False
    bits: int = 8
    is_float: bool = False
    extra: tuple[int, ...] = ()
    """Types of the extra channels."""
    premultiplied: bool = False
    grey: bool = False
    has_profile: bool = False
    chromaticities: Chromaticities | None = BT709
    """None for grey, and for a profile."""
    gamma: float | None = None
    """Exponent of light; None for the curve of sRGB."""
    transfer: int | None = None
    """The curve by H.273; None for a power, and for a profile."""
    is_original: bool = False
    """Whether samples are stored in the colours of the file, rather than in XYB."""
    colours_start: int = 0
    colours_end: int = 0
    end: int = 0

    @property
    def alpha(self) -> int | None:
        """The extra channel of transparency."""
        return self.extra.index(_ALPHA) if _ALPHA in self.extra else None

    @property
    def has_other_curve(self) -> bool:
        """Whether the curve is neither that of sRGB nor a power, as in HDR."""
        return self.transfer not in (None, _LINEAR, _SRGB)

    @property
    def has_black(self) -> bool:
        """Whether there is a channel of black ink."""
        return _BLACK in self.extra


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._count = 8 * len(data)
        self.position = 0

    def read(self, count: int) -> int:
        if self.position + count > self._count:
            raise ValueError("its header is cut off")
        value = (self._value >> self.position) & ((1 << count) - 1)
        self.position += count
        return value

    def flag(self) -> bool:
        return bool(self.read(1))

    def choice(self, options: tuple[tuple[int, int], ...]) -> int:
        bits, offset = options[self.read(2)]
        return offset + self.read(bits)

    def number64(self) -> int:
        selector = self.read(2)
        if selector < 3:
            return (0, 1, 17)[selector] + self.read((0, 4, 8)[selector])
        value, shift = self.read(12), 12
        while self.flag():
            if shift == 60:
                return value | self.read(4) << shift
            value |= self.read(8) << shift
            shift += 8
        return value


def read_header(codestream: bytes) -> JxlHeader:
    """Read the header of a codestream. Raises ValueError."""
    if codestream[:2] != b"\xff\x0a":
        raise ValueError("it is no JPEG XL codestream")
    bits = _Bits(codestream[2 : 1 << 16])
    header = JxlHeader()
    header.width, header.height = _read_size(bits)
    if not bits.flag():
        _read_metadata(bits, header)
    if not bits.flag():  # the transform of XYB and the filters of enlargement
        if not header.is_original and not bits.flag():
            bits.read(16 * 16)
        mask = bits.read(3)
        bits.read(16 * sum(count for bit, count in enumerate((15, 55, 210)) if mask >> bit & 1))
    header.end = bits.position + 16
    header.colours_start += 16
    header.colours_end += 16
    return header


def with_colours(codestream: bytes, profile: bytes | None) -> bytes:
    """Set the ICC profile of a codestream of samples that aren't in XYB; None for sRGB.

    Raises ValueError.
    """
    header = read_header(codestream)
    if not header.is_original or header.has_profile:
        raise ValueError("its colours aren't those of the samples")
    head = int.from_bytes(codestream[: -(-header.end // 8)], "little")
    writer = _Writer()
    writer.add(head & ((1 << header.colours_start) - 1), header.colours_start)
    if profile is None and not header.grey:
        writer.add(1, 1)  # the default colours
    else:
        writer.add(0, 1)
        writer.add(profile is not None, 1)
        writer.add(int(header.grey), 2)
    if profile is None and header.grey:
        writer.add(1, 2)  # white of D65
        writer.add(0, 1)  # no power
        writer.add(2 | (_SRGB - 2) << 2, 2 + 4)
        writer.add(1, 2)  # relative colorimetric
    rest = header.end - header.colours_end
    writer.add(head >> header.colours_end & ((1 << rest) - 1), rest)
    if profile is not None:
        _write_profile(writer, profile)
    return writer.content() + codestream[-(-header.end // 8) :]


class _Writer:
    def __init__(self) -> None:
        self._value = 0
        self._count = 0
        self._bytes = bytearray()

    def add(self, value: int, count: int) -> None:
        self._value |= value << self._count
        self._count += count
        whole = self._count // 8
        self._bytes += (self._value & ((1 << 8 * whole) - 1)).to_bytes(whole, "little")
        self._value >>= 8 * whole
        self._count -= 8 * whole

    def content(self) -> bytes:
        """Return the bytes, the last one padded by zeros."""
        return bytes(self._bytes) + self._value.to_bytes(self._count > 0, "little")


def _read_size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()

    def side() -> int:
        return 8 * (1 + bits.read(5)) if small else bits.choice(_SIZES)

    return _with_ratio(bits, side)


def _with_ratio(bits: _Bits, side: Callable[[], int]) -> tuple[int, int]:
    """Read a height, and a width or its ratio to the height."""
    height = side()
    ratio = bits.read(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _read_metadata(bits: _Bits, header: JxlHeader) -> None:
    has_more = bits.flag()
    if has_more:
        header.orientation = 1 + bits.read(3)
        if bits.flag():
            _read_size(bits)  # that of display
        if bits.flag():
            small = bits.flag()
            options = _PREVIEW_EIGHTHS if small else _PREVIEW_SIZES
            _with_ratio(bits, lambda: bits.choice(options))
        header.animated = bits.flag()
        if header.animated:
            bits.choice(((0, 100), (0, 1000), (10, 1), (30, 1)))
            bits.choice(((0, 1), (0, 1001), (8, 1), (10, 1)))
            bits.choice(((0, 0), (3, 0), (16, 0), (32, 0)))
            bits.flag()
    header.bits, header.is_float = _read_depth(bits)
    bits.flag()
    count = bits.choice(((0, 0), (0, 1), (4, 2), (12, 1)))
    if count > _MAX_EXTRA:
        raise ValueError(f"it has {count} extra channels")
    header.extra = tuple(_read_extra(bits, header) for _ in range(count))
    header.is_original = not bits.flag()
    header.colours_start = bits.position
    if not bits.flag():
        _read_colours(bits, header)
    header.colours_end = bits.position
    if has_more and not bits.flag():
        bits.read(16 + 16 + 1 + 16)  # light levels
    extensions = bits.number64()
    sizes = [bits.number64() for _ in range(extensions.bit_count())]
    bits.read(sum(sizes))
    if header.orientation > 4:
        header.width, header.height = header.height, header.width


def _read_depth(bits: _Bits) -> tuple[int, bool]:
    is_float = bits.flag()
    if not is_float:
        return bits.choice(((0, 8), (0, 10), (0, 12), (6, 1))), False
    depth = bits.choice(((0, 32), (0, 16), (0, 24), (6, 1)))
    bits.read(4)
    return depth, True


def _read_extra(bits: _Bits, header: JxlHeader) -> int:
    if bits.flag():
        return _ALPHA
    kind = bits.choice(_ENUM)
    _read_depth(bits)
    bits.choice(((0, 0), (0, 3), (0, 4), (3, 1)))
    bits.read(8 * bits.choice(((0, 0), (4, 0), (5, 16), (10, 48))))
    if kind == _ALPHA:
        header.premultiplied = bits.flag()
    elif kind == _SPOT:
        bits.read(4 * 16)
    elif kind == _CFA:
        bits.choice(((0, 1), (2, 0), (4, 3), (8, 19)))
    return kind


def _read_colours(bits: _Bits, header: JxlHeader) -> None:
    header.has_profile = bits.flag()
    space = bits.choice(_ENUM)
    header.grey = space == _GREY
    if header.has_profile:
        header.chromaticities = None
        return
    if space != _XYB:
        white_code = bits.choice(_ENUM)
        white: Any = _read_point(bits) if white_code == _CUSTOM else _WHITES.get(white_code)
        header.chromaticities = None
        if space != _GREY:
            code = bits.choice(_ENUM)
            custom = [_read_point(bits) for _ in range(3)] if code == _CUSTOM else []
            primaries = sum(custom, ()) if custom else _PRIMARIES.get(code)
            if primaries and white:
                header.chromaticities = (*primaries, *white)
    if bits.flag():
        header.gamma = 1e7 / max(bits.read(24), 1)
    else:
        curve = bits.choice(_ENUM)
        header.gamma = 1.0 if curve == _LINEAR else None
        header.transfer = curve
    bits.choice(_ENUM)  # the intent of rendering


def _read_point(bits: _Bits) -> tuple[float, ...]:
    packed = [bits.choice(_NUMBERS) for _ in range(2)]
    return tuple((value >> 1 if not value & 1 else -(value >> 1) - 1) / 1e6 for value in packed)


def _write_profile(writer: _Writer, profile: bytes) -> None:
    """Write a profile, its header as differences from a usual one, without compression."""
    usual = bytearray(128)
    usual[0:4] = len(profile).to_bytes(4, "big")
    usual[8] = 4
    usual[12:24] = b"mntrRGB XYZ "
    usual[36:40] = b"acsp"
    usual[68:80] = bytes.fromhex("0000f6d6000100000000d32d")
    usual[80:84] = profile[4:8]
    makers = {b"A": b"PPL", b"M": b"SFT"}
    usual[41:44] = makers.get(profile[40:41], bytes(3))
    if profile[40:41] == b"S":
        usual[42:44] = {b"G": b"I ", b"U": b"NW"}.get(profile[41:42], bytes(2))
    first = bytes((a - b) & 255 for a, b in zip(profile, usual, strict=False))
    rest = profile[128:]
    # No list of tags, then one command: insert the rest.
    commands = b"\0\1" + _varint(len(rest)) if rest else b""
    content = _varint(len(profile)) + _varint(len(commands)) + commands + first + rest
    _write_number64(writer, len(content))
    writer.add(0, 1)  # no LZ77
    writer.add(0b001, 3)  # all contexts share one code
    writer.add(1, 1)  # a prefix code
    writer.add(8, 4)  # symbols below 2 ** 8 are numbers
    writer.add(0, 4)
    writer.add(0, 4)
    writer.add(1, 1)  # the alphabet has 256 symbols
    writer.add(7, 4)
    writer.add(127, 7)
    writer.add(0, 2)  # a code of lengths, all of which are 8
    writer.add(0, 2 * 10)
    writer.add(0b01, 2)
    writer.add(0, 2 * 7)
    for value in content:
        writer.add(int(f"{value:08b}"[::-1], 2), 8)


def _varint(value: int) -> bytes:
    output = bytearray()
    while value > 127:
        output.append(value & 127 | 128)
        value >>= 7
    return bytes([*output, value])


def _write_number64(writer: _Writer, value: int) -> None:
    writer.add(3, 2)
    writer.add(value & 4095, 12)
    value >>= 12
    while value:
        writer.add(1, 1)
        writer.add(value & 255, 8)
        value >>= 8
    writer.add(0, 1)
