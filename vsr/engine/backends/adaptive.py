"""Fall back to smaller tiles when memory runs out."""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from vsr.engine.backends.base import Backend, Planes
from vsr.engine.backends.tiling import Build, Margin, TiledBackend
from vsr.errors import VsrError
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Plane
from vsr.models.flow import PyramidFlow
from vsr.system.machine import free_cached_memory

Result = TypeVar("Result")

_OUT_OF_MEMORY_MESSAGES = (
    "out of memory",
    "allocate memory",
    "bad_alloc",
    "bad allocation",
    "max size of memory",  # OpenVINO on a GPU
)


class AdaptiveTilingBackend(Backend):
    """Upscales whole frames or tiles, and switches to smaller tiles when memory runs out.

    The frame that failed is computed again from its state, so no frame is lost.
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
        margin: Callable[[], Margin] = Margin,
    ) -> None:
        """Take the parameters of `TiledBackend`; if `tile` is None, start with whole frames.

        `margin` is called for tiles only; it may raise `VsrError`. Unless `shrinks`, running out of
        memory is a `VsrError`. `notes` are lines for the user, to which `build` may append.
        """
        self._build, self._size, self._scale, self._specs = build, size, scale, specs
        self._flow, self._shrinks = flow, shrinks
        self._tile, self._margin = tile, margin
        self._frames = 0
        self._notes = [] if notes is None else notes
        self._inner: Backend | None = None
        self._retrying(lambda inner: None)
        assert self._inner is not None
        self.name = self._inner.name
        """The name at the start, so that a resumed run has the same one."""

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Return Y, Cb and Cr of the next frame."""
        return self.submit(planes, begins_shot)()

    def submit(self, planes: Sequence[Plane], begins_shot: bool) -> Callable[[], Planes]:
        """Start to upscale the next frame; the returned function waits for its planes."""
        pending = self._retrying(lambda inner: inner.submit(planes, begins_shot))
        self._frames += 1
        return pending

    def get_state(self) -> tuple[Tensor, ...]:
        """Return the state of the whole frame before the next frame."""
        return self._retrying(lambda inner: inner.get_state())

    def set_state(self, state: tuple[Tensor, ...]) -> None:
        """Use `state` for the next frame."""
        self._retrying(lambda inner: inner.set_state(state))

    def release(self) -> None:
        """Free the memory of the network; the next frame starts without a state.

        Notes are discarded: a released backend has computed no frame of the output.
        """
        self._inner = None
        self._notes.clear()
        _collect_garbage()

    def notes(self) -> tuple[str, ...]:
        """Report where memory ran out, and the notes of `build`."""
        return tuple(self._notes)

    def _retrying(self, work: Callable[[Backend], Result]) -> Result:
        """Call `work`, and repeat it with smaller tiles as long as memory runs out."""
        state: tuple[Tensor, ...] = ()
        while True:
            try:
                if self._inner is None:
                    self._inner = self._build_inner()
                    if state:
                        self._inner.set_state(state)
                return work(self._inner)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(error)
            if self._inner is not None:
                state = self._inner.get_state()
                self._inner = None
            # The traceback, which holds tensors, is released only after the except clause.
            _collect_garbage()

    def _build_inner(self) -> Backend:
        if self._tile is None or self._tile >= max(self._size):
            return self._build(self._size, False)
        return TiledBackend(
            build=self._build,
            size=self._size,
            tile=self._tile,
            scale=self._scale,
            specs=self._specs,
            flow=self._flow,
            margin=self._margin(),
        )

    def _shrink(self, error: Exception) -> None:
        tile = min(self._tile or max(self._size), max(self._size))
        if not self._shrinks:
            raise VsrError("not enough memory for whole frames; use --tile auto") from error
        smallest = self._margin().smallest_tile
        if tile <= smallest:
            raise VsrError(f"not enough memory for tiles of {tile} pixels") from error
        self._tile = max(tile // 2, smallest)
        where = f"at frame {self._frames}" if self._frames else "at the start"
        self._notes.append(f"out of memory {where}: continued with tiles of {self._tile} pixels")


def _collect_garbage() -> None:
    gc.collect()
    free_cached_memory()


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an exception means out of memory, in any library's wording."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(message in str(error) for message in _OUT_OF_MEMORY_MESSAGES)
