"""The video generator: one recurrent cell, its trunk at the input's resolution."""

from typing import Literal, NamedTuple, Self

import torch
from pydantic import NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.config import Config
from vsr.imaging.tensors import moved_grid, sample
from vsr.models.flow import PyramidFlow
from vsr.models.generator import Generator

_AROUND = 5
"""Side in pixels of the surroundings by which noise is told from change."""
_ENLARGED = 10.0
"""Differences of some code values are small numbers."""
_MOST_OF_THE_PAST = 0.9
"""The largest share that the past may have: what was wrong must fade."""
_LITTLE = -3.0
"""Before the sigmoid: the share that an untrained filter takes."""


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
    steadies: bool = False
    """Whether each frame is first averaged with what the frames before it settled on, where they
    agree but for noise; needs memory and motion."""

    @model_validator(mode="after")
    def _steadies_along_motion(self) -> Self:
        if self.steadies and not (self.memory and self.flow_channels):
            raise ValueError("steadies needs memory and flow_channels above 0")
        return self


class RecurrentState(NamedTuple):
    """All that one frame hands to the next; start afresh at a cut."""

    low: Tensor
    """(B, 3, H, W): the previous input, steadied if the generator does."""
    hidden: Tensor
    """(B, memory, H, W): what the trunk chose to remember."""


class TemporalFilter(nn.Module):
    """A recursive temporal filter along motion: how much of the past each pixel takes in.

    Noise is where two frames differ much at a pixel and little in the mean of its
    surroundings; what was warped wrongly, or has changed, differs in the mean as well. A small
    network judges by both. Noise that is left falls by sqrt((1 - k) / (1 + k)) for a share k.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(9, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 1, 3, padding=1)
        with torch.no_grad():
            assert self.second.bias is not None
            self.second.bias.fill_(_LITTLE)

    def forward(self, low: Tensor, past: Tensor) -> Tensor:
        """A frame and the past laid upon it, (B, 3, H, W) both, to the steadied frame."""
        change = past - low
        size = change.abs()
        # Twice the absolute value does the mean of sizes no harm.
        around = F.avg_pool2d(
            torch.cat((change, size), dim=1), _AROUND, 1, _AROUND // 2, count_include_pad=False
        ).abs()
        seen = _ENLARGED * torch.cat((size, around), dim=1)
        share = _MOST_OF_THE_PAST * torch.sigmoid(self.second(F.relu(self.first(seen))))
        return low + share * change


class EntryConv(nn.Conv2d):
    """The trunk's first convolution, of all that it looks at side by side."""

    def forward(self, *seen: Tensor) -> Tensor:
        """Parts (B, C, H, W) to (B, D, H, W)."""
        return super().forward(torch.cat(seen, dim=1))


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
        self.steady = TemporalFilter() if config.steadies else None
        # With memory come the previous frame and, where it was warped, what the warp got wrong.
        previous = (6 if self.flow else 3) if config.memory else 0
        self.entry = EntryConv(3 + previous + config.memory, channels, 3, padding=1)
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

    def step(
        self, low: Tensor, state: RecurrentState, coarse: Tensor | None = None
    ) -> tuple[Tensor, RecurrentState]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and give the next state.

        `coarse` is for parts of a frame, see `PyramidFlow`.
        """
        features, low = self.features(low, state, coarse)
        high = F.pixel_shuffle(self.head(torch.cat((features, low), dim=1)), self.scale)
        return high, RecurrentState(low, features[:, : self.memory])

    def features(
        self, low: Tensor, state: RecurrentState, coarse: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the head sees: features (B, C, H, W), of which the first channels are remembered,
        and the frame, steadied if the model does. `coarse` is for parts of a frame, see
        `PyramidFlow`.
        """
        low, seen = self._look(low, state, coarse)
        trunk: Tensor = self.trunk(F.relu(self.entry(*seen)))
        return F.relu(self.exit(trunk)), low

    def _look(
        self, low: Tensor, state: RecurrentState, coarse: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The frame, and what the trunk looks at: it, and the past laid upon it."""
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
