"""Write animated PNG files frame by frame."""

import io
import struct
from fractions import Fraction
from typing import Any, BinaryIO

from PIL import Image

from vsr.media.animation.frame import AnimationFrame, Box
from vsr.media.png16 import SIGNATURE, chunks_of, write_chunk

_MAX_UINT16 = 0xFFFF


class ApngWriter:
    """Writes frames as rectangles of the pixels that change."""

    def __init__(self, file: BinaryIO, mode: str, plays: int, options: dict[str, Any]) -> None:
        """Write frames of a Pillow mode; `options` are Pillow's, with all metadata."""
        self._file, self._mode, self._plays = file, mode, plays
        self._count = self._count_at = 0
        self._options = options
        self._before: AnimationFrame | None = None
        self._end: list[tuple[bytes, bytes]] = []
        self._sequence = 0

    def add(self, frame: AnimationFrame, image: Image.Image) -> None:
        """Write a frame; `image` has the same pixels."""
        if self._before is None:
            self._start(frame, image.convert(self._mode))
        else:
            left, top, right, bottom = frame.changed_box(self._before) or (0, 0, 1, 1)
            box = left, top, right, bottom
            self._control(frame.seconds, box)
            for name, content, _ in chunks_of(_png(image.convert(self._mode).crop(box))):
                if name == b"IDAT":
                    self._write(b"fdAT", self._number() + content)
        self._before = frame
        self._count += 1

    def finish(self) -> None:
        """Write the end of the file, and the count of frames."""
        for name, content in self._end:
            self._write(name, content)
        self._file.seek(self._count_at)
        self._write(b"acTL", struct.pack(">2I", self._count, self._plays))

    def _start(self, frame: AnimationFrame, image: Image.Image) -> None:
        """Write metadata and the first frame, which other programs show as a picture."""
        self._file.write(SIGNATURE)
        has_pixels = False
        for name, content, _ in chunks_of(_png(image, **self._options)):
            if name == b"IDAT" and not has_pixels:
                has_pixels = True
                self._count_at = self._file.tell()
                self._write(b"acTL", bytes(8))
                self._control(frame.seconds, (0, 0, *image.size))
            if has_pixels and name != b"IDAT":
                self._end.append((name, content))
            else:
                self._write(name, content)

    def _control(self, seconds: Fraction, box: Box) -> None:
        """Write the place and the duration of a frame, which replaces the pixels there."""
        left, top, right, bottom = box
        size_and_place = right - left, bottom - top, left, top
        delay = struct.pack(">2H2B", *_delay(seconds), 0, 0)
        self._write(b"fcTL", self._number() + struct.pack(">4I", *size_and_place) + delay)

    def _number(self) -> bytes:
        self._sequence += 1
        return struct.pack(">I", self._sequence - 1)

    def _write(self, name: bytes, content: bytes) -> None:
        write_chunk(self._file.write, name, content)


def _delay(seconds: Fraction) -> tuple[int, int]:
    """Return numerator and denominator of 16 bits, exact if possible."""
    value = seconds.limit_denominator(_MAX_UINT16)
    if value.numerator <= _MAX_UINT16:
        return value.numerator, value.denominator
    denominator = max(1, min(1000, int(_MAX_UINT16 / seconds)))
    return min(_MAX_UINT16, round(seconds * denominator)), denominator


def _png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()
