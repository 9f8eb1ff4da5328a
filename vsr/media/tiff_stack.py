"""Read and write TIFF stacks of measured values: ImageJ and OME hyperstacks, and deep grey pages.

Planes are read one at a time, with the values of the file.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from vsr.errors import MediaError, OutputError, first_line
from vsr.media.exif import RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION
from vsr.media.ome import has_regions, scaled_ome
from vsr.media.picture_formats import TIFF_SUFFIXES
from vsr.media.picture_limits import MAX_TIFF_BYTES
from vsr.media.picture_memory import check_source
from vsr.media.tiff import is_tiff
from vsr.system.address import is_pipe
from vsr.system.files import atomic_path, check_output_path

_WHITE_IS_ZERO, _GREY, _RGB = 0, (0, 1), 2
_DESCRIPTION = 270
_NO_UNIT = 1
_TEXTS = (269, 271, 272, 285, 305, 306, 315, 316, 33432)
"""Tags of text that are copied: document, devices, page, software, date, authors, copyright."""
_PIXEL_MARKS = {"ROI": "regions of interest", "Overlays": "overlays", "Plot": "a plot"}
"""ImageJ's binary metadata in pixel coordinates."""
_BINARY = ("Info", "Labels", "Ranges", "LUTs", "Properties")
"""ImageJ's other binary metadata."""


@dataclass(frozen=True)
class TiffStack:
    """An open stack of planes of one size, in the order of the file."""

    path: Path
    kind: Literal["imagej", "ome", "plain"]
    axes: str
    """Axes of the planes, slowest first, such as "TZC"; empty for a single plane."""
    lengths: tuple[int, ...]
    """Planes along each of `axes`."""
    height: int
    width: int
    colour: bool
    """Whether planes are RGB, (H, W, 3), rather than grey, (H, W)."""
    dtype: np.dtype[Any]
    white_is_zero: bool
    lost: tuple[str, ...]
    """Parts of the file that aren't kept, one line each."""
    _tif: Any
    _series: Any

    @property
    def planes(self) -> int:
        """The number of planes."""
        return math.prod(self.lengths)

    def channel(self, index: int) -> int:
        """Return the position of a plane on the axis C; 0 if there is none."""
        if "C" not in self.axes:
            return 0
        return int(np.unravel_index(index, self.lengths)[self.axes.index("C")])

    def plane(self, index: int) -> NDArray[Any]:
        """Decode a plane. Raises `MediaError`."""
        pages = self._series.pages
        try:
            if len(pages) == self.planes:
                page = pages[index]
                if page is None:  # OME files may lack planes
                    shape = (
                        (self.height, self.width, 3) if self.colour else (self.height, self.width)
                    )
                    return np.zeros(shape, self.dtype)
                samples: NDArray[Any] = page.asarray(maxworkers=1)
            else:  # ImageJ's planes after its only page
                stored = self.dtype.newbyteorder(self._tif.byteorder)
                start = self._series.dataoffset + index * pages[0].nbytes
                samples = np.fromfile(self.path, stored, pages[0].size, offset=start)
                samples = samples.reshape(pages[0].shape)
        except Exception as error:  # decoders raise many types of error
            raise MediaError(
                f"{self.path}: plane {index + 1} can't be read: {first_line(error)}"
            ) from error
        if self.colour and samples.shape[0] == 3 != samples.shape[-1]:
            samples = np.moveaxis(samples, 0, -1)
        return samples.astype(self.dtype, copy=False)


@contextmanager
def open_stack(path: Path) -> Iterator[TiffStack | None]:
    """Open a TIFF stack of measured values; None for other files, such as photographs.

    A stack is a file that declares the axes of ImageJ or OME, or grey pages: several of more than 8
    bits, or one of signed, 32-bit integer or 64-bit samples. Raises `MediaError`.
    """
    if _is_tiff_file(path):
        with _opened(path) as tif:
            yield None if tif is None else _checked_stack(tif, path)
    else:
        yield None


def check_stack_output(
    output: Path, stack: TiffStack, size: tuple[int, int], overwrite: bool
) -> None:
    """Raise `OutputError` where a stack can't be written to `output`; `size` is (height, width)."""
    if output.suffix.lower() not in TIFF_SUFFIXES:
        raise OutputError(f"{output}: holds no stack of measured values; name a .tif")
    check_output_path(output, "picture", suffixes=TIFF_SUFFIXES, overwrite=overwrite)
    if stack.kind == "imagej" and _bytes_of(stack, size) > MAX_TIFF_BYTES:
        raise OutputError(f"{output}: ImageJ's stacks hold 4 GB; cut {stack.path} into parts first")


def write_stack(
    output: Path, stack: TiffStack, planes: Iterator[NDArray[Any]], size: tuple[int, int]
) -> None:
    """Write upscaled planes of `size` = (height, width) with the metadata of `stack`.

    The pixel spacing is divided by the scale. ImageJ's stacks and those that aren't compressed stay
    uncompressed; others are compressed without loss.
    """
    page = stack._tif.pages.first
    packed = stack.kind != "imagej" and page.compression != 1
    options: dict[str, Any] = {}
    if packed:
        options = {"compression": "zlib", "predictor": stack.dtype.kind in "iu"}
    if resolution := _resolution(stack, size):
        options |= {"resolution": resolution, "resolutionunit": _tag(page, RESOLUTION_UNIT) or 1}
    with atomic_path(output) as partial:
        try:
            tifffile.imwrite(
                partial,
                planes,
                shape=(stack.planes, *size, *((3,) if stack.colour else ())),
                dtype=stack.dtype,
                byteorder=stack._tif.byteorder,
                bigtiff=_bytes_of(stack, size) > MAX_TIFF_BYTES,
                photometric="rgb" if stack.colour else page.photometric,
                planarconfig="contig" if stack.colour else None,
                description=_description(stack, size),
                metadata=None,
                software=False,
                extratags=_extra_tags(stack),
                **options,
            )
        except OSError:
            raise
        except (ValueError, tifffile.TiffFileError) as error:
            if isinstance(error, MediaError):
                raise
            raise OutputError(f"{output}: can't be written: {first_line(error)}") from error


def described(stack: TiffStack, size: tuple[int, int]) -> dict[str, Any]:
    """Return the tags that an output of `size` = (height, width) gets, by name."""
    page = stack._tif.pages.first
    tags = {"description": _description(stack, size), "resolution": _resolution(stack, size)}
    tags |= {page.tags[code].name: value for code, _, _, value, _ in _text_tags(page)}
    if stack.kind == "imagej":
        found = stack._tif.imagej_metadata or {}
        tags |= {f"ImageJ's {key}": found[key] for key in _BINARY if key in found}
    return {name: value for name, value in tags.items() if value is not None}


def _is_tiff_file(path: Path) -> bool:
    if is_pipe(path) or not path.is_file():
        return False
    with path.open("rb") as file:
        return is_tiff(file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a TIFF file; None if it is too broken for that, which other readers report."""
    try:
        tif = tifffile.TiffFile(path)
    except Exception:  # broken files raise many types of error
        yield None
        return
    with tif:
        yield tif


def _checked_stack(tif: Any, path: Path) -> TiffStack | None:
    try:
        return _stack_of(tif, path)
    except MediaError:
        raise
    except Exception as error:  # broken files raise many types of error
        raise MediaError(f"{path}: can't be read: {first_line(error)}") from error


def _stack_of(tif: Any, path: Path) -> TiffStack | None:
    kind = _kind(tif)
    series = tif.series if kind else []
    if not series:
        return None
    first, page = series[0], series[0].keyframe
    if kind == "plain" and len(series) > 1:
        return None
    colour = page.photometric == _RGB
    if not (colour and page.samplesperpixel == 3) and not (
        page.photometric in _GREY and page.samplesperpixel == 1
    ):
        if kind == "plain":
            return None
        raise MediaError(
            f"{path}: planes of {page.samplesperpixel} samples a pixel: stacks are grey or RGB"
        )
    if (
        page.dtype is None
        or page.dtype.kind not in "uif"
        or page.dtype.itemsize > 8
        or (page.dtype.kind in "ui" and page.dtype.itemsize > 4)
    ):
        raise MediaError(
            f"{path}: samples of type {page.dtype} aren't supported; convert them first"
        )
    if getattr(first, "is_multifile", False):
        raise MediaError(f"{path}: is one of several files of an OME set; join them first")
    axes, lengths = _axes(first, page)
    stack = TiffStack(
        path=path,
        kind=kind,
        axes=axes,
        lengths=lengths,
        height=page.imagelength,
        width=page.imagewidth,
        colour=colour,
        dtype=page.dtype.newbyteorder("="),
        white_is_zero=page.photometric == _WHITE_IS_ZERO,
        lost=tuple(_lost(tif, kind, len(series))),
        _tif=tif,
        _series=first,
    )
    _check(stack)
    return stack


def _kind(tif: Any) -> Any:
    """Return "imagej", "ome" or "plain"; an empty string for photographs."""
    if tif.is_imagej:
        return "imagej"
    if tif.is_ome:
        return "ome"
    page = tif.pages.first
    if page.photometric not in _GREY or page.samplesperpixel != 1 or page.dtype is None:
        return ""
    several = len(tif.pages) > 1 and page.bitspersample > 8
    kind, bits = page.dtype.kind, page.bitspersample
    return "plain" if several or kind == "i" or (kind, bits) == ("u", 32) or bits == 64 else ""


def _axes(series: Any, page: Any) -> tuple[str, tuple[int, ...]]:
    """Return the axes of a series without those of a plane, and their lengths."""
    inner = len(page.shape)
    axes, shape = series.axes, series.shape
    if inner == 3 and page.axes == "SYX":
        axes, shape = (
            axes.replace("S", ""),
            [n for a, n in zip(axes, shape, strict=True) if a != "S"],
        )
        inner = 2
    return axes[:-inner], tuple(int(length) for length in shape[:-inner])


def _check(stack: TiffStack) -> None:
    """Raise `MediaError` where planes are too large, or the file is cut off."""
    check_source(stack.path, (stack.width, stack.height), bits=32)
    pages = [page for page in stack._series.pages if page is not None]
    end = stack.path.stat().st_size
    segments = (
        pair for page in pages for pair in zip(page.dataoffsets, page.databytecounts, strict=False)
    )
    if any(start + count > end for start, count in segments) or not stack.planes:
        raise MediaError(f"{stack.path}: can't be read: it is cut off")


def _lost(tif: Any, kind: str, images: int) -> Iterator[str]:
    page = tif.pages.first
    if images > 1:
        yield f"{images - 1} of {images} images; the first is used"
    if page.subifds:
        yield "smaller versions of the image"
    if kind == "imagej":
        for key, what in _PIXEL_MARKS.items():
            if key in (tif.imagej_metadata or {}):
                yield f"{what}, which are in pixels"
    if kind == "ome" and has_regions(tif.ome_metadata):
        yield "regions of interest, which are in pixels"
    if kind == "plain" and _has_several_descriptions(tif):
        yield "descriptions of single pages; that of the first is used"
    if others := sorted(
        tag.code for tag in page.tags if tag.code > 32768 and not _is_kept(tag.code)
    ):
        yield f"private tags {', '.join(map(str, others))}"


def _has_several_descriptions(tif: Any) -> bool:
    first = _tag(tif.pages.first, _DESCRIPTION)
    return any(_tag(page.aspage(), _DESCRIPTION) not in (None, first) for page in tif.pages[1:])


def _is_kept(code: int) -> bool:
    return code in _TEXTS or code in (50838, 50839)


def _bytes_of(stack: TiffStack, size: tuple[int, int]) -> int:
    return stack.planes * size[0] * size[1] * (3 if stack.colour else 1) * stack.dtype.itemsize


def _tag(page: Any, code: int) -> Any:
    tag = page.tags.get(code)
    return None if tag is None else tag.value


def _resolution(stack: TiffStack, size: tuple[int, int]) -> tuple[Fraction, Fraction] | None:
    """Return the pixels per unit of the output, horizontally and vertically."""
    page = stack._tif.pages.first
    scales = Fraction(size[1], stack.width), Fraction(size[0], stack.height)
    values = [_tag(page, code) for code in (X_RESOLUTION, Y_RESOLUTION)]
    if any(value is None or 0 in value for value in values):
        return None
    has_unit = _tag(page, RESOLUTION_UNIT) != _NO_UNIT
    is_calibrated = has_unit or (stack._tif.imagej_metadata or {}).get("unit")
    if not is_calibrated and values == [(1, 1), (1, 1)]:
        scales = Fraction(1), Fraction(1)
    across, down = (Fraction(*value) * scale for value, scale in zip(values, scales, strict=True))
    return across, down


def _extra_tags(stack: TiffStack) -> list[Any]:
    texts = list(_text_tags(stack._tif.pages.first))
    if stack.kind != "imagej":
        return texts
    kept = {k: v for k, v in (stack._tif.imagej_metadata or {}).items() if k not in _PIXEL_MARKS}
    binary = tifffile.tifffile.imagej_metadata_tag(kept, stack._tif.byteorder)
    return [*texts, *binary]


def _text_tags(page: Any) -> Iterator[Any]:
    for code in _TEXTS:
        if isinstance(value := _tag(page, code), str):
            yield code, "s", 0, value, True


def _description(stack: TiffStack, size: tuple[int, int]) -> str | bytes | None:
    text = stack._tif.pages.first.description
    scales = size[1] / stack.width, size[0] / stack.height
    if stack.kind == "ome":
        return scaled_ome(
            stack._tif.ome_metadata,
            size=size,
            scales=scales,
            axes=stack.axes,
            planes=stack.planes,
            big_endian=stack._tif.byteorder == ">",
        )
    if stack.kind == "imagej":
        text = _scaled_origin(stack._tif.pages.first.imagej_description, scales)
    if stack._tif.is_shaped:  # tifffile's own note of the array's shape
        shape = [*stack.lengths, *size, *((3,) if stack.colour else ())]
        text = json.dumps(json.loads(text) | {"shape": shape}) if text.startswith("{") else None
    return text.encode() if text else None


def _scaled_origin(description: str, scales: Sequence[float]) -> str:
    """Scale the origin in ImageJ's description, which is in pixels."""
    lines = []
    for line in description.splitlines():
        key, _, value = line.partition("=")
        if key in ("xorigin", "yorigin"):
            line = f"{key}={float(value) * scales['xy'.index(key[0])]:.10g}"
        lines.append(line)
    return "\n".join([*lines, ""])
