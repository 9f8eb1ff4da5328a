"""Half-precision arithmetic for the convolutions of a generator.

What needs finer steps stays f32: motion, the positions that memory is warped from, and the frame
itself, on its way through the steadier and around the trunk.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.models.generator import Generator
from vsr.models.recurrent import EntryConv, Recurrent


class HalfConv(nn.Module):
    """A 3x3 convolution in f16, whatever its input is; sums are f32 inside, as cuDNN does."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.weight = nn.Parameter(conv.weight.detach().half(), requires_grad=False)
        self.bias = nn.Parameter(conv.bias.detach().half(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H, W), f16."""
        return F.conv2d(x.half(), self.weight, self.bias, padding=1)


class HalfEntryConv(HalfConv):
    """A generator's first convolution, of parts side by side."""

    def forward(self, *seen: Tensor) -> Tensor:
        """Parts (B, C, H, W) to (B, D, H, W), f16."""
        return super().forward(torch.cat([part.half() for part in seen], dim=1))


class HalfGenerator(Generator[Any]):
    """A generator without motion, all of it in f16; takes and gives f32."""

    def __init__(self, generator: Generator[Any]) -> None:
        super().__init__()
        self.scale = generator.scale
        self.inner = copy.deepcopy(generator).half()

    def start(self, low: Tensor) -> Any:
        """The state before the first frame of a shot, (B, 3, H, W)."""
        return self.inner.start(low.half())

    def step(self, low: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and give the next state."""
        high, following = self.inner.step(low.half(), state)
        return high.float(), following


def to_half(generator: Generator[Any]) -> Generator[Any]:
    """A copy that computes in f16 where that costs no code value.

    The state of a `Recurrent` generator's copy stays a frame in f32 and memory in f16.
    """
    if not isinstance(generator, Recurrent) or not generator.memory:
        return HalfGenerator(generator)
    twin = copy.deepcopy(generator)
    for name, layer in _trunk_layers(twin).items():
        parent, _, last = name.rpartition(".")
        kind = HalfEntryConv if isinstance(layer, EntryConv) else HalfConv
        setattr(twin.get_submodule(parent), last, kind(layer))
    return twin


def is_half(generator: nn.Module) -> bool:
    """Whether any of it computes in f16."""
    return any(weight.dtype == torch.float16 for weight in generator.parameters())


def _trunk_layers(generator: Recurrent) -> dict[str, nn.Conv2d]:
    """The convolutions of the trunk, its first and last ones included, by name."""
    return {
        name: layer
        for name, layer in generator.named_modules()
        if isinstance(layer, nn.Conv2d) and name.split(".")[0] in ("entry", "trunk", "exit")
    }
