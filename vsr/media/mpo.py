"""MPO: JPEG pictures one after another, with an index in the first one (CIPA DC-007)."""

import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

MP_UNDEFINED, MP_PRIMARY = "Undefined", "Baseline MP Primary Image"
_TYPES = {
    MP_UNDEFINED: 0,
    "Multi-Frame Image (Panorama)": 0x020001,
    "Multi-Frame Image: (Disparity)": 0x020002,
    "Multi-Frame Image: (Multi-Angle)": 0x020003,
    MP_PRIMARY: 0x030000,
}
"""Types of pictures by Pillow's names."""
_REPRESENTATIVE = 1 << 29
_THUMBNAIL = "Large Thumbnail"
_ENTRIES = 0xB002
_HEAD = b"MPF\0"
_INDEX = struct.Struct("<4sI H HHI4s HHII HHII I")
_ENTRY = struct.Struct("<IIIHH")


def list_mpo_pages(opened: Any) -> tuple[list[int], list[str], list[str]]:
    """Return the numbers of pages, their types, and other pictures, one line each."""
    types = [entry["Attribute"]["MPType"] for entry in opened.mpinfo[_ENTRIES]]
    numbers = [n for n, name in enumerate(types) if not n or not name.startswith(_THUMBNAIL)]
    thumbnails = len(types) - len(numbers)
    lost = [f"{thumbnails} large thumbnails"] if thumbnails else []
    return numbers, [types[number] for number in numbers], lost


def is_page_type(name: str) -> bool:
    """Whether a type is that of one of several views, by Pillow's names."""
    return name.startswith("Multi-Frame")


def mpo_page(opened: Any, file: BinaryIO) -> bytes:
    """Return the JPEG picture that an opened MPO file has been sought to."""
    file.seek(opened.offset)
    return file.read(opened.mpinfo[_ENTRIES][opened.tell()]["Size"])


class MpoWriter:
    """Writes JPEG pictures, and the index at the end."""

    def __init__(self, file: BinaryIO, types: Sequence[str]) -> None:
        """Write one picture of each type."""
        self._file, self._types = file, types
        self._starts: list[int] = []

    def add(self, jpeg: bytes) -> None:
        """Write the next picture."""
        self._starts.append(self._file.tell())
        if len(self._starts) > 1:
            self._file.write(jpeg)
            return
        position = _end_of_applications(jpeg)
        content = _HEAD + bytes(_INDEX.size + _ENTRY.size * len(self._types))
        self._file.write(jpeg[:position] + b"\xff\xe2" + struct.pack(">H", len(content) + 2))
        self._origin = self._file.tell() + len(_HEAD)
        self._file.write(content + jpeg[position:])

    def finish(self) -> None:
        """Write the index."""
        ends = [*self._starts[1:], self._file.tell()]
        count = len(self._types)
        index = _INDEX.pack(
            *(b"II*\0", 8, 3),
            *(0xB000, 7, 4, b"0100"),
            *(0xB001, 4, 1, count),
            *(_ENTRIES, 7, _ENTRY.size * count, _INDEX.size),
            0,
        )
        entries = b"".join(
            _ENTRY.pack(
                _TYPES.get(name, 0) | (0 if start else _REPRESENTATIVE),
                end - start,
                start - self._origin if start else 0,
                0,
                0,
            )
            for name, start, end in zip(self._types, self._starts, ends, strict=True)
        )
        self._file.seek(self._origin)
        self._file.write(index + entries)


def _end_of_applications(jpeg: bytes) -> int:
    """Return the position behind the first application segments, APP0 and APP1."""
    position = 2
    while jpeg[position : position + 2] in (b"\xff\xe0", b"\xff\xe1"):
        (length,) = struct.unpack_from(">H", jpeg, position + 2)
        position += 2 + length
    return position
