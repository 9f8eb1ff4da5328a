"""Tensor operations on pictures: number formats, resizing, warping, alpha bleeding."""

import torch
from torch import Tensor
from torch.nn import functional as F

_DOUBTFUL_WEIGHT = 0.02
"""Mean weight of a neighbourhood at which the coarser level counts equally."""


def to_float(pixels: Tensor) -> Tensor:
    """Convert uint8 or uint16 to float32 in [0, 1]; floats keep their values; any shape."""
    if pixels.is_floating_point():
        return pixels.to(torch.float32)
    return pixels.to(torch.float32) / (65535 if pixels.dtype == torch.uint16 else 255)


def to_uint8(pixels: Tensor) -> Tensor:
    """Convert float in [0, 1] to uint8, rounded to nearest and clamped; any shape."""
    return (pixels * 255).round_().clamp_(0, 255).to(torch.uint8)


def on_8_bit_levels(pixels: Tensor) -> Tensor:
    """Round float in [0, 1] to the levels of an 8-bit file; any shape."""
    return to_float(to_uint8(pixels))


def resize_bicubic(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, C, H, W) to `size` = (height, width) by antialiased bicubic interpolation.

    Keys' kernel with a = -0.5, widened for downscaling. Equal to MATLAB's `imresize` and Pillow's
    `BICUBIC`, except for their rounding to 8 bits.
    """
    return F.interpolate(pixels, size=size, mode="bicubic", align_corners=False, antialias=True)


def bleed(colours: Tensor, alpha: Tensor, reach: int = 1) -> Tensor:
    """Spread colours (C, H, W) from opaque to transparent pixels; `alpha` (H, W) is in [0, 1].

    A pixel keeps its colour in proportion to its alpha, relative to the maximum within `reach`
    pixels, so that evenly translucent areas don't change. The rest comes from a pyramid of means
    weighted by alpha. Filters that run afterwards then show no rim of hidden colours.
    """
    if not alpha.any():
        return colours
    weight, side = alpha[None, None], 2 * reach + 1
    maximum = F.max_pool2d(weight, side, stride=1, padding=reach)
    share = torch.where(maximum > 0, weight / maximum.clamp_min(1e-6), 0.0)[0]
    return colours * share + _spread(colours[None], weight, reach)[0] * (1 - share)


def _spread(colours: Tensor, weight: Tensor, reach: int) -> Tensor:
    """Average (1, C, H, W) near each pixel by weights (1, 1, H, W), farther where these are low."""
    near, means = (
        F.avg_pool2d(values, 2 * reach + 1, stride=1, padding=reach)
        for values in (weight, colours * weight)
    )
    means = means / near.clamp_min(1e-6)
    height, width = weight.shape[-2:]
    if height == width == 1:
        return torch.where(near > 0, means, colours)
    total, sums = (F.avg_pool2d(v, 2, ceil_mode=True) for v in (weight, colours * weight))
    coarse = _spread(sums / total.clamp_min(1e-6), total, reach)
    far = F.interpolate(coarse, size=(height, width), mode="bilinear")
    return far.lerp(means, near / (near + _DOUBTFUL_WEIGHT))


def warp(pixels: Tensor, flow: Tensor) -> Tensor:
    """Sample (B, C, H, W) at each pixel's position plus `flow`, bilinearly.

    `flow` is (B, 2, H, W) in pixels, x before y; borders are repeated outside the picture.
    """
    return sample(pixels, moved_grid(flow))


def moved_grid(flow: Tensor) -> Tensor:
    """Return the sampling positions of `warp`, (B, H, W, 2): -1 to 1 between the outer edges.

    Positions are always float32: float16 is too coarse for them.
    """
    height, width = flow.shape[-2:]
    flow = flow.float()
    y = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, height, 1)
    x = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, width)
    planes = (
        (2 * (x + flow[:, 0]) + 1) / width - 1,
        (2 * (y + flow[:, 1]) + 1) / height - 1,
    )
    # Permuted at the end: stacking along the last axis costs OpenVINO as much as all the rest.
    return torch.stack(planes, dim=1).permute(0, 2, 3, 1)


def sample(pixels: Tensor, grid: Tensor) -> Tensor:
    """Sample (B, C, H, W) bilinearly at the positions of a `moved_grid`.

    With gradients enabled, all samples are NaN if a position isn't finite.
    """
    if not torch.is_grad_enabled():
        sampled = F.grid_sample(pixels.float(), grid, "bilinear", "border", align_corners=False)
        return sampled.to(pixels.dtype)
    # The backward pass crashes the process at a NaN position, and the forward pass hides it. The
    # samples become NaN instead, and so does the loss, which is checked.
    poison = 0 * grid.detach().sum()
    sampled = F.grid_sample(
        pixels.float(), grid.nan_to_num(0.0), "bilinear", "border", align_corners=False
    )
    return sampled.add_(poison).to(pixels.dtype)
