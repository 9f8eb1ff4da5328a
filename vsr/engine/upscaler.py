"""Run a generator frame by frame and keep its state."""

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
        self._saved: tuple[Tensor, ...] | None = None
        """State on the CPU that replaces `_state` at the next frame."""

    def get_state(self) -> tuple[Tensor, ...]:
        """Return the state before the next frame, on the CPU; empty before the first.

        This run continues from the returned copy, as a resumed run does: the memory layout of a
        tensor can change the last bit of results.
        """
        if self._saved is not None or self._state is None:
            return self._saved or ()
        saved = tuple(part.to("cpu", copy=True).contiguous() for part in self._state)
        self.set_state(saved)
        return saved

    def set_state(self, state: tuple[Tensor, ...]) -> None:
        """Use `state` for the next frame."""
        self._saved = state

    @torch.inference_mode()
    def upscale(self, low: Tensor, begins_shot: bool, coarse: Tensor | None = None) -> Tensor:
        """Upscale RGB (3, H, W) to (3, sH, sW), on the device; a new shot resets the state.

        The first frame starts a shot whatever `begins_shot` says. `coarse` is the coarse flow of a
        tile, see `PyramidFlow`.
        """
        batch = low[None].contiguous(memory_format=torch.channels_last)
        if begins_shot or (self._state is None and self._saved is None):
            self._state = self._generator.start(batch)
        elif self._saved is not None:
            parts = (part.to(self.device) for part in self._saved)
            self._state = self._generator.state_type(*parts)
        self._saved = None
        high: Tensor
        coarse_flow: Any = () if coarse is None else (coarse.to(self.device),)
        high, self._state = self._generator.step(batch, self._state, *coarse_flow)
        return high[0]
