"""Read and write still pictures with Pillow."""

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vsr.errors import MediaError, OutputError
from vsr.media.avif import avif_bits, read_avif16, write_avif16
from vsr.media.exr import read_exr, unsupported_attributes, unsupported_by_exr, write_exr
from vsr.media.jxl import read_jxl, write_jxl
from vsr.media.mpo import mpo_page
from vsr.media.picture_colours import (
    colour_losses,
    colours_for,
    profile_for,
    rgb_of_inks,
    writes_inks,
)
from vsr.media.picture_formats import (
    DEEP_AVIF,
    has_format,
    has_heif,
    hint_for,
    needs_extra,
    read_heif16,
    writable_formats,
)
from vsr.media.picture_memory import pillow_limit
from vsr.media.picture_samples import samples_of, upright_copy
from vsr.media.picture_tags import (
    JPEG_SUFFIXES,
    TIFF_SUFFIXES,
    PictureTags,
    bits_of,
    check_holds,
    exif_of,
    frames_of,
    is_grey_png,
    orientation_of,
    save_options,
    stored_size,
    tags_of,
    unsupported_tags,
)
from vsr.media.png16 import read_png16, write_png16
from vsr.media.still import (
    Samples,
    Still,
    profile_fits,
    profile_space,
    rotate_samples,
    to_levels,
)
from vsr.media.tiff import append_tiff, read_tiff
from vsr.system.address import is_pipe
from vsr.system.files import atomic_path, check_output_path
from vsr.system.files import reason as failure

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".avif", ".exr", ".jxl", *TIFF_SUFFIXES}
)
"""Suffixes of the picture formats that can be written."""

_OPTIONAL = {".exr": "OpenEXR", ".jxl": "JPEG XL"}
"""Formats by suffix that need an optional package."""

_ANIMATED_FORMATS = ("PNG", "WEBP", "AVIF", "GIF")
_RGB_MODES = ("RGB", "RGBA", "P", "PA", "RGBX", "RGBa")
_PALETTE_MODES = ("P", "PA")
_GREY_MODES = ("1", "L", "LA", "La", "I")
_TYPES = {
    ".png": (np.uint8, np.uint16),
    **dict.fromkeys(TIFF_SUFFIXES, (np.uint8, np.uint16, np.float32)),
    ".exr": (np.float32,),
    ".jxl": (np.uint8, np.uint16, np.float32),
}
"""Types of samples by suffix; other formats hold 8 bits."""
MAX_TIFF_BYTES = 0xFFFF_FFFF - (1 << 24)
"""Offsets in TIFF have 32 bits."""
_LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey, as in Pillow (ITU-R BT.601)."""


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
            with warnings.catch_warnings(), pillow_limit(path):
                warnings.simplefilter("ignore")  # about oddities of the file
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
        reason = str(error) or type(error).__name__
        raise MediaError(f"{path}: can't be read: {reason.splitlines()[0]}") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


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
            reason = str(error) or type(error).__name__
            raise OutputError(f"{path}: can't be written: {reason.splitlines()[0]}") from error


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
        rgb, alpha = np.repeat(_finite(upright, path)[..., None], 3, axis=2), None
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
        lost=(*lost, *lost_tags),
        pages=pages,
        is_animation=name in _ANIMATED_FORMATS,
    )


def _finite(grey: Image.Image, path: Path) -> NDArray[np.float32]:
    samples = np.asarray(grey, np.float32)
    if not np.isfinite(samples).all():
        raise MediaError(f"{path}: holds samples that are not finite; replace them first")
    return samples


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
    dtype = still.rgb.dtype
    colours = still.rgb
    if image.mode in ("L", "LA"):
        grey = (colours @ np.array(_LUMA))[..., None]
        colours = (
            grey.astype(np.float32) if dtype == np.float32 else np.rint(grey).astype(np.uint16)
        )
    parts: list[Any] = [colours] if still.alpha is None else [colours, still.alpha[..., None]]
    joined: Samples = np.concatenate(parts, axis=2)
    return joined
