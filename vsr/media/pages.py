"""Read and write files of several pages: TIFF and MPO."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from vsr.errors import MediaError, OutputError, first_line
from vsr.media.image import read_still
from vsr.media.image_writer import add_tiff_page, as_image, still_losses, writer_options
from vsr.media.mpo import MP_UNDEFINED, MpoWriter, is_page_type, list_mpo_pages
from vsr.media.picture_formats import TIFF_SUFFIXES
from vsr.media.picture_limits import MAX_TIFF_BYTES, check_holds
from vsr.media.picture_memory import reading_by_pillow
from vsr.media.still import Still, to_levels
from vsr.media.tiff import is_tiff, list_tiff_pages
from vsr.system.address import is_pipe
from vsr.system.files import atomic_path, check_output_path

PAGED_SUFFIXES = frozenset({".mpo", *TIFF_SUFFIXES})
"""Suffixes of formats with several pages."""


@dataclass(frozen=True)
class PagedFile:
    """A file of several pages."""

    path: Path
    numbers: tuple[int, ...]
    """Of the pages, among all pictures of the file."""
    types: tuple[str, ...]
    """Of the pages, as MPO names them."""
    lost: tuple[str, ...]
    """Other pictures of the file, one line each."""

    def read(self, page: int) -> Still:
        """Read a page, counted from 0; raises `MediaError`."""
        return replace(read_still(self.path, self.numbers[page]), pages=1)


def find_pages(path: Path) -> PagedFile | None:
    """Find the pages of a TIFF or MPO file; None for other files, or if it has only one page."""
    if is_pipe(path) or not path.is_file():
        return None
    types = None
    try:
        with reading_by_pillow(path), path.open("rb") as file:
            if is_tiff(file):
                numbers, lost = list_tiff_pages(file)
            else:
                file.seek(0)
                with Image.open(file) as opened:
                    if opened.format != "MPO":
                        return None
                    numbers, types, lost = list_mpo_pages(opened)
                if path.suffix.lower() != ".mpo" and not any(map(is_page_type, types)):
                    return None  # a photograph with a gain map or a preview
    except Exception:  # of damaged files, which `read_still` describes
        return None
    if len(numbers) < 2:
        return None
    types = types or [MP_UNDEFINED] * len(numbers)
    return PagedFile(path, tuple(numbers), tuple(types), tuple(lost))


def page_losses(path: Path, pages: Iterable[Still]) -> list[str]:
    """List the parts of pages that are lost when they are written to `path`, one line each."""
    where: dict[str, list[int]] = {}
    count = 0
    for count, still in enumerate(pages, start=1):
        for line in still_losses(_still_path(path), still):
            where.setdefault(line, []).append(count)
    return [
        line if len(numbers) == count else f"{_named(numbers)}: {line}"
        for line, numbers in where.items()
    ]


def check_pages_output(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` where a file of several pages can't be written to `path`."""
    check_output_path(path, "paged picture", suffixes=PAGED_SUFFIXES, overwrite=overwrite)


def check_page(path: Path, still: Still, size: tuple[int, int], page: int) -> int:
    """Return the bytes of a page of (width, height) in TIFF before compression.

    Raises `OutputError` where `path` can't hold the page, which is counted from 0.
    """
    suffix = path.suffix.lower()
    try:
        check_holds(_still_path(path).suffix, size=size, exif=still.exif, tags=still.tags)
    except OutputError as error:
        raise OutputError(f"{path}: page {page + 1}: {error}") from error
    if suffix == ".mpo" and still.alpha is not None:
        raise OutputError(f"{path}: page {page + 1}: MPO can't hold transparency; use .tif")
    channels = (1 if still.grey else 3) + (still.alpha is not None)
    return size[0] * size[1] * channels * still.rgb.itemsize


def check_total(path: Path, total: int) -> None:
    """Raise `OutputError` where pages of `total` bytes exceed the format."""
    if path.suffix.lower() in TIFF_SUFFIXES and total > MAX_TIFF_BYTES:
        raise OutputError(
            f"{path}: {total / 1e9:.1f} GB in all pages: {path.suffix} holds 4 GB; "
            "use a smaller size"
        )


def write_pages(path: Path, pages: Iterable[Still], types: tuple[str, ...]) -> None:
    """Write pages one by one to a TIFF or MPO file, whole or not at all; raises `OutputError`.

    `types` are those of the pages, as MPO names them.
    """
    with atomic_path(path) as partial, partial.open("w+b") as file:
        try:
            if path.suffix.lower() in TIFF_SUFFIXES:
                for number, still in enumerate(pages):
                    add_tiff_page(file, still, (number, len(types)))
                return
            writer = MpoWriter(file, types)
            for still in pages:
                writer.add(_jpeg(still))
            writer.finish()
        except (OSError, MediaError, OutputError):
            raise
        except Exception as error:  # Pillow's writers raise many types of error
            raise OutputError(f"{path}: can't be written: {first_line(error)}") from error


def _jpeg(still: Still) -> bytes:
    still = replace(still, rgb=to_levels(still.rgb, np.dtype(np.uint8)))
    image, file = as_image(still, ".jpg"), io.BytesIO()
    image.save(file, "JPEG", **writer_options(still, ".jpg", image))
    return file.getvalue()


def _still_path(path: Path) -> Path:
    """Return the name of a file of one page in the same format."""
    return path.with_suffix(".jpg") if path.suffix.lower() == ".mpo" else path


def _named(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"page {shown}" if len(numbers) == 1 else f"pages {shown}"
