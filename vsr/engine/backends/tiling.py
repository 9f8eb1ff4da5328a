"""Upscale frames that don't fit into memory as overlapping tiles.

The state is that of the whole frame: each tile starts from its part of the state and returns its
part of the next state, without the overlap. Errors at a tile's borders therefore never propagate
inwards.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from vsr.engine.backends.base import Backend, Planes
from vsr.engine.backends.coarse_motion import CoarseMotion
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Plane
from vsr.models.flow import PyramidFlow
from vsr.models.reach import Reach

OVERLAP_PIXELS = 64
"""Minimal overlap of two neighbours in low-resolution pixels; the seam is in its middle."""
GRID_PIXELS = 16
"""Tiles start on the grid of the motion network's coarsest level, as whole frames do."""

_ROUNDING = 2
"""Pixels by which a seam may be off the middle of the overlap."""

Build = Callable[[tuple[int, int], bool], Backend]
"""Builds a backend for (height, width), of whole frames, or if True, of tiles."""


class Margin(NamedTuple):
    """How tiles overlap, in low-resolution pixels."""

    overlap: int = OVERLAP_PIXELS
    """Minimal overlap of two neighbours."""
    grid: int = GRID_PIXELS
    """Tiles start at multiples of this."""

    @property
    def smallest_tile(self) -> int:
        """Side of the smallest tile: with less, most of the work would be overlap."""
        return max(4 * OVERLAP_PIXELS, 2 * (self.overlap + self.grid))


def margin_for(reach: Reach) -> Margin:
    """Return the overlap of tiles for a network of some reach."""
    overlap = max(OVERLAP_PIXELS, 2 * (reach.pixels + _ROUNDING))
    return Margin(overlap, math.lcm(GRID_PIXELS, reach.grid))


class Span(NamedTuple):
    """A tile along one side of a frame, in low-resolution pixels."""

    start: int
    inner: int
    """Start of the part that is used; before it, the neighbour's part is used."""
    inner_end: int


def spans(length: int, tile: int, margin: Margin = Margin()) -> list[Span]:
    """Cover a side by tiles of one length that start on the grid.

    `length` must exceed `tile` by a multiple of the grid.
    """
    if tile >= length:
        return [Span(0, 0, length)]
    last, stride = length - tile, tile - margin.overlap - margin.grid
    count = 1 - (-last // stride)
    starts = [
        round(last * index / (count - 1) / margin.grid) * margin.grid for index in range(count)
    ]
    # Seams are in the middle of the overlap, at even positions because of subsampled chroma.
    seams = [(following + start + tile) // 4 * 2 for start, following in pairwise(starts)]
    borders = [0, *seams, length]
    return [
        Span(start, inner, inner_end)
        for start, (inner, inner_end) in zip(starts, pairwise(borders), strict=True)
    ]


def tile_length(side: int, tile: int, margin: Margin = Margin()) -> int:
    """Return the length of tiles along a side: at most `tile`, and with the last on the grid.

    It is the smallest length that needs no more tiles; excess overlap is wasted work.
    """
    if tile >= side:
        return side
    shared = margin.overlap + margin.grid
    longest = tile - (tile - side) % margin.grid
    count = 1 - (longest - side) // (longest - shared)
    shortest = -(-(side + (count - 1) * shared) // count)
    return shortest + (side - shortest) % margin.grid


class TiledBackend(Backend):
    """Upscales frames tile by tile, by a backend for the size of a tile."""

    def __init__(
        self,
        build: Build,
        size: tuple[int, int],
        tile: int,
        scale: int,
        specs: tuple[ColourSpec, ColourSpec],
        flow: PyramidFlow | None = None,
        margin: Margin = Margin(),
    ) -> None:
        """`size` is (height, width) of frames, `tile` the maximal side of a tile.

        `specs` are the colour formats of input and output. `flow` is the generator's motion
        network, if it has one.
        """
        height, width = (tile_length(side, tile, margin) for side in size)
        self._tile = (height, width)
        self._inner = build((height, width), flow is not None)
        self._motion = None if flow is None else CoarseMotion(flow, specs[0])
        self.name = f"{self._inner.name} in tiles of {width}x{height}"
        self._size, self._scale, self._specs = size, scale, specs
        rows, columns = spans(size[0], height, margin), spans(size[1], width, margin)
        self._tiles = [(y, x) for y in rows for x in columns]
        self._state: tuple[Tensor, ...] = ()

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Return Y, Cb and Cr of the next frame."""
        resets = begins_shot or not self._state
        dtype: Any = np.uint8 if self._specs[1].bit_depth == 8 else np.uint16
        output = [np.empty(shape, dtype) for shape in self._output_shapes()]
        next_state: list[Tensor] = []
        flow = None
        if self._motion is not None:
            flow = self._motion.estimate(planes, None if resets else self._state[0])
        for y, x in self._tiles:
            if not resets:
                self._inner.set_state(self._tile_state(y, x))
            tile_flow = None
            if self._motion is not None and flow is not None:
                tile_flow = self._motion.crop(flow, (y.start, x.start), self._tile)
            tile = self._inner.upscale(self._cut(planes, y, x), resets, tile_flow)
            self._paste(output, tile, y, x)
            tile_state = self._inner.get_state()
            next_state = next_state or [
                part.new_empty(self._whole_shape(part)) for part in tile_state
            ]
            self._paste_state(next_state, tile_state, y, x)
        self._state = tuple(next_state)
        return tuple(output)

    def get_state(self) -> tuple[Tensor, ...]:
        """Return the state of the whole frame."""
        return self._state

    def set_state(self, state: tuple[Tensor, ...]) -> None:
        """Use a state of the whole frame for the next frame."""
        self._state = state

    def _tile_state(self, y: Span, x: Span) -> tuple[Tensor, ...]:
        rows = slice(y.start, y.start + self._tile[0])
        columns = slice(x.start, x.start + self._tile[1])
        return tuple(self._window(part, rows, columns) for part in self._state)

    def _paste_state(
        self, whole: Sequence[Tensor], tile: Sequence[Tensor], y: Span, x: Span
    ) -> None:
        rows, columns = slice(y.inner, y.inner_end), slice(x.inner, x.inner_end)
        tile_rows, tile_columns = (
            slice(side.start - span.start, side.stop - span.start)
            for side, span in ((rows, y), (columns, x))
        )
        for target, source in zip(whole, tile, strict=True):
            self._window(target, rows, columns).copy_(self._window(source, tile_rows, tile_columns))

    def _window(self, part: Tensor, rows: slice, columns: slice) -> Tensor:
        """Return a window of a state, channels first, (1, C, H, W), or last, (1, H, W, C)."""
        if self._is_channels_last(part):
            return part[:, rows, columns]
        return part[:, :, rows, columns]

    def _whole_shape(self, part: Tensor) -> tuple[int, ...]:
        """Return the shape of the whole frame's state from that of a tile's."""
        if self._is_channels_last(part):
            return (1, *self._size, part.shape[3])
        return (1, part.shape[1], *self._size)

    def _is_channels_last(self, part: Tensor) -> bool:
        return tuple(part.shape[1:3]) in (self._tile, self._size)

    def _cut(self, planes: Sequence[Plane], y: Span, x: Span) -> list[Plane]:
        across, down = self._specs[0].subsampling
        height, width = self._tile
        tile: list[Plane] = []
        for plane, across_, down_ in zip(
            planes, (1, across, across), (1, down, down), strict=False
        ):
            rows = slice(y.start // down_, -(-(y.start + height) // down_))
            columns = slice(x.start // across_, -(-(x.start + width) // across_))
            part: Any = np.ascontiguousarray(plane[rows, columns])
            tile.append(part)
        return tile

    def _paste(self, output: Sequence[Plane], tile: Sequence[Plane], y: Span, x: Span) -> None:
        across, down = self._specs[1].subsampling
        subsamplings = ((1, 1), (across, down), (across, down))
        for whole, part, (across_, down_) in zip(output, tile, subsamplings, strict=True):
            # Only the end of the frame may be in the middle of a chroma sample.
            top, bottom = (-(-self._scale * row // down_) for row in (y.inner, y.inner_end))
            left, right = (-(-self._scale * column // across_) for column in (x.inner, x.inner_end))
            tile_top = self._scale * y.start // down_
            tile_left = self._scale * x.start // across_
            whole[top:bottom, left:right] = part[
                top - tile_top : bottom - tile_top, left - tile_left : right - tile_left
            ]

    def _output_shapes(self) -> list[tuple[int, int]]:
        across, down = self._specs[1].subsampling
        height, width = (self._scale * side for side in self._size)
        chroma = (-(-height // down), -(-width // across))
        return [(height, width), chroma, chroma]
