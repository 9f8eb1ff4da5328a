"""Between the planes that media knows and the RGB that models know."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.colour import ColourSpec, Siting, Subsampling, from_rgb, matrix_from_code, to_rgb
from vsr.imaging.tensors import bleed, resize_bicubic
from vsr.media.frame import Plane, StreamInfo

_IMPURE_WEIGHT = 0.05


def colour_spec(info: StreamInfo) -> ColourSpec:
    """How to read the planes of a stream as colour, guessing the matrix if it isn't told."""
    return ColourSpec(
        matrix=matrix_from_code(info.colour.matrix, info.height),
        full_range=info.colour.full_range,
        bit_depth=info.layout.bit_depth,
        subsampling=Subsampling(info.layout.across, info.layout.down),
        siting=Siting(info.colour.siting),
    )


def planes_to_rgb(planes: Sequence[Plane], spec: ColourSpec, device: torch.device) -> Tensor:
    """Y, Cb and Cr arrays to float RGB (3, H, W) on `device`, converted there."""
    return to_rgb([torch.from_numpy(plane).to(device) for plane in planes[:3]], spec)


def rgb_to_planes(rgb: Tensor, spec: ColourSpec) -> tuple[Plane, ...]:
    """Float RGB (3, H, W), converted on its device, to Y, Cb and Cr arrays."""
    return tuple(_as_array(plane, spec.bit_depth) for plane in from_rgb(rgb, spec))


def fill_hidden_colours(planes: Sequence[Plane], bit_depth: int) -> Sequence[Plane]:
    """Y, Cb, Cr and alpha with colours that show nothing of what alpha hides, for filters to see.

    Where all is opaque or all is hidden, the same planes.
    """
    alpha = torch.from_numpy(planes[3]).float()[None, None] / (2**bit_depth - 1)
    if bool((alpha == 1).all()):
        return planes
    bled: list[Plane] = []
    for plane in planes[:3]:
        shown, reach = alpha, 1
        if plane.shape != planes[3].shape:
            down, across = (-(-a // b) for a, b in zip(planes[3].shape, plane.shape, strict=True))
            # A chroma sample is as pure as the least of its pixels is opaque; the mean is for what
            # is so thin that no sample is pure.
            least = -F.max_pool2d(-alpha, (down, across), ceil_mode=True)
            mean = F.avg_pool2d(alpha, (down, across), ceil_mode=True)
            shown, reach = (least + _IMPURE_WEIGHT * mean) / (1 + _IMPURE_WEIGHT), 2
        codes = bleed(torch.from_numpy(plane).float()[None], shown[0, 0], reach)[0].round()
        bled.append(_as_array(codes.to(torch.uint8 if bit_depth == 8 else torch.int16), bit_depth))
    return (*bled, planes[3])


def alpha_to_plane(alpha: Plane, scale: int, bit_depth: int, wanted_depth: int) -> Plane:
    """A plane of alpha, full range, enlarged bicubically, at another bit depth if wanted."""
    height, width = alpha.shape
    values = torch.from_numpy(alpha).to(torch.float32)[None, None]
    high = resize_bicubic(values, (height * scale, width * scale))[0, 0]
    most = 2**wanted_depth - 1
    codes = (high * (most / (2**bit_depth - 1))).round().clamp(0, most)
    return _as_array(codes.to(torch.uint8 if wanted_depth == 8 else torch.int16), wanted_depth)


def _as_array(plane: Tensor, bit_depth: int) -> Plane:
    codes = plane.cpu().numpy()
    return codes.view(np.uint8) if bit_depth == 8 else codes.view(np.uint16)
