"""Frames as planes of Y'CbCr, and comparisons of planes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.helpers.films import scenes
from vsr.data.clip_codec import Planes420
from vsr.imaging.colour import ColourSpec, Matrix, Siting, Subsampling, from_rgb
from vsr.imaging.tensors import to_float

Planes = tuple[NDArray[Any], ...]


SPECS = {
    "left": ColourSpec(Matrix.BT601),
    "center, full range": ColourSpec(Matrix.BT601, True, siting=Siting.CENTER),
    "top left, 10 bit": ColourSpec(Matrix.BT2020, False, 10, siting=Siting.TOP_LEFT),
    "4:2:2, 10 bit": ColourSpec(Matrix.BT709, False, 10, Subsampling(2, 1)),
    "4:4:4": ColourSpec(Matrix.BT709, False, 8, Subsampling(1, 1)),
}


def planes_of(frames: Sequence[NDArray[np.uint8]]) -> Planes420:
    """Frames as 8-bit 4:2:0 planes of BT.601: Y (T, H, W), Cb and Cr (T, H/2, W/2)."""
    rgb = to_float(torch.from_numpy(np.stack(frames))).permute(0, 3, 1, 2)
    y, cb, cr = (plane.numpy() for plane in from_rgb(rgb, ColourSpec(Matrix.BT601)))
    return y, cb, cr


def film_planes(spec: ColourSpec, width: int, height: int, frames: int) -> list[Planes]:
    pictures = scenes(width, height, [frames])
    planes = []
    for picture in pictures:
        rgb = to_float(torch.from_numpy(picture)).permute(2, 0, 1)
        codes = (plane.numpy() for plane in from_rgb(rgb, spec))
        planes.append(tuple(c if spec.bit_depth == 8 else c.view(np.uint16) for c in codes))
    return planes


def farthest(one: Planes, other: Planes) -> int:
    return max(
        int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(one, other, strict=True)
    )


def assert_equal_but_for_rounding(one: Planes, other: Planes) -> None:
    """Within one code value; two where filters of chroma reach beyond the picture."""
    assert [plane.shape for plane in one] == [plane.shape for plane in other]
    assert [plane.dtype for plane in one] == [plane.dtype for plane in other]
    assert farthest(one, other) <= 2
    inside = [(planes[0], *(chroma[1:, 1:] for chroma in planes[1:])) for planes in (one, other)]
    assert farthest(*inside) <= 1
