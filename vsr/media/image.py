"""Read and write still pictures with Pillow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vsr.errors import MediaError, OutputError
from vsr.media.target import check_target

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""The still formats that are read and written, by file name."""

_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Still:
    """A picture: its colours, its transparency, and the profile that says what they mean."""

    rgb: NDArray[np.uint8]
    """(H, W, 3)."""
    alpha: NDArray[np.uint8] | None = None
    """(H, W), where the file has it."""
    icc_profile: bytes | None = None
    exif: bytes | None = None
    """Camera, time and place; the orientation in it is already applied to the pixels."""


def read_still(path: Path | str) -> Still:
    """Read a picture upright, as 8-bit RGB; raises `MediaError` where that can't be done."""
    path = Path(path)
    if not path.exists():
        raise MediaError(f"{path}: no such file")
    if path.is_dir():
        raise MediaError(f"{path}: is a folder, not a picture")
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            exif = upright.getexif().tobytes() or None
            if upright.mode.startswith("I"):
                upright = _to_8_bit(upright)
            has_alpha = upright.has_transparency_data
            pixels = np.array(upright.convert("RGBA" if has_alpha else "RGB"))
            profile = opened.info.get("icc_profile")
    except UnidentifiedImageError as error:
        raise MediaError(f"{path}: not a picture that can be read") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(f"{path}: can't be read: {error}") from error
    # A CMYK or grey profile means nothing to RGB pixels.
    keep_profile = upright.mode in ("RGB", "RGBA", "P")
    return Still(
        np.ascontiguousarray(pixels[..., :3]),
        np.ascontiguousarray(pixels[..., 3]) if has_alpha else None,
        profile if keep_profile else None,
        exif,
    )


def check_still_output(path: Path, has_alpha: bool, overwrite: bool) -> None:
    """Raise `OutputError` where `path` couldn't be written, before any work is done."""
    check_target(path, "picture", SUFFIXES, overwrite)
    if has_alpha and path.suffix.lower() in _JPEG:
        raise OutputError(f"{path}: JPEG can't hold transparency; use .png or .webp")


def write_still(path: Path | str, still: Still, overwrite: bool = False) -> None:
    """Write a picture in the format its name asks for, whole or not at all.

    JPEG and lossy WebP at quality 95. Raises `OutputError` where the format is unknown
    or can't hold what it should, or where the file exists and `overwrite` isn't set.
    """
    path = Path(path)
    check_still_output(path, still.alpha is not None, overwrite)
    suffix = path.suffix.lower()
    pixels = still.rgb if still.alpha is None else np.dstack((still.rgb, still.alpha))
    options: dict[str, Any] = {} if suffix == ".png" else {"quality": 95}
    if suffix in _JPEG:
        options["subsampling"] = 0
    if still.icc_profile:
        options["icc_profile"] = still.icc_profile
    if still.exif:
        options["exif"] = still.exif
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        Image.fromarray(pixels).save(partial, **options)
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _to_8_bit(grey: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit grey; Pillow's own conversion would clip it to white."""
    levels = np.asarray(grey).astype(np.float64) / 257
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
