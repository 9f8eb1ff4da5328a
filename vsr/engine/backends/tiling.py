"""Frames too large for memory, in tiles that overlap.

The state is that of the whole frame: each tile begins with its part of it, and gives back what is
its own of the next. So what a tile doesn't know beyond its border never travels inwards.
"""

import copy
import gc
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.engine.backends.base import Backend, Planes
from vsr.errors import VsrError
from vsr.frames.yuv import planes_to_rgb
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Plane
from vsr.models import Generator, Recurrent
from vsr.models.flow import PyramidFlow
from vsr.system.machine import memory_bytes

OVERLAP_PIXELS = 64
"""Of two neighbours, in low-resolution pixels, and more; they meet in its middle. A frame's trunk
and head see 7 to 20 pixels far, and so do the finer levels of motion."""
_GRID_PIXELS = 16
"""Tiles begin on the grid of the coarsest level at which motion is sought, as whole frames do."""
_SMALLEST_TILE = 4 * OVERLAP_PIXELS
_SHARE_FOR_WHOLE, _SHARE_FOR_TILE = 0.4, 0.15
"""Of the device's memory: decoder, encoder and queues of frames need some too, and so does the
state of a whole frame beside a tile. Not of what is free of it: the size of tiles decides about
the last bits of a film, and a run that goes on must find the one that it began with."""
_MOST_FOR_WHOLE, _MOST_FOR_TILE = 5_000_000_000, 1_200_000_000
"""Bytes of a CPU's memory: more brings no speed, and others may want it."""

_STRIP_ROWS = 16
"""Rows of a frame, in units of the motion network's grid, that are taken at a time."""

Result = TypeVar("Result")
Build = Callable[[tuple[int, int], bool], Backend]
"""Makes a backend for (height, width): of whole frames, or of parts of frames."""

Tiling = int | Literal["auto", "off"]
"""Side of a tile in low-resolution pixels, overlap included."""


class Span(NamedTuple):
    """A tile along one side of a frame, in low-resolution pixels."""

    start: int
    inner: int
    """Where its own part begins: the rest is its neighbour's."""
    inner_end: int


def spans(length: int, tile: int) -> list[Span]:
    """Tiles of one length that cover a side, all beginning on the grid.

    So the side must exceed the tile by a multiple of the grid.
    """
    if tile >= length:
        return [Span(0, 0, length)]
    last, farthest = length - tile, tile - OVERLAP_PIXELS - _GRID_PIXELS
    count = 1 - (-last // farthest)
    starts = [
        round(last * number / (count - 1) / _GRID_PIXELS) * _GRID_PIXELS for number in range(count)
    ]
    # Neighbours meet half-way through what they share, at an even place for chroma's sake.
    seams = [(following + start + tile) // 4 * 2 for start, following in pairwise(starts)]
    borders = [0, *seams, length]
    return [
        Span(start, begin, end)
        for start, (begin, end) in zip(starts, pairwise(borders), strict=True)
    ]


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
    ) -> None:
        """`build` gives the backend for (height, width), if need be for parts of frames; `tile`
        is the side of a tile, and `flow` is what finds motion.
        """
        height, width = (_fitting(side, tile) for side in size)
        self._tile = (height, width)
        self._inner = build((height, width), flow is not None)
        self._motion = None if flow is None else _CoarseMotion(flow, specs[0])
        self.name = f"{self._inner.name} in tiles of {width}x{height}"
        self._size, self._scale, self._specs = size, scale, specs
        self._places = [(y, x) for y in spans(size[0], height) for x in spans(size[1], width)]
        self._state: tuple[Tensor, ...] = ()

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Y, Cb and Cr of the next frame."""
        fresh = begins_shot or not self._state
        kind: Any = np.uint8 if self._specs[1].bit_depth == 8 else np.uint16
        made = [np.empty(shape, kind) for shape in self._shapes()]
        following: list[Tensor] = []
        motion = None
        if self._motion is not None:
            motion = self._motion.of(planes, None if fresh else self._state[0])
        for y, x in self._places:
            if not fresh:
                here = (
                    slice(y.start, y.start + self._tile[0]),
                    slice(x.start, x.start + self._tile[1]),
                )
                self._inner.set_state(tuple(self._at(part, *here) for part in self._state))
            aimed = None
            if self._motion is not None and motion is not None:
                aimed = self._motion.part(motion, (y.start, x.start), self._tile)
            tile = self._inner.upscale(self._cut(planes, y, x), fresh, aimed)
            self._paste(made, tile, y, x)
            left = self._inner.get_state()
            following = following or [part.new_empty(self._whole_shape(part)) for part in left]
            for whole, part in zip(following, left, strict=True):
                own = slice(y.inner, y.inner_end), slice(x.inner, x.inner_end)
                inside = [
                    slice(side.start - span.start, side.stop - span.start)
                    for side, span in zip(own, (y, x), strict=True)
                ]
                self._at(whole, *own).copy_(self._at(part, *inside))
        self._state = tuple(following)
        return tuple(made)

    def get_state(self) -> tuple[Tensor, ...]:
        """The state of the whole frame."""
        return self._state

    def set_state(self, kept: tuple[Tensor, ...]) -> None:
        """Begin the next frame with a state that was kept."""
        self._state = kept

    def _at(self, part: Tensor, rows: slice, columns: slice) -> Tensor:
        """A place in a state, whose channels lie first, (1, C, H, W), or last, (1, H, W, C)."""
        if self._channels_last(part):
            return part[:, rows, columns]
        return part[:, :, rows, columns]

    def _whole_shape(self, part: Tensor) -> tuple[int, ...]:
        """The shape that a tile's part of a state has for the whole frame."""
        if self._channels_last(part):
            return (1, *self._size, part.shape[3])
        return (1, part.shape[1], *self._size)

    def _channels_last(self, part: Tensor) -> bool:
        return tuple(part.shape[1:3]) in (self._tile, self._size)

    def _cut(self, planes: Sequence[Plane], y: Span, x: Span) -> list[Plane]:
        across, down = self._specs[0].subsampling
        height, width = self._tile
        cut: list[Plane] = []
        for plane, across_, down_ in zip(
            planes, (1, across, across), (1, down, down), strict=False
        ):
            rows = slice(y.start // down_, -(-(y.start + height) // down_))
            columns = slice(x.start // across_, -(-(x.start + width) // across_))
            part: Any = np.ascontiguousarray(plane[rows, columns])
            cut.append(part)
        return cut

    def _paste(self, made: Sequence[Plane], tile: Sequence[Plane], y: Span, x: Span) -> None:
        across, down = self._specs[1].subsampling
        steps = ((1, 1), (across, down), (across, down))
        for whole, part, (over, under) in zip(made, tile, steps, strict=True):
            top, bottom = (self._scale * place // under for place in (y.inner, y.inner_end))
            left, right = (self._scale * place // over for place in (x.inner, x.inner_end))
            above, before = self._scale * y.start // under, self._scale * x.start // over
            whole[top:bottom, left:right] = part[
                top - above : bottom - above, left - before : right - before
            ]

    def _shapes(self) -> list[tuple[int, int]]:
        across, down = self._specs[1].subsampling
        height, width = (self._scale * side for side in self._size)
        small = (height // down, width // across)
        return [(height, width), small, small]


class _CoarseMotion:
    """Motion of whole frames at a fraction of their size, for tiles to refine.

    So tiles agree on what moves where; what they still differ by is what they see near by.
    """

    def __init__(self, flow: PyramidFlow, read_as: ColourSpec) -> None:
        self._flow = copy.deepcopy(flow).to("cpu", torch.float32)
        self._read_as = read_as
        self._rows = _STRIP_ROWS * 2**flow.levels
        self._fraction = 2**flow.coarse_level

    @torch.inference_mode()
    def of(self, planes: Sequence[Plane], before: Tensor | None) -> Tensor:
        """Coarse flow (1, 2, h, w) from a frame to the one before it, (1, 3, H, W).

        Without one, the frame itself was before.
        """
        height = planes[0].shape[0]
        here = self._shrunk(self._rgb(planes, y, y + self._rows) for y in self._starts(height))
        if before is None:
            return self._flow.coarse(here, here)
        there = self._shrunk(before[:, :, y : y + self._rows] for y in self._starts(height))
        return self._flow.coarse(here, there)

    def part(self, motion: Tensor, start: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """What of the flow belongs to a tile."""
        unit = 2**self._flow.levels
        y, x = (place // self._fraction for place in start)
        height, width = (-(-side // unit) * unit // self._fraction for side in size)
        return motion[:, :, y : y + height, x : x + width].contiguous()

    def _starts(self, height: int) -> range:
        return range(0, height, self._rows)

    def _rgb(self, planes: Sequence[Plane], top: int, bottom: int) -> Tensor:
        """Some rows of a frame, (1, 3, rows, W): chroma between them needs one more around."""
        first, down = max(0, top - 2), self._read_as.subsampling.down
        rows = [slice(first, bottom + 2), *[slice(first // down, (bottom + 2) // down)] * 2]
        cut: list[Plane] = [plane[part] for plane, part in zip(planes, rows, strict=False)]
        rgb = planes_to_rgb(cut, self._read_as, torch.device("cpu"))
        return rgb[None, :, top - first : bottom - first]

    def _shrunk(self, strips: Iterable[Tensor]) -> Tensor:
        """Luma of strips of a frame, at the coarse level: never all of it at full size."""
        shrunk = []
        for strip in strips:
            luma = self._flow.padded_luma(strip)
            for _ in range(self._flow.coarse_level):
                luma = F.avg_pool2d(luma, 2)
            shrunk.append(luma)
        return torch.cat(shrunk, dim=2)


class AdaptiveTilingBackend(Backend):
    """Whole frames or tiles, and smaller tiles once memory runs out: no frame is lost.

    The frame that there was no room for is done again, from the state that it began with.
    """

    def __init__(
        self,
        build: Build,
        size: tuple[int, int],
        tile: int | None,
        scale: int,
        specs: tuple[ColourSpec, ColourSpec],
        flow: PyramidFlow | None = None,
        shrinks: bool = True,
        notes: list[str] | None = None,
    ) -> None:
        """Like `TiledBackend`'s; without `tile`, whole frames. Not to shrink, it fails instead.

        `notes` are lines for the user, to which `build` may add.
        """
        self._flow, self._shrinks = flow, shrinks
        self._build, self._size, self._scale, self._specs = build, size, scale, specs
        self._tile = tile
        self._frames = 0
        self._notes = [] if notes is None else notes
        self._inner: Backend | None = None
        self._fitting(lambda inner: None)
        assert self._inner is not None
        self.name = self._inner.name
        """As it begins: a run that goes on begins so, too."""

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Y, Cb and Cr of the next frame."""
        return self.submit(planes, begins_shot)()

    def submit(self, planes: Sequence[Plane], begins_shot: bool) -> Callable[[], Planes]:
        """Like `upscale`, to be waited for."""
        begun = self._fitting(lambda inner: inner.submit(planes, begins_shot))
        self._frames += 1
        return begun

    def get_state(self) -> tuple[Tensor, ...]:
        """What the next frame is to begin with, of the whole frame."""
        return self._fitting(lambda inner: inner.get_state())

    def set_state(self, kept: tuple[Tensor, ...]) -> None:
        """Begin the next frame with a state that was kept."""
        self._fitting(lambda inner: inner.set_state(kept))

    def notes(self) -> tuple[str, ...]:
        """Where memory ran out, and what `build` noted."""
        return tuple(self._notes)

    def _fitting(self, work: Callable[[Backend], Result]) -> Result:
        """Do something, in smaller tiles if there isn't the memory for it."""
        kept: tuple[Tensor, ...] = ()
        while True:
            try:
                if self._inner is None:
                    self._inner = self._built()
                    if kept:
                        self._inner.set_state(kept)
                return work(self._inner)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(error)
            if self._inner is not None:
                kept = self._inner.get_state()
                self._inner = None
            # What the error's own frames hold is let go of only now.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _built(self) -> Backend:
        if self._tile is None or self._tile >= max(self._size):
            return self._build(self._size, False)
        given = (self._size, self._tile, self._scale, self._specs, self._flow)
        return TiledBackend(self._build, *given)

    def _shrink(self, error: Exception) -> None:
        now = min(self._tile or max(self._size), max(self._size))
        if not self._shrinks:
            raise VsrError("not enough memory for whole frames; use --tile auto") from error
        if now <= _SMALLEST_TILE:
            raise VsrError(f"not enough memory for tiles of {now} pixels") from error
        self._tile = max(now // 2, _SMALLEST_TILE)
        where = f"at frame {self._frames}" if self._frames else "at once"
        self._notes.append(f"memory ran out {where}: tiles of {self._tile} pixels from there on")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error tells of too little memory, in whosever words."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("out of memory", "allocate memory", "bad_alloc", "bad allocation")
    return any(word in str(error) for word in words)


def pick_tile_size(
    tiling: Tiling, generator: Generator[Any], device: torch.device, size: tuple[int, int]
) -> int | None:
    """The side of a tile for frames of `size` = (height, width); None for whole frames.

    "auto" takes whole frames where four tenths of the device's memory hold them, and on a CPU
    5 GB. Raises `VsrError` where not even the smallest tile fits, or where the one asked for
    is smaller.
    """
    if tiling == "off":
        return None
    if tiling == "auto":
        memory, each = memory_bytes(device), _bytes_per_pixel(generator)
        whole, tile = _SHARE_FOR_WHOLE * memory, _SHARE_FOR_TILE * memory
        if device.type == "cpu":
            whole, tile = min(whole, _MOST_FOR_WHOLE), min(tile, _MOST_FOR_TILE)
        if each * size[0] * size[1] <= whole:
            return None
        side = int((tile / each) ** 0.5)
        if side < _SMALLEST_TILE:
            raise VsrError(f"not enough memory on {device} for tiles of {_SMALLEST_TILE} pixels")
        return side
    if tiling < _SMALLEST_TILE:
        raise VsrError(f"tiles of {tiling} pixels are too small; use {_SMALLEST_TILE} or more")
    return None if tiling >= max(size) else tiling


def _fitting(side: int, tile: int) -> int:
    """The tile's length along a side: not longer than it, and so that the last is on the grid.

    As short as does with as few: what tiles overlap by more than they must is done for nothing.
    """
    if tile >= side:
        return side
    shared = OVERLAP_PIXELS + _GRID_PIXELS
    longest = tile - (tile - side) % _GRID_PIXELS
    count = 1 - (longest - side) // (longest - shared)
    shortest = -(-(side + (count - 1) * shared) // count)
    return shortest + (side - shortest) % _GRID_PIXELS


def _bytes_per_pixel(generator: Generator[Any]) -> int:
    """What a step takes for each low-resolution pixel, states and buffers included.

    Measured for `tiny`: 1,100 bytes by torch, 1,050 by OpenVINO.
    """
    scale = generator.scale
    if isinstance(generator, Recurrent):
        return 36 * (generator.head.in_channels - 3) + 12 * scale**2
    weights = (w for w in generator.state_dict().values() if w.dim() == 4)
    widest = max((w.shape[0] for w in weights), default=1)
    return 4 * int(widest) * (8 + 3 * scale**2)
