"""Still pictures in memory: samples, transparency, colour profile and metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsr.errors import MediaError
from vsr.media.exif import TRANSPOSED
from vsr.media.picture_tags import PictureTags

_LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey, as in Pillow (ITU-R BT.601)."""

Samples = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
"""Samples of a picture: 0 to the maximum of an integer type, or floats, of which 1 is white."""


@dataclass(frozen=True)
class Still:
    """A picture: pixels, transparency, colour profile and metadata."""

    rgb: Samples
    """(H, W, 3)."""
    alpha: Samples | None = None
    """(H, W), of the type of `rgb`; None if the file has no alpha."""
    icc_profile: bytes | None = None
    exif: bytes | None = None
    """Exif data, without the orientation, which is applied to the pixels."""
    tags: PictureTags = field(default_factory=PictureTags)
    grey: bool = False
    """Whether the file is greyscale; the three channels are then equal."""
    bits: int = 8
    """Bits per sample in the file; `rgb` may have fewer, see `lost`."""
    lost: tuple[str, ...] = ()
    """Parts of the file that aren't read, one line each."""
    inks: NDArray[np.uint8] | None = None
    """(H, W, 4): cyan, magenta, yellow and black of CMYK, 255 for full ink, as `rgb` shows them."""
    ink_profile: bytes | None = None
    """The ICC profile of `inks`."""
    transfer: int | None = None
    """Transfer function by H.273 that AVIF, HEIF or JPEG XL names; see `picture_hdr.hdr_of`."""
    linear: bool = False
    """Whether `rgb` is linear light, as in OpenEXR, rather than values for a display."""
    chromaticities: tuple[float, ...] | None = None
    """CIE x and y of red, green, blue and white of OpenEXR; None for those of sRGB."""
    exr_attributes: Mapping[str, Any] = field(default_factory=dict)
    """OpenEXR's attributes that other formats lack."""
    pages: int = 1
    """Pages of the file, or frames of an animation; this picture is one of them."""
    is_animation: bool = False
    """Whether the pages of the file are frames of an animation."""


def profile_space(profile: bytes) -> str:
    """Return the colour space of an ICC profile, such as "RGB" or "GRAY"."""
    return profile[16:20].decode("latin-1").strip()


def profile_fits(profile: bytes, grey: bool) -> bool:
    """Whether an ICC profile describes colours of RGB, or of a greyscale picture."""
    return profile_space(profile) in ("RGB", "GRAY" if grey else "RGB")


def rotate_samples(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Rotate and mirror pixels (H, W, ...) by the orientation of Exif data."""
    if orientation in TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def finite_floats(samples: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Convert samples of a file to float32. Raises `MediaError` where they aren't finite."""
    floats = samples.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise MediaError(f"{path}: holds samples that are not finite; replace them first")
    return floats


def divide_by_alpha(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Divide premultiplied colours (H, W, C) by alpha (H, W)."""
    highest = full_scale(colours.dtype)
    share = np.maximum(alpha.astype(np.float64), 1e-9 * highest)[..., None] / highest
    values = np.where(alpha[..., None] > 0, colours / share, 0)
    if colours.dtype == np.float32:
        return values.astype(np.float32)
    return np.rint(values).clip(0, highest).astype(colours.dtype)


def grey_of(rgb: Samples) -> Samples:
    """Return the grey (H, W, 1) of RGB, integers rounded to nearest.

    Equal channels keep their value, which needs float64.
    """
    grey: NDArray[np.float64] = (rgb @ np.array(_LUMA))[..., None]
    if rgb.dtype == np.float32:
        return grey.astype(np.float32)
    levels = np.rint(grey)
    return levels.astype(np.uint8) if rgb.dtype == np.uint8 else levels.astype(np.uint16)


def to_levels(samples: Samples, dtype: np.dtype[Any]) -> Samples:
    """Convert samples to another type, rounded to nearest; floats are clipped to 0 to 1."""
    if samples.dtype == dtype:
        return samples
    values = samples.astype(np.float64) / full_scale(samples.dtype)
    if dtype == np.float32:
        return values.astype(np.float32)
    levels: NDArray[np.float64] = np.rint(values.clip(0, 1) * full_scale(dtype))
    return levels.astype(np.uint8) if dtype == np.uint8 else levels.astype(np.uint16)


def full_scale(dtype: np.dtype[Any]) -> int:
    """Return the sample of white, or of full opacity."""
    return 1 if dtype == np.float32 else int(np.iinfo(dtype).max)
