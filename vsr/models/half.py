"""Half-precision (f16) copies of generators.

Where f16 is too coarse, f32 is kept: for motion, for the positions at which memory is sampled, and
for the frame itself, in the temporal filter and on its way around the trunk.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.models.generator import Generator
from vsr.models.recurrent import EntryConv
from vsr.models.steady import Steadied


class HalfConv(nn.Module):
    """A 3x3 convolution in f16, whatever the type of its input; sums are f32, as in cuDNN."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.weight = nn.Parameter(conv.weight.detach().half(), requires_grad=False)
        self.bias = nn.Parameter(conv.bias.detach().half(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W) to (B, D, H, W), f16."""
        return F.conv2d(x.half(), self.weight, self.bias, padding=1)


class HalfEntryConv(HalfConv):
    """A trunk's first convolution in f16, on its concatenated inputs."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Convolve inputs (B, C, H, W) to (B, D, H, W), f16."""
        return super().forward(torch.cat([part.half() for part in inputs], dim=1))


class HalfGenerator(Generator[Any]):
    """A generator that runs entirely in f16; its inputs and outputs are f32."""

    def __init__(self, generator: Generator[Any]) -> None:
        super().__init__()
        self.scale = generator.scale
        self.state_type = generator.state_type
        self.inner = copy.deepcopy(generator).half()

    def start(self, low: Tensor) -> Any:
        """Return the state before the first frame of a shot, (B, 3, H, W)."""
        return self.inner.start(low.half())

    def step(self, low: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and return the next state."""
        high, following = self.inner.step(low.half(), state)
        return high.float(), following


def to_half(generator: Generator[Any]) -> Generator[Any]:
    """Return a copy that computes in f16 where that changes no code value.

    If the generator has `trunk_layers`, these alone become f16: of a `Recurrent` generator's
    state, the frame stays f32 and the memory becomes f16.
    """
    if isinstance(generator, Steadied):
        return Steadied(to_half(generator.inner), generator.flow, generator.filter)
    if not generator.trunk_layers():
        return HalfGenerator(generator)
    twin = copy.deepcopy(generator)
    for name, layer in twin.trunk_layers().items():
        parent, _, last = name.rpartition(".")
        layer_type = HalfEntryConv if isinstance(layer, EntryConv) else HalfConv
        setattr(twin.get_submodule(parent), last, layer_type(layer))
    return twin


def is_half(generator: nn.Module) -> bool:
    """Return whether any part of a network computes in f16."""
    return any(weight.dtype == torch.float16 for weight in generator.parameters())
