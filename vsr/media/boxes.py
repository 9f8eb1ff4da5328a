"""Boxes of the ISO base media file format (ISO/IEC 14496-12), as in AVIF and JPEG XL."""

import struct
from collections.abc import Iterator
from typing import NamedTuple


class Box(NamedTuple):
    """A box: its type, and where its content is."""

    kind: bytes
    start: int
    end: int


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Iterate over the boxes of a file, or of a part of it; raises ValueError at a cut."""
    end = len(data) if end is None else end
    while start < end:
        if start + 8 > end:
            raise ValueError("it is cut off")
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            raise ValueError("it is cut off")
        yield Box(kind, start + head, start + size)
        start += size


def box(kind: bytes, *contents: bytes) -> bytes:
    """Return a box with contents; of at most 4 GB."""
    size = 8 + sum(map(len, contents))
    return b"".join([struct.pack(">I4s", size, kind), *contents])


def full_box(kind: bytes, *contents: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Return a box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *contents)
