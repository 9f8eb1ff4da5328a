"""Write still pictures, and list what their format can't hold."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from vsr.errors import OutputError, first_line
from vsr.media.avif import avif_bits, write_avif16
from vsr.media.exr import unsupported_attributes, unsupported_by_exr, write_exr
from vsr.media.jxl import write_jxl
from vsr.media.picture_colours import colour_losses, colours_for, profile_for, writes_inks
from vsr.media.picture_formats import (
    DEEP_AVIF,
    JPEG_SUFFIXES,
    TIFF_SUFFIXES,
    has_format,
    needs_extra,
    writable_formats,
)
from vsr.media.picture_limits import MAX_TIFF_BYTES, check_holds, unsupported_tags
from vsr.media.picture_options import save_options
from vsr.media.picture_tags import PictureTags
from vsr.media.png16 import write_png16
from vsr.media.still import Samples, Still, grey_of, profile_space, to_levels
from vsr.media.tiff import append_tiff
from vsr.system.files import atomic_path, check_output_path

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".avif", ".exr", ".jxl", *TIFF_SUFFIXES}
)
"""Suffixes of the picture formats that can be written."""
_OPTIONAL = {".exr": "OpenEXR", ".jxl": "JPEG XL"}
"""Formats by suffix that need an optional package."""
_TYPES = {
    ".png": (np.uint8, np.uint16),
    **dict.fromkeys(TIFF_SUFFIXES, (np.uint8, np.uint16, np.float32)),
    ".exr": (np.float32,),
    ".jxl": (np.uint8, np.uint16, np.float32),
}
"""Types of samples by suffix; other formats hold 8 bits."""


def still_losses(path: Path, still: Still) -> list[str]:
    """List the parts of a picture that are lost when it is written to `path`, one line each."""
    suffix = path.suffix.lower()
    lost = []
    if still.pages > 1:
        pages = "frames of an animation" if still.is_animation else "pages"
        lost.append(f"{still.pages - 1} of {still.pages} {pages}; the first is used")
    dtype = sample_type(path, still)
    lost += [*still.lost, *unsupported_tags(still.tags, suffix, still.exif)]
    lost += unsupported_by_exr(still) if suffix == ".exr" else unsupported_attributes(still, suffix)
    lost += colour_losses(path, still, dtype)
    bits = avif_bits(still.bits) if suffix == ".avif" and dtype == np.uint16 else 8 * dtype.itemsize
    is_shallower = bits < min(16, still.bits) and still.rgb.dtype != np.uint8
    if is_shallower or dtype not in (still.rgb.dtype, np.float32):
        if still.rgb.dtype == np.float32:
            lost.append(f"floating-point samples: {suffix} holds {bits} bits, 0 to 1; .tif all")
        else:
            lost.append(f"{still.bits} bits a channel: {suffix} holds {bits}, .png and .tif 16")
    if _lacks_profile(still, suffix):
        lost.append(f"colour profile of grey: {suffix} can't hold it, .png and .jpg can")
    return lost


def sample_type(path: Path, still: Still) -> np.dtype[Any]:
    """Return the type of the samples of a picture as written to `path`."""
    types = _types(path.suffix)
    return still.rgb.dtype if still.rgb.dtype in types else types[-1]


def _types(suffix: str) -> list[np.dtype[Any]]:
    suffix = suffix.lower()
    if suffix == ".avif" and has_format(DEEP_AVIF):
        return [np.dtype(np.uint8), np.dtype(np.uint16)]
    return [np.dtype(name) for name in _TYPES.get(suffix, (np.uint8,))]


def check_still_output(
    path: Path,
    has_alpha: bool,
    overwrite: bool,
    size: tuple[int, int] = (1, 1),
    still: Still | None = None,
) -> None:
    """Raise `OutputError` where a picture can't be written to `path`.

    `size` is the (width, height) of the output; `still` has the metadata to write.
    """
    check_output_path(path, "picture", suffixes=IMAGE_SUFFIXES, overwrite=overwrite)
    suffix = path.suffix.lower()
    if _OPTIONAL.get(suffix, "PNG") not in writable_formats():
        raise OutputError(f"{path}: {needs_extra(_OPTIONAL[suffix])}")
    if suffix == ".avif" and "AVIF" not in writable_formats():
        raise OutputError(f"{path}: this Pillow can't write AVIF; use .png or .webp")
    if has_alpha and suffix in JPEG_SUFFIXES:
        raise OutputError(f"{path}: JPEG can't hold transparency; use .png or .webp")
    if still and suffix in TIFF_SUFFIXES and still.rgb.dtype == np.float32:
        channels = (1 if still.grey else 3) + has_alpha
        if size[0] * size[1] * channels * still.rgb.itemsize > MAX_TIFF_BYTES:
            raise OutputError(f"{path}: {size[0]}x{size[1]}: {suffix} holds 4 GB, .png more")
    tags, exif = (still.tags, still.exif) if still else (PictureTags(), None)
    try:
        check_holds(suffix, size=size, exif=exif, tags=tags)
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from error


def write_still(path: Path | str, still: Still, overwrite: bool = False) -> None:
    """Write a picture in the format of its suffix, whole or not at all.

    JPEG, WebP and AVIF have quality 95. Raises `OutputError` where the format is unknown or can't
    hold the picture, or where the file exists and `overwrite` isn't set.
    """
    path = Path(path)
    size = (still.rgb.shape[1], still.rgb.shape[0])
    check_still_output(
        path, has_alpha=still.alpha is not None, overwrite=overwrite, size=size, still=still
    )
    suffix, dtype = path.suffix.lower(), sample_type(path, still)
    still = colours_for(path, still, dtype)
    if still.rgb.dtype != dtype:
        alpha = None if still.alpha is None else to_levels(still.alpha, dtype)
        still = replace(still, rgb=to_levels(still.rgb, dtype), alpha=alpha)
    image = as_image(still, suffix)
    options = writer_options(still, suffix, image)
    with atomic_path(path) as partial:
        try:
            if suffix in TIFF_SUFFIXES:
                with partial.open("w+b") as file:
                    add_tiff_page(file, still)
            elif suffix == ".avif" and dtype == np.uint16:
                write_avif16(partial, _channels(still, image), avif_bits(still.bits), options)
            elif suffix == ".jxl":
                write_jxl(partial, _channels(still, image), options)
            elif suffix == ".exr":
                write_exr(partial, still, _channels(still, image))
            elif dtype == np.uint8:
                _save(image, partial, options)
            else:
                metadata = io.BytesIO()
                Image.new(image.mode, (1, 1)).save(metadata, "PNG", **options)
                write_png16(partial, _channels(still, image), metadata.getvalue())
        except OSError:
            raise
        except Exception as error:  # Pillow's writers raise many types of error
            raise OutputError(f"{path}: can't be written: {first_line(error)}") from error


def _save(image: Image.Image, path: Path, options: dict[str, Any]) -> None:
    """Write a picture by Pillow, whose JPEG encoder doesn't notice a full disk: by memory."""
    if path.suffix.lower() not in JPEG_SUFFIXES:
        image.save(path, **options)
        return
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", **options)
    path.write_bytes(encoded.getbuffer())


def writer_options(
    still: Still, suffix: str, image: Image.Image, size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return the options of Pillow's writer: quality, colour profile, metadata.

    `size` is the (width, height) of the file where that isn't the size of `image`.
    """
    options: dict[str, Any] = {} if suffix == ".png" else {"quality": 95}
    if suffix in JPEG_SUFFIXES:
        options["subsampling"] = 0
    if suffix == ".avif":
        options["subsampling"] = "4:0:0" if _is_grey_in(still, suffix) else "4:4:4"
    profile = profile_for(still, suffix)
    if profile and not _lacks_profile(still, suffix):
        options["icc_profile"] = profile
    return options | save_options(suffix, image=image, exif=still.exif, tags=still.tags, size=size)


def add_tiff_page(file: BinaryIO, still: Still, page: tuple[int, int] | None = None) -> None:
    """Append a picture to a TIFF file; `page` is its number, from 0, and that of all pages."""
    image = as_image(still, ".tif")
    options = writer_options(still, ".tif", image)
    append_tiff(
        file,
        _channels(still, image),
        profile=options.get("icc_profile"),
        exif=options.get("exif"),
        tags=still.tags,
        xmp=options.get("xmp"),
        page=page,
        inks=image.mode == "CMYK",
    )


def _is_grey_in(still: Still, suffix: str) -> bool:
    """Whether a picture is written as greyscale: if it was, and the format supports that."""
    return still.grey and suffix != ".webp" and not (suffix == ".avif" and still.alpha is not None)


def _lacks_profile(still: Still, suffix: str) -> bool:
    """Whether a picture has a greyscale profile, but is written as RGB."""
    profile = still.icc_profile or b""
    return profile_space(profile) == "GRAY" and not _is_grey_in(still, suffix)


def as_image(still: Still, suffix: str) -> Image.Image:
    """Return a picture as Pillow's, of 8 bits per sample."""
    if still.inks is not None and writes_inks(still, suffix):
        return Image.fromarray(still.inks, "CMYK")
    image = Image.fromarray(to_levels(still.rgb, np.dtype(np.uint8)))
    if _is_grey_in(still, suffix):
        image = image.convert("L")
    if still.alpha is not None:
        image.putalpha(Image.fromarray(to_levels(still.alpha, np.dtype(np.uint8))))
    return image


def _channels(still: Still, image: Image.Image) -> Samples:
    """Return the samples of a file (H, W, C): grey or RGB, then alpha; `image` has 8 bits."""
    if still.rgb.dtype == np.uint8 or image.mode == "CMYK":
        return np.asarray(image).reshape(*still.rgb.shape[:2], -1)
    colours = grey_of(still.rgb) if image.mode in ("L", "LA") else still.rgb
    parts: list[Any] = [colours] if still.alpha is None else [colours, still.alpha[..., None]]
    joined: Samples = np.concatenate(parts, axis=2)
    return joined
