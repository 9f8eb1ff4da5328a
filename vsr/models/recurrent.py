"""The video generator: one recurrent cell, its trunk at the input's resolution."""

from typing import Literal, NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.config import Config
from vsr.models.flow import PyramidFlow
from vsr.models.generator import Generator
from vsr.tensors import warp


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
    """Feature maps handed to the next frame; 0 makes a single-image network."""
    flow_channels: NonNegativeInt = 16
    """Feature maps of the motion network; 0 leaves memory where it lies, unaligned."""
    flow_levels: PositiveInt = 4
    """Halvings in the motion network's pyramid."""


class RecurrentState(NamedTuple):
    """All that one frame hands to the next; start afresh at a cut."""

    low: Tensor
    """(B, 3, H, W): the previous input."""
    hidden: Tensor
    """(B, memory, H, W): what the trunk chose to remember."""


class ResidualPair(nn.Module):
    """x + conv(relu(conv(x))), 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        change: Tensor = self.second(F.relu(self.first(x)))
        return x + change


class Recurrent(Generator[RecurrentState]):
    """Upscale each frame with the help of what the frames before it left behind.

    (x_t, x_{t-1}, h_{t-1}) -> (y_t, h_t): x_{t-1} and h_{t-1} are warped onto x_t along
    the flow between the two frames; a plain trunk turns all three into features; the
    head turns features and x_t into the picture. Its taps on x_t begin as bilinear
    interpolation, so that the trunk only learns what that leaves out.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.scale = config.scale
        self.memory = config.memory
        channels = config.channels
        self.flow = (
            PyramidFlow(config.flow_channels, config.flow_levels)
            if config.memory and config.flow_channels
            else None
        )
        # With memory come the previous frame and, where it was warped, what the warp got wrong.
        previous = (6 if self.flow else 3) if config.memory else 0
        self.entry = nn.Conv2d(3 + previous + config.memory, channels, 3, padding=1)
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
        """Nothing remembered; the frame before the first is the first."""
        batch, _, height, width = low.shape
        return RecurrentState(low, low.new_zeros(batch, self.memory, height, width))

    def step(self, low: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and give the next state."""
        features = self.features(low, state)
        high = F.pixel_shuffle(self.head(torch.cat((features, low), dim=1)), self.scale)
        return high, RecurrentState(low, features[:, : self.memory])

    def features(self, low: Tensor, state: RecurrentState) -> Tensor:
        """What the head sees beside the frame, (B, C, H, W); its first channels are remembered."""
        trunk: Tensor = self.trunk(F.relu(self.entry(self._seen(low, state))))
        return F.relu(self.exit(trunk))

    def _seen(self, low: Tensor, state: RecurrentState) -> Tensor:
        """What the trunk looks at: this frame, and the past laid upon it."""
        if not self.memory:
            return low
        if self.flow is None:
            return torch.cat((low, state.low, state.hidden), dim=1)
        flow = self.flow(low, state.low)
        past = warp(torch.cat((state.low, state.hidden), dim=1), flow)
        return torch.cat((low, past, (low - past[:, :3]).abs()), dim=1)


def bilinear_kernel(scale: int) -> Tensor:
    """Weights (3 s^2, 3, 3, 3) that make a convolution and a shuffle interpolate bilinearly.

    With replicated borders it equals `interpolate(mode="bilinear", align_corners=False)`.
    """
    # Where each output sample of a cell lies, in input pixels from the cell's middle.
    offset = (torch.arange(scale) + 0.5) / scale - 0.5
    taps = (1 - (offset[:, None] - torch.tensor([-1.0, 0.0, 1.0])).abs()).clamp_min(0)  # (s, 3)
    cell = torch.einsum("iy,jx->ijyx", taps, taps).reshape(scale**2, 3, 3)
    kernel = torch.zeros(3, scale**2, 3, 3, 3)
    for colour in range(3):
        kernel[colour, :, colour] = cell
    return kernel.flatten(0, 1)
