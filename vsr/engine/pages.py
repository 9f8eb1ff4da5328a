"""Upscale files of several pages, page by page."""

from collections.abc import Callable, Iterator
from pathlib import Path

from vsr.engine.image import StillUpscaler
from vsr.errors import OutputError
from vsr.media.image_writer import sample_type
from vsr.media.pages import (
    PagedFile,
    check_page,
    check_pages_output,
    check_total,
    page_losses,
    write_pages,
)
from vsr.media.picture_memory import check_memory
from vsr.media.still import Still
from vsr.system.files import check_distinct


def upscale_pages(
    upscaler: StillUpscaler,
    source: PagedFile,
    output: Path,
    overwrite: bool = False,
    strict: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Upscale each page of a file to a TIFF or MPO file; sizes, bits and metadata are its own.

    All pages are read before any work. What can't be kept is reported to `tell`; if `strict`, it is
    an error. `watch` is called with the number of finished and of all pages. Raises `MediaError` or
    `OutputError`.
    """
    check_distinct([output], [source.path])
    check_pages_output(output, overwrite)
    count = len(source.numbers)
    total = 0

    def examined() -> Iterator[Still]:
        nonlocal total
        for page in range(count):
            still = source.read(page)
            height, width = upscaler.output_size(*still.rgb.shape[:2])
            check_memory(output, (width, height), 3 * still.rgb.itemsize, OutputError)
            total += check_page(output, still, (width, height), page)
            yield still

    lost = [*source.lost, *page_losses(output, examined())]
    check_total(output, total)
    if strict and lost:
        raise OutputError(f"{output}: would lack {'; '.join(lost)}")
    for line in lost:
        tell(f"{source.path}: not kept: {line}")

    def upscaled() -> Iterator[Still]:
        for page in range(count):
            still = source.read(page)
            yield upscaler.upscale_still(still, sample_type(output, still))
            watch(page + 1, count)

    write_pages(output, upscaled(), source.types)
