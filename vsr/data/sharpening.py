"""Unsharp masking of targets."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.data.config import SharpeningConfig


def sharpened(pictures: Tensor, config: SharpeningConfig) -> Tensor:
    """Pictures (N, 3, H, W) in [0, 1] after an unsharp mask, clamped to [0, 1].

    Where a picture differs from its blurred version by more than the threshold, that difference is
    added; the border of those areas is blurred by the same Gaussian.
    """
    difference = pictures - _blurred(pictures, config.sigma)
    chosen = (difference.abs() * 255 > config.threshold).to(pictures.dtype)
    sharp = (pictures + config.amount * difference).clamp(0, 1)
    return pictures.lerp(sharp, _blurred(chosen, config.sigma).clamp(0, 1))


def _blurred(pictures: Tensor, sigma: float) -> Tensor:
    """(N, C, H, W) after a Gaussian; pictures are mirrored at their borders."""
    reach = round(3.125 * sigma)  # 25 pixels of a sigma of 8, as in a kernel of 51
    taps = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    height, width = pictures.shape[-2:]
    planes = pictures.reshape(-1, 1, height, width)
    planes = F.conv2d(F.pad(planes, (reach, reach, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, reach, reach), mode="reflect"), kernel.view(1, 1, -1, 1))
    return planes.view_as(pictures)
