"""Eight-bit arithmetic for the convolutions of a `Recurrent` generator.

Their inputs are rounded to 256 levels, from ranges that were seen on film, recurrent states
included, and weights to 255 levels, a scale for each output channel (Jacob et al., Quantization and
Training of Neural Networks, 2018); so is what goes around a pair of them. Memory and the frame stay
f32 while they are laid upon each other, and so does the frame on its way through the head.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.models.generator import Generator
from vsr.models.recurrent import Recurrent

_MOST = {"steady.first": 2.5}
"""Inputs are cut off there, whatever they reach: what changes by 64 code values isn't noise, and
finer levels are left for what may be."""

Ranges = Mapping[str, tuple[float, float]]
"""Least and greatest input of each convolution that is rounded, by its name in the generator."""


class QuantisedConv(nn.Module):
    """A 3x3 convolution whose input and weights are rounded as eight-bit arithmetic does."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        least: float,
        greatest: float,
        border: Sequence[int] = (),
    ) -> None:
        """Inputs are taken to lie between `least`, 0 or below, and `greatest`.

        `border` is what is added to their sides by repeating them, left, right, top and bottom;
        without one, zeros are.
        """
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.border = list(border)
        self.scale = max(greatest - least, 1e-6) / 255
        self.zero = round(-least / self.scale)  # a level of its own: borders are filled with it
        self.register_buffer(
            "weight_scales", weight.detach().flatten(1).abs().amax(1).clamp_min(1e-9) / 127
        )
        self.register_buffer("zeros", torch.zeros(len(weight), dtype=torch.int32))

    weight_scales: Tensor
    zeros: Tensor

    def extra_repr(self) -> str:
        """What no tensor holds: networks that are kept are known by it."""
        return f"scale={self.scale}, zero={self.zero}, border={self.border}"

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H, W)."""
        return self.convolve(self.round(x))

    def round(self, x: Tensor) -> Tensor:
        """Any tensor to the levels that inputs have."""
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, 255)

    def convolve(self, x: Tensor) -> Tensor:
        """What has been rounded, (B, C, H, W), to (B, D, H, W)."""
        weight = torch.fake_quantize_per_channel_affine(
            self.weight, self.weight_scales, self.zeros, 0, -127, 127
        )
        if not self.border:
            return F.conv2d(x, weight, self.bias, padding=1)
        # Once rounded, there is a quarter to copy.
        return F.conv2d(F.pad(x, self.border, mode="replicate"), weight, self.bias)


class QuantisedEntryConv(QuantisedConv):
    """A generator's first convolution, of pictures and memory.

    Memory comes in as convolutions left it, channels last, and pictures as planes: these are
    put together first, and then follow it pixel by pixel.
    """

    def __init__(self, entry: nn.Conv2d, memory: int, least: float, greatest: float) -> None:
        pictures, hidden, error = entry.weight.tensor_split((6, 6 + memory), dim=1)
        weight = torch.cat((pictures, error, hidden), dim=1)
        super().__init__(weight, entry.bias, least, greatest)

    def forward(self, low: Tensor, past: Tensor, hidden: Tensor, *error: Tensor) -> Tensor:  # type: ignore[override]
        """Parts (B, C, H, W) to (B, D, H, W)."""
        pictures = self.round(torch.cat((low, past, *error), dim=1))
        last = [part.permute(0, 2, 3, 1) for part in (pictures, self.round(hidden))]
        return self.convolve(torch.cat(last, dim=3).permute(0, 3, 1, 2))


class QuantisedPair(nn.Module):
    """A residual pair whose input is rounded on its way around, too."""

    first: QuantisedConv
    second: QuantisedConv

    def __init__(self, pair: nn.Module) -> None:
        """`pair` has its convolutions rounded already."""
        super().__init__()
        self.first, self.second = pair.first, pair.second  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        x = self.first.round(x)
        change: Tensor = self.second(F.relu(self.first.convolve(x)))
        return x + change


class QuantisedHead(nn.Module):
    """A generator's head that rounds the features it sees, and not the frame beside them."""

    def __init__(self, head: nn.Conv2d, least: float, greatest: float) -> None:
        super().__init__()
        self.weight, self.bias, self.in_channels = head.weight, head.bias, head.in_channels
        self.range = (least, greatest)
        self.of_features = QuantisedConv(head.weight[:, :-3], None, least, greatest, (1, 1, 1, 1))

    def forward(self, seen: Tensor) -> Tensor:
        """Features and frame, (B, C + 3, H, W), to (B, 3 s^2, H, W)."""
        added: Tensor = self.of_features(seen[:, :-3])
        low = F.pad(seen[:, -3:], (1, 1, 1, 1), mode="replicate")
        return F.conv2d(low, self.weight[:, -3:], self.bias) + added


def quantised_layers(generator: Recurrent) -> dict[str, nn.Conv2d]:
    """The convolutions that are rounded throughout, by name: all but the head."""
    return {
        name: layer
        for name, layer in generator.named_modules()
        if isinstance(layer, nn.Conv2d) and name != "head"
    }


def is_calibrated(generator: Generator[Any]) -> bool:
    """Whether all ranges are known that rounding a generator needs."""
    if not isinstance(generator, Recurrent):
        return False
    return {*quantised_layers(generator), "head"} <= set(generator.int8_ranges)


@torch.inference_mode()
def calibrate(
    generator: Recurrent, clips: Iterable[Iterable[Tensor]]
) -> dict[str, tuple[float, float]]:
    """The ranges of a generator's inputs on clips of frames (3, H, W), each from its start."""
    seen: dict[str, tuple[float, float]] = {}
    hooks = []
    for name, layer in quantised_layers(generator).items():

        def look(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            least, greatest = seen.get(name, (0.0, 0.0))
            for x in inputs:
                least, greatest = min(least, float(x.min())), max(greatest, float(x.max()))
            seen[name] = least, min(greatest, _MOST.get(name, greatest))

        hooks.append(layer.register_forward_pre_hook(look))

    def look_at_features(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen["head"] = 0.0, max(seen.get("head", (0.0, 0.0))[1], float(inputs[0][:, :-3].max()))

    hooks.append(generator.head.register_forward_pre_hook(look_at_features))
    try:
        for clip in clips:
            state = None
            for low in clip:
                state = generator.start(low[None]) if state is None else state
                _, state = generator.step(low[None], state)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def quantise(generator: Recurrent, ranges: Ranges) -> Recurrent:
    """A copy whose trunk rounds. Raises KeyError where the range of a layer isn't known."""
    twin = copy.deepcopy(generator)
    for name, layer in quantised_layers(twin).items():
        parent, _, last = name.rpartition(".")
        rounded = QuantisedConv(layer.weight, layer.bias, *ranges[name])
        setattr(twin.get_submodule(parent), last, rounded)
    if generator.memory:
        entry = QuantisedEntryConv(generator.entry, generator.memory, *ranges["entry"])
        twin.entry = entry  # type: ignore[assignment]
    twin.trunk = nn.Sequential(*map(QuantisedPair, twin.trunk))
    twin.head = QuantisedHead(generator.head, *ranges["head"])  # type: ignore[assignment]
    return twin
