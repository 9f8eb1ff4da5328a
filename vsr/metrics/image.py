"""Full-reference image metrics: PSNR, SSIM, MS-SSIM and sharpness."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.colour import luma_of

_WINDOW = 11
_SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_LEAST_DETAIL = 0.01
"""Energy of a target whose sharpness is measured, over that of rounding errors."""
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

SSIM_SMALLEST_SIDE = _WINDOW
MS_SSIM_SMALLEST_SIDE = _WINDOW * 2 ** (len(_MS_SSIM_WEIGHTS) - 1)
"""Minimal sides in pixels: the window must fit inside the picture, at the coarsest scale."""


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Compute PSNR in dB of RGB pictures in [0, 1], (..., 3, H, W) to (...).

    10 log10(1 / MSE) over all samples of the picture; infinite if they are equal.
    """
    error = (output - target).square().mean(dim=(-3, -2, -1), dtype=torch.float64)
    return -10 * torch.log10(error)


def psnr_y(output: Tensor, target: Tensor) -> Tensor:
    """Compute luma PSNR in dB of RGB pictures in [0, 1], (..., 3, H, W) to (...).

    10 log10(255^2 / MSE) on BT.601 studio luma in code values, over the whole picture;
    infinite if the pictures are equal. The convention of the super-resolution
    literature since SRCNN (Dong et al., 2014).
    """
    # Luma is linear: that of the difference is more precise than a difference of two lumas.
    difference = luma_of(output - target) - 16
    error = difference.square().mean(dim=(-2, -1), dtype=torch.float64)
    return 10 * torch.log10(255**2 / error)


def ssim_y(output: Tensor, target: Tensor) -> Tensor:
    """Compute SSIM of the luma of RGB pictures in [0, 1], (N, 3, H, W) to (N), in [-1, 1].

    Gaussian window of 11 pixels and sigma 1.5, K1 0.01, K2 0.03, BT.601 studio luma with a
    range of 255, mean over all positions of the window inside the picture (Wang et al., 2004).
    Raises ValueError if a side has fewer than 11 pixels.
    """
    _check_sides(output, SSIM_SMALLEST_SIDE, "SSIM")
    similarity, _ = _similarity(luma_of(output), luma_of(target))
    return similarity


def ms_ssim_y(output: Tensor, target: Tensor) -> Tensor:
    """Compute multi-scale SSIM of luma, RGB (N, 3, H, W) in [0, 1] to (N), in [0, 1].

    Contrast and structure at five scales, luminance at the coarsest, with one exponent for each
    scale (Wang, Simoncelli and Bovik, 2003). Each scale averages 2x2 pixels of the previous one.
    Negative structure is clamped to 0. Raises ValueError if a side has fewer than 176 pixels.
    """
    _check_sides(output, MS_SSIM_SMALLEST_SIDE, "MS-SSIM")
    luma, target_luma = luma_of(output), luma_of(target)
    result = torch.ones(len(luma), device=luma.device)
    for scale, weight in enumerate(_MS_SSIM_WEIGHTS):
        similarity, structure = _similarity(luma, target_luma)
        last = scale == len(_MS_SSIM_WEIGHTS) - 1
        result = result * (similarity if last else structure).clamp_min(0) ** weight
        if not last:
            luma, target_luma = (
                F.avg_pool2d(plane.unsqueeze(1), 2).squeeze(1) for plane in (luma, target_luma)
            )
    return result


def sharpness(output: Tensor, target: Tensor) -> Tensor:
    """Compute the ratio of luma energy to the target's in the upper half of the spectrum.

    RGB pictures in [0, 1], (N, 3, H, W) to (N): 1 is as sharp as the target, less is blurred, more
    is grain or ringing. The energy is that of frequencies above a quarter of a cycle a pixel, in
    any direction, under a Hann window, which suppresses the borders of the picture. NaN where the
    target has less than a hundredth of the energy of rounding luma to code values, as flat pictures
    have: its detail can't be measured.
    """
    energy, target_energy = (upper_power(picture).sum(dim=(-2, -1)) for picture in (output, target))
    height, width = target.shape[-2:]
    window = _hann(height, width, target.device)
    bins = _is_upper(height, width, target.device).sum()
    rounding = window.square().sum() * bins / 12  # white noise with a variance of 1/12
    ratio = energy / target_energy
    return torch.where(target_energy < _LEAST_DETAIL * rounding, math.nan, ratio)


def upper_power(pictures: Tensor) -> Tensor:
    """Compute the power spectrum of luma above a quarter of a cycle a pixel, under a Hann window.

    RGB pictures in [0, 1], (N, 3, H, W) to (N, H, W // 2 + 1): the frequencies of `rfft2`, zero
    below that limit. Luma is in code values less its mean.
    """
    *_, height, width = pictures.shape
    luma = luma_of(pictures)
    luma = luma - luma.mean(dim=(-2, -1), keepdim=True)
    spectrum = torch.fft.rfft2(luma * _hann(height, width, pictures.device))
    power: Tensor = spectrum.abs().square() * _is_upper(height, width, pictures.device)
    return power


def _hann(height: int, width: int, device: torch.device) -> Tensor:
    """Return the Hann window (H, W) of a picture."""
    rows, columns = (
        torch.hann_window(side, periodic=False, device=device) for side in (height, width)
    )
    return rows[:, None] * columns


def _is_upper(height: int, width: int, device: torch.device) -> Tensor:
    """Return which frequencies of `rfft2` (H, W // 2 + 1) exceed a quarter of a cycle a pixel."""
    down = torch.fft.fftfreq(height, device=device)[:, None]
    across = torch.fft.rfftfreq(width, device=device)
    is_upper: Tensor = (down**2 + across**2).sqrt() > 0.25
    return is_upper


def _check_sides(pictures: Tensor, least: int, metric: str) -> None:
    height, width = pictures.shape[-2:]
    if min(height, width) < least:
        raise ValueError(f"{metric} needs sides of at least {least} pixels, not {width}x{height}")


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM of luma planes (N, H, W) in code values, (N), and SSIM without the luminance term."""
    # Centred on mid-grey, so that squares stay precise in f32.
    x, y = x - 128, y - 128
    product = x * y
    moments = torch.stack((x, y, product, torch.addcmul(x * x, y, y)), dim=1)
    mean_x, mean_y, mean_product, mean_squares = _windowed(moments).unbind(1)
    product_of_means = mean_x * mean_y
    squares_of_means = torch.addcmul(mean_x * mean_x, mean_y, mean_y)
    covariance = mean_product - product_of_means
    structure = (2 * covariance + _C2) / (mean_squares - squares_of_means + _C2)
    # (a + 128)(b + 128) = ab + 128 (a + b) + 128^2.
    shift = (mean_x + mean_y) * 128
    luminance = 2 * (product_of_means + shift + 128**2) + _C1
    luminance = luminance / (squares_of_means + 2 * shift + 2 * 128**2 + _C1)
    return (luminance * structure).mean(dim=(-2, -1)), structure.mean(dim=(-2, -1))


def _windowed(planes: Tensor) -> Tensor:
    """Gaussian-weighted means of (N, C, H, W) at all positions of the window inside the picture."""
    position = torch.arange(_WINDOW, dtype=torch.float32) - _WINDOW // 2
    window = torch.exp(-(position**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    if filters_by_opencv(planes):
        taps, reach = window.numpy(), _WINDOW // 2
        filtered = [
            cv2.sepFilter2D(plane, -1, taps, taps)[reach:-reach, reach:-reach]
            for plane in planes.detach().flatten(0, 1).contiguous().numpy()
        ]
        count, channels, *_ = planes.shape
        means: Tensor = torch.from_numpy(np.stack(filtered))
        return means.view(count, channels, *means.shape[1:])
    channels = planes.shape[1]
    kernel = window.to(planes.device).expand(channels, 1, 1, _WINDOW)
    across = F.conv2d(planes, kernel, groups=channels)
    return F.conv2d(across, kernel.transpose(-1, -2), groups=channels)


def filters_by_opencv(planes: Tensor) -> bool:
    """Whether to filter with OpenCV, on a CPU some 50 times faster than torch's convolution."""
    return planes.device.type == "cpu"
