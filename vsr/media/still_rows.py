"""Write a large picture while it is computed: formats, metadata and samples."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vsr.media.image_writer import as_image, check_still_output, writer_options
from vsr.media.picture_formats import JPEG_SUFFIXES, TIFF_SUFFIXES
from vsr.media.row_writers import (
    PictureShape,
    regrouped,
    write_jpeg_rows,
    write_png_rows,
    write_tiff_rows,
)
from vsr.media.still import Samples, Still, grey_of
from vsr.system.files import atomic_path

Band = tuple[Samples, Samples | None]
"""Lines of RGB (n, W, 3) and of alpha (n, W), if the picture has any."""

_LEAST_BYTES = 1 << 28
"""Samples of an output from which on it is written line by line."""
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_PREVIEW_SIDE = 1024


def writes_rows(path: Path, size: tuple[int, int], dtype: np.dtype[Any]) -> bool:
    """Whether a picture of (width, height) is written line by line to `path`."""
    suffix = path.suffix.lower()
    streams = suffix == ".png" or suffix in JPEG_SUFFIXES or suffix in TIFF_SUFFIXES
    is_large = size[0] * size[1] * 3 * dtype.itemsize >= _LEAST_BYTES
    return streams and is_large and dtype != np.float32


def write_rows(
    path: Path,
    source: Still,
    size: tuple[int, int],
    dtype: np.dtype[Any],
    bands: Iterable[Band],
    overwrite: bool = False,
) -> None:
    """Write a picture of (width, height) from bands of samples of `dtype`, whole or not at all.

    `source` has its metadata, and its thumbnail, as a picture of any size. The format is that of
    `writes_rows`. Raises `OutputError`.
    """
    has_alpha = source.alpha is not None
    check_still_output(path, has_alpha, overwrite=overwrite, size=size, still=source)
    suffix = path.suffix.lower()
    preview = as_image(_preview(source), suffix)
    options = writer_options(source, suffix, preview, size=size)
    channels = (1 if source.grey else 3) + has_alpha
    shape = PictureShape(height=size[1], width=size[0], channels=channels, dtype=dtype)
    samples = (_channels(band, source.grey) for band in bands)
    with atomic_path(path) as partial:
        if suffix in TIFF_SUFFIXES:
            write_tiff_rows(
                partial,
                shape,
                samples,
                profile=options.get("icc_profile"),
                exif=options.get("exif"),
                tags=source.tags,
                xmp=options.get("xmp"),
            )
        elif suffix in JPEG_SUFFIXES:
            write_jpeg_rows(partial, shape, samples, options)
        else:
            metadata = io.BytesIO()
            Image.new(_MODES[channels], (1, 1)).save(metadata, "PNG", **options)
            write_png_rows(partial, shape, samples, metadata.getvalue())


def _preview(source: Still) -> Still:
    """Reduce a picture by skipping pixels."""
    step = max(1, max(source.rgb.shape[:2]) // _PREVIEW_SIDE)
    alpha = None if source.alpha is None else source.alpha[::step, ::step]
    rgb: Samples = source.rgb[::step, ::step].copy()
    return replace(source, rgb=rgb, alpha=alpha)


def _channels(band: Band, is_grey: bool) -> NDArray[Any]:
    """Join the channels of a band as in the file, (n, W, C)."""
    rgb, alpha = band
    colours = grey_of(rgb) if is_grey else rgb
    return colours if alpha is None else np.concatenate((colours, alpha[..., None]), axis=2)


def joined_bands(
    rgb: Iterator[Samples], alpha: Iterator[Samples] | None, lines: int = 256
) -> Iterator[Band]:
    """Pair bands of RGB and of alpha, which may have other heights."""
    if alpha is None:
        yield from ((band, None) for band in rgb)
        return
    yield from zip(regrouped(rgb, lines), regrouped(alpha, lines), strict=True)
