"""Read still pictures."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vsr.errors import MediaError, first_line
from vsr.media.avif import avif_transfer, read_avif16
from vsr.media.exr import read_exr
from vsr.media.jxl import read_jxl
from vsr.media.mpo import mpo_page
from vsr.media.picture_colours import rgb_of_inks
from vsr.media.picture_exif import exif_of, orientation_of, stored_size
from vsr.media.picture_formats import DEEP_AVIF, has_format, has_heif, hint_for, read_heif16
from vsr.media.picture_header import bits_of, frames_of, is_grey_png
from vsr.media.picture_memory import reading_by_pillow
from vsr.media.picture_samples import samples_of, upright_copy
from vsr.media.picture_tags import tags_of
from vsr.media.png16 import read_png16
from vsr.media.still import (
    Samples,
    Still,
    finite_floats,
    profile_fits,
    profile_space,
    rotate_samples,
)
from vsr.media.tiff import read_tiff
from vsr.system.address import is_pipe
from vsr.system.files import reason as failure

_ANIMATED_FORMATS = ("PNG", "WEBP", "AVIF", "GIF")
_RGB_MODES = ("RGB", "RGBA", "P", "PA", "RGBX", "RGBa")
_PALETTE_MODES = ("P", "PA")
_GREY_MODES = ("1", "L", "LA", "La", "I")


def read_still(path: Path | str, page: int = 0) -> Still:
    """Read a picture, rotated by its orientation, in the samples of its file.

    `page` counts the pages of a file, or the frames of an animation. Raises `MediaError`.
    """
    path = Path(path)
    pipe = is_pipe(path)
    if not pipe and not path.exists():
        raise MediaError(f"{path}: no such file")
    if path.is_dir():
        raise MediaError(f"{path}: is a folder, not a picture")
    try:
        with path.open("rb") as opened:
            file = io.BytesIO(opened.read()) if pipe else opened
            with reading_by_pillow(path):
                return _read(file, path, page)
    except MediaError:
        raise
    except UnidentifiedImageError as error:
        reason = "" if pipe else hint_for(_head(path))
        raise MediaError(f"{path}: {reason or 'not a picture that can be read'}") from error
    except OSError as error:
        reason = failure(error) or type(error).__name__
        raise MediaError(f"{path}: can't be read: {reason.splitlines()[0]}") from error
    except Exception as error:  # Pillow raises many types of error for broken files
        raise MediaError(f"{path}: can't be read: {first_line(error)}") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


def _read(file: Any, path: Path, page: int) -> Still:
    deep = read_tiff(file, path, page) or read_exr(file, path) or read_jxl(file, path)
    if deep is not None:
        return deep
    file.seek(0)
    has_heif()
    with Image.open(file) as opened:
        lost: list[str] = []
        pages = frames_of(opened, lost)
        if page:
            opened.info.clear()  # of the page before
            opened.seek(page)
            if opened.format == "MPO":
                alone = io.BytesIO(mpo_page(opened, file))
                return replace(_read(alone, path, 0), pages=pages)
        orientation = orientation_of(opened)
        upright = upright_copy(opened)
        bits = bits_of(opened, file)
        nclx = opened.info.get("nclx_profile") or {}  # of HEIF
        tags, lost_tags = tags_of(opened, upright, file, orientation)
        profile = opened.info.get("icc_profile")
        name, mode = str(opened.format), upright.mode
        exif = exif_of(opened, orientation, stored_size(upright, orientation), lost)
    is_grey = mode in _GREY_MODES or mode.startswith(("I;16", "F"))
    is_grey = is_grey or (name == "PNG" and is_grey_png(file))  # 16 bits with alpha become RGBA
    inks = ink_profile = None
    if mode == "CMYK":
        inks = np.array(upright)
        if profile and profile_space(profile) == "CMYK":
            ink_profile, profile = profile, None
        upright = Image.fromarray(rgb_of_inks(inks, ink_profile)[0])
    elif not (is_grey or mode in _RGB_MODES):
        lost.append(f"{mode} colours: RGB is written")
    if profile and not profile_fits(profile, is_grey):
        lost.append(f"colour profile of {profile_space(profile)}: RGB is written")
        profile = None
    rgb: Samples
    alpha: Samples | None
    if mode == "F":
        rgb, alpha = np.repeat(finite_floats(np.asarray(upright), path)[..., None], 3, axis=2), None
    elif mode.startswith("I"):
        rgb, alpha = _deep_grey(upright, path)
    elif name == "HEIF" and bits > 8:
        pixels16 = read_heif16(file, bits)
        rgb = np.ascontiguousarray(pixels16[..., :3])
        alpha = np.ascontiguousarray(pixels16[..., 3]) if pixels16.shape[2] == 4 else None
    elif name == "AVIF" and bits > 8 and has_format(DEEP_AVIF):
        pixels16 = read_avif16(file, bits, orientation)
        rgb = np.ascontiguousarray(pixels16[..., :3])
        alpha = np.ascontiguousarray(pixels16[..., 3]) if pixels16.shape[2] == 4 else None
    elif name == "PNG" and bits == 16:
        rgb, alpha = _deep_colour(file, orientation, upright.info.get("transparency"))
    else:
        rgb, alpha = samples_of(upright)
        if bits > 8:
            lost.append(f"{bits} bits a channel: 8 are read")
    if mode in _PALETTE_MODES:
        is_grey = not profile and bool((rgb[..., :1] == rgb[..., 1:]).all())
        if not is_grey:
            lost.append("palette: true colours are written")
    return Still(
        rgb=rgb,
        alpha=alpha,
        icc_profile=profile,
        exif=exif,
        tags=tags,
        grey=is_grey,
        bits=bits,
        inks=inks,
        ink_profile=ink_profile,
        transfer=avif_transfer(file) if name == "AVIF" else nclx.get("transfer_characteristics"),
        lost=(*lost, *lost_tags),
        pages=pages,
        is_animation=name in _ANIMATED_FORMATS,
    )


def _deep_grey(grey: Image.Image, path: Path) -> tuple[NDArray[np.uint16], Samples | None]:
    """Return 16-bit grey as RGB and alpha."""
    samples = np.asarray(grey)
    if samples.size and (samples.max() > 65535 or samples.min() < 0):
        raise MediaError(f"{path}: holds samples of more than 16 bits; convert it to 16 bits first")
    transparent = grey.info.get("transparency")
    alpha = _opaque_except(samples == transparent) if isinstance(transparent, int) else None
    return np.repeat(samples.astype(np.uint16)[..., None], 3, axis=2), alpha


def _deep_colour(
    file: Any, orientation: int, transparent: Any
) -> tuple[NDArray[np.uint16], Samples | None]:
    """Read a PNG of 16 bits per sample as RGB and alpha, or an alpha of one transparent colour."""
    file.seek(0)
    pixels = rotate_samples(read_png16(file.read()), orientation)
    rgb = np.ascontiguousarray(pixels[..., :3])
    if isinstance(transparent, tuple):
        return rgb, _opaque_except((rgb == np.array(transparent)).all(axis=2))
    return rgb, np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else None


def _opaque_except(transparent: NDArray[np.bool_]) -> NDArray[np.uint16]:
    return np.where(transparent, 0, 65535).astype(np.uint16)
