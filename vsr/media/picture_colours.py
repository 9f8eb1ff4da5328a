"""Convert the colours of pictures to those that an output format holds."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from vsr.media.linear_light import from_srgb, to_srgb
from vsr.media.picture_formats import JPEG_SUFFIXES, TIFF_SUFFIXES
from vsr.media.rgb_profile import BT709, rgb_profile
from vsr.media.still import Still, full_scale, profile_space

_INK_SUFFIXES = (*JPEG_SUFFIXES, *TIFF_SUFFIXES)


def colours_for(path: Path, still: Still, dtype: np.dtype[np.generic]) -> Still:
    """Convert a picture for an output of samples of `dtype`.

    OpenEXR holds linear light. Other floats keep linear light, with a profile that says so, and
    integers have the curve of sRGB. JPEG and TIFF hold CMYK. Pictures of the right kind are
    returned as they are.
    """
    if still.inks is not None and not writes_inks(still, path.suffix.lower()):
        still = replace(still, inks=None, ink_profile=None)
    if path.suffix.lower() == ".exr":
        return still if still.linear else _linearised(still)
    if not still.linear or (dtype == np.float32 and still.icc_profile):
        return still
    if dtype == np.float32:
        return replace(still, icc_profile=_profile(still, 1.0))
    profile = _profile(still, None) if still.chromaticities else None
    return replace(still, rgb=to_srgb(_floats(still)), linear=False, icc_profile=profile)


def writes_inks(still: Still, suffix: str) -> bool:
    """Whether a picture is written as CMYK."""
    return still.inks is not None and still.alpha is None and suffix in _INK_SUFFIXES


def profile_for(still: Still, suffix: str) -> bytes | None:
    """Return the profile with which a picture is written."""
    return still.ink_profile if writes_inks(still, suffix) else still.icc_profile


def rgb_of_inks(inks: NDArray[np.uint8], profile: bytes | None) -> tuple[NDArray[np.uint8], bool]:
    """Convert CMYK (H, W, 4) to RGB (H, W, 3), and say whether it is sRGB by the profile."""
    image = Image.fromarray(inks, "CMYK")
    try:
        if profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return np.array(converted), True
    except (ImageCms.PyCMSError, OSError):
        pass
    return np.array(image.convert("RGB")), False


def colour_losses(path: Path, still: Still, dtype: np.dtype[np.generic]) -> list[str]:
    """List the conversions of colour for an output, one line each."""
    suffix = path.suffix.lower()
    if still.inks is not None and not writes_inks(still, suffix):
        by_profile = still.ink_profile and rgb_of_inks(still.inks[:1, :1], still.ink_profile)[1]
        written = "sRGB is written, by the colour profile" if by_profile else "RGB is written"
        return [f"CMYK colours: {written}; .jpg and .tif hold CMYK"]
    if suffix == ".exr" and still.icc_profile:
        if profile_space(still.icc_profile) == "RGB":
            return ["colour profile: .exr holds none; linear light of sRGB's primaries is written"]
        return ["colour profile: .exr holds none; .png and .tif do"]
    if suffix != ".exr" and still.linear and dtype != np.float32:
        return ["linear light: converted to the curve of sRGB; .exr and float .tif keep it"]
    return []


def in_linear_light(still: Still) -> Still:
    """Convert a picture to linear light of sRGB's primaries, floats that may exceed 0 to 1."""
    if not still.linear:
        return _linearised(still)
    profile = _profile(still, 1.0) if still.chromaticities else None
    return _linearised(replace(still, icc_profile=profile)) if profile else still


def _linearised(still: Still) -> Still:
    """Convert to linear light. Floats without a profile are taken as linear light."""
    is_float = still.rgb.dtype == np.float32
    rgb = _floats(still)
    profile = still.icc_profile
    if profile and profile_space(profile) == "RGB":
        rgb = _through_profile(rgb, profile)
    elif not is_float:
        rgb = from_srgb(rgb)
    alpha = still.alpha
    if alpha is not None:
        alpha = (alpha / np.float32(full_scale(alpha.dtype))).astype(np.float32)
    bits = still.bits if is_float else (16 if still.bits <= 8 else 32)
    return replace(still, rgb=rgb, alpha=alpha, bits=bits, linear=True, icc_profile=None)


def _through_profile(rgb: NDArray[np.float32], profile: bytes) -> NDArray[np.float32]:
    """Convert by LittleCMS to linear light of sRGB's primaries, without clipping."""
    import imagecodecs

    converted: NDArray[np.float32] = imagecodecs.cms_transform(
        rgb, profile, rgb_profile(BT709, gamma=1.0), colorspace="rgb", outcolorspace="rgb"
    )
    return converted


def _floats(still: Still) -> NDArray[np.float32]:
    """Return the samples as floats, of which 1 is white."""
    return (still.rgb / np.float32(full_scale(still.rgb.dtype))).astype(np.float32)


def _profile(still: Still, gamma: float | None) -> bytes | None:
    """Return the profile of a picture from OpenEXR; None for impossible chromaticities."""
    try:
        return rgb_profile(still.chromaticities or BT709, gamma)
    except ValueError:
        return None
