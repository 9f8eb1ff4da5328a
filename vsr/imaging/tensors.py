"""Operations on tensors that several layers share."""

import torch
from torch import Tensor
from torch.nn import functional as F

_DOUBTFUL_WEIGHT = 0.02
"""Mean weight of a neighbourhood at which what is farther counts as much."""


def to_float(pixels: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [0, 1]; any shape."""
    return pixels.to(torch.float32) / 255


def to_uint8(pixels: Tensor) -> Tensor:
    """Float in [0, 1] to uint8, rounded to the nearest code value and clamped; any shape."""
    return (pixels * 255).round_().clamp_(0, 255).to(torch.uint8)


def on_8_bit_levels(pixels: Tensor) -> Tensor:
    """Float in [0, 1], rounded to what an 8-bit file would hold; any shape."""
    return to_float(to_uint8(pixels))


def resize_bicubic(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, C, H, W) to `size` = (height, width) by antialiased bicubic interpolation.

    Keys' kernel with a = -0.5, stretched when shrinking: what MATLAB's `imresize`
    and Pillow's `BICUBIC` compute, up to their rounding to 8 bit.
    """
    return F.interpolate(pixels, size=size, mode="bicubic", align_corners=False, antialias=True)


def bleed(colours: Tensor, alpha: Tensor, reach: int = 1) -> Tensor:
    """Spread colours (C, H, W) from where `alpha` (H, W), in [0, 1], shows them to where it hides.

    A pixel counts by its alpha over the most within `reach` pixels, so that evenly translucent
    areas stay as they are; the rest comes from a pyramid of means that are weighted by alpha.
    What is filtered afterwards shows no rim of hidden colours.
    """
    if not alpha.any():
        return colours
    weight, side = alpha[None, None], 2 * reach + 1
    most = F.max_pool2d(weight, side, stride=1, padding=reach)
    share = torch.where(most > 0, weight / most.clamp_min(1e-6), 0.0)[0]
    return colours * share + _spread(colours[None], weight, reach)[0] * (1 - share)


def _spread(colours: Tensor, weight: Tensor, reach: int) -> Tensor:
    """Means of (1, C, H, W) by weights (1, 1, H, W) near each pixel; farther where they are low."""
    near, means = (
        F.avg_pool2d(values, 2 * reach + 1, stride=1, padding=reach)
        for values in (weight, colours * weight)
    )
    means = means / near.clamp_min(1e-6)
    height, width = weight.shape[-2:]
    if height == width == 1:
        return torch.where(near > 0, means, colours)
    total, sums = (F.avg_pool2d(v, 2, ceil_mode=True) for v in (weight, colours * weight))
    halved = _spread(sums / total.clamp_min(1e-6), total, reach)
    far = F.interpolate(halved, size=(height, width), mode="bilinear")
    return far.lerp(means, near / (near + _DOUBTFUL_WEIGHT))


def warp(pixels: Tensor, flow: Tensor) -> Tensor:
    """Sample (B, C, H, W) at each pixel's position plus `flow`, bilinearly.

    `flow` is (B, 2, H, W) in pixels, x before y; outside the picture its border repeats.
    """
    return sample(pixels, moved_grid(flow))


def moved_grid(flow: Tensor) -> Tensor:
    """Where `warp` samples, (B, H, W, 2): from -1 to 1 between the picture's outer edges.

    Positions are f32 whatever else is: halves can't tell them apart.
    """
    height, width = flow.shape[-2:]
    flow = flow.float()
    y = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, height, 1)
    x = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, width)
    planes = (
        (2 * (x + flow[:, 0]) + 1) / width - 1,
        (2 * (y + flow[:, 1]) + 1) / height - 1,
    )
    # Laid in turn at the end: to put them so together costs OpenVINO as much as all the rest.
    return torch.stack(planes, dim=1).permute(0, 2, 3, 1)


def sample(pixels: Tensor, grid: Tensor) -> Tensor:
    """Sample (B, C, H, W) bilinearly at the positions of a `moved_grid`.

    Where gradients are asked for and a position isn't finite, all samples are NaN.
    """
    if not torch.is_grad_enabled():
        sampled = F.grid_sample(pixels.float(), grid, "bilinear", "border", align_corners=False)
        return sampled.to(pixels.dtype)
    # Going back through a position that is NaN crashes the process, and going forward hides it:
    # what is sampled is then NaN instead, and so is the loss, which is noticed.
    spoilt = 0 * grid.detach().sum()
    sampled = F.grid_sample(
        pixels.float(), grid.nan_to_num(0.0), "bilinear", "border", align_corners=False
    )
    return sampled.add_(spoilt).to(pixels.dtype)
