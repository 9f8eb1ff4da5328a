"""Gaussian blur, and the blur that makes one picture as sharp as another."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.metrics.image import filters_by_opencv, upper_power

_MAX_SIGMA = 4.0
"""Pixels; this blur leaves less than 1e-16 of the energy above a quarter of a cycle a pixel."""
_BISECTIONS = 24

BLUR_SMALLEST_SIDE = 17
"""Minimal side in pixels: the mirrored border of the largest blur must fit."""


def gaussian_taps(sigma: float, reach: int) -> Tensor:
    """Sample a Gaussian of `sigma` pixels from -`reach` to `reach`, normalised to a sum of 1."""
    positions = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = torch.exp(-(positions**2) / (2 * sigma**2))
    return taps / taps.sum()


def filtered(planes: Tensor, taps: Tensor) -> Tensor:
    """Filter planes (..., H, W) with the same odd taps in both directions, with mirrored borders.

    Both sides must exceed the reach of the taps in pixels.
    """
    reach = len(taps) // 2
    *lead, height, width = planes.shape
    flat = planes.reshape(-1, height, width)
    if filters_by_opencv(planes):
        kernel = taps.numpy()
        border = cv2.BORDER_REFLECT_101
        planes_filtered = [
            cv2.sepFilter2D(p, -1, kernel, kernel, borderType=border) for p in flat.numpy()
        ]
        result = torch.from_numpy(np.stack(planes_filtered))
    else:
        kernel_row = taps.to(planes).view(1, 1, 1, -1)
        padded = F.pad(flat[:, None], (reach, reach, reach, reach), mode="reflect")
        result = F.conv2d(F.conv2d(padded, kernel_row), kernel_row.transpose(-1, -2))
    return result.view(*lead, height, width)


def gaussian_blur(pictures: Tensor, sigma: float) -> Tensor:
    """Blur pictures (..., H, W) by a Gaussian of `sigma` pixels, at most 4; 0 changes nothing.

    Both sides must have more than 4 sigma pixels.
    """
    return filtered(pictures, gaussian_taps(sigma, math.ceil(4 * sigma))) if sigma else pictures


def matching_sigma(output: Tensor, target: Tensor) -> float:
    """Find the blur in pixels that makes `target` as sharp as `output`, RGB (3, H, W) in [0, 1].

    The sigma of a Gaussian for which `sharpness(gaussian_blur(target, sigma), target)` equals
    `sharpness(output, target)`, by bisection: 0 where the output is at least as sharp, at
    most 4. The energy of the blurred target is computed from the target's own spectrum and
    the response of the taps. The window of `sharpness` and the blur don't commute; neglecting that
    is an error of per mille for pictures of some hundred pixels.
    """
    output_power, power = (
        upper_power(picture[None])[0].cpu().double() for picture in (output, target)
    )
    share = float(output_power.sum() / power.sum().clamp_min(1e-6))
    if share >= 1:
        return 0.0
    height, width = target.shape[-2:]
    down, across = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)

    def remaining(sigma: float) -> float:
        taps = gaussian_taps(sigma, math.ceil(4 * sigma))
        rows, columns = (_response(taps, at).to(power) ** 2 for at in (down, across))
        return float(rows @ power @ columns / power.sum())

    low, high = 0.0, _MAX_SIGMA
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if remaining(middle) > share else (low, middle)
    return high


def _response(taps: Tensor, frequencies: Tensor) -> Tensor:
    """Gain of symmetric taps at frequencies (F) in cycles a pixel."""
    reach = len(taps) // 2
    positions = torch.arange(-reach, reach + 1, dtype=taps.dtype)
    angles = 2 * math.pi * frequencies.to(taps.dtype)[:, None] * positions
    return angles.cos() @ taps
