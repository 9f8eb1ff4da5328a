"""How far one picture is from another."""

import torch
from torch import Tensor

from vsr.colour import luma_of


def psnr_y(output: Tensor, target: Tensor) -> Tensor:
    """Luma PSNR in dB of RGB pictures in [0, 1], (..., 3, H, W) to (...).

    10 log10(255^2 / MSE) on BT.601 studio luma in code values, over the whole picture;
    infinite where the pictures are equal. The convention of the super-resolution
    literature since SRCNN (Dong et al., 2014).
    """
    error = (luma_of(output) - luma_of(target)).square().mean(dim=(-2, -1))
    return 10 * torch.log10(255**2 / error)
