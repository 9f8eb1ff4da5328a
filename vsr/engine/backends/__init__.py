"""How frames are computed: planes in, planes out, the state of the network kept in between."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vsr.colour import ColourSpec
from vsr.engine.backends.eager import TorchBackend
from vsr.engine.backends.openvino import OpenVinoBackend, computes_int8, openvino_version
from vsr.engine.backends.tiles import TiledBackend, Tiling, pick_tile
from vsr.errors import VsrError
from vsr.media.frame import Plane
from vsr.models import Generator, Recurrent
from vsr.models.quantise import quantised

BackendName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "f32", "int8"]

_WORTH_COMPILING_PIXELS = 10_000_000
"""Low-resolution pixels of a film from which on a network that is built for its frame size
saves more time than it takes to build."""


class Backend(Protocol):
    """Upscales the frames of a film, in order."""

    name: str
    """What computes, and its version where that decides about the last bit."""

    def upscale(self, planes: Sequence[Plane], begins_shot: bool) -> tuple[Plane, ...]:
        """Y, Cb and Cr of the next frame; a new shot forgets what was before."""

    def keep_state(self) -> tuple[Tensor, ...]:
        """What the next frame is to begin with, on the CPU, to be saved and gone on from."""

    def go_on_from(self, kept: tuple[Tensor, ...]) -> None:
        """Begin the next frame with a state that was kept."""


def pick_backend(
    name: BackendName,
    precision: Precision,
    generator: Generator[Any],
    device: torch.device,
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    frames: int | None,
    tiling: Tiling = "auto",
) -> Backend:
    """The backend for films of `size` = (height, width), read and written by `specs`.

    "auto" is OpenVINO on a CPU where it is installed and the film is long enough to be worth the
    seconds that it takes to begin; there, "auto" rounds the trunk to eight bits where the model
    has been measured for it and the processor computes so exactly. Raises `VsrError` where what
    is asked for can't be had. Frames that don't fit into memory are done in tiles.
    """
    build = _builder(name, precision, generator, device, specs, size, frames)
    tile = pick_tile(tiling, generator, device, size)
    if tile is None:
        return build(size)
    return TiledBackend(build, size, tile, generator.scale, specs)


def _builder(
    name: BackendName,
    precision: Precision,
    generator: Generator[Any],
    device: torch.device,
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    frames: int | None,
) -> Callable[[tuple[int, int]], Backend]:
    if name == "openvino" or (precision == "int8" and name == "auto"):
        if device.type != "cpu":
            raise VsrError(f"backend openvino computes on the CPU, not on {device}")
        if openvino_version() is None:
            raise VsrError("backend openvino isn't installed: pip install openvino")
        name = "openvino"
    worth = frames is None or frames * size[0] * size[1] >= _WORTH_COMPILING_PIXELS
    if name == "auto" and device.type == "cpu" and openvino_version() is not None and worth:
        name = "openvino"
    if name != "openvino":
        if precision == "int8":
            raise VsrError("int8 needs backend openvino")
        return lambda size: TorchBackend(generator, device, specs)
    known = isinstance(generator, Recurrent) and bool(generator.ranges)
    if precision == "int8" and not known:
        raise VsrError("int8 needs a model with measured ranges (tools/calibrate.py); use f32")
    rounds = precision == "int8" or (precision == "auto" and known and computes_int8())
    if rounds:
        assert isinstance(generator, Recurrent)
        generator = quantised(generator, generator.ranges)
    return lambda size: OpenVinoBackend(generator, specs, size, "int8" if rounds else "f32")


__all__ = [
    "Backend",
    "BackendName",
    "OpenVinoBackend",
    "Precision",
    "TiledBackend",
    "Tiling",
    "TorchBackend",
    "openvino_version",
    "pick_backend",
]
