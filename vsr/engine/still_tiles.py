"""Upscale pictures of any size in overlapping tiles of one shape.

Tiles overlap by twice the reach of the network, so that seams equal a picture that is computed at
once. A network that depends on the whole picture computes it at once, or not at all. Output comes
in bands of whole lines, from top to bottom; only one is in memory.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vsr.engine.backends.still import StillBackend
from vsr.errors import ModelError
from vsr.system.machine import memory_bytes

_LARGEST_SIDE = 512
"""Side of the largest tile, overlap included."""
_STEP = 32
"""Sides of tiles are multiples of this, so that pictures of similar sizes share a shape."""
_MAX_TILE_BYTES = 1_200_000_000
"""Memory of a run on a tile, as for films."""
_MAX_BAND_BYTES = 1 << 27
_MEMORY_SHARE = 0.6
"""Share of a device's memory that a picture as a whole may take."""
_LEAST_LINES = 16
"""Lines of a band below which overlap would cost too much."""


class Span(NamedTuple):
    """A tile along one side of a picture, in low-resolution pixels."""

    start: int
    end: int
    inner: int
    """Start of the part that is used; before it, the neighbour's part is used."""
    inner_end: int


def spans(length: int, longest: int, reach: int, grid: int = 1) -> list[Span]:
    """Cover a side by tiles of one length, of at most `longest` pixels, that overlap.

    A side of at most `longest` is one tile. Other tiles are as short as their count allows, and
    start at multiples of `grid`.
    """
    if length <= longest:
        return [Span(0, length, 0, length)]
    shared = 2 * reach + (grid - 1)
    longest -= (longest - length) % grid
    count = math.ceil((length - shared) / (longest - shared))
    tile = -(-(length + (count - 1) * shared) // count)
    tile = math.ceil(tile / _STEP) * _STEP
    tile = min(longest, tile + (length - tile) % grid)
    last = (length - tile) // grid
    starts = [last * index // (count - 1) * grid for index in range(count)]
    seams = [(starts[n] + tile + starts[n + 1]) // 2 for n in range(count - 1)]
    borders = [0, *seams, length]
    return [Span(start, start + tile, borders[n], borders[n + 1]) for n, start in enumerate(starts)]


def upscale_in_bands(
    backend: StillBackend,
    pixels: NDArray[Any],
    dtype: np.dtype[Any],
    limits: tuple[float, float] = (0, 1),
) -> Iterator[NDArray[Any]]:
    """Iterate over bands (n, s W, 3) of the output for RGB (H, W, 3), from top to bottom.

    `pixels` are of uint8, uint16 or float32; bands are of `dtype`: uint8 if the backend takes it,
    else float32. `limits` are the samples of black and white, as shares of the type's maximum.
    """
    height, width = pixels.shape[:2]
    scale = backend.scale
    rows, columns = tiles(backend, height, width, dtype.itemsize)
    for row in rows:
        lines = row.inner_end - row.inner
        band = np.empty((lines, scale, width, scale * 3), dtype)
        for column in columns:
            tile = pixels[row.start : row.end, column.start : column.end]
            cells = backend.cells(tile if backend.step.has_levels else _unit(tile, limits))
            inner = cells[
                row.inner - row.start : row.inner_end - row.start,
                column.inner - column.start : column.inner_end - column.start,
            ]
            split = inner.reshape(*inner.shape[:2], scale, scale * 3)
            band[:, :, column.inner : column.inner_end] = split.swapaxes(1, 2)
        if limits != (0, 1):
            black, white = limits
            band = band * dtype.type(white - black) + dtype.type(black)
        yield band.reshape(lines * scale, width * scale, 3)


def tiles(
    backend: StillBackend, height: int, width: int, sample_bytes: int
) -> tuple[list[Span], list[Span]]:
    """Choose the rows and the columns of tiles for a picture of a size."""
    scale = backend.scale
    largest = int((_MAX_TILE_BYTES / backend.bytes_per_pixel) ** 0.5) // _STEP * _STEP
    longest = min(_LARGEST_SIDE, largest)
    line_bytes = scale * scale * width * 3 * sample_bytes
    lines = max(_LEAST_LINES, _MAX_BAND_BYTES // line_bytes)
    if max(height, width) <= longest and height <= lines:
        return spans(height, height, 0), spans(width, width, 0)
    reach = backend.reach
    if reach is None:
        _check_whole(backend, height, width)
        return spans(height, height, 0), spans(width, width, 0)
    shared = 2 * reach.pixels + reach.grid - 1
    longest = max(longest, shared + max(_LEAST_LINES, reach.pixels))
    return (
        spans(height, min(longest, lines + shared), reach.pixels, reach.grid),
        spans(width, longest, reach.pixels, reach.grid),
    )


def _check_whole(backend: StillBackend, height: int, width: int) -> None:
    """Raise `ModelError` if a picture that can't be computed in tiles doesn't fit into memory."""
    memory = memory_bytes(backend.device)
    needed = backend.bytes_per_pixel * height * width
    if needed > _MEMORY_SHARE * memory:
        raise ModelError(
            "the output of this model depends on the whole picture, which needs about "
            f"{needed / 1e9:.1f} GB of {memory / 1e9:.1f} GB; use a smaller one or another model"
        )


def _unit(tile: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.float32]:
    """Convert samples to float32 in [0, 1]."""
    values = tile.astype(np.float32)
    if tile.dtype != np.float32:
        values /= np.iinfo(tile.dtype).max
    if limits != (0, 1):
        black, white = limits
        values = (values - black) / (white - black)
    return values
