"""Frames computed on a GPU: one graph of kernels a frame, copies beside it on streams of their own.

Two sets of buffers serve frames in turn: while a frame is computed in one, the planes of the next
are on their way into the other, and those of the one before on their way out. The step is
compiled and captured before there is any state, so capturing disturbs none. A CPU goes the same
way, without streams and graphs: so it is tested.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.engine.backends.base import Backend, Planes
from vsr.engine.backends.yuv_step import YuvStep, build_yuv_step, unsigned
from vsr.frames.gpu_surface import lies_on, surface_planes
from vsr.imaging.colour import ColourSpec, to_rgb
from vsr.media.decode.hw_surface import Surface
from vsr.media.frame import Plane
from vsr.models import Generator
from vsr.models.half import to_half

_WARM_UP_RUNS = 3
"""Before a graph is captured: libraries allocate and choose their kernels."""


class _Slot:
    """The buffers of every other frame, and when the device is done with each of them."""

    def __init__(self, frame: Sequence[Tensor], device: torch.device, pins: bool) -> None:
        event = torch.get_device_module(device).Event
        self.host = [_host_buffer(part, pins) for part in frame]
        self.frame = [torch.zeros_like(part, device=device) for part in frame]
        self.made: list[Tensor] = []
        self.source: Sequence[Plane] = ()
        """What is copied from, kept until that is done."""
        self.uploaded, self.computed, self.downloaded = event(), event(), event()

    def fill(self, planes: Sequence[Plane], coarse: Tensor | None) -> None:
        """Lay a frame ready on the host's side."""
        for host, plane in zip(self.host, planes, strict=False):
            kind = np.uint8 if plane.dtype == np.uint8 else np.int16
            host[0, 0].numpy()[...] = plane.view(kind)
        if coarse is not None:
            self.host[-1].copy_(coarse)


class GraphBackend(Backend):
    """A step from planes to planes on a device, captured once for a frame size."""

    def __init__(
        self,
        generator: Generator[Any],
        device: torch.device,
        specs: tuple[ColourSpec, ColourSpec],
        size: tuple[int, int],
        precision: str = "f16",
        compiles: bool | None = None,
        tiled: bool = False,
    ) -> None:
        """`specs` tell how planes are read and written; `size` is (height, width).

        `precision` is "f16" or "f32"; `compiles` fuses kernels by `torch.compile`, which is done
        on a GPU where Triton is installed, unless told; `tiled` is for parts of frames.
        """
        self.name = f"torch {torch.__version__} {precision}"
        self._device, self._read_as = device, specs[0]
        self._on_gpu = device.type == "cuda"
        if precision == "f16":
            generator = to_half(generator)
        step, layout = build_yuv_step(generator, specs, size, tiled)
        # Buffers of weights stay as they lie, but for convolutions': cuDNN is fastest so.
        self._step: YuvStep = step.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        module: Any = torch.get_device_module(device)
        self._module = module
        place = (device,) if self._on_gpu else ()
        self._upload, self._compute, self._download = (module.Stream(*place) for _ in range(3))
        self._slots = [_Slot(layout.frame, device, self._on_gpu) for _ in range(2)]
        self._states = [[part.to(device, copy=True) for part in layout.state] for _ in range(2)]
        self._next, self._has_state = 0, False
        self._free: list[list[Tensor]] = []
        self._lock = threading.Lock()
        self._run: Callable[..., None] = self._compute_into
        wanted = self._on_gpu and find_spec("triton") is not None if compiles is None else compiles
        self.name += ", compiled" if wanted else ""
        # The same kernels in every run, and sums of f32 that are f32.
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        module.synchronize()  # weights and buffers are there before another stream looks
        with torch.inference_mode(), exact, self._at_work():
            for number in range(2):
                self._slots[number].made = self._outputs_for(number)
            if wanted:
                self._run = torch.compile(self._compute_into, dynamic=False)
            self._pool = torch.cuda.graph_pool_handle() if self._on_gpu else None
            self._replays = [self._captured(number) for number in range(2)]

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Y, Cb and Cr of the next frame."""
        return self._begun(planes, begins_shot, coarse)()

    def submit(self, planes: Sequence[Plane], begins_shot: bool) -> Callable[[], Planes]:
        """Hand the device a frame; what comes back waits for it."""
        return self._begun(planes, begins_shot, None)

    @torch.inference_mode()
    def _begun(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None
    ) -> Callable[[], Planes]:
        slot = self._slots[self._next]
        slot.uploaded.synchronize()  # what this slot was filled from is free again
        slot.source = planes
        surface = planes if isinstance(planes, Surface) and lies_on(planes, self._device) else None
        if surface is None:
            slot.fill(planes, coarse)
        with self._module.stream(self._upload):
            self._upload.wait_event(slot.computed)
            if surface is not None and self._on_gpu:  # the decoder may still be at work
                self._upload.wait_stream(torch.cuda.default_stream(self._device))
            given = slot.host if surface is None else surface_planes(surface)
            for part, source in zip(slot.frame, given, strict=True):
                part.copy_(source, non_blocking=True)
            slot.uploaded.record(self._upload)
        with self._at_work():
            self._compute.wait_event(slot.uploaded)
            self._compute.wait_event(slot.downloaded)
            if begins_shot or not self._has_state:
                low = to_rgb([part[:, 0] for part in slot.frame[:3]], self._read_as)
                self._set_state(self._step.start(low))
            self._replays[self._next]()
            slot.computed.record(self._compute)
        made = self._free_buffers(slot.made)
        finished = self._module.Event()
        with self._module.stream(self._download):
            self._download.wait_event(slot.computed)
            for host, part in zip(made, slot.made, strict=True):
                host.copy_(part, non_blocking=True)
            slot.downloaded.record(self._download)
            finished.record(self._download)
        self._next = 1 - self._next

        def wait() -> Planes:
            finished.synchronize()
            copies = tuple(unsigned(part.numpy().copy()) for part in made)
            with self._lock:
                self._free.append(made)
            return copies

        return wait

    def get_state(self) -> tuple[Tensor, ...]:
        """What the next frame is to begin with, on the CPU."""
        if not self._has_state:
            return ()
        if self._on_gpu:
            self._compute.synchronize()
        return tuple(part.to("cpu", copy=True) for part in self._states[self._next])

    @torch.inference_mode()
    def set_state(self, kept: tuple[Tensor, ...]) -> None:
        """Begin the next frame with a state that was kept."""
        with self._at_work():
            self._set_state(kept)

    def _set_state(self, state: Sequence[Tensor]) -> None:
        for part, value in zip(self._states[self._next], state, strict=True):
            part.copy_(value)
        self._has_state = True

    def _at_work(self) -> Any:
        """Kernels that are started inside run in the stream that computes."""
        return self._module.stream(self._compute)

    def _outputs_for(self, number: int) -> list[Tensor]:
        """Buffers for the planes that a slot's frame becomes."""
        made = self._step(*self._slots[number].frame, *self._states[number])
        planes = self._step.assemble(made[: -len(self._states[0]) or None])
        return [torch.empty_like(plane, memory_format=torch.contiguous_format) for plane in planes]

    def _compute_into(
        self,
        frame: Sequence[Tensor],
        state: Sequence[Tensor],
        planes: Sequence[Tensor],
        following: Sequence[Tensor],
    ) -> None:
        made = self._step(*frame, *state)
        count = len(made) - len(state)
        for part, value in zip(planes, self._step.assemble(made[:count]), strict=True):
            part.copy_(value)
        for part, value in zip(following, made[count:], strict=True):
            part.copy_(value)

    def _captured(self, number: int) -> Callable[[], None]:
        """A call that computes a slot's frame from its state into the other one's."""
        slot = self._slots[number]
        operands = (slot.frame, self._states[number], slot.made, self._states[1 - number])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's
            for _ in range(_WARM_UP_RUNS if self._on_gpu else 0):
                self._run(*operands)
        if not self._on_gpu:
            return lambda: self._run(*operands)
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        # Threads that decode and encode go on meanwhile.
        with torch.cuda.graph(graph, self._pool, self._compute, capture_error_mode="thread_local"):
            self._run(*operands)
        replay: Callable[[], None] = graph.replay
        return replay

    def _free_buffers(self, like: Sequence[Tensor]) -> list[Tensor]:
        """Buffers of the host for a frame: as many are made as ever wait at once."""
        with self._lock:
            if self._free:
                return self._free.pop()
        return [_host_buffer(part, self._on_gpu) for part in like]


def _host_buffer(like: Tensor, pins: bool) -> Tensor:
    """Memory of the host that a device copies from and to by itself."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=pins)
