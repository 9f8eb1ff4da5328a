"""A generator at work on one film: frame in, frame out, its state kept in between."""

from typing import Any

import torch
from torch import Tensor

from vsr.models import Generator


class Upscaler:
    """Upscales the frames of a film in order; moves the generator to the device."""

    def __init__(self, generator: Generator[Any], device: torch.device) -> None:
        self.scale = generator.scale
        self.device = device
        self._generator = generator.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._state: tuple[Tensor, ...] | None = None
        self._kept: tuple[Tensor, ...] | None = None

    def get_state(self) -> tuple[Tensor, ...]:
        """What the next frame is to begin with, on the CPU; empty before the first.

        From here on this run, too, goes on from the copy: how a tensor lies in memory can change
        the last bit of what is computed from it.
        """
        if self._kept is not None or self._state is None:
            return self._kept or ()
        kept = tuple(part.to("cpu", copy=True).contiguous() for part in self._state)
        self.set_state(kept)
        return kept

    def set_state(self, kept: tuple[Tensor, ...]) -> None:
        """Begin the next frame with a state that was kept."""
        self._kept = kept

    @torch.inference_mode()
    def upscale(self, low: Tensor, begins_shot: bool, coarse: Tensor | None = None) -> Tensor:
        """RGB (3, H, W) to (3, sH, sW), on the device; a new shot forgets what was before.

        The first frame begins a shot whether it says so or not. `coarse` is for parts of a frame,
        see `PyramidFlow`.
        """
        batch = low[None].contiguous(memory_format=torch.channels_last)
        if begins_shot or (self._state is None and self._kept is None):
            self._state = self._generator.start(batch)
        elif self._kept is not None:
            kind: Any = type(self._generator.start(batch))
            self._state = kind(*(part.to(self.device) for part in self._kept))
        self._kept = None
        high: Tensor
        aimed: Any = () if coarse is None else (coarse.to(self.device),)
        high, self._state = self._generator.step(batch, self._state, *aimed)
        return high[0]
