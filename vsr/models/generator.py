"""What every generator offers: `start`, `step`, and `forward` as a loop over them."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

State = TypeVar("State", bound=tuple[Tensor, ...])
"""All that one frame hands to the next: a (named) tuple of tensors, batch first."""


class Generator(nn.Module, ABC, Generic[State]):
    """A network that upscales film frame by frame, its state passed in and out."""

    scale: int
    """Output side over input side."""

    @abstractmethod
    def start(self, low: Tensor) -> State:
        """The state before the first frame of a shot; `low` is that frame, (B, 3, H, W)."""

    @abstractmethod
    def step(self, low: Tensor, state: State) -> tuple[Tensor, State]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and give the next state."""

    def forward(self, clip: Tensor) -> Tensor:
        """Upscale (B, T, 3, H, W) to (B, T, 3, sH, sW): `step`, in order."""
        state = self.start(clip[:, 0])
        outputs = []
        for low in clip.unbind(1):
            high, state = self.step(low, state)
            outputs.append(high)
        return torch.stack(outputs, dim=1)
