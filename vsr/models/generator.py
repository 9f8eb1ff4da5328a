"""What every generator offers: `start`, `step`, and `forward` as a loop over them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

State = TypeVar("State", bound=tuple[Tensor, ...])
"""All that one frame hands to the next: a (named) tuple of tensors, batch first."""


class Generator(nn.Module, ABC, Generic[State]):
    """A network that upscales film frame by frame, its state passed in and out."""

    scale: int
    """Output side over input side."""
    int8_ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})
    """What eight-bit arithmetic rounds by, see `models.int8`; empty where nobody measured."""

    @abstractmethod
    def start(self, low: Tensor) -> State:
        """The state before the first frame of a shot; `low` is that frame, (B, 3, H, W)."""

    @abstractmethod
    def step(self, low: Tensor, state: State) -> tuple[Tensor, State]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and give the next state."""

    def forward(self, clip: Tensor) -> Tensor:
        """Upscale (B, T, 3, H, W) to (B, T, 3, sH, sW): `step`, in order."""
        return self.unroll(clip, self.start(clip[:, 0]))[0]

    def unroll(self, clip: Tensor, state: State) -> tuple[Tensor, State]:
        """Upscale the next frames of a film, (B, T, 3, H, W), and give the state after them."""
        outputs = []
        for low in clip.unbind(1):
            high, state = self.step(low, state)
            outputs.append(high)
        return torch.stack(outputs, dim=1), state


class NoState(NamedTuple):
    """What a still-image network hands to the next frame: nothing."""


class StillGenerator(Generator[NoState]):
    """A generator that looks at one picture at a time."""

    def start(self, low: Tensor) -> NoState:
        """Nothing to remember."""
        return NoState()

    def step(self, low: Tensor, state: NoState) -> tuple[Tensor, NoState]:
        """Upscale one picture, (B, 3, H, W) to (B, 3, sH, sW)."""
        return self.upscale(low), state

    @abstractmethod
    def upscale(self, low: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, sH, sW), RGB in [0, 1]."""


def multiplies_per_pixel(generator: Generator[Any]) -> int:
    """Multiply-accumulates of a step's convolutions for each low-resolution pixel."""
    side = 64
    total = 0

    def count(layer: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        taps = layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels // layer.groups
        total += output.numel() * taps

    hooks = [
        layer.register_forward_hook(count)
        for layer in generator.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.no_grad():
        low = next(generator.parameters()).new_zeros(1, 3, side, side)
        generator.step(low, generator.start(low))
    for hook in hooks:
        hook.remove()
    return round(total / side**2)
