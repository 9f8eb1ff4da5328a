"""Compute frames by OpenVINO: one call per frame, from planes to planes.

On the CPU; Intel's GPUs and NPUs take the same way, untested on hardware.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vsr.engine.backends.base import Backend, Planes
from vsr.engine.backends.openvino_convert import converted, import_openvino, sample_by_rows
from vsr.engine.backends.yuv_step import Layout, YuvStep, build_yuv_step, unsigned
from vsr.errors import VsrError, first_line
from vsr.frames.yuv import planes_to_rgb
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Plane
from vsr.models import Generator
from vsr.models.int8 import QuantisedConv
from vsr.system.cache import cache_folder

_CACHE_FORMAT = 2
"""Part of a cached network's name. Increase it whenever the same weights and configuration are
converted into another network: by changes to this module, `openvino_convert`, `yuv_step` or
`vsr.models`."""
_MAX_CACHED = 32
"""Networks in the cache, a few megabytes each."""


def openvino_version() -> str | None:
    """Return the version of the installed OpenVINO; None if it isn't installed."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


@cache
def openvino_core() -> Any:
    """Load OpenVINO once and keep it until the process ends.

    Its CPU plugin gives the loading thread a signal stack, and frees that stack when the plugin
    is freed, in any thread: the next Ctrl-C would then crash the process.
    """
    return import_openvino().Core()


class OpenVinoBackend(Backend):
    """Runs a step compiled for one frame size; its state alternates between two buffers."""

    def __init__(
        self,
        generator: Generator[Any],
        specs: tuple[ColourSpec, ColourSpec],
        size: tuple[int, int],
        precision: str = "f32",
        tiled: bool = False,
        device: str = "CPU",
    ) -> None:
        """`specs` are the colour formats of input and output; `size` is (height, width).

        `precision` names the generator's arithmetic. `tiled` is for tiles. `device` is OpenVINO's
        name of a device, see `check_openvino_device`.
        """
        self.name = f"openvino {openvino_version()} {precision}"
        self.name += "" if device == "CPU" else f" on {device.partition('.')[0]}"
        self._read_as = specs[0]
        self._step, layout = build_yuv_step(generator, specs, size, tiled=tiled)
        network = _file_name(generator, layout, specs)
        compiled = _compiled(self._step, layout, network, device, precision)
        self._request = compiled.create_infer_request()
        outputs = self._request.model_outputs
        self._outputs = [
            np.empty(tuple(output.shape), output.element_type.to_dtype())
            for output in outputs[: len(outputs) - len(layout.state)]
        ]
        # Two sets of buffers: one holds the state, the next state is written into the other.
        self._states = [[part.numpy().copy() for part in layout.state] for _ in range(2)]
        self._has_state = False

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Return Y, Cb and Cr of the next frame."""
        if begins_shot or not self._has_state:
            low = planes_to_rgb(planes, self._read_as, torch.device("cpu"))
            self.set_state(self._step.start(low[None]))
        state, next_state = self._states
        dtype = np.uint8 if planes[0].dtype == np.uint8 else np.int16
        frame = [np.ascontiguousarray(plane).view(dtype)[None, None] for plane in planes[:3]]
        coarse_flow = [] if coarse is None else [np.ascontiguousarray(coarse.numpy())]
        for index, array in enumerate((*frame, *coarse_flow, *state)):
            self._request.set_input_tensor(index, _tensor(array))
        for index, array in enumerate((*self._outputs, *next_state)):
            self._request.set_output_tensor(index, _tensor(array))
        self._request.infer()
        self._states = [next_state, state]
        return tuple(unsigned(self._owned(plane)) for plane in self._step.assemble(self._outputs))

    def _owned(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Copy a plane that is a view of a buffer, since the next frame overwrites buffers."""
        is_view = any(np.may_share_memory(plane, buffer) for buffer in self._outputs)
        return plane.copy() if is_view else plane

    def get_state(self) -> tuple[Tensor, ...]:
        """Return the state before the next frame; empty before the first."""
        if not self._has_state:
            return ()
        return tuple(torch.from_numpy(part.copy()) for part in self._states[0])

    def set_state(self, state: tuple[Tensor, ...]) -> None:
        """Use `state` for the next frame."""
        for part, value in zip(self._states[0], state, strict=True):
            np.copyto(part, value.numpy())
        self._has_state = True


def check_openvino_device(device: str, name: str) -> None:
    """Raise `VsrError` unless OpenVINO lists `device`, such as "GPU.1"; `name` is the user's."""
    if openvino_version() is None:
        raise VsrError(f"device {name} needs OpenVINO: pip install openvino")
    listed = openvino_core().available_devices
    if device not in {*listed, *(one.partition(".")[0] for one in listed)}:
        raise VsrError(
            f"device {name} not found: OpenVINO lists {', '.join(listed)}; "
            "install Intel's driver for it, or use cpu"
        )


def _compiled(step: YuvStep, layout: Layout, file_name: str, device: str, precision: str) -> Any:
    def convert() -> Any:
        model = converted(step, (*layout.frame, *layout.state))
        sample_by_rows(model)
        return model

    return compile_network(read_network(file_name, convert), device, precision)


def compile_network(model: Any, device: str = "CPU", precision: str = "f32") -> Any:
    """Compile a network, on the CPU with as many threads as torch: one setting limits both."""
    settings = compile_settings(device, precision)
    try:
        return openvino_core().compile_model(model, device, settings)
    except RuntimeError as error:
        if device == "CPU":
            raise
        raise VsrError(
            f"OpenVINO can't compile the model for {device} ({first_line(error)}); use --device cpu"
        ) from error


def compile_settings(device: str, precision: str) -> dict[str, Any]:
    """Return OpenVINO's settings; an NPU has no f32."""
    is_half = precision == "f16" or device.startswith("NPU")
    hint = "f16" if is_half else "bf16" if precision == "bf16" else "f32"
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
    }
    if device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    return settings


def read_network(file_name: str, convert: Callable[[], Any]) -> Any:
    """Read a network from the cache; convert and save it first if it isn't there.

    A converted network is also read back from its file: compiled in memory, its sums have another
    order, and a resumed run must produce the same last bits.
    """
    core, path = openvino_core(), cache_folder("openvino") / file_name
    if path.is_file():
        with suppress(RuntimeError):  # a damaged file is converted again
            return core.read_model(path)
    model = convert()
    with suppress(OSError, RuntimeError):
        _keep(model, path)
        return core.read_model(path)
    with TemporaryDirectory() as folder:  # for a cache that can't be written
        _keep(model, Path(folder) / path.name)
        return core.read_model(Path(folder) / path.name)


def _tensor(array: Any) -> Any:
    return import_openvino().Tensor(array, shared_memory=True)


def _file_name(
    generator: Generator[Any], layout: Layout, specs: tuple[ColourSpec, ColourSpec]
) -> str:
    """Name a converted step in the cache."""
    description = {
        "inputs": [[str(part.dtype), *part.shape] for part in (*layout.frame, *layout.state)],
        "planes": [_describe_colour(spec) for spec in specs],
        "generator": _describe_generator(generator),
    }
    return network_name(description, generator)


def network_name(description: dict[str, Any], module: nn.Module) -> str:
    """Name a converted network in the cache: a hash of all that it depends on.

    `description` has what determines the output besides the tensors of `module` and the rounding
    of its layers, see `describe_rounding`.
    """
    description = {
        "format": _CACHE_FORMAT,
        "versions": {name: version(name) for name in ("vsr", "torch", "openvino")},
        **description,
    }
    digest = hashlib.blake2b(json.dumps(description, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return f"{digest.hexdigest()}.xml"


def _describe_colour(spec: ColourSpec) -> dict[str, Any]:
    return {
        "matrix": spec.matrix.value,
        "full_range": spec.full_range,
        "bit_depth": spec.bit_depth,
        "subsampling": list(spec.subsampling),
        "siting": spec.siting.value,
    }


def _describe_generator(generator: Generator[Any]) -> dict[str, Any]:
    """Describe all that determines a generator's output besides the tensors.

    Raises TypeError for a generator whose description is incomplete.
    """
    if not generator.architecture:
        raise TypeError(f"no cache key for generators of type {type(generator).__name__}")
    return {**generator.description(), "rounding": describe_rounding(generator)}


def describe_rounding(module: nn.Module) -> dict[str, Any]:
    """Describe the levels of all layers that are rounded to eight bits."""
    return {
        name: {"scale": layer.scale, "zero": layer.zero, "border": layer.border}
        for name, layer in module.named_modules()
        if isinstance(layer, QuantisedConv)
    }


def _keep(model: Any, path: Path) -> None:
    """Save a network to the cache atomically, and remove the oldest ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.xml")
    import_openvino().save_model(model, partial, compress_to_fp16=False)
    partial.with_suffix(".bin").replace(path.with_suffix(".bin"))
    partial.replace(path)
    by_age = sorted(path.parent.glob("*.xml"), key=lambda old: old.stat().st_mtime)
    for old in by_age[:-_MAX_CACHED]:
        old.unlink(missing_ok=True)
        old.with_suffix(".bin").unlink(missing_ok=True)
