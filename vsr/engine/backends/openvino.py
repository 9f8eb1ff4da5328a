"""Frames computed by OpenVINO on the CPU: one call a frame, from planes to planes."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsr.engine.backends.base import Backend, Planes
from vsr.engine.backends.openvino_convert import converted, import_openvino, sample_by_rows
from vsr.engine.backends.yuv_step import Layout, YuvStep, build_yuv_step, unsigned
from vsr.frames.yuv import planes_to_rgb
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Plane
from vsr.models import Generator, Recurrent, Rrdbnet, Srresnet
from vsr.models.int8 import QuantisedConv
from vsr.system.cache import cache_folder

_CACHE_FORMAT = 2
"""Part of a cached network's name. To be raised whenever the same weights and configuration are
converted into another network: by changes here, in `conversion`, `planes` or `vsr.models`."""
_MOST_CACHED = 32
"""Networks that are kept for the next run: some megabytes each."""


def openvino_version() -> str | None:
    """Which OpenVINO is installed; None where none is."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


@cache
def openvino_core() -> Any:
    """OpenVINO, loaded once and kept until the process ends.

    Its CPU plugin gives the thread that loads it a stack for signals, and frees that stack when
    it is itself freed, by whatever thread: the next Ctrl-C would then crash the process.
    """
    return import_openvino().Core()


class OpenVinoBackend(Backend):
    """A step that is built once for a frame size; its state lies in two buffers in turn."""

    def __init__(
        self,
        generator: Generator[Any],
        specs: tuple[ColourSpec, ColourSpec],
        size: tuple[int, int],
        precision: str = "f32",
        tiled: bool = False,
    ) -> None:
        """`specs` tell how planes are read and written; `size` is (height, width).

        `precision` names what the generator computes in; `tiled` is for parts of frames.
        """
        self.name = f"openvino {openvino_version()} {precision}"
        self._read_as = specs[0]
        self._step, layout = build_yuv_step(generator, specs, size, tiled)
        network = _file_name(generator, layout, specs)
        self._request = _compiled(self._step, layout, network).create_infer_request()
        outputs = [output.shape for output in self._request.model_outputs]
        kinds = [output.element_type.to_dtype() for output in self._request.model_outputs]
        self._frames = len(outputs) - len(layout.state)
        self._made = [
            np.empty(tuple(shape), kind)
            for shape, kind in zip(outputs[: self._frames], kinds, strict=False)
        ]
        # Two sets of buffers: one holds the state, into the other the next one is written.
        self._states = [[part.numpy().copy() for part in layout.state] for _ in range(2)]
        self._begun = False

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Y, Cb and Cr of the next frame."""
        if begins_shot or not self._begun:
            low = planes_to_rgb(planes, self._read_as, torch.device("cpu"))
            self.set_state(self._step.start(low[None]))
        state, following = self._states
        kind = np.uint8 if planes[0].dtype == np.uint8 else np.int16
        frame = [np.ascontiguousarray(plane).view(kind)[None, None] for plane in planes[:3]]
        aimed = [] if coarse is None else [np.ascontiguousarray(coarse.numpy())]
        for number, array in enumerate((*frame, *aimed, *state)):
            self._request.set_input_tensor(number, _tensor(array))
        for number, array in enumerate((*self._made, *following)):
            self._request.set_output_tensor(number, _tensor(array))
        self._request.infer()
        self._states = [following, state]
        return tuple(unsigned(self._own(plane)) for plane in self._step.assemble(self._made))

    def _own(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane that isn't a view of a buffer, which is the next frame's as well."""
        is_view = any(np.may_share_memory(plane, buffer) for buffer in self._made)
        return plane.copy() if is_view else plane

    def get_state(self) -> tuple[Tensor, ...]:
        """What the next frame is to begin with; empty before the first."""
        if not self._begun:
            return ()
        return tuple(torch.from_numpy(part.copy()) for part in self._states[0])

    def set_state(self, kept: tuple[Tensor, ...]) -> None:
        """Begin the next frame with a state that was kept."""
        for part, value in zip(self._states[0], kept, strict=True):
            np.copyto(part, value.numpy())
        self._begun = True


def _compiled(step: YuvStep, layout: Layout, file_name: str) -> Any:
    core = openvino_core()
    model = _read(core, cache_folder("openvino") / file_name, step, layout)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(model, "CPU", {**settings, "INFERENCE_NUM_THREADS": _threads()})


def _read(core: Any, path: Path, step: YuvStep, layout: Layout) -> Any:
    """The network at `path`, where it is made if it isn't there.

    Even then it is read from a file: as it was converted, it is compiled into other orders of
    sums, and a run that goes on must come to the same last bits.
    """
    if path.is_file():
        with suppress(RuntimeError):  # a broken file is made anew
            return core.read_model(path)
    model = converted(step, (*layout.frame, *layout.state))
    sample_by_rows(model)
    with suppress(OSError, RuntimeError):
        _keep(model, path)
        return core.read_model(path)
    with TemporaryDirectory() as folder:  # a cache that can't be written is none
        _keep(model, Path(folder) / path.name)
        return core.read_model(Path(folder) / path.name)


def _threads() -> int:
    """As many as torch would use, so that one setting limits both."""
    return torch.get_num_threads()


def _tensor(array: Any) -> Any:
    return import_openvino().Tensor(array, shared_memory=True)


def _file_name(
    generator: Generator[Any], layout: Layout, specs: tuple[ColourSpec, ColourSpec]
) -> str:
    """The name of a converted network in the cache: a hash of all that it depends on."""
    description = {
        "format": _CACHE_FORMAT,
        "versions": {name: version(name) for name in ("vsr", "torch", "openvino")},
        "inputs": [[str(part.dtype), *part.shape] for part in (*layout.frame, *layout.state)],
        "planes": [_describe_colour(spec) for spec in specs],
        "generator": _describe_generator(generator),
    }
    digest = hashlib.blake2b(json.dumps(description, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(generator.state_dict().items()):
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
    """What decides about a generator's output beside its tensors, their names and shapes."""
    rounding = {
        name: {"scale": layer.scale, "zero": layer.zero, "border": layer.border}
        for name, layer in generator.named_modules()
        if isinstance(layer, QuantisedConv)
    }
    described: dict[str, Any] = {"scale": generator.scale, "rounding": rounding}
    match generator:
        case Recurrent():
            levels = generator.flow.levels if generator.flow else 0
            return {
                "kind": "recurrent",
                "memory": generator.memory,
                "flow_levels": levels,
                **described,
            }
        case Srresnet():
            return {"kind": "srresnet", **described}
        case Rrdbnet():
            return {"kind": "rrdbnet", **described}
        case _:
            raise TypeError(f"no cache key for generators of type {type(generator).__name__}")


def _keep(model: Any, path: Path) -> None:
    """Write a network for the next run, whole or not at all, and forget the oldest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.xml")
    import_openvino().save_model(model, partial, compress_to_fp16=False)
    partial.with_suffix(".bin").replace(path.with_suffix(".bin"))
    partial.replace(path)
    by_age = sorted(path.parent.glob("*.xml"), key=lambda old: old.stat().st_mtime)
    for old in by_age[:-_MOST_CACHED]:
        old.unlink(missing_ok=True)
        old.with_suffix(".bin").unlink(missing_ok=True)
