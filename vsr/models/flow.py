"""Motion between two frames, small enough to run inside every step of a generator."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.colour import luma_of
from vsr.tensors import warp

_REACH = 2
"""Pixels of each level by which the frames are shifted against each other."""
_SHIFTS = (2 * _REACH + 1) ** 2


class PyramidFlow(nn.Module):
    """Flow from a frame to the one before it, refined from coarse to fine.

    At each level of a luma pyramid the previous frame is warped by what is known so far,
    and a small network finds the rest, as in SPyNet (Ranjan and Black, 2017); like
    PWC-Net's (Sun et al., 2018), it is shown what each small shift between the two
    would cost. The same network serves all levels; the finest is half resolution.
    """

    def __init__(self, channels: int = 16, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        self.layers = nn.Sequential(
            nn.Conv2d(_SHIFTS + 3, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 2, 3, padding=1),
        )

    def forward(self, current: Tensor, previous: Tensor) -> Tensor:
        """RGB frames (B, 3, H, W) to flow (B, 2, H, W), in pixels, x before y.

        `warp(previous, flow)` looks like `current`.
        """
        height, width = current.shape[-2:]
        step = 2**self.levels
        pad = (0, -width % step, 0, -height % step)
        pair = [(luma_of(frame) / 128 - 1).unsqueeze(1) for frame in (current, previous)]
        if any(pad):
            pair = [F.pad(luma, pad, mode="replicate") for luma in pair]
        pyramid = [pair]
        for _ in range(self.levels):
            pyramid.append([F.avg_pool2d(luma, 2) for luma in pyramid[-1]])
        coarsest = pyramid[-1][0]
        flow = coarsest.new_zeros(coarsest.shape[0], 2, *coarsest.shape[-2:])
        for level in range(self.levels, 0, -1):
            here, before = pyramid[level]
            if level < self.levels:
                flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear")
                before = warp(before, flow)
            seen = torch.cat((shift_costs(here, before), here, flow / 4), dim=1)
            flow = flow + self.layers(seen)
        flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear")
        return flow[..., :height, :width]


def shift_costs(here: Tensor, before: Tensor) -> Tensor:
    """How badly two luma planes (B, 1, H, W) match at each small shift: (B, 25, H, W).

    Mean absolute difference over 3 x 3 pixels, over its mean of all shifts, so that
    1 is average and contrast doesn't matter.
    """
    height, width = here.shape[-2:]
    padded = F.pad(before, (_REACH,) * 4, mode="replicate")
    shifted = [
        padded[..., y : y + height, x : x + width]
        for y in range(2 * _REACH + 1)
        for x in range(2 * _REACH + 1)
    ]
    costs = F.avg_pool2d((torch.cat(shifted, dim=1) - here).abs(), 3, 1, 1)
    return costs / (costs.mean(dim=1, keepdim=True) + 0.01)
