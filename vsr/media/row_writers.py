"""Write large pictures as PNG, TIFF or JPEG line by line, without holding the whole picture."""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from vsr.media.exif import restore_types
from vsr.media.picture_tags import PictureTags
from vsr.media.png16 import COLOUR_TYPES, SIGNATURE, chunks_of, filtered, write_chunk
from vsr.media.tiff import STRIP_BYTES, STRIP_COUNTS, STRIP_STARTS, compressed, directory_for

_BLOCK_BYTES = 1 << 20
_MCU = 8
"""Side of the blocks of a JPEG without subsampling."""
_MAX_RESTART = 0xFFFF
_SEGMENT_LINES = 128
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOF0, _SOS, _DRI = 0xC0, 0xDA, 0xFFDD
_LONG8 = 16
"""TIFF's type of integers of 64 bits."""


class PictureShape(NamedTuple):
    """The shape of the samples of a file."""

    height: int
    width: int
    channels: int
    """1 for grey, 3 for RGB, one more with alpha."""
    dtype: np.dtype[Any]


def regrouped(bands: Iterable[NDArray[Any]], lines: int) -> Iterator[NDArray[Any]]:
    """Regroup bands (n, W, ...) to bands of `lines` lines; the last may have fewer."""
    kept: list[NDArray[Any]] = []
    count = 0
    for band in bands:
        rest = band
        while count + len(rest) >= lines:
            part, rest = rest[: lines - count], rest[lines - count :]
            yield np.concatenate([*kept, part]) if kept else part
            kept, count = [], 0
        if len(rest):
            kept.append(rest)
            count += len(rest)
    if kept:
        yield np.concatenate(kept)


def write_png_rows(
    path: Path, shape: PictureShape, bands: Iterable[NDArray[Any]], template: bytes
) -> None:
    """Write bands (n, W, C) with the metadata of `template`, a PNG of any size."""
    depth, colours = 8 * shape.dtype.itemsize, COLOUR_TYPES[shape.channels]
    head = struct.pack(">2I5B", shape.width, shape.height, depth, colours, 0, 0, 0)
    line_bytes = shape.width * shape.channels * shape.dtype.itemsize
    with path.open("wb") as file:
        file.write(SIGNATURE)
        for name, content, _ in chunks_of(template):
            if name == b"IHDR":
                write_chunk(file.write, name, head)
            elif name == b"IDAT":
                lines = max(1, _BLOCK_BYTES // line_bytes)
                compressor = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
                for block in regrouped(bands, lines):
                    if part := compressor.compress(filtered(block)):
                        write_chunk(file.write, name, part)
                write_chunk(file.write, name, compressor.flush())
            else:
                write_chunk(file.write, name, content)


def write_tiff_rows(
    path: Path,
    shape: PictureShape,
    bands: Iterable[NDArray[Any]],
    *,
    profile: bytes | None,
    exif: bytes | None,
    tags: PictureTags,
    xmp: bytes | None,
) -> None:
    """Write bands (n, W, C), compressed without loss; as BigTIFF where offsets need 64 bits."""
    line_bytes = shape.width * shape.channels * shape.dtype.itemsize
    lines = max(1, STRIP_BYTES // line_bytes)
    strips = -(-shape.height // lines)
    is_big = shape.height * line_bytes > 0xF000_0000
    directory = directory_for(
        (shape.height, shape.width, shape.channels),
        shape.dtype,
        lines,
        profile=profile,
        exif=exif,
        tags=tags,
        xmp=xmp,
        is_big=is_big,
    )
    if is_big:
        directory.tagtype[STRIP_STARTS] = directory.tagtype[STRIP_COUNTS] = _LONG8
    starts, counts = [0] * strips, [0] * strips
    with path.open("wb") as file:
        directory[STRIP_STARTS], directory[STRIP_COUNTS] = tuple(starts), tuple(counts)
        file.write(_encoded(directory, is_big))  # again at the end, of the same length
        position = 0
        for index, strip in enumerate(regrouped(bands, lines)):
            content = compressed(strip)
            file.write(content)
            starts[index], counts[index] = position, len(content)
            position += len(content)
        directory[STRIP_STARTS], directory[STRIP_COUNTS] = tuple(starts), tuple(counts)
        file.seek(0)
        file.write(_encoded(directory, is_big))


def _encoded(directory: ImageFileDirectory_v2, is_big: bool) -> bytes:
    """Encode a directory, with the types of Exif's tags unless its offsets have 64 bits."""
    encoded = io.BytesIO()
    directory.save(encoded)
    return encoded.getvalue() if is_big else restore_types(encoded.getvalue())


def write_jpeg_rows(
    path: Path, shape: PictureShape, bands: Iterable[NDArray[Any]], options: dict[str, Any]
) -> None:
    """Write bands (n, W, C) as baseline JPEG, C = 1 or 3, with the options of Pillow's writer.

    Each part of some lines is encoded by itself, and the parts are joined by restart markers
    (ITU-T T.81, B.2.4.4): at a marker, the decoder starts afresh as at the start of a file. The
    tables must be the same in all parts, so they are neither optimised nor progressive.
    """
    across = -(-shape.width // _MCU)
    rows = max(1, min(_SEGMENT_LINES // _MCU, _MAX_RESTART // across))
    metadata = ("exif", "icc_profile", "xmp", "comment", "extra", "dpi")
    plain = {key: value for key, value in options.items() if key not in metadata}
    with path.open("wb") as file:
        for index, part in enumerate(regrouped(bands, rows * _MCU)):
            image = Image.fromarray(part[..., 0] if shape.channels == 1 else part)
            encoded = io.BytesIO()
            image.save(encoded, "JPEG", **(plain if index else options))
            segments, scan = _split_jpeg(encoded.getvalue())
            if index:
                file.write(bytes((0xFF, 0xD0 + (index - 1) % 8)))
            else:
                file.write(_SOI)
                for marker, content in segments:
                    if marker == _SOF0:
                        content = content[:1] + struct.pack(">H", shape.height) + content[3:]
                    if marker == _SOS:
                        file.write(struct.pack(">3H", _DRI, 4, across * rows))
                    file.write(struct.pack(">2BH", 0xFF, marker, len(content) + 2) + content)
            file.write(scan)
        file.write(_EOI)


def _split_jpeg(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Split a JPEG file of one scan into segments, to the start of its scan, and the scan."""
    segments, position = [], len(_SOI)
    while True:
        _, marker, length = struct.unpack_from(">2BH", data, position)
        segments.append((marker, data[position + 4 : position + 2 + length]))
        position += 2 + length
        if marker == _SOS:
            return segments, data[position : -len(_EOI)]
