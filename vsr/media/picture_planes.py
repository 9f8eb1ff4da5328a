"""Convert pictures to planes of Y'CbCr and back, without loss of 8 bits per sample."""

from typing import Any

import cv2
import numpy as np

from vsr.media.frame import Frame, PictureMetadata, PixelLayout, Plane
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


def picture_layout(alpha: bool) -> PixelLayout:
    """Return the layout of the planes of a picture."""
    return PixelLayout(bit_depth=PICTURE_DEPTH, across=1, down=1, alpha=alpha)


def planes_of_picture(still: Still) -> tuple[Plane, ...]:
    """Convert RGB to Y, Cb and Cr by BT.709 in full range; alpha is the fourth plane.

    Floats below 0 and above 1 are clipped.
    """
    unit = 1 / full_scale(still.rgb.dtype)
    rgb = still.rgb.astype(np.float32)
    if still.rgb.dtype == np.float32:
        rgb = rgb.clip(0, 1)
    luma = np.array([_RED, _GREEN, _BLUE])
    blue = (np.array([0, 0, 1]) - luma) / (2 * (1 - _BLUE))
    red = (np.array([1, 0, 0]) - luma) / (2 * (1 - _RED))
    matrix = np.stack((luma, blue, red)) * (unit * _WHITE)
    offset = np.array([[0.5], [_NEUTRAL + 0.5], [_NEUTRAL + 0.5]])
    codes = cv2.transform(rgb, np.hstack((matrix, offset))).clip(0, _WHITE)
    planes = [np.ascontiguousarray(codes[..., n], dtype=np.uint16) for n in range(3)]
    if still.alpha is not None:
        alpha = still.alpha.astype(np.float32).clip(0, full_scale(still.alpha.dtype))
        planes.append((alpha * (unit * _WHITE) + 0.5).astype(np.uint16))
    return tuple(planes)


def picture_of_planes(
    frame: Frame, weights: tuple[float, float, float], dtype: np.dtype[Any]
) -> Still:
    """Convert the planes of a frame to a picture of uint8 or uint16, rounded to nearest.

    `weights` are those of R, G and B in luma. The metadata are those of the frame.
    """
    red, green, blue = weights
    top = full_scale(dtype)
    unit = top / _WHITE
    planes = cv2.merge([plane.astype(np.float32) for plane in frame.planes[:3]])
    to_red, to_blue = 2 * (1 - red), 2 * (1 - blue)
    chroma = np.array(
        [
            [0, to_red],
            [-blue * to_blue / green, -red * to_red / green],
            [to_blue, 0],
        ]
    )
    matrix = np.hstack((np.ones((3, 1)), chroma)) * unit
    offset = 0.5 - matrix[:, 1:].sum(axis=1, keepdims=True) * _NEUTRAL
    rgb = cv2.transform(planes, np.hstack((matrix, offset))).clip(0, top)
    alpha: Samples | None = None
    if len(frame.planes) > 3:
        alpha = (frame.planes[3].astype(np.float32) * unit + 0.5).astype(dtype)
    metadata = frame.picture or PictureMetadata()
    samples: Any = rgb.astype(dtype)
    if metadata.grey:
        samples = np.repeat(samples[..., 1:2], 3, axis=2)
    return Still(
        rgb=samples,
        alpha=alpha,
        icc_profile=metadata.icc_profile,
        exif=metadata.exif,
        tags=metadata.tags,
        grey=metadata.grey,
        bits=8 * dtype.itemsize,
    )


def metadata_of(still: Still) -> PictureMetadata:
    """Return the metadata of a picture without its pixels."""
    return PictureMetadata(still.icc_profile, still.exif, still.tags, still.grey)
