"""Unsharp masking of targets."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.data.config import SharpeningConfig


def sharpened(pictures: Tensor, config: SharpeningConfig) -> Tensor:
    """Apply an unsharp mask to pictures (N, 3, H, W) in [0, 1], clamped to [0, 1].

    The difference from the blurred picture is added where it exceeds the threshold. The border of
    these areas is blurred by the same Gaussian.
    """
    difference = pictures - _blurred(pictures, config.sigma)
    mask = (difference.abs() * 255 > config.threshold).to(pictures.dtype)
    sharp = (pictures + config.amount * difference).clamp(0, 1)
    return pictures.lerp(sharp, _blurred(mask, config.sigma).clamp(0, 1))


def _blurred(pictures: Tensor, sigma: float) -> Tensor:
    """Blur (N, C, H, W) by a Gaussian, with mirrored borders."""
    reach = round(3.125 * sigma)  # 25 pixels for a sigma of 8: a kernel of 51
    taps = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    height, width = pictures.shape[-2:]
    planes = pictures.reshape(-1, 1, height, width)
    planes = F.conv2d(F.pad(planes, (reach, reach, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, reach, reach), mode="reflect"), kernel.view(1, 1, -1, 1))
    return planes.view_as(pictures)
