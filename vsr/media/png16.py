"""Read and write PNG files of 16 bits per sample.

Pillow reduces their colours to 8 bits, and OpenCV can't write grey with alpha.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's types of colour by number of channels: grey or RGB, each without and with alpha."""
_SUB = 1
"""PNG's filter of differences from the left."""
_BLOCK_BYTES = 1 << 20
"""Bytes that are compressed at a time."""


def read_png16(data: bytes) -> NDArray[np.uint16]:
    """Decode a file of 16 bits per sample to RGB (H, W, 3) or RGBA (H, W, 4), not rotated.

    Raises ValueError or `cv2.error` where it can't be decoded.
    """
    # OpenCV would print what libpng says about damage.
    if any(crc != zlib.crc32(content, zlib.crc32(name)) for name, content, crc in chunks_of(data)):
        raise ValueError("its pixels are damaged")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ValueError("its pixels are damaged")
    order = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return cv2.cvtColor(pixels, order).astype(np.uint16, copy=False)


def write_png16(path: Path, samples: NDArray[Any], template: bytes) -> None:
    """Write uint16 samples (H, W, C), C = 1, 2, 3 or 4, with the metadata of a PNG of any size.

    The chunks of `template` are copied, except for its header and pixels.
    """
    height, width, channels = samples.shape
    head = struct.pack(">2I5B", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    with path.open("wb") as file:
        file.write(SIGNATURE)
        for name, content, _ in chunks_of(template):
            if name == b"IHDR":
                write_chunk(file.write, name, head)
            elif name == b"IDAT":
                for part in _encoded(samples):
                    write_chunk(file.write, name, part)
            else:
                write_chunk(file.write, name, content)


def chunks_of(png: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Iterate over the names, contents and checksums of chunks; raises ValueError at a cut."""
    position = len(SIGNATURE)
    name = b""
    while name != b"IEND":
        try:
            length, name = struct.unpack_from(">I4s", png, position)
            (crc,) = struct.unpack_from(">I", png, position + 8 + length)
        except struct.error as error:
            raise ValueError("it is cut off") from error
        yield name, png[position + 8 : position + 8 + length], crc
        position += length + 12


def write_chunk(write: Callable[[bytes], int], name: bytes, content: bytes) -> None:
    """Write a chunk and its checksum."""
    write(struct.pack(">I", len(content)) + name + content)
    write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))


def _encoded(samples: NDArray[Any]) -> Iterator[bytes]:
    """Compress a picture to the contents of IDAT chunks."""
    channels = samples.shape[2]
    if channels == 2:
        yield from _grey_with_alpha(samples)
        return
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    _, png = cv2.imencode(".png", samples[..., order])
    yield from (content for name, content, _ in chunks_of(png.tobytes()) if name == b"IDAT")


def _grey_with_alpha(samples: NDArray[Any]) -> Iterator[bytes]:
    """Compress lines as differences from the pixel to the left, in blocks."""
    count = max(1, _BLOCK_BYTES // (samples[0].nbytes))
    compressor = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    for top in range(0, len(samples), count):
        if part := compressor.compress(filtered(samples[top : top + count])):
            yield part
    yield compressor.flush()


def filtered(samples: NDArray[Any]) -> bytes:
    """Return lines (n, W, C) as differences from the pixel to the left, each with its filter."""
    pixel_bytes = samples.shape[2] * samples.itemsize
    block = np.ascontiguousarray(samples, samples.dtype.newbyteorder(">"))
    lines = block.view(np.uint8).reshape(len(samples), -1)
    output = np.empty((len(lines), 1 + lines.shape[1]), np.uint8)
    output[:, 0] = _SUB
    output[:, 1:] = lines
    output[:, 1 + pixel_bytes :] -= lines[:, :-pixel_bytes]
    return output.tobytes()
