"""Compute frames on a GPU: one CUDA graph per frame, and copies on streams of their own.

Two sets of buffers alternate: while a frame is computed in one, the planes of the next frame are
uploaded into the other, and those of the previous frame are downloaded. The step is compiled and
captured before there is any state, so that capturing disturbs none. A CPU runs the same code
without streams and graphs, for tests.
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
from vsr.frames.gpu_surface import is_on_device, surface_planes
from vsr.imaging.colour import ColourSpec, to_rgb
from vsr.media.decode.hw_surface import Surface
from vsr.media.frame import Plane
from vsr.models import Generator
from vsr.models.half import to_half

_WARM_UP_RUNS = 3
"""Runs before a graph is captured, in which libraries allocate and choose their kernels."""


class _Slot:
    """The buffers of every other frame, and the events after which each is free."""

    def __init__(self, frame: Sequence[Tensor], device: torch.device, pins: bool) -> None:
        event = torch.get_device_module(device).Event
        self.host = [_host_buffer(part, pins) for part in frame]
        self.frame = [torch.zeros_like(part, device=device) for part in frame]
        self.outputs: list[Tensor] = []
        self.source: Sequence[Plane] = ()
        """Source of the upload, kept alive until that is complete."""
        self.uploaded, self.computed, self.downloaded = event(), event(), event()

    def fill(self, planes: Sequence[Plane], coarse: Tensor | None) -> None:
        """Copy a frame into the host buffers."""
        for host, plane in zip(self.host, planes, strict=False):
            dtype = np.uint8 if plane.dtype == np.uint8 else np.int16
            host[0, 0].numpy()[...] = plane.view(dtype)
        if coarse is not None:
            self.host[-1].copy_(coarse)


class GraphBackend(Backend):
    """Runs a step from planes to planes on a device, captured for one frame size."""

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
        """`specs` are the colour formats of input and output; `size` is (height, width).

        `precision` is "f16" or "f32". `compiles` fuses kernels by `torch.compile`; by default, on
        a GPU if Triton is installed. `tiled` is for tiles.
        """
        self.name = f"torch {torch.__version__} {precision}"
        self._device, self._read_as = device, specs[0]
        self._on_gpu = device.type == "cuda"
        if precision == "f16":
            generator = to_half(generator)
        step, layout = build_yuv_step(generator, specs, size, tiled=tiled)
        # Only weights of convolutions become channels last, for which cuDNN is fastest.
        self._step: YuvStep = step.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        module: Any = torch.get_device_module(device)
        self._module = module
        stream_args = (device,) if self._on_gpu else ()
        self._upload, self._compute, self._download = (
            module.Stream(*stream_args) for _ in range(3)
        )
        self._slots = [_Slot(layout.frame, device, self._on_gpu) for _ in range(2)]
        self._states = [[part.to(device, copy=True) for part in layout.state] for _ in range(2)]
        self._next, self._has_state = 0, False
        self._free: list[list[Tensor]] = []
        self._lock = threading.Lock()
        self._run: Callable[..., None] = self._compute_into
        wanted = self._on_gpu and find_spec("triton") is not None if compiles is None else compiles
        self.name += ", compiled" if wanted else ""
        # Deterministic kernels, and f32 without TF32.
        exact = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        module.synchronize()  # before other streams read weights and buffers
        with torch.inference_mode(), exact, self._computing():
            for index in range(2):
                self._slots[index].outputs = self._output_buffers(index)
            if wanted:
                self._run = torch.compile(self._compute_into, dynamic=False)
            self._pool = torch.cuda.graph_pool_handle() if self._on_gpu else None
            self._replays = [self._capture(index) for index in range(2)]

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Return Y, Cb and Cr of the next frame."""
        return self._enqueue(planes, begins_shot, coarse)()

    def submit(self, planes: Sequence[Plane], begins_shot: bool) -> Callable[[], Planes]:
        """Enqueue the next frame; the returned function waits for its planes."""
        return self._enqueue(planes, begins_shot, None)

    @torch.inference_mode()
    def _enqueue(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None
    ) -> Callable[[], Planes]:
        slot = self._slots[self._next]
        slot.uploaded.synchronize()  # then the slot's previous source is free
        slot.source = planes
        surface = (
            planes if isinstance(planes, Surface) and is_on_device(planes, self._device) else None
        )
        if surface is None:
            slot.fill(planes, coarse)
        with self._module.stream(self._upload):
            self._upload.wait_event(slot.computed)
            if surface is not None and self._on_gpu:  # the decoder may still be writing
                self._upload.wait_stream(torch.cuda.default_stream(self._device))
            sources = slot.host if surface is None else surface_planes(surface)
            for part, source in zip(slot.frame, sources, strict=True):
                part.copy_(source, non_blocking=True)
            slot.uploaded.record(self._upload)
        with self._computing():
            self._compute.wait_event(slot.uploaded)
            self._compute.wait_event(slot.downloaded)
            if begins_shot or not self._has_state:
                low = to_rgb([part[:, 0] for part in slot.frame[:3]], self._read_as)
                self._set_state(self._step.start(low))
            self._replays[self._next]()
            slot.computed.record(self._compute)
        buffers = self._take_buffers(slot.outputs)
        finished = self._module.Event()
        with self._module.stream(self._download):
            self._download.wait_event(slot.computed)
            for host, part in zip(buffers, slot.outputs, strict=True):
                host.copy_(part, non_blocking=True)
            slot.downloaded.record(self._download)
            finished.record(self._download)
        self._next = 1 - self._next

        def wait() -> Planes:
            finished.synchronize()
            copies = tuple(unsigned(part.numpy().copy()) for part in buffers)
            with self._lock:
                self._free.append(buffers)
            return copies

        return wait

    def get_state(self) -> tuple[Tensor, ...]:
        """Return the state before the next frame, on the CPU."""
        if not self._has_state:
            return ()
        if self._on_gpu:
            self._compute.synchronize()
        return tuple(part.to("cpu", copy=True) for part in self._states[self._next])

    @torch.inference_mode()
    def set_state(self, state: tuple[Tensor, ...]) -> None:
        """Use `state` for the next frame."""
        with self._computing():
            self._set_state(state)

    def _set_state(self, state: Sequence[Tensor]) -> None:
        for part, value in zip(self._states[self._next], state, strict=True):
            part.copy_(value)
        self._has_state = True

    def _computing(self) -> Any:
        """Run kernels that are launched inside in the compute stream."""
        return self._module.stream(self._compute)

    def _output_buffers(self, index: int) -> list[Tensor]:
        """Allocate buffers for the output planes of a slot."""
        outputs = self._step(*self._slots[index].frame, *self._states[index])
        planes = self._step.assemble(outputs[: -len(self._states[0]) or None])
        return [torch.empty_like(plane, memory_format=torch.contiguous_format) for plane in planes]

    def _compute_into(
        self,
        frame: Sequence[Tensor],
        state: Sequence[Tensor],
        planes: Sequence[Tensor],
        next_state: Sequence[Tensor],
    ) -> None:
        outputs = self._step(*frame, *state)
        count = len(outputs) - len(state)
        for part, value in zip(planes, self._step.assemble(outputs[:count]), strict=True):
            part.copy_(value)
        for part, value in zip(next_state, outputs[count:], strict=True):
            part.copy_(value)

    def _capture(self, index: int) -> Callable[[], None]:
        """Return a function that computes a slot's frame and writes the other slot's state."""
        slot = self._slots[index]
        operands = (slot.frame, self._states[index], slot.outputs, self._states[1 - index])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of the compiler
            for _ in range(_WARM_UP_RUNS if self._on_gpu else 0):
                self._run(*operands)
        if not self._on_gpu:
            return lambda: self._run(*operands)
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        # Decoding and encoding threads continue meanwhile.
        with torch.cuda.graph(graph, self._pool, self._compute, capture_error_mode="thread_local"):
            self._run(*operands)
        replay: Callable[[], None] = graph.replay
        return replay

    def _take_buffers(self, like: Sequence[Tensor]) -> list[Tensor]:
        """Return free host buffers for a frame, or new ones if all are in use."""
        with self._lock:
            if self._free:
                return self._free.pop()
        return [_host_buffer(part, self._on_gpu) for part in like]


def _host_buffer(like: Tensor, pins: bool) -> Tensor:
    """Allocate host memory, pinned for asynchronous copies if `pins`."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=pins)
