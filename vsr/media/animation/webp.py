"""Write animated WebP files frame by frame."""

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image

from vsr.errors import OutputError
from vsr.media.animation.frame import AnimationFrame

_PROFILE, _ALPHA, _EXIF, _XMP, _ANIMATION = 0x20, 0x10, 0x08, 0x04, 0x02
"""Flags of the file."""
_REPLACE = 2
"""Flag of a frame: its pixels replace those below, instead of being blended with them."""
_MAX_BYTES = 0xFFFF_FFFF
_MAX_MILLISECONDS = 0xFF_FFFF
_MAX_PLAYS = 0xFFFF
_PIXELS = (b"ALPH", b"VP8 ", b"VP8L")


class WebpWriter:
    """Writes frames as rectangles of the pixels that change, each as a WebP picture."""

    def __init__(
        self,
        file: BinaryIO,
        size: tuple[int, int],
        has_alpha: bool,
        plays: int,
        options: dict[str, Any],
    ) -> None:
        """Write frames of (width, height); `options` are Pillow's, with all metadata."""
        self._file, self._mode = file, "RGBA" if has_alpha else "RGB"
        self._options = dict(options)
        self._before: AnimationFrame | None = None
        profile, exif, xmp = (self._options.pop(k, None) for k in ("icc_profile", "exif", "xmp"))
        if exif:
            exif = exif.removeprefix(b"Exif\0\0")
        self._end = [(b"EXIF", exif), (b"XMP ", xmp)]
        flags = _ANIMATION | (_ALPHA if has_alpha else 0) | (_PROFILE if profile else 0)
        flags |= (_EXIF if exif else 0) | (_XMP if xmp else 0)
        self._file.write(b"RIFF" + bytes(4) + b"WEBP")
        self._write(b"VP8X", struct.pack("<I", flags) + _uint24(size[0] - 1) + _uint24(size[1] - 1))
        if profile:
            self._write(b"ICCP", profile)
        self._write(b"ANIM", bytes(4) + struct.pack("<H", min(plays, _MAX_PLAYS)))

    def add(self, frame: AnimationFrame, image: Image.Image, milliseconds: int) -> None:
        """Write a frame; `image` has the same pixels."""
        left, top, right, bottom = 0, 0, *image.size
        if self._before is not None:
            left, top, right, bottom = frame.changed_box(self._before) or (0, 0, 1, 1)
            left, top = left // 2 * 2, top // 2 * 2  # places are even
        picture = io.BytesIO()
        cut = image.convert(self._mode).crop((left, top, right, bottom))
        cut.save(picture, "WEBP", **self._options)
        sides = (left // 2, top // 2, right - left - 1, bottom - top - 1)
        head = b"".join(map(_uint24, (*sides, min(milliseconds, _MAX_MILLISECONDS))))
        pixels = b"".join(
            _chunk(name, content)
            for name, content in _chunks(picture.getvalue())
            if name in _PIXELS
        )
        self._write(b"ANMF", head + bytes([_REPLACE]) + pixels)
        self._before = frame

    def finish(self) -> None:
        """Write metadata and the length of the file."""
        for name, content in self._end:
            if content:
                self._write(name, content)
        length = self._file.tell() - 8
        if length > _MAX_BYTES:
            raise OutputError("would have more than 4 GB; .apng holds more")
        self._file.seek(4)
        self._file.write(struct.pack("<I", length))

    def _write(self, name: bytes, content: bytes) -> None:
        self._file.write(_chunk(name, content))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _chunks(webp: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position < len(webp):
        name, length = struct.unpack_from("<4sI", webp, position)
        yield name, webp[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _uint24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]
