"""Compute frames by ONNX Runtime: one call per frame, from planes to planes.

The state stays in the memory of the provider's device: the outputs of a frame are the inputs of
the next one.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.engine.backends.base import Backend, Planes
from vsr.engine.backends.onnx_providers import Provider, import_onnxruntime, onnxruntime_version
from vsr.engine.backends.torchscript import write_onnx
from vsr.engine.backends.yuv_step import Layout, YuvStep, build_yuv_step, unsigned
from vsr.errors import VsrError, first_line
from vsr.frames.yuv import planes_to_rgb
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Plane
from vsr.models import Generator
from vsr.models.half import to_half

_THREADS = 4
"""Threads on every machine, however many cores it has: the last bits depend on their count, since
sums are divided by it, and a run may be resumed, or shared, by machines with other cores."""
_ERRORS_ONLY = 3
"""ONNX Runtime's level of its log: without warnings of operators that a provider lacks."""


class OnnxBackend(Backend):
    """Runs a step built for one frame size by an execution provider."""

    def __init__(
        self,
        generator: Generator[Any],
        specs: tuple[ColourSpec, ColourSpec],
        size: tuple[int, int],
        provider: Provider = Provider("cpu"),
        precision: str = "f32",
        tiled: bool = False,
    ) -> None:
        """`specs` are the colour formats of input and output; `size` is (height, width).

        `precision` is "f32" or "f16"; `tiled` is for tiles. Raises `VsrError` if the provider
        can't start.
        """
        self.name = f"onnxruntime {onnxruntime_version()} {precision} on {provider.kind}"
        self._read_as = specs[0]
        if precision == "f16":
            generator = to_half(generator)
        self._step, layout = build_yuv_step(generator, specs, size, tiled=tiled)
        self._session = _session(self._step, layout, provider)
        self._inputs = [port.name for port in self._session.get_inputs()]
        self._outputs = [port.name for port in self._session.get_outputs()]
        self._planes = len(self._outputs) - len(layout.state)
        self._memory = (provider.hardware.memory, provider.index)
        self._has_state = False
        self._state: list[Any] = []
        """Values of ONNX Runtime, on the device but for a state from `set_state`."""

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Return Y, Cb and Cr of the next frame."""
        if begins_shot or not self._has_state:
            low = planes_to_rgb(planes, self._read_as, torch.device("cpu"))
            self.set_state(self._step.start(low[None]))
        dtype = np.uint8 if planes[0].dtype == np.uint8 else np.int16
        frame = [np.ascontiguousarray(plane).view(dtype)[None, None] for plane in planes[:3]]
        if coarse is not None:
            frame.append(np.ascontiguousarray(coarse.numpy()))
        binding = self._session.io_binding()
        inputs = [*map(_value, frame), *self._state]
        for name, value in zip(self._inputs, inputs, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs[: self._planes]:
            binding.bind_output(name)
        for name in self._outputs[self._planes :]:
            binding.bind_output(name, *self._memory)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's errors share no class but this
            raise RuntimeError(f"ONNX Runtime: {error}") from error
        outputs = binding.get_outputs()
        self._state = outputs[self._planes :]
        cells = [output.numpy() for output in outputs[: self._planes]]
        return tuple(unsigned(plane) for plane in self._step.assemble(cells))

    def get_state(self) -> tuple[Tensor, ...]:
        """Return the state before the next frame, on the CPU; empty before the first."""
        return tuple(torch.from_numpy(part.numpy().copy()) for part in self._state)

    def set_state(self, state: tuple[Tensor, ...]) -> None:
        """Use `state` for the next frame."""
        self._state = [_value(part.numpy().copy()) for part in state]
        self._has_state = True


def _value(array: Any) -> Any:
    return import_onnxruntime().OrtValue.ortvalue_from_numpy(array)


def _session(step: YuvStep, layout: Layout, provider: Provider) -> Any:
    """Build the step for a provider; operators that the provider lacks run on the CPU."""
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # on fewer cores
    options.log_severity_level = _ERRORS_ONLY
    options.use_deterministic_compute = True
    options.enable_mem_pattern = provider.name != "directml"  # which doesn't support it
    inputs = (*layout.frame, *layout.state)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        write_onnx(
            step,
            inputs,
            path,
            input_names=[f"input{index}" for index in range(len(inputs))],
            output_names=[],
        )
        try:
            session = runtime.InferenceSession(
                str(path),
                options,
                providers=provider.chain(),
                enable_fallback=0,  # by itself it prints an error and computes on the CPU
            )
        except Exception as error:  # ONNX Runtime's errors share no class but this
            raise VsrError(f"provider {provider} can't start: {first_line(error)}") from error
    # A missing library is only logged.
    if provider.hardware.ort_name not in session.get_providers():
        raise VsrError(
            f"provider {provider} can't start: its libraries or its device are missing; "
            "use --provider cpu"
        )
    return session
