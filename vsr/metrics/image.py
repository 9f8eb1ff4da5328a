"""How far one picture is from another."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.colour import luma_of


def psnr_y(output: Tensor, target: Tensor) -> Tensor:
    """Luma PSNR in dB of RGB pictures in [0, 1], (..., 3, H, W) to (...).

    10 log10(255^2 / MSE) on BT.601 studio luma in code values, over the whole picture;
    infinite where the pictures are equal. The convention of the super-resolution
    literature since SRCNN (Dong et al., 2014).
    """
    error = (luma_of(output) - luma_of(target)).square().mean(dim=(-2, -1))
    return 10 * torch.log10(255**2 / error)


def ssim_y(output: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of the luma of RGB pictures in [0, 1], (N, 3, H, W) to (N), in [-1, 1].

    Gaussian window of 11 pixels and sigma 1.5, K1 0.01, K2 0.03, BT.601 studio luma with a
    range of 255, mean over the places where the window lies inside the picture (Wang et
    al., 2004). Sides must be at least 11.
    """
    place = torch.arange(11, dtype=torch.float32, device=output.device) - 5
    window = torch.exp(-(place**2) / (2 * 1.5**2))
    window = window / window.sum()
    # Around mid-grey, so that squares keep their digits in f32.
    x, y = (luma_of(picture).unsqueeze(1) - 128 for picture in (output, target))
    seen = torch.cat((x, y, x * x, y * y, x * y), dim=1)
    kernel = window.expand(5, 1, 1, 11)
    seen = F.conv2d(F.conv2d(seen, kernel, groups=5), kernel.transpose(-1, -2), groups=5)
    mean_x, mean_y, square_x, square_y, product = seen.unbind(1)
    variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
    covariance = product - mean_x * mean_y
    mean_x, mean_y = mean_x + 128, mean_y + 128
    one, two = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + one) * (2 * covariance + two)
    similarity = similarity / ((mean_x**2 + mean_y**2 + one) * (variance_x + variance_y + two))
    return similarity.mean(dim=(-2, -1))
