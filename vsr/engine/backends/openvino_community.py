"""Compute networks of other projects by OpenVINO on the CPU.

A network is traced once, with a small picture, and converted for pictures of any size. Conversion
of colours, padding and the filter along motion stay with torch. Tracing turns what a network
computes from its input's size in Python into constants, so a trial at other sizes compares the
output with that of torch.
"""

import copy
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsr.engine.backends.adaptive import is_out_of_memory
from vsr.engine.backends.openvino import (
    compile_network,
    compile_settings,
    network_name,
    openvino_version,
    read_network,
)
from vsr.engine.backends.openvino_convert import (
    converted,
    import_openvino,
    normalise_by_moments,
)
from vsr.engine.backends.openvino_trial import STARTED
from vsr.engine.backends.torch_eager import TorchBackend
from vsr.errors import ModelError, OutputError, first_line
from vsr.imaging.colour import ColourSpec
from vsr.models import CommunityNetwork, Generator
from vsr.models.reach import probe_picture
from vsr.system.cache import cache_folder
from vsr.system.files import write_text

_MIN_MULTIPLIES = 2e12
"""Weights times low-resolution pixels from which on OpenVINO saves about as much time as conversion
and trial take, once for a network. Most networks multiply each weight once or more for a pixel."""
_EXAMPLE_SIZE = (21, 27)
_TRIAL_SIZES = ((19, 33), (37, 18), (16, 32))
"""Two sizes that are no multiples of a window, and one that is; not those of the example."""
_LARGEST_DIFFERENCE = 1 / 255
_PROGRAM = Path(__file__).with_name("openvino_trial.py")
_KILLED = -9
"""Exit code of a process that the system ends when memory runs out."""
_CPU = torch.device("cpu")


class ConversionError(ModelError):
    """OpenVINO doesn't compute a network as torch does."""


class OpenVinoNetwork(nn.Module):
    """A converted network (1, 3, H, W) to (1, 3, sH, sW), compiled for the latest size."""

    def __init__(self, model: Any, precision: str = "f32") -> None:
        """`model` is an `openvino.Model` for any size."""
        super().__init__()
        self._model, self._precision = model, precision
        self._shape: tuple[int, ...] = ()
        self._request: Any = None

    def forward(self, low: Tensor) -> Tensor:
        """Upscale RGB in [0, 1] on the CPU."""
        if low.shape != self._shape:
            self._request = None  # its memory is freed first
            model = self._model.clone()
            model.reshape(list(low.shape))
            self._request = compile_network(model, precision=self._precision).create_infer_request()
            self._shape = tuple(low.shape)
        results = self._request.infer([np.ascontiguousarray(low.numpy())], share_inputs=True)
        return torch.from_numpy(results[0])


class CommunityBackend(TorchBackend):
    """`TorchBackend`, with the network of another project computed by OpenVINO."""

    def __init__(
        self,
        generator: Generator[Any],
        model: Any,
        specs: tuple[ColourSpec, ColourSpec],
        precision: str = "f32",
    ) -> None:
        """`model` is from `read_converted`; `specs` are the colour formats of in- and output."""
        super().__init__(computed_by(generator, OpenVinoNetwork(model, precision)), _CPU, specs)
        self.name = f"openvino {openvino_version()} {precision}, {self.name}"


def can_convert(generator: Generator[Any]) -> bool:
    """Return whether a generator has a network of another project that can be traced."""
    found = _community_network(generator)
    return found is not None and found.facts.is_traceable


def is_worth_converting(generator: Generator[Any], pixels: int | None) -> bool:
    """Return whether OpenVINO saves time, for so many low-resolution pixels; None if unknown."""
    if pixels is None:
        return True
    return pixels * sum(weight.numel() for weight in generator.parameters()) >= _MIN_MULTIPLIES


def computed_by(generator: Generator[Any], network: nn.Module) -> Generator[Any]:
    """Copy a generator whose network of another project is replaced by `network`."""
    own = _community_network(generator)
    assert own is not None
    twin: Generator[Any] = copy.deepcopy(generator, {id(own): own.computed_by(network)})
    return twin


def read_converted(generator: Generator[Any]) -> Any:
    """Return the `openvino.Model` of a network of another project, for pictures of any size.

    Network and result of the trial are kept in the user's cache. Raises `ConversionError` if the
    network can't be converted, or if its output differs from that of torch by more than a code
    value.
    """
    own = _community_network(generator)
    assert own is not None
    name = network_name(
        {"community": own.facts.architecture, "software": own.facts.software}, own.network
    )
    fault, is_known = _remembered_fault(name)
    model = None
    if fault is None:
        try:
            model = read_network(name, lambda: _convert(own))
            fault = None if is_known else _find_fault(own, model)
        except Exception as error:  # whatever an unusual network leads to
            fault = first_line(error)
            is_known = is_known or isinstance(error, OSError) or is_out_of_memory(error)
        if not is_known:  # a full disk or memory says nothing about the network
            _remember_fault(name, fault)
    if fault is not None:
        raise ConversionError(f"OpenVINO can't compute this model: {fault}")
    return model


def _community_network(generator: Generator[Any]) -> CommunityNetwork | None:
    found = (part for part in generator.modules() if isinstance(part, CommunityNetwork))
    return next(found, None)


class _Network(nn.Module):
    """The network alone, without padding."""

    def __init__(self, community: CommunityNetwork) -> None:
        super().__init__()
        self.community = community

    def forward(self, low: Tensor) -> Tensor:
        return self.community.compute(low)


def _convert(own: CommunityNetwork) -> Any:
    example = probe_picture(*own.facts.sizes.padded(*_EXAMPLE_SIZE))
    model = converted(_Network(own), [example], [[1, 3, -1, -1]])
    normalise_by_moments(model)
    return model


@torch.inference_mode()
def _find_fault(own: CommunityNetwork, model: Any) -> str | None:
    """Return why OpenVINO doesn't compute a network as torch does; None if it does."""
    sizes, scale = own.facts.sizes, own.scale
    pictures = [probe_picture(*sizes.padded(*size)) for size in _TRIAL_SIZES]
    found = _computed_apart(model, pictures)
    for (height, width), low, high in zip(_TRIAL_SIZES, pictures, found, strict=True):
        used = (..., slice(scale * height), slice(scale * width))
        first, second = own.compute(low)[used], high[used]
        where = f"of a picture of {width}x{height}"
        if first.shape != second.shape:
            return f"its output {where} has another size"
        difference = float((first.clamp(0, 1) - second.clamp(0, 1)).abs().max())
        if not difference <= _LARGEST_DIFFERENCE:
            return f"its output {where} differs by {255 * difference:.0f} of 255 levels"
    return None


def _computed_apart(model: Any, pictures: list[Tensor]) -> list[Tensor]:
    """Compute pictures in another process, which OpenVINO ends with some networks."""
    with TemporaryDirectory() as folder:
        network, settings, inputs, outputs = (
            Path(folder) / name for name in ("a.xml", "settings.json", "in.npz", "out.npz")
        )
        import_openvino().save_model(model, network, compress_to_fp16=False)
        settings.write_text(json.dumps(compile_settings("CPU", "f32")), encoding="utf-8")
        np.savez(inputs, *(low.numpy() for low in pictures))
        done = subprocess.run(
            [_interpreter(), "-P", _PROGRAM, network, settings, inputs, outputs],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode == _KILLED:
            raise MemoryError("the trial of OpenVINO was killed")
        last = (["", *done.stderr.strip().splitlines()])[-1]
        if STARTED not in done.stdout:
            raise OSError(f"its trial doesn't start: {last}")
        if done.returncode != 0:
            raise RuntimeError(last or f"it crashes ({done.returncode})")
        with np.load(outputs) as found:
            return [torch.from_numpy(found[name]) for name in sorted(found.files)]


def _interpreter() -> Path:
    """Return Python's program, also in a host that embeds Python, such as a player."""
    own = Path(sys.executable or "")
    if own.stem.lower().startswith("python"):
        return own
    return Path(sys.prefix, "python.exe" if sys.platform == "win32" else "bin/python3")


def _remembered_fault(name: str) -> tuple[str | None, bool]:
    """Return the fault that a trial found, and whether there was one."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        fault = json.loads(_trial_path(name).read_text(encoding="utf-8"))["fault"]
        return (None if fault is None else str(fault)), True
    return None, False


def _remember_fault(name: str, fault: str | None) -> None:
    path = _trial_path(name)
    with suppress(OSError, OutputError):  # a cache that can't be written costs only time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"fault": fault}))


def _trial_path(name: str) -> Path:
    return cache_folder("openvino-trials") / name.replace(".xml", ".json")
