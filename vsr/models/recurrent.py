"""The video generator: a recurrent network whose trunk runs at the input's resolution."""

import math
from typing import Any, Literal, NamedTuple, Self

import torch
from pydantic import NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.config import Config
from vsr.imaging.tensors import moved_grid, sample
from vsr.models.flow import PyramidFlow
from vsr.models.generator import Generator

_WINDOW = 5
"""Side in pixels of the window whose mean separates noise from change."""
_INPUT_GAIN = 10.0
"""Scales the filter's inputs: differences of a few code values are close to zero."""
_MAX_PAST_WEIGHT = 0.9
"""Largest weight of the past, so that errors fade."""
_INITIAL_LOGIT = -3.0
"""Logit of the past's weight in an untrained filter."""
_OFF_LOGIT = -100.0
"""Logit at which the past's weight is zero in f32."""
_MAX_LOGIT_SHIFT = 3.0
"""Shift of the logit at strength 1: more of it blurs film by ghosts of what has moved."""
_TRAINED_STRENGTH = 0.5
"""Strength at which a filter is as it was trained."""


class RecurrentConfig(Config):
    """The shape of a `Recurrent` generator."""

    kind: Literal["recurrent"] = "recurrent"
    scale: Literal[2, 4] = 4
    """Output side over input side."""
    channels: PositiveInt = 32
    """Feature maps of each layer of the trunk."""
    blocks: PositiveInt = 2
    """Residual pairs of 3x3 convolutions in the trunk."""
    memory: NonNegativeInt = 32
    """Feature maps passed to the next frame; 0 gives a single-image network."""
    flow_channels: NonNegativeInt = 16
    """Feature maps of the motion network; 0 leaves the memory unaligned."""
    flow_levels: PositiveInt = 4
    """Downsamplings by 2 in the motion network's pyramid."""
    steadies: bool = False
    """Whether each frame is first averaged with the filtered previous frames, where they differ by
    noise alone; needs memory and motion."""

    @model_validator(mode="after")
    def _steadies_along_motion(self) -> Self:
        if self.steadies and not (self.memory and self.flow_channels):
            raise ValueError("steadies needs memory and flow_channels above 0")
        return self


class RecurrentState(NamedTuple):
    """The state between two frames of a shot."""

    low: Tensor
    """(B, 3, H, W): the previous input, after the temporal filter if there is one."""
    hidden: Tensor
    """(B, memory, H, W): features of the trunk."""


class TemporalFilter(nn.Module):
    """A recursive temporal filter along motion, with a predicted weight of the past per pixel.

    With noise, two frames differ strongly at a pixel and little in the mean of its window. With a
    wrong warp or a change of content, they differ in the mean as well. A small network predicts
    the weight from both. A weight k reduces noise by the factor sqrt((1 - k) / (1 + k)).
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(9, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 1, 3, padding=1)
        with torch.no_grad():
            assert self.second.bias is not None
            self.second.bias.fill_(_INITIAL_LOGIT)

    def forward(self, low: Tensor, past: Tensor) -> Tensor:
        """Filter a frame with the warped past; all (B, 3, H, W)."""
        change = past - low
        return low + self.weight(change) * change

    def weight(self, change: Tensor) -> Tensor:
        """Predict the weight of the past (B, 1, H, W) from its difference (B, 3, H, W)."""
        size = change.abs()
        # The absolute value leaves the means of sizes as they are: they are never negative.
        means = F.avg_pool2d(
            torch.cat((change, size), dim=1), _WINDOW, 1, _WINDOW // 2, count_include_pad=False
        ).abs()
        inputs = _INPUT_GAIN * torch.cat((size, means), dim=1)
        weight = torch.sigmoid(self.second(F.relu(self.first(inputs))))
        return _MAX_PAST_WEIGHT * weight

    @torch.no_grad()
    def set_strength(self, strength: float) -> None:
        """Change the odds of the past: none at 0, as trained at 0.5, twenty times that at 1.

        Between 0 and 0.5, the odds grow linearly; from there on exponentially. Call it once, on
        trained weights.
        """
        assert self.second.bias is not None
        if strength <= 0:
            self.second.weight.zero_()
            self.second.bias.fill_(_OFF_LOGIT)
            return
        relative = strength / _TRAINED_STRENGTH
        shift = math.log(relative) if relative < 1 else _MAX_LOGIT_SHIFT * (relative - 1)
        self.second.bias.add_(shift)


class EntryConv(nn.Conv2d):
    """The trunk's first convolution, on its concatenated inputs."""

    def __init__(self, in_channels: int, out_channels: int, memory: int) -> None:
        """`memory` of the `in_channels` are recurrent features."""
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.memory = memory

    def forward(self, *inputs: Tensor) -> Tensor:
        """Convolve inputs (B, C, H, W) to (B, D, H, W)."""
        return super().forward(torch.cat(inputs, dim=1))


class ResidualPair(nn.Module):
    """Residual block x + conv(relu(conv(x))) of 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        change: Tensor = self.second(F.relu(self.first(x)))
        return x + change


class Recurrent(Generator[RecurrentState]):
    """Upscale each frame from itself, the previous frame and recurrent features.

    (x_t, x_{t-1}, h_{t-1}) -> (y_t, h_t). Alignment: x_{t-1} and h_{t-1} are warped onto x_t along
    the flow between the two frames. Propagation: a plain trunk turns all three into features.
    Reconstruction: the head turns features and x_t into the picture. Its weights for x_t are
    initialised to bilinear interpolation, so that the trunk only learns the residual.
    """

    state_type = RecurrentState
    architecture = "recurrent"

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.scale = config.scale
        self.memory = config.memory
        self.filters_input = config.steadies
        channels = config.channels
        self.flow = (
            PyramidFlow(config.flow_channels, config.flow_levels)
            if config.memory and config.flow_channels
            else None
        )
        self.steady = TemporalFilter() if config.steadies else None
        # Memory comes with the previous frame and, if that was warped, the error of the warp.
        previous = (6 if self.flow else 3) if config.memory else 0
        self.entry = EntryConv(3 + previous + config.memory, channels, config.memory)
        self.trunk = nn.Sequential(*(ResidualPair(channels) for _ in range(config.blocks)))
        self.exit = nn.Conv2d(channels, max(channels, config.memory), 3, padding=1)
        self.head = nn.Conv2d(
            max(channels, config.memory) + 3,
            3 * config.scale**2,
            3,
            padding=1,
            padding_mode="replicate",
        )
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
            self.head.weight[:, -3:] = bilinear_kernel(config.scale)

    def start(self, low: Tensor) -> RecurrentState:
        """Return zero features; the frame before the first is the first itself."""
        batch, _, height, width = low.shape
        return RecurrentState(low, low.new_zeros(batch, self.memory, height, width))

    def step(
        self, low: Tensor, state: RecurrentState, coarse: Tensor | None = None
    ) -> tuple[Tensor, RecurrentState]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and return the next state.

        `coarse` is the coarse flow of a tile, see `PyramidFlow`.
        """
        features, low = self.features(low, state, coarse)
        high = F.pixel_shuffle(self.head(torch.cat((features, low), dim=1)), self.scale)
        return high, RecurrentState(low, features[:, : self.memory])

    def features(
        self, low: Tensor, state: RecurrentState, coarse: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the head's inputs: features (B, C, H, W) and the frame, filtered if the model has
        a temporal filter. The first `memory` features are the next state. `coarse` is the coarse
        flow of a tile, see `PyramidFlow`.
        """
        low, inputs = self._aligned_inputs(low, state, coarse)
        trunk: Tensor = self.trunk(F.relu(self.entry(*inputs)))
        return F.relu(self.exit(trunk)), low

    def set_denoise(self, strength: float) -> None:
        """Change the strength of the temporal filter, see `TemporalFilter.set_strength`."""
        if self.steady is None:
            super().set_denoise(strength)
        else:
            self.steady.set_strength(strength)

    def trunk_layers(self) -> dict[str, nn.Conv2d]:
        """Convolutions of the trunk, its first and last included; empty without memory."""
        return {
            name: layer
            for name, layer in self.named_modules()
            if self.memory
            and isinstance(layer, nn.Conv2d)
            and name.split(".")[0] in ("entry", "trunk", "exit")
        }

    def int8_layers(self) -> tuple[str, ...]:
        """Names of all convolutions."""
        return tuple(name for name, m in self.named_modules() if isinstance(m, nn.Conv2d))

    def step_bytes_per_pixel(self) -> int:
        """Estimate the memory of a step per low-resolution pixel, states and buffers included.

        Measured for `tiny`: 1,100 bytes by torch, 1,050 by OpenVINO.
        """
        return 36 * (self.head.in_channels - 3) + 12 * self.scale**2

    def description(self) -> dict[str, Any]:
        """Describe all that determines the output besides the tensors, for cache keys."""
        levels = self.flow.levels if self.flow is not None else 0
        return {**super().description(), "memory": self.memory, "flow_levels": levels}

    def _aligned_inputs(
        self, low: Tensor, state: RecurrentState, coarse: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the frame, and the trunk's inputs: the frame and the aligned past."""
        if not self.memory:
            return low, (low,)
        if self.flow is None:
            return low, (low, state.low, state.hidden)
        flow = self._flow(low, state.low, coarse)
        grid = moved_grid(flow)
        past, hidden = sample(state.low, grid), sample(state.hidden, grid)
        if self.steady is not None:
            low = self.steady(low, past)
        return low, (low, past, hidden, (low - past).abs())

    def _flow(self, low: Tensor, previous: Tensor, coarse: Tensor | None) -> Tensor:
        assert self.flow is not None
        if torch.is_grad_enabled() and not next(self.flow.parameters()).requires_grad:
            # A frozen flow is a constant: its backward pass would cost a tenth of the step.
            low, previous = low.detach(), previous.detach()
        flow: Tensor = self.flow(low, previous, coarse)
        return flow


def bilinear_kernel(scale: int) -> Tensor:
    """Return weights (3 s^2, 3, 3, 3) that upscale bilinearly by a convolution and a pixel shuffle.

    With replicated borders, the result equals `interpolate(mode="bilinear", align_corners=False)`.
    """
    # Position of each output sample of a cell, in input pixels from the centre of the cell.
    offset = (torch.arange(scale) + 0.5) / scale - 0.5
    taps = (1 - (offset[:, None] - torch.tensor([-1.0, 0.0, 1.0])).abs()).clamp_min(0)  # (s, 3)
    cell = torch.einsum("iy,jx->ijyx", taps, taps).reshape(scale**2, 3, 3)
    kernel = torch.zeros(3, scale**2, 3, 3, 3)
    for colour in range(3):
        kernel[colour, :, colour] = cell
    return kernel.flatten(0, 1)
