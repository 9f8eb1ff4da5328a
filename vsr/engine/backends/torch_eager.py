"""Compute frames by torch, operation by operation, on a CPU or a GPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vsr.engine.backends.base import Backend, Planes
from vsr.engine.upscaler import Upscaler
from vsr.frames.yuv import planes_to_rgb, rgb_to_planes
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Plane
from vsr.models import Generator


class TorchBackend(Backend):
    """Converts planes to RGB, runs a step, and converts RGB to planes, all on the device."""

    def __init__(
        self, generator: Generator[Any], device: torch.device, specs: tuple[ColourSpec, ColourSpec]
    ) -> None:
        """`specs` are the colour formats of input and output."""
        self.name = ", ".join(filter(None, (f"torch {torch.__version__}", generator.software)))
        self._upscaler = Upscaler(generator, device)
        self._read_as, self._write_as = specs

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: Tensor | None = None
    ) -> Planes:
        """Return Y, Cb and Cr of the next frame."""
        low = planes_to_rgb(planes, self._read_as, self._upscaler.device)
        return rgb_to_planes(self._upscaler.upscale(low, begins_shot, coarse), self._write_as)

    def get_state(self) -> tuple[Tensor, ...]:
        """Return the state before the next frame, on the CPU."""
        return self._upscaler.get_state()

    def set_state(self, state: tuple[Tensor, ...]) -> None:
        """Use `state` for the next frame."""
        self._upscaler.set_state(state)
