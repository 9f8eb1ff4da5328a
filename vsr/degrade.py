"""What made the low-resolution frame: blur and subsampling of the high-resolution one."""

import math
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.tensors import on_8_bit_levels, resize_bicubic


class Degradation(StrEnum):
    """A way to make low-resolution frames."""

    BI = "bi"
    """Antialiased bicubic: MATLAB's `imresize`, Pillow's `BICUBIC`."""
    BD = "bd"
    """Gaussian blur, then every s-th pixel."""


BD_SIGMA_PER_SCALE = 0.4
"""Blur of `bd` in high-resolution pixels, over the scale: 1.6 at x4, as in the literature."""


def degrade(high: Tensor, scale: int, kind: Degradation) -> Tensor:
    """Shrink (N, 3, sH, sW) in [0, 1] to (N, 3, H, W), on the 8-bit levels a file would hold.

    Raises ValueError where `scale` doesn't divide the sides.
    """
    height, width = high.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"{width}x{height} doesn't divide by {scale}")
    match kind:
        case Degradation.BI:
            low = resize_bicubic(high, (height // scale, width // scale))
        case Degradation.BD:
            low = blur_and_subsample(high, scale, BD_SIGMA_PER_SCALE * scale)
    return on_8_bit_levels(low)


def blur_and_subsample(high: Tensor, scale: int, sigma: float) -> Tensor:
    """Gaussian-weighted mean around the middle of each s x s cell of (N, 3, sH, sW).

    The middle of a cell of even side lies between pixels, and the kernel is sampled
    there: low and high frames are aligned as `bi`'s are. (Code that takes pixel 0 of
    each cell makes frames displaced by (s - 1) / 2 high-resolution pixels instead.)
    Borders repeat.
    """
    reach = math.ceil(3 * sigma)
    # Taps at whole pixels around the middle of the cell, at (s - 1) / 2.
    middle = (scale - 1) / 2
    first, last = math.floor(middle - reach), math.ceil(middle + reach)
    taps = torch.arange(first, last + 1, dtype=high.dtype, device=high.device) - middle
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    channels = high.shape[1]
    pad = (-first, last + 1 - scale, -first, last + 1 - scale)
    padded = F.pad(high, pad, mode="replicate")
    across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    down = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    blurred = F.conv2d(padded, across, stride=(1, scale), groups=channels)
    return F.conv2d(blurred, down, stride=(scale, 1), groups=channels)
