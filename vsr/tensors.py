"""Operations on tensors that several layers share."""

import torch
from torch import Tensor
from torch.nn import functional as F


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
    """Sample (B, C, H, W) bilinearly at the positions of a `moved_grid`."""
    sampled = F.grid_sample(pixels.float(), grid, "bilinear", "border", align_corners=False)
    return sampled.to(pixels.dtype)
