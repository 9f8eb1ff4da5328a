"""Access frames in GPU memory as tensors, without copying them to the CPU."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.dlpack import from_dlpack

from vsr.media.decode.hw_surface import Surface


def is_on_device(surface: Surface, device: torch.device) -> bool:
    """Whether a frame is in the memory of `device`."""
    surface_device = torch.device(surface.device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return surface_device == device


def surface_planes(surface: Surface) -> tuple[Tensor, Tensor, Tensor]:
    """Return Y (H, W), Cb and Cr (h, w) of a frame on its GPU: uint8, or int16 above 8 bits.

    The current CUDA stream must have waited for the decoder's, which is the default one. The frame
    must be kept alive until the work on its planes is done.
    """
    parts = [from_dlpack(capsule) for capsule in surface.exported()]
    depth = surface.bit_depth
    if depth > 8:
        mask = (1 << depth) - 1
        parts = [part.view(torch.int16) >> 16 - depth & mask for part in parts]
    luma, chroma = parts
    return luma, chroma[..., 0], chroma[..., 1]


def small_planes(surface: Surface, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Downscale Y, Cb and Cr to `size` = (height, width) by area means, as 8-bit planes."""
    small = [
        F.adaptive_avg_pool2d(plane[None, None].float() / 2 ** (surface.bit_depth - 8), size)
        for plane in surface_planes(surface)
    ]
    codes = torch.cat(small, dim=1)[0].round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return list(codes)
