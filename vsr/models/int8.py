"""Eight-bit quantisation of a generator's convolutions.

Inputs are quantised to 256 levels, with ranges measured on film, recurrent states included. Weights
are quantised to 255 levels, with one scale per output channel (Jacob et al., "Quantization and
Training of Neural Networks", 2018). The input of a residual pair is also quantised on its skip
connection. Memory and the frame stay f32 while they are warped, and the frame stays f32 in the
head.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.models.generator import Generator
from vsr.models.recurrent import EntryConv, ResidualPair

_HEAD = "head"
"""Name of the head, whose last three input channels, the frame, are not quantised."""
_CLIP_AT = {"steady.first": 2.5}
"""Largest input of a layer: a change of 64 code values isn't noise, and clipping leaves finer
levels for smaller changes."""

Ranges = Mapping[str, tuple[float, float]]
"""Least and greatest input of each quantised convolution, by its name in the generator."""
AnyGenerator = TypeVar("AnyGenerator", bound=Generator[Any])


class QuantisedConv(nn.Module):
    """A convolution whose input and weights are rounded as in eight-bit arithmetic."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        least: float,
        greatest: float,
        border: Sequence[int] = (),
        stride: tuple[int, int] = (1, 1),
    ) -> None:
        """Quantise inputs from `least`, at most 0, to `greatest`.

        `border` is the replicate padding, left, right, top and bottom; by default the input of a
        3x3 kernel is padded by zeros.
        """
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.border = list(border)
        self.stride = stride
        self.scale = max(greatest - least, 1e-6) / 255
        self.zero = round(-least / self.scale)  # an exact level, since borders are padded with it
        self.register_buffer(
            "weight_scales", weight.detach().flatten(1).abs().amax(1).clamp_min(1e-9) / 127
        )
        self.register_buffer("zeros", torch.zeros(len(weight), dtype=torch.int32))

    weight_scales: Tensor
    zeros: Tensor

    def extra_repr(self) -> str:
        """Show the values that no tensor holds."""
        return f"scale={self.scale}, zero={self.zero}, border={self.border}"

    def forward(self, x: Tensor) -> Tensor:
        """Quantise and convolve (B, C, H, W) to (B, D, H, W)."""
        return self.convolve(self.round(x))

    def round(self, x: Tensor) -> Tensor:
        """Round a tensor to the levels of the inputs."""
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, 255)

    def convolve(self, x: Tensor) -> Tensor:
        """Convolve rounded inputs (B, C, H, W) to (B, D, H, W)."""
        weight = torch.fake_quantize_per_channel_affine(
            self.weight, self.weight_scales, self.zeros, 0, -127, 127
        )
        if not self.border:
            return F.conv2d(x, weight, self.bias, padding=1)
        # Padding after rounding copies a quarter of the bytes.
        x = F.pad(x, self.border, mode="replicate")
        return F.conv2d(x, weight, self.bias, stride=self.stride)


class QuantisedEntryConv(QuantisedConv):
    """A trunk's first convolution, of pictures and memory.

    Memory is the output of convolutions and therefore channels last, while pictures are planes.
    Pictures are concatenated first and then appended to the memory pixel by pixel.
    """

    def __init__(self, entry: EntryConv, least: float, greatest: float) -> None:
        pictures, hidden, error = entry.weight.tensor_split((6, 6 + entry.memory), dim=1)
        weight = torch.cat((pictures, error, hidden), dim=1)
        super().__init__(weight, entry.bias, least, greatest)

    def forward(self, low: Tensor, past: Tensor, hidden: Tensor, *error: Tensor) -> Tensor:  # type: ignore[override]
        """Quantise and convolve inputs (B, C, H, W) to (B, D, H, W)."""
        pictures = self.round(torch.cat((low, past, *error), dim=1))
        last = [part.permute(0, 2, 3, 1) for part in (pictures, self.round(hidden))]
        return self.convolve(torch.cat(last, dim=3).permute(0, 3, 1, 2))


class QuantisedPair(nn.Module):
    """A residual pair whose skip connection is rounded too."""

    first: QuantisedConv
    second: QuantisedConv

    def __init__(self, pair: nn.Module) -> None:
        """`pair` has two `QuantisedConv`s."""
        super().__init__()
        self.first, self.second = pair.first, pair.second  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        x = self.first.round(x)
        change: Tensor = self.second(F.relu(self.first.convolve(x)))
        return x + change


class QuantisedHead(nn.Module):
    """A head that quantises its features, but not the frame beside them."""

    def __init__(self, head: nn.Conv2d, least: float, greatest: float) -> None:
        super().__init__()
        self.weight, self.bias, self.in_channels = head.weight, head.bias, head.in_channels
        self.range = (least, greatest)
        self.border = [head.weight.shape[-1] // 2] * 4
        self.of_features = QuantisedConv(head.weight[:, :-3], None, least, greatest, self.border)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map features and frame, (B, C + 3, H, W), to (B, 3 s^2, H, W)."""
        added: Tensor = self.of_features(inputs[:, :-3])
        low = F.pad(inputs[:, -3:], self.border, mode="replicate")
        return F.conv2d(low, self.weight[:, -3:], self.bias) + added


def is_calibrated(generator: Generator[Any]) -> bool:
    """Return whether the generator supports int8 and the ranges of all its layers are known."""
    layers = generator.int8_layers()
    return bool(layers) and set(layers) <= set(generator.int8_ranges)


@torch.inference_mode()
def calibrate(
    generator: Generator[Any], clips: Iterable[Iterable[Tensor]]
) -> dict[str, tuple[float, float]]:
    """Measure the ranges of the layers' inputs on clips of frames (3, H, W).

    Each clip starts with an empty state.
    """
    ranges: dict[str, tuple[float, float]] = {}

    def record(name: str, inputs: Sequence[Tensor]) -> None:
        least, greatest = ranges.get(name, (0.0, 0.0))
        for x in inputs:
            least, greatest = min(least, float(x.min())), max(greatest, float(x.max()))
        ranges[name] = least, min(greatest, _CLIP_AT.get(name, greatest))

    def observe(name: str) -> Any:
        if name == _HEAD:  # its features are never negative
            return lambda _, inputs: record(name, [inputs[0][:, :-3]])
        return lambda _, inputs: record(name, inputs)

    hooks = [
        generator.get_submodule(name).register_forward_pre_hook(observe(name))
        for name in generator.int8_layers()
    ]
    try:
        for clip in clips:
            state = None
            for low in clip:
                state = generator.start(low[None]) if state is None else state
                _, state = generator.step(low[None], state)
    finally:
        for hook in hooks:
            hook.remove()
    return ranges


def quantise(generator: AnyGenerator, ranges: Ranges) -> AnyGenerator:
    """Return a copy with its `int8_layers` quantised.

    Raises KeyError if the range of a layer isn't known.
    """
    twin = copy.deepcopy(generator)
    for name in generator.int8_layers():
        _replace(twin, name, _quantised(name, twin.get_submodule(name), ranges[name]))
    for name, module in list(twin.named_modules()):
        if isinstance(module, ResidualPair):
            _replace(twin, name, QuantisedPair(module))
    return twin


def _quantised(name: str, layer: nn.Module, limits: tuple[float, float]) -> nn.Module:
    assert isinstance(layer, nn.Conv2d)
    if name == _HEAD:
        return QuantisedHead(layer, *limits)
    if isinstance(layer, EntryConv) and layer.memory:
        return QuantisedEntryConv(layer, *limits)
    return QuantisedConv(layer.weight, layer.bias, *limits)


def _replace(generator: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(generator.get_submodule(parent), last, module)
