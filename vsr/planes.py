"""Between the planes that media knows and the RGB that models know."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vsr.colour import ColourSpec, Siting, Subsampling, from_rgb, matrix_from_code, to_rgb
from vsr.media.frame import Plane, StreamInfo


def colour_spec(info: StreamInfo) -> ColourSpec:
    """How to read the planes of a stream as colour, guessing the matrix if it isn't told."""
    return ColourSpec(
        matrix=matrix_from_code(info.colour.matrix, info.height),
        full_range=info.colour.full_range,
        bit_depth=info.layout.bit_depth,
        subsampling=Subsampling(info.layout.across, info.layout.down),
        siting=Siting.CENTER if info.colour.centred_chroma else Siting.LEFT,
    )


def planes_to_rgb(planes: Sequence[Plane], spec: ColourSpec, device: torch.device) -> Tensor:
    """Y, Cb and Cr arrays to float RGB (3, H, W) on `device`, converted there."""
    return to_rgb([torch.from_numpy(plane).to(device) for plane in planes], spec)


def rgb_to_planes(rgb: Tensor, spec: ColourSpec) -> tuple[Plane, Plane, Plane]:
    """Float RGB (3, H, W), converted on its device, to Y, Cb and Cr arrays."""
    y, cb, cr = (_as_array(plane, spec.bit_depth) for plane in from_rgb(rgb, spec))
    return y, cb, cr


def _as_array(plane: Tensor, bit_depth: int) -> Plane:
    codes = plane.cpu().numpy()
    return codes.view(np.uint8) if bit_depth == 8 else codes.view(np.uint16)
