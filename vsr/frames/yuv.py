"""Convert decoded Y'CbCr planes to RGB tensors and back."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.colour import ColourSpec, Siting, Subsampling, from_rgb, matrix_from_code, to_rgb
from vsr.imaging.tensors import bleed, resize_bicubic
from vsr.media.frame import Plane, StreamInfo

_MEAN_WEIGHT = 0.05


def colour_spec(info: StreamInfo) -> ColourSpec:
    """Return the colour description of a stream; an unspecified matrix follows from the height."""
    return ColourSpec(
        matrix=matrix_from_code(info.colour.matrix, info.height),
        full_range=info.colour.full_range,
        bit_depth=info.layout.bit_depth,
        subsampling=Subsampling(info.layout.across, info.layout.down),
        siting=Siting(info.colour.siting),
    )


def planes_to_rgb(planes: Sequence[Plane], spec: ColourSpec, device: torch.device) -> Tensor:
    """Convert Y, Cb and Cr arrays to float RGB (3, H, W), on `device`."""
    codes = [torch.from_numpy(plane) for plane in planes[:3]]
    if device.type not in ("cpu", "cuda"):  # torch's support for uint16 is limited
        codes = [plane.float() for plane in codes]
    return to_rgb([plane.to(device) for plane in codes], spec)


def unit_luma(plane: Plane, spec: ColourSpec, device: torch.device) -> Tensor:
    """Convert a Y array to floats (H, W) from 0 for black to 1 for white, not clipped."""
    black, white = spec.luma_range
    return (torch.from_numpy(plane).float().to(device) - black) / (white - black)


def rgb_to_planes(rgb: Tensor, spec: ColourSpec) -> tuple[Plane, ...]:
    """Convert float RGB (3, H, W), on its device, to Y, Cb and Cr arrays."""
    return tuple(_as_array(plane, spec.bit_depth) for plane in from_rgb(rgb, spec))


def fill_hidden_colours(planes: Sequence[Plane], bit_depth: int) -> Sequence[Plane]:
    """Replace the colours of transparent pixels by those of opaque ones nearby.

    `planes` are Y, Cb, Cr and alpha. Filters that run afterwards then show no rim of hidden
    colours. Planes of a fully opaque or fully transparent frame are returned as they are.
    """
    alpha = torch.from_numpy(planes[3]).float()[None, None] / (2**bit_depth - 1)
    if bool((alpha == 1).all()):
        return planes
    bled: list[Plane] = []
    for plane in planes[:3]:
        shown, reach = alpha, 1
        if plane.shape != planes[3].shape:
            down, across = (-(-a // b) for a, b in zip(planes[3].shape, plane.shape, strict=True))
            # A chroma sample is weighted by the least opaque of its pixels. The mean opacity counts
            # in areas so thin that every sample has a transparent pixel.
            minimum = -F.max_pool2d(-alpha, (down, across), ceil_mode=True)
            mean = F.avg_pool2d(alpha, (down, across), ceil_mode=True)
            shown, reach = (minimum + _MEAN_WEIGHT * mean) / (1 + _MEAN_WEIGHT), 2
        codes = bleed(torch.from_numpy(plane).float()[None], shown[0, 0], reach)[0].round()
        bled.append(_as_array(codes.to(torch.uint8 if bit_depth == 8 else torch.int16), bit_depth))
    return (*bled, planes[3])


def alpha_to_plane(alpha: Plane, size: tuple[int, int], bit_depth: int, output_depth: int) -> Plane:
    """Resize a full-range alpha plane to `size` = (height, width) bicubically.

    It is converted to `output_depth` bits.
    """
    values = torch.from_numpy(alpha).to(torch.float32)[None, None]
    high = resize_bicubic(values, size)[0, 0]
    maximum = 2**output_depth - 1
    codes = (high * (maximum / (2**bit_depth - 1))).round().clamp(0, maximum)
    return _as_array(codes.to(torch.uint8 if output_depth == 8 else torch.int16), output_depth)


def _as_array(plane: Tensor, bit_depth: int) -> Plane:
    codes = plane.cpu().numpy()
    return codes.view(np.uint8) if bit_depth == 8 else codes.view(np.uint16)
