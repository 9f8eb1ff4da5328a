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

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""By number of channels."""
_SUB, _UP, _PAETH = 1, 2, 4
_BLOCK_BYTES = 1 << 20
"""Bytes that are filtered at a time."""


def read_png16(data: bytes) -> NDArray[np.uint16]:
    """Decode a file of 16 bits per sample to RGB (H, W, 3) or RGBA (H, W, 4), not rotated.

    Raises ValueError or `cv2.error` where it can't be decoded.
    """
    # OpenCV would print what libpng says about damage.
    if any(crc != zlib.crc32(content, zlib.crc32(name)) for name, content, crc in _chunks(data)):
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
    head = struct.pack(">2I5B", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    with path.open("wb") as file:
        file.write(_SIGNATURE)
        for name, content, _ in _chunks(template):
            if name == b"IHDR":
                _write_chunk(file.write, name, head)
            elif name == b"IDAT":
                for part in _compressed(samples):
                    _write_chunk(file.write, name, part)
            else:
                _write_chunk(file.write, name, content)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Iterate over the names, contents and checksums of chunks; raises ValueError at a cut."""
    position = len(_SIGNATURE)
    name = b""
    while name != b"IEND":
        try:
            length, name = struct.unpack_from(">I4s", png, position)
            (crc,) = struct.unpack_from(">I", png, position + 8 + length)
        except struct.error as error:
            raise ValueError("it is cut off") from error
        yield name, png[position + 8 : position + 8 + length], crc
        position += length + 12


def _write_chunk(write: Callable[[bytes], int], name: bytes, content: bytes) -> None:
    write(struct.pack(">I", len(content)) + name + content)
    write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))


def _compressed(samples: NDArray[np.uint16]) -> Iterator[bytes]:
    """Filter and compress a picture in blocks of lines."""
    height, width, channels = samples.shape
    line_bytes = 2 * width * channels
    count = max(1, _BLOCK_BYTES // line_bytes)
    compressor = zlib.compressobj()
    above = np.zeros((1, line_bytes), np.uint8)
    for top in range(0, height, count):
        block = samples[top : top + count].astype(">u2").reshape(-1, width * channels)
        lines = np.concatenate((above, block.view(np.uint8)))
        above = lines[-1:]
        if part := compressor.compress(_filtered(lines, 2 * channels)):
            yield part
    yield compressor.flush()


def _filtered(lines: NDArray[np.uint8], step: int) -> bytes:
    """Filter lines by PNG's filter of least sum of differences; the first line is not returned.

    `step` is the number of bytes of a pixel.
    """
    lefts = np.zeros_like(lines)
    lefts[:, step:] = lines[:, :-step]
    line, left, above, corner = lines[1:], lefts[1:], lines[:-1], lefts[:-1]
    candidates = {
        _SUB: line - left,
        _UP: line - above,
        _PAETH: line - _paeth(left, above, corner),
    }
    costs = [
        np.abs(residue.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
        for residue in candidates.values()
    ]
    filters = np.array(list(candidates), np.uint8)[np.argmin(costs, axis=0)]
    output = np.empty((len(line), 1 + line.shape[1]), np.uint8)
    output[:, 0] = filters
    for number, residue in candidates.items():
        chosen = filters == number
        output[chosen, 1:] = residue[chosen]
    return output.tobytes()


def _paeth(
    left: NDArray[np.uint8], above: NDArray[np.uint8], corner: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Predict bytes as the neighbour next to left + above - corner (PNG specification, 9.4)."""
    a, b, c = (part.astype(np.int16) for part in (left, above, corner))
    to_left, to_above, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    is_left = (to_left <= to_above) & (to_left <= to_corner)
    return np.where(is_left, left, np.where(to_above <= to_corner, above, corner))
