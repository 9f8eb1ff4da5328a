"""Edit Exif data in place.

Libraries that decode and encode Exif data lose the types of values, and move maker notes, whose
offsets then point elsewhere. Edits in place keep all that isn't edited, byte for byte. The formats
are those of Exif 2.32 (CIPA DC-008) and TIFF 6.0.
"""

import struct
from collections.abc import Collection, Iterator
from fractions import Fraction
from typing import NamedTuple

HEADER = b"Exif\0\0"
EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
RESOLUTION_TAGS = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
THUMBNAIL, THUMBNAIL_LENGTH = 0x0201, 0x0202
TRANSPOSED = range(5, 9)
"""Orientations that exchange width and height."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a value by type."""
_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _DOUBLE = 1, 3, 4, 5, 7, 12
_ENTRY_BYTES = 12
_WIDTH, _HEIGHT = 0xA002, 0xA003
_FOCAL_X, _FOCAL_Y = 0xA20E, 0xA20F
_SUBJECT_AREA, _SUBJECT_LOCATION = 0x9214, 0xA214
_COMPRESSION = 0x0103
_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION = 0x830E, 0x8482, 0x85D8
_GEO_TIFF = (_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION)
IN_PIXELS = (
    *((EXIF_IFD, tag) for tag in (_SUBJECT_AREA, _SUBJECT_LOCATION, _FOCAL_X, _FOCAL_Y)),
    *((0, tag) for tag in _GEO_TIFF),
)
"""Tags, by directory (0 for the first), that are stated in pixels, apart from the size."""
_MAX_SHORT, _MAX_LONG = 0xFFFF, 0xFFFF_FFFF
_UNDEFINED_TAGS = {
    EXIF_IFD: (
        *(0x8828, 0x9000, 0x9101, 0x927C, 0x9286, 0xA000, 0xA20C, 0xA300, 0xA301, 0xA302),
        *(0xA40B, 0xA460, 0xA462),
    ),
    GPS_IFD: (0x001B, 0x001C),
}
"""Tags of type UNDEFINED by directory."""


class _Entry(NamedTuple):
    tag: int
    type: int
    length: int
    """Number of values."""
    position: int
    """Of the entry."""
    value: int
    """Position of the value."""


def upright_exif(
    content: bytes, orientation: int, size: tuple[int, int], without: Collection[int]
) -> bytes | None:
    """Adapt Exif data to the upright picture, without a thumbnail.

    `size` is the stored (width, height). `without` are tags of the first directory to remove, which
    include the orientation. Returns None if nothing is left. Raises ValueError for damaged data.
    """
    with _Block(content) as block:
        if orientation in TRANSPOSED:
            block.swap(0, X_RESOLUTION, Y_RESOLUTION)
            block.swap(EXIF_IFD, _FOCAL_X, _FOCAL_Y)
        for tag in (_SUBJECT_AREA, _SUBJECT_LOCATION):
            block.turn(EXIF_IFD, tag, orientation, size)
        block.remove_thumbnail()
        block.remove(0, without)
        if orientation != 1:
            block.remove(0, _GEO_TIFF)
        return block.content() if block.entries(0) else None


def has_position(content: bytes) -> bool:
    """Whether GeoTIFF's tags state where the pixels are, which a rotation makes untrue."""
    with _Block(content) as block:
        return any(entry.tag in _GEO_TIFF for entry in block.entries(0))


def sized_exif(
    content: bytes,
    size: tuple[int, int],
    source_size: tuple[int, int] | None,
    dpi: tuple[float, float] | None,
) -> bytes:
    """Update what Exif data state in pixels to a (width, height), and add a missing resolution.

    That is the size; and if `source_size` is known, the subject area, the resolution of the focal
    plane, and GeoTIFF's pixel scale, tie points and transformation. Raises ValueError for damaged
    data.
    """
    with _Block(content) as block:
        for tag, side in ((_WIDTH, size[0]), (_HEIGHT, size[1])):
            block.set_long(EXIF_IFD, tag, side)
        if source_size and source_size != size:
            across = Fraction(size[0], source_size[0])
            down = Fraction(size[1], source_size[1])
            block.scale_shorts(EXIF_IFD, _SUBJECT_AREA, (across, down, across, down))
            block.scale_shorts(EXIF_IFD, _SUBJECT_LOCATION, (across, down))
            block.scale_rational(EXIF_IFD, _FOCAL_X, across)
            block.scale_rational(EXIF_IFD, _FOCAL_Y, down)
            one = Fraction(1)
            block.scale_doubles(0, _PIXEL_SCALE, (1 / across, 1 / down, one))
            block.scale_doubles(0, _TIE_POINTS, (across, down, one, one, one, one))
            block.scale_doubles(0, _TRANSFORMATION, (1 / across, 1 / down, one, one))
        if dpi and not any(entry.tag == X_RESOLUTION for entry in block.entries(0)):
            block.add_resolution(dpi)
        return block.content()


def with_thumbnail(content: bytes, jpeg: bytes) -> bytes:
    """Add a thumbnail to Exif data without one. Raises ValueError for damaged data."""
    with _Block(content) as block:
        block.add_thumbnail(jpeg)
        return block.content()


def restore_types(tiff: bytes, position: int = 0) -> bytes:
    """Restore the type UNDEFINED of Exif's tags in TIFF data that Pillow has encoded.

    With a `position` above 0, the data start with a little-endian directory that is at this
    position in a TIFF file. Raises ValueError for damaged data.
    """
    with _Block(tiff, position) as block:
        for directory, tags in _UNDEFINED_TAGS.items():
            for entry in block.entries(directory):
                if entry.tag in tags and entry.type == _BYTE:
                    block.set_type(entry, _UNDEFINED)
        return block.content()


class _Block:
    """Exif data, or a TIFF file of 32-bit offsets; errors of damaged data become ValueError."""

    def __init__(self, content: bytes, position: int = 0) -> None:
        """`position` is that of a little-endian directory in a TIFF file, 0 for a whole file."""
        self._head = HEADER if content.startswith(HEADER) else b""
        self._data = bytearray(content[len(self._head) :])
        self._base = position
        orders = {b"II": "<", b"MM": ">"}
        self._order = "<" if position else orders.get(bytes(self._data[:2]), "")

    def __enter__(self) -> "_Block":
        if not self._order:
            raise ValueError("Exif data have no byte order")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, struct.error | IndexError):
            raise ValueError("Exif data are damaged") from error

    def content(self) -> bytes:
        return self._head + bytes(self._data)

    def entries(self, directory: int) -> list[_Entry]:
        """List the entries of the first directory (0), or of one inside it; none if missing."""
        start = self._start(directory)
        return [] if start is None else list(self._entries(start))

    def remove(self, directory: int, tags: Collection[int]) -> None:
        start = self._start(directory)
        if start is None:
            return
        entries = list(self._entries(start))
        kept = [entry for entry in entries if entry.tag not in tags]
        if len(kept) == len(entries):
            return
        raw = b"".join(self._raw(entry) for entry in kept)
        following = self._next(start)
        end = start + 2 + len(entries) * _ENTRY_BYTES + 4
        content = struct.pack(f"{self._order}H", len(kept)) + raw
        content += struct.pack(f"{self._order}I", following)
        self._data[start:end] = content.ljust(end - start, b"\0")

    def swap(self, directory: int, one: int, other: int) -> None:
        """Exchange the values of two tags."""
        found = {entry.tag: entry for entry in self.entries(directory)}
        if one in found and other in found:
            first, second = found[one].position + 2, found[other].position + 2
            values = self._data[first : first + 10], self._data[second : second + 10]
            self._data[second : second + 10], self._data[first : first + 10] = values

    def set_long(self, directory: int, tag: int, value: int) -> None:
        for entry in self.entries(directory):
            if entry.tag == tag:
                self._pack("HII", entry.position + 2, _LONG, 1, value)

    def turn(self, directory: int, tag: int, orientation: int, size: tuple[int, int]) -> None:
        """Rotate and mirror a point, or the centre and the sides of a rectangle."""
        width, height = size
        for entry in self._of_type(directory, tag, _SHORT):
            if orientation == 1 or not 2 <= entry.length <= 4:
                continue
            x, y, *sides = self._unpack(f"{entry.length}H", entry.value)
            if orientation in (2, 3, 7, 8):
                x = width - x
            if orientation in (3, 4, 6, 7):
                y = height - y
            if orientation in TRANSPOSED:
                x, y, sides = y, x, sides[::-1]
            self._pack(
                f"{entry.length}H", entry.value, *(max(0, value) for value in (x, y, *sides))
            )

    def set_type(self, entry: _Entry, code: int) -> None:
        self._pack("H", entry.position + 2, code)

    def scale_shorts(self, directory: int, tag: int, factors: tuple[Fraction, ...]) -> None:
        """Multiply values; the tag is removed if they don't fit into 16 bits."""
        for entry in self._of_type(directory, tag, _SHORT):
            count = min(entry.length, len(factors))
            values = self._unpack(f"{count}H", entry.value)
            scaled = [round(value * factor) for value, factor in zip(values, factors, strict=False)]
            if max(scaled, default=0) > _MAX_SHORT:
                self.remove(directory, (tag,))
            else:
                self._pack(f"{count}H", entry.value, *scaled)

    def scale_rational(self, directory: int, tag: int, factor: Fraction) -> None:
        for entry in self._of_type(directory, tag, _RATIONAL):
            numerator, denominator = self._unpack("2I", entry.value)
            if not denominator:
                continue
            scaled = Fraction(numerator, denominator) * factor
            largest = int(_MAX_LONG / scaled) if scaled > 1 else _MAX_LONG
            scaled = scaled.limit_denominator(max(1, largest))
            if scaled.numerator <= _MAX_LONG:
                self._pack("2I", entry.value, scaled.numerator, scaled.denominator)

    def scale_doubles(self, directory: int, tag: int, factors: tuple[Fraction, ...]) -> None:
        """Multiply values by factors, which repeat."""
        for entry in self._of_type(directory, tag, _DOUBLE):
            values = self._unpack(f"{entry.length}d", entry.value)
            scaled = [
                value * float(factors[number % len(factors)]) for number, value in enumerate(values)
            ]
            self._pack(f"{entry.length}d", entry.value, *scaled)

    def add_resolution(self, dpi: tuple[float, float]) -> None:
        """Add pixels per inch to a copy of the first directory at the end."""
        start = self._start(0)
        assert start is not None
        raw = [self._raw(entry) for entry in self._entries(start)]
        following = self._next(start)
        for value, tag in zip(dpi, (X_RESOLUTION, Y_RESOLUTION), strict=True):
            fraction = Fraction(value).limit_denominator(10_000)
            raw.append(self._packed("2HII", tag, _RATIONAL, 1, self._aligned_end()))
            self._data += self._packed("2I", fraction.numerator, fraction.denominator)
        raw.append(self._packed("2HI2H", RESOLUTION_UNIT, _SHORT, 1, 2, 0))
        raw.sort(key=lambda entry: struct.unpack_from(f"{self._order}H", entry)[0])
        position = self._aligned_end()
        self._data += self._packed("H", len(raw)) + b"".join(raw) + self._packed("I", following)
        self._pack("I", 4, position)

    def add_thumbnail(self, jpeg: bytes) -> None:
        """Add a second directory with a JPEG file at the end."""
        start = self._start(0)
        assert start is not None
        position = self._aligned_end()
        self._pack("I", self._next_position(start), position)
        self._data += self._packed("H", 3)
        self._data += self._packed("2HI2H", _COMPRESSION, _SHORT, 1, 6, 0)  # JPEG
        self._data += self._packed("2H2I", THUMBNAIL, _LONG, 1, position + 2 + 3 * 12 + 4)
        self._data += self._packed("2H2I", THUMBNAIL_LENGTH, _LONG, 1, len(jpeg))
        self._data += bytes(4) + jpeg

    def remove_thumbnail(self) -> None:
        """Remove the second directory, and the thumbnail's bytes."""
        first = self._start(0)
        assert first is not None
        start = self._next(first)
        if not start:
            return
        self._pack("I", self._next_position(first), 0)
        try:
            found = {entry.tag: entry for entry in self._entries(start)}
            (begin,) = self._unpack("I", found[THUMBNAIL].value)
            (length,) = self._unpack("I", found[THUMBNAIL_LENGTH].value)
        except (KeyError, struct.error, ValueError):
            return
        end = min(begin + length, len(self._data))
        if end >= len(self._data) - 1:
            del self._data[begin:]
        elif begin < end:
            self._data[begin:end] = bytes(end - begin)

    def _start(self, directory: int) -> int | None:
        start = 0 if self._base else self._unpack("I", 4)[0]
        if not directory:
            return start
        for entry in self._entries(start):
            if entry.tag == directory:
                return self._unpack("I", entry.position + 8)[0] - self._base
        return None

    def _entries(self, start: int) -> Iterator[_Entry]:
        (count,) = self._unpack("H", start)
        for number in range(count):
            position = start + 2 + number * _ENTRY_BYTES
            tag, kind, length, offset = self._unpack("2H2I", position)
            is_inline = _SIZES.get(kind, 1) * length <= 4
            value = position + 8 if is_inline else offset - self._base
            yield _Entry(tag, kind, length, position, value)

    def _of_type(self, directory: int, tag: int, kind: int) -> list[_Entry]:
        """List the entries of a tag, none if it has another type or lies outside of the data."""
        return [
            entry
            for entry in self.entries(directory)
            if (entry.tag, entry.type) == (tag, kind)
            and entry.value + _SIZES[kind] * entry.length <= len(self._data)
        ]

    def _raw(self, entry: _Entry) -> bytes:
        return bytes(self._data[entry.position : entry.position + _ENTRY_BYTES])

    def _next_position(self, start: int) -> int:
        """Return the position of the pointer to the following directory."""
        return start + 2 + self._unpack("H", start)[0] * _ENTRY_BYTES

    def _next(self, start: int) -> int:
        """Return the position of the following directory, 0 for none, also where it is cut off."""
        position = self._next_position(start)
        if position + 4 > len(self._data):
            self._data += bytes(position + 4 - len(self._data))
        return self._unpack("I", position)[0]

    def _aligned_end(self) -> int:
        self._data += bytes(len(self._data) % 2)
        return len(self._data)

    def _unpack(self, codes: str, position: int) -> tuple[int, ...]:
        return struct.unpack_from(f"{self._order}{codes}", self._data, position)

    def _pack(self, codes: str, position: int, *values: float) -> None:
        struct.pack_into(f"{self._order}{codes}", self._data, position, *values)

    def _packed(self, codes: str, *values: int) -> bytes:
        return struct.pack(f"{self._order}{codes}", *values)
