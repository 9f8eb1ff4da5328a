"""Optical flow between two frames, light enough to run in every step of a generator."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.imaging.colour import luma_of
from vsr.imaging.tensors import warp

_REACH = 2
"""Largest shift, in pixels of each level, in the cost volume."""
_SHIFTS = (2 * _REACH + 1) ** 2
_WINDOW = 5
"""Side in pixels of the window in which the least squares assume constant motion."""
_MAX_SHIFT = 2.0
"""Pixels up to which a linear model of brightness holds."""
_COARSE_LEVEL = 2
"""Downsamplings by 2. Finer levels have a receptive field of about ten pixels."""
_DAMPING = 0.02
"""Damping of the least squares in both directions, as a share of the gradient energy."""


class PyramidFlow(nn.Module):
    """Flow from a frame to the previous one, refined from coarse to fine.

    At each level of a luma pyramid, the previous frame is warped by the flow so far, and a small
    network estimates the residual, as in SPyNet (Ranjan and Black, 2017). Its inputs include the
    cost of each small shift, as in PWC-Net (Sun et al., 2018), and the shift by the least squares
    of Lucas and Kanade, which has subpixel accuracy where there is texture. One network serves all
    levels down to half resolution; a lighter one, without the costs, refines at full resolution.
    """

    def __init__(self, channels: int = 16, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        self.layers = nn.Sequential(
            nn.Conv2d(_SHIFTS + 6, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 2, 3, padding=1),
        )
        self.finest = nn.Sequential(
            nn.Conv2d(6, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 2, 3, padding=1),
        )

    @property
    def coarse_level(self) -> int:
        """Finest level, in downsamplings by 2, that needs the whole frame, see `coarse`."""
        return min(_COARSE_LEVEL, self.levels)

    def forward(self, current: Tensor, previous: Tensor, coarse: Tensor | None = None) -> Tensor:
        """Estimate the flow (B, 2, H, W) between RGB frames (B, 3, H, W), in pixels, x before y.

        `warp(previous, flow)` resembles `current`. For a tile, which starts at multiples of
        2^levels pixels, `coarse` is the tile's part of the whole frame's `coarse` flow.
        """
        height, width = current.shape[-2:]
        # Always f32: the estimate depends on small differences of brightness.
        with torch.autocast(current.device.type, enabled=False):
            pyramid = [(self.padded_luma(current), self.padded_luma(previous))]
            for _ in range(self.coarse_level):
                pyramid.append(_downsample2(*pyramid[-1]))
            if coarse is None:
                coarse = self.coarse(*pyramid[-1])
            flow = coarse
            for level in range(self.coarse_level - 1, 0, -1):
                flow = self._refine(*pyramid[level], _upsample2(flow))
            flow = _upsample2(flow)
            luma, warped = pyramid[0]
            warped = warp(warped, flow)
            inputs = (luma, warped, (luma - warped).abs(), *least_squares(luma, warped))
            flow = flow + self.finest(torch.cat(inputs, dim=1))
        cropped: Tensor = flow[..., :height, :width]
        return cropped

    def padded_luma(self, frame: Tensor) -> Tensor:
        """Convert RGB (B, 3, H, W) to luma in [-1, 1], padded to multiples of 2^levels."""
        luma = (luma_of(frame.float()) / 128 - 1).unsqueeze(1)
        step = 2**self.levels
        pad = (0, -luma.shape[-1] % step, 0, -luma.shape[-2] % step)
        return F.pad(luma, pad, mode="replicate") if any(pad) else luma

    def coarse(self, current: Tensor, previous: Tensor) -> Tensor:
        """Estimate flow at `coarse_level` from padded luma planes (B, 1, h, w) of that level."""
        pyramid = [(current, previous)]
        for _ in range(self.levels - self.coarse_level):
            pyramid.append(_downsample2(*pyramid[-1]))
        current, previous = pyramid.pop()
        flow = current.new_zeros(current.shape[0], 2, *current.shape[-2:])
        flow = flow + self._residual(current, previous, flow)
        while pyramid:
            flow = self._refine(*pyramid.pop(), _upsample2(flow))
        return flow

    def _refine(self, current: Tensor, previous: Tensor, flow: Tensor) -> Tensor:
        return flow + self._residual(current, warp(previous, flow), flow)

    def _residual(self, current: Tensor, warped: Tensor, flow: Tensor) -> Tensor:
        """Estimate the correction of a flow by which the previous frame has been warped."""
        costs = shift_costs(current, warped)
        inputs = (costs, current, flow / 4, *least_squares(current, warped))
        residual: Tensor = self.layers(torch.cat(inputs, dim=1))
        return residual


def shift_costs(current: Tensor, previous: Tensor) -> Tensor:
    """Compute the matching cost of luma planes (B, 1, H, W) at each small shift: (B, 25, H, W).

    The cost is the mean absolute difference over 3 x 3 pixels, divided by its mean over all
    shifts, so that 1 is average and contrast has no effect.
    """
    height, width = current.shape[-2:]
    padded = F.pad(previous, (_REACH,) * 4, mode="replicate")
    shifted = [
        padded[..., y : y + height, x : x + width]
        for y in range(2 * _REACH + 1)
        for x in range(2 * _REACH + 1)
    ]
    costs = F.avg_pool2d((torch.cat(shifted, dim=1) - current).abs(), 3, 1, 1)
    return costs / (costs.mean(dim=1, keepdim=True) + 0.01)


def least_squares(current: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
    """Estimate the shift (B, 2, H, W) of luma planes (B, 1, H, W), and its confidence (B, 1, H, W).

    By Lucas and Kanade (1981): in a window around each pixel, the shift whose product with the
    gradients best explains the difference of brightness, damped where gradients are weak. The
    confidence is 1 where gradients have no preferred direction and 0 where they are parallel or
    absent.
    """
    mean = current + previous
    across = F.pad(mean, (1, 1, 0, 0), mode="replicate")
    across = (across[..., 2:] - across[..., :-2]) / 4
    down = F.pad(mean, (0, 0, 1, 1), mode="replicate")
    down = (down[..., 2:, :] - down[..., :-2, :]) / 4
    change = current - previous
    products = torch.cat(
        (across * across, across * down, down * down, across * change, down * change), dim=1
    )
    for side in (_WINDOW, 3):
        products = F.avg_pool2d(products, side, 1, side // 2, count_include_pad=False)
    xx, xy, yy, xt, yt = products.unsqueeze(2).unbind(1)
    energy = xx + yy
    damping = 1e-4 + _DAMPING * energy
    xx, yy = xx + damping, yy + damping
    determinant = xx * yy - xy * xy
    shift = torch.cat((yy * xt - xy * yt, xx * yt - xy * xt), dim=1) / determinant
    return shift.clamp(-_MAX_SHIFT, _MAX_SHIFT), 4 * determinant / (energy + 1e-4) ** 2


def _downsample2(current: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
    return F.avg_pool2d(current, 2), F.avg_pool2d(previous, 2)


def _upsample2(flow: Tensor) -> Tensor:
    """Resize a flow (B, 2, H, W) to twice the size, in pixels of the new size."""
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear")
