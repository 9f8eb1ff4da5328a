"""How frames are computed: planes in, planes out, the state of the network kept in between."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vsr.colour import ColourSpec
from vsr.engine.backends.eager import TorchBackend
from vsr.engine.backends.openvino import OpenVinoBackend, openvino_version
from vsr.errors import VsrError
from vsr.media.frame import Plane
from vsr.models import Generator

BackendName = Literal["auto", "torch", "openvino"]

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
    generator: Generator[Any],
    device: torch.device,
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    frames: int | None,
) -> Backend:
    """The backend for films of `size` = (height, width), read and written by `specs`.

    "auto" is OpenVINO on a CPU where it is installed and the film is long enough to be worth the
    seconds that it takes to begin. Raises `VsrError` where the one asked for can't be had.
    """
    if name == "openvino":
        if device.type != "cpu":
            raise VsrError(f"backend openvino computes on the CPU, not on {device}")
        if openvino_version() is None:
            raise VsrError("backend openvino isn't installed: pip install openvino")
    worth = frames is None or frames * size[0] * size[1] >= _WORTH_COMPILING_PIXELS
    if name == "openvino" or (
        name == "auto" and device.type == "cpu" and openvino_version() is not None and worth
    ):
        return OpenVinoBackend(generator, specs, size)
    return TorchBackend(generator, device, specs)


__all__ = [
    "Backend",
    "BackendName",
    "OpenVinoBackend",
    "TorchBackend",
    "openvino_version",
    "pick_backend",
]
