"""Convert FFmpeg's HDR10+ side data to the message that bitstreams store.

SMPTE ST 2094-40 defines the values, and ITU-T T.35 the header. FFmpeg decodes them to its struct
AVDynamicHDRPlus (libavutil/hdr_dynamic_metadata.h).
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from vsr.media.frame import HDR10_PLUS_HEADER

_SIZE = 11_304
"""Bytes of AVDynamicHDRPlus."""
_WINDOW = struct.Struct("@8i2HBx3HI8iB3x" + 15 * "B3x2i" + "2iB3x4iB3x30iB3x2i")
"""AVHDRPlusColorTransformParams."""
_HEAD = struct.Struct("@3Bx")
"""Country code, application version, and windows; three windows follow."""
_TARGET = struct.Struct("@2iB2Bx")
"""Maximum luminance of the target display, flag, rows and columns of its peak luminances."""
_MASTERING = struct.Struct("@3Bx")
"""Flag, rows and columns of the mastering display's peak luminances."""
_GRID = struct.Struct("@1250i")
"""Peak luminances of 25 x 25 parts, as fractions."""
_SIDE = 25
_MAX_POINTS = 15

# Fractions are stored as multiples of these parts.
_LIGHT, _BRIGHT, _PEAK, _KNEE, _ANCHOR, _SATURATION = 100_000, 1000, 15, 4095, 1023, 8

Fields = Iterator[tuple[int, int]]
"""Values, each with its count of bits."""


def is_whole_picture(side_data: bytes) -> bool:
    """Whether HDR10+ metadata describes the whole picture, not windows at pixel positions."""
    return len(side_data) == _SIZE and side_data[2] == 1


def hdr10_plus_message(side_data: bytes) -> bytes:
    """Convert metadata of a whole picture to the payload of a T.35 message."""
    content, count = 0, 0
    for value, bits in _fields(side_data):
        content, count = content << bits | value & ((1 << bits) - 1), count + bits
    padding = -count % 8
    return HDR10_PLUS_HEADER + (content << padding).to_bytes((count + padding) // 8, "big")


def _fields(data: bytes) -> Fields:
    _, version, windows = _HEAD.unpack_from(data)
    values: list[Any] = list(_WINDOW.unpack_from(data, _HEAD.size))
    position = _HEAD.size + 3 * _WINDOW.size
    numerator, denominator, *target = _TARGET.unpack_from(data, position)
    target_grid = _GRID.unpack_from(data, position + _TARGET.size)
    position += _TARGET.size + _GRID.size
    mastering = _MASTERING.unpack_from(data, position)
    mastering_grid = _GRID.unpack_from(data, position + _MASTERING.size)
    yield version, 8
    yield windows, 2
    yield _multiple(numerator, denominator, 1), 27
    yield from _peaks(target, target_grid)
    light = values[15:23]  # after the position of the window
    count, values = values[23], values[24:]
    yield from _multiples(light, _LIGHT, 17)
    yield count, 4
    for index in range(min(count, _MAX_POINTS)):
        yield values[3 * index], 7
        yield from _multiples(values[3 * index + 1 : 3 * index + 3], _LIGHT, 17)
    values = values[3 * _MAX_POINTS :]
    yield from _multiples(values[:2], _BRIGHT, 10)
    yield from _peaks(mastering, mastering_grid)
    has_curve, knee, anchors = values[2], values[3:7], values[7]
    yield has_curve, 1
    if has_curve:
        yield from _multiples(knee, _KNEE, 12)
        yield anchors, 4
        yield from _multiples(values[8 : 8 + 2 * min(anchors, _MAX_POINTS)], _ANCHOR, 10)
    has_saturation, *weight = values[8 + 2 * _MAX_POINTS :]
    yield has_saturation, 1
    if has_saturation:
        yield from _multiples(weight, _SATURATION, 6)


def _peaks(head: Sequence[int], grid: Sequence[int]) -> Fields:
    """Peak luminances: a flag, and if it is set, rows, columns and a value for each part."""
    flag, rows, columns = head
    yield flag, 1
    if flag:
        yield rows, 5
        yield columns, 5
        for row in range(rows):
            start = 2 * _SIDE * row
            yield from _multiples(grid[start : start + 2 * columns], _PEAK, 4)


def _multiples(fractions: Sequence[int], parts: int, bits: int) -> Fields:
    """Fractions, each a numerator and a denominator, as multiples of 1 / `parts`."""
    for numerator, denominator in zip(fractions[::2], fractions[1::2], strict=True):
        yield _multiple(numerator, denominator, parts), bits


def _multiple(numerator: int, denominator: int, parts: int) -> int:
    return round(numerator * parts / denominator) if denominator else 0
