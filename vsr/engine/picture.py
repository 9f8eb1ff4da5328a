"""Upscale a picture file, with all its frames or pages: the API of `vsr.upscale_picture`."""

from collections.abc import Callable
from pathlib import Path

from vsr.engine.animation import upscale_animation
from vsr.engine.image import StillUpscaler
from vsr.engine.measured import upscale_measured
from vsr.engine.output_size import SizeRequest
from vsr.engine.pages import upscale_pages
from vsr.media.animation.reader import is_animated, read_animation
from vsr.media.animation.writer import ANIMATION_SUFFIXES
from vsr.media.image_writer import IMAGE_SUFFIXES
from vsr.media.pages import PAGED_SUFFIXES, find_pages
from vsr.media.picture_memory import memory_limit


def upscale_picture(
    source: Path | str,
    output: Path | str,
    model: str | None = None,
    scale: float | None = None,
    device: str = "auto",
    detail: float | None = None,
    grain: float = 0.0,
    steady: float = 0.0,
    *,
    width: int | None = None,
    height: int | None = None,
    size: str | None = None,
    allow_invented_detail: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    max_memory: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Upscale a picture file as `vsr image` does, with its metadata.

    All frames of an animation are upscaled if `output` is a GIF, PNG, APNG or WebP file, and all
    pages of a file if `output` is TIFF or MPO. The options are those of `upscale_image`, and
    `steady` is that of `upscale_video`, for animations by models of single pictures. Files of
    measured values are upscaled without `detail` and `grain`, unless `allow_invented_detail`. What
    can't be kept is reported to `tell` before any work; if `strict`, it is an error. Raises
    `VsrError`.
    """
    request = SizeRequest(scale=scale, width=width, height=height, screen=size)
    upscaler = StillUpscaler(
        model,
        request,
        device=device,
        detail=detail,
        grain=grain,
        allow_invented_detail=allow_invented_detail,
        steady=steady,
    )
    with memory_limit(max_memory):
        upscale_file(
            upscaler, Path(source), Path(output), overwrite=overwrite, strict=strict, tell=tell
        )


def upscale_file(
    upscaler: StillUpscaler,
    source: Path,
    output: Path,
    overwrite: bool = False,
    strict: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Upscale a picture, or all frames or pages of a file where the output can hold them.

    `watch` is called with the number of finished and of all frames or pages. Raises `MediaError` or
    `OutputError`.
    """
    suffix = output.suffix.lower()
    is_moving = suffix in ANIMATION_SUFFIXES and is_animated(source)
    is_animation = is_moving or suffix in ANIMATION_SUFFIXES - IMAGE_SUFFIXES
    if upscaler.steady and not is_animation:
        tell(f"{source}: isn't written as an animation; steady doesn't change it")
    if upscale_measured(
        source,
        output,
        upscaler.faithful,
        overwrite=overwrite,
        strict=strict,
        tell=tell,
        ranges=upscaler.ranges,
    ):
        return
    if is_animation:
        animation = read_animation(source)
        upscale_animation(
            upscaler,
            animation,
            output,
            overwrite=overwrite,
            strict=strict,
            tell=tell,
            watch=watch,
        )
    elif suffix in PAGED_SUFFIXES and (paged := find_pages(source)):
        upscale_pages(
            upscaler,
            paged,
            output,
            overwrite=overwrite,
            strict=strict,
            tell=tell,
            watch=watch,
        )
    else:
        upscaler.upscale_file(source, output, overwrite=overwrite, strict=strict, tell=tell)
