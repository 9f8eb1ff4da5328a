"""Smaller integer scales from one network: antialiased resampling, folded into its head.

A pixel shuffle rearranges samples, and resampling by a ratio of integers is the same linear filter
at every low-resolution pixel. So the last convolution of a `Recurrent` generator and the filter are
one convolution with a larger kernel, and no sample of the larger picture is computed.

Beyond the border, the filter sees the picture that the head computes from repeated features, where
`interpolate` would shorten its kernel.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.imaging.tensors import resize_bicubic
from vsr.models.generator import Generator
from vsr.models.reach import Reach
from vsr.models.recurrent import Recurrent

_REACH = 2
"""Cells on each side of a cell that the filter reaches, at most."""


class Resampled(Generator[Any]):
    """Any generator, its output resampled to a smaller integer scale, which computes it first."""

    def __init__(self, generator: Generator[Any], scale: int) -> None:
        super().__init__()
        self.inner = generator
        self.scale = scale
        self.state_type = generator.state_type
        self.flow = generator.flow
        self.filters_input = generator.filters_input
        self.supports_half, self.compiles = generator.supports_half, generator.compiles
        self.is_recurrent, self.software = generator.is_recurrent, generator.software
        taps = resampling_taps(generator.scale, scale).float()
        cells = torch.einsum("irp,jcq->ijpqrc", taps, taps)
        self.register_buffer("weight", cells.flatten(2, 3).flatten(0, 1).contiguous())

    weight: Tensor

    @property
    def architecture(self) -> str:  # type: ignore[override]
        """Identify the network's class in cache keys."""
        return self.inner.architecture

    def start(self, low: Tensor) -> Any:
        """Return the state before the first frame of a shot, (B, 3, H, W)."""
        return self.inner.start(low)

    def step(self, low: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Upscale one frame, (B, 3, H, W) to (B, 3, sH, sW), and return the next state."""
        high, following = self.inner.step(low, state)
        batch, _, height, width = low.shape
        cells = F.pixel_unshuffle(high.flatten(0, 1)[:, None], self.inner.scale)
        reach = self.weight.shape[-1] // 2
        cells = F.conv2d(F.pad(cells, [reach] * 4, mode="replicate"), self.weight)
        shape = (batch, 3, self.scale * height, self.scale * width)
        return F.pixel_shuffle(cells, self.scale).reshape(shape), following

    def step_bytes_per_pixel(self) -> int:
        """Estimate the memory of a step per low-resolution pixel, states and buffers included."""
        return self.inner.step_bytes_per_pixel() + 24 * self.inner.scale**2

    def reach(self) -> Reach | None:
        """Return the reach of outputs, that of the filter included."""
        inner = self.inner.reach()
        return None if inner is None else Reach(inner.pixels + _REACH, inner.grid)

    def description(self) -> dict[str, Any]:
        """Describe all that determines the output besides the tensors, for cache keys."""
        return {**self.inner.description(), "resampled": self.scale}


def with_scale(generator: Generator[Any], scale: int) -> Generator[Any]:
    """Return a copy of a generator with a smaller integer scale.

    A `Recurrent` generator gets another head. The output of other networks is resampled.
    """
    if not 1 <= scale <= generator.scale:
        raise ValueError(f"scale {scale} is not in 1..{generator.scale}")
    if scale == generator.scale:
        return generator
    if not isinstance(generator, Recurrent):
        return Resampled(generator, scale).train(generator.training)
    twin = copy.deepcopy(generator)
    twin.head = folded_head(generator.head, generator.scale, scale)
    twin.scale = scale
    return twin


def folded_head(head: nn.Conv2d, scale: int, smaller: int) -> nn.Conv2d:
    """Fold the resampling from `scale` to `smaller` into a head of (3 s^2) output channels."""
    assert head.bias is not None
    taps = resampling_taps(scale, smaller)
    weight = head.weight.detach().double()
    weight = weight.view(3, scale, scale, *weight.shape[1:])
    bias = head.bias.detach().double().view(3, scale, scale)
    for axis in range(2):
        weight = _resampled(weight, taps, axis)
    weight = weight.flatten(0, 2)
    gains = taps.sum(1)
    bias = torch.einsum("ip,jq,cpq->cij", gains, gains, bias)
    side = weight.shape[-1]
    folded = nn.Conv2d(
        head.in_channels, len(weight), side, padding=side // 2, padding_mode="replicate"
    )
    with torch.no_grad():
        folded.weight.copy_(weight)
        assert folded.bias is not None
        folded.bias.copy_(bias.flatten())
    return folded.to(head.weight.device, head.weight.dtype)


def resampling_taps(scale: int, smaller: int) -> Tensor:
    """Return the weights (smaller, cells, scale) of `resize_bicubic` inside a picture, f64.

    They lead from the samples of adjacent cells, `scale` each, to the samples of the middle one.
    """
    count = 2 * _REACH + 1
    samples = torch.eye(count * scale, dtype=torch.float64)[None, None]
    rows = resize_bicubic(samples, (count * smaller, count * scale))[0, 0]
    middle = rows[_REACH * smaller : (_REACH + 1) * smaller]
    taps = middle.reshape(smaller, count, scale)
    while not taps[:, [0, -1]].any():
        taps = taps[:, 1:-1]
    return taps.contiguous()


def _resampled(weight: Tensor, taps: Tensor, axis: int) -> Tensor:
    """Resample cells (3, rows, columns, C, H, W) along an axis, which enlarges the kernel."""
    cells = taps.shape[1]
    # (samples, cells, 3, other axis, C, H, W)
    parts = torch.tensordot(taps, weight, dims=([2], [1 + axis]))
    sides = [(0, 0), (0, 0)]
    total = torch.zeros(())
    for cell in range(cells):
        sides[1 - axis] = (cell, cells - 1 - cell)
        total = total + F.pad(parts[:, cell], [*sides[0], *sides[1]])
    return total.movedim(0, 1 + axis)


def with_kernel_side(generator: Recurrent, side: int) -> Recurrent:
    """Return a copy whose head has kernels of `side`, at most its own, as a start for training.

    Outer taps are added to the nearest ones that remain, so that flat areas keep their colour.
    """
    twin = copy.deepcopy(generator)
    head = twin.head
    weight = head.weight.detach()
    for axis in (2, 3):
        weight = _trimmed(weight, axis, (weight.shape[axis] - side) // 2)
    twin.head = nn.Conv2d(
        head.in_channels, len(weight), side, padding=side // 2, padding_mode="replicate"
    ).to(weight.device, weight.dtype)
    twin.head.load_state_dict({"weight": weight, "bias": head.bias})
    return twin


def _trimmed(weight: Tensor, axis: int, count: int) -> Tensor:
    """Add the outer `count` taps on both sides of an axis to the nearest remaining ones."""
    if not count:
        return weight
    taps = list(weight.unbind(axis))
    inner = taps[count:-count]
    inner[0] = inner[0] + torch.stack(taps[:count]).sum(0)
    inner[-1] = inner[-1] + torch.stack(taps[-count:]).sum(0)
    return torch.stack(inner, dim=axis)
