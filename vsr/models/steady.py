"""A temporal filter along motion for the output of networks of single pictures.

Such networks upscale each frame by itself, and the texture that they add changes from frame to
frame. Here the previous output is warped along the motion of the input, and mixed into the next one
where the two differ as by noise. Weights from the differences of the inputs would blur more for the
same reduction of flicker.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.tensors import moved_grid, sample
from vsr.models.flow import PyramidFlow
from vsr.models.generator import Generator
from vsr.models.reach import Reach
from vsr.models.recurrent import TemporalFilter

_NO_PAST = -100.0
"""Samples of the output before the first frame of a shot."""
_BYTES_PER_SAMPLE = 100
"""Memory of the filter for each sample of an output's plane, estimated."""
_FLOW_REACH = 30
"""Reach of the finer levels of motion, with a reserve."""


class SteadyState(NamedTuple):
    """The state between two frames of a shot."""

    low: Tensor
    """(B, 3, H, W): the previous input."""
    high: Tensor
    """(B, 3 s^2, H, W): the previous output, all samples of a low-resolution pixel as channels."""


class Steadied(Generator[SteadyState]):
    """A generator without a state, its output filtered along the motion of its input.

    x_t, (x_{t-1}, y_{t-1}) -> y_t: the previous output is warped along the flow between the inputs,
    and a `TemporalFilter` mixes it into the next one.
    """

    state_type = SteadyState

    def __init__(
        self,
        generator: Generator[Any],
        flow: PyramidFlow | None,
        temporal_filter: TemporalFilter,
    ) -> None:
        """`generator` has an empty state; flow and filter are those of a trained model."""
        assert flow is not None
        super().__init__()
        self.inner = generator
        self.scale = generator.scale
        self.supports_half, self.compiles = generator.supports_half, generator.compiles
        self.software = generator.software
        self.flow = flow
        self.filter = temporal_filter

    @property
    def architecture(self) -> str:  # type: ignore[override]
        """Identify the network's class in cache keys."""
        return self.inner.architecture

    def start(self, low: Tensor) -> SteadyState:
        """Return the state before the first frame of a shot, (B, 3, H, W)."""
        batch, _, height, width = low.shape
        return SteadyState(low, low.new_full((batch, 3 * self.scale**2, height, width), _NO_PAST))

    def step(
        self, low: Tensor, state: SteadyState, coarse: Tensor | None = None
    ) -> tuple[Tensor, SteadyState]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and return the next state.

        `coarse` is the coarse flow of a tile, see `PyramidFlow`.
        """
        high, _ = self.inner.step(low, self.inner.start(low))
        assert self.flow is not None
        flow = self.flow(low, state.low, coarse)
        past = F.pixel_shuffle(state.high, self.scale)
        size = [self.scale * side for side in flow.shape[-2:]]
        flow = self.scale * F.interpolate(flow, size=size, mode="bilinear")
        past = sample(past, moved_grid(flow))
        past = torch.where(past > _NO_PAST / 2, past, high)
        high = self.filter(high, past)
        return high, SteadyState(low, F.pixel_unshuffle(high, self.scale))

    def step_bytes_per_pixel(self) -> int:
        """Estimate the memory of a step per low-resolution pixel, states and buffers included."""
        return self.inner.step_bytes_per_pixel() + _BYTES_PER_SAMPLE * self.scale**2

    def reach(self) -> Reach | None:
        """Return the reach of outputs, that of the network and the finer levels of motion."""
        inner = self.inner.reach()
        return None if inner is None else Reach(max(inner.pixels, _FLOW_REACH), inner.grid)

    def description(self) -> dict[str, Any]:
        """Describe all that determines the output besides the tensors, for cache keys."""
        assert self.flow is not None
        return {**self.inner.description(), "steady": 1, "flow_levels": self.flow.levels}
