"""Convert pictures to planes of Y'CbCr and back, without loss of 8 bits per sample."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from vsr.media.frame import Frame, PixelLayout, Plane
from vsr.media.linear_light import from_srgb, to_srgb
from vsr.media.still import Samples, Still, full_scale

PICTURE_DEPTH = 15
"""Bits per sample of the planes, in full range: as many as the signed integers of networks hold.
RGB of 8 bits survives exactly, 16 bits within three levels."""
BT709 = 1
"""H.273 code of the matrix, and of the primaries of sRGB."""
SRGB = 13
"""H.273 code of the transfer function of sRGB."""

_RED, _BLUE = 0.2126, 0.0722
_GREEN = 1 - _RED - _BLUE
_WHITE = (1 << PICTURE_DEPTH) - 1
_NEUTRAL = 1 << (PICTURE_DEPTH - 1)
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


def picture_layout(alpha: bool) -> PixelLayout:
    """Return the layout of the planes of a picture."""
    return PixelLayout(bit_depth=PICTURE_DEPTH, across=1, down=1, alpha=alpha)


def planes_of_picture(still: Still) -> tuple[Plane, ...]:
    """Convert RGB to Y, Cb and Cr by BT.709 in full range; alpha is the fourth plane.

    Linear light is converted by the curve of sRGB. Floats below 0 and above 1 are clipped.
    """
    unit = _WHITE / full_scale(still.rgb.dtype)
    rgb = still.rgb.astype(np.float32)
    if still.rgb.dtype == np.float32:
        rgb = (to_srgb(rgb) if still.linear else rgb).clip(0, 1)
    luma = np.array([_RED, _GREEN, _BLUE])
    blue = (np.array([0, 0, 1]) - luma) / (2 * (1 - _BLUE))
    red = (np.array([1, 0, 0]) - luma) / (2 * (1 - _RED))
    matrix = np.stack((luma, blue, red)) * unit
    offset = np.array([[0.5], [_NEUTRAL + 0.5], [_NEUTRAL + 0.5]])
    codes = cv2.transform(rgb, np.hstack((matrix, offset))).clip(0, _WHITE)
    planes = [np.ascontiguousarray(codes[..., n], dtype=np.uint16) for n in range(3)]
    if still.alpha is not None:
        alpha = still.alpha.astype(np.float32) * unit + 0.5
        planes.append(alpha.clip(0, _WHITE).astype(np.uint16))
    return tuple(planes)


def picture_of_planes(
    frame: Frame, weights: tuple[float, float, float], dtype: np.dtype[Any]
) -> Still:
    """Convert the planes of a frame to a picture of uint8 or uint16, rounded to nearest.

    `weights` are those of R, G and B in luma. The metadata are those of the frame. If these are of
    linear light, so is the picture, of float32.
    """
    red, green, blue = weights
    metadata = frame.picture if isinstance(frame.picture, Still) else Still(_NO_PIXELS)
    if metadata.linear:
        dtype = np.dtype(np.float32)
    top = full_scale(dtype)
    to_red, to_blue = 2 * (1 - red), 2 * (1 - blue)
    green_row = [-blue * to_blue / green, -red * to_red / green]
    chroma = np.array([[0, to_red], green_row, [to_blue, 0]])
    matrix = np.hstack((np.ones((3, 1)), chroma)) * (top / _WHITE)
    half = 0.0 if metadata.linear else 0.5
    offset = half - matrix[:, 1:].sum(axis=1, keepdims=True) * _NEUTRAL
    planes = cv2.merge([plane.astype(np.float32) for plane in frame.planes[:3]])
    samples: Any = cv2.transform(planes, np.hstack((matrix, offset))).clip(0, top)
    samples = from_srgb(samples) if metadata.linear else samples.astype(dtype)
    if metadata.grey:
        samples = np.repeat(samples[..., 1:2], 3, axis=2)
    alpha: Samples | None = None
    if len(frame.planes) > 3:
        alpha = (frame.planes[3].astype(np.float32) * (top / _WHITE) + half).astype(dtype)
    bits = metadata.bits if metadata.linear else 8 * dtype.itemsize
    return replace(metadata, rgb=samples, alpha=alpha, bits=bits)


def metadata_of(still: Still) -> Still:
    """Return a picture without its pixels and what depends on them."""
    return replace(still, rgb=_NO_PIXELS, alpha=None, inks=None, ink_profile=None, pages=1, lost=())
