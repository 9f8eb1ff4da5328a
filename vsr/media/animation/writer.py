"""Write an animation in the format of its suffix."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image

from vsr.errors import OutputError
from vsr.media.animation.apng import ApngWriter
from vsr.media.animation.frame import AnimationFrame, whole_ticks
from vsr.media.animation.gif import GifWriter
from vsr.media.animation.reader import Animation
from vsr.media.animation.webp import WebpWriter
from vsr.media.image import as_image, still_losses, writer_options
from vsr.media.picture_tags import check_holds
from vsr.system.files import atomic_path, check_output_path

ANIMATION_SUFFIXES = frozenset({".gif", ".png", ".apng", ".webp"})
"""Suffixes of the formats that animations are written in."""

_TICKS = {".gif": 100, ".webp": 1000}
"""Units of durations in a second; PNG holds fractions."""
_BROWSER_TICKS = 2
"""Least duration of a GIF frame that browsers respect."""


class AnimationWriter(Protocol):
    """Writes frames one by one."""

    def add(self, frame: AnimationFrame) -> None:
        """Write the next frame."""
        ...


def animation_losses(path: Path, animation: Animation) -> list[str]:
    """List the parts of an animation that are lost when it is written to `path`."""
    suffix, first = path.suffix.lower(), animation.first
    lost = still_losses(path.with_suffix(_still_suffix(suffix)), first)
    ticks = _TICKS.get(suffix)
    if ticks and any((duration * ticks).denominator > 1 for duration in animation.seconds):
        unit = "hundredths of a second" if ticks == 100 else "milliseconds"
        lost.append(f"exact frame times: {suffix} holds {unit}, .apng all")
    if suffix != ".gif":
        return lost
    if animation.path.suffix.lower() != ".gif":
        lost.append("true colours: .gif holds 256 in a frame, .apng and .webp all")
    if animation.is_translucent:
        lost.append("partial transparency: .gif holds none, .apng and .webp do")
    for what, content in (
        ("colour profile", first.icc_profile),
        ("Exif data", first.exif),
        ("XMP", first.tags.xmp),
        ("resolution", first.tags.dpi),
    ):
        if content:
            lost.append(f"{what}: .gif can't hold it, .apng and .webp can")
    if any(0 < 100 * duration < _BROWSER_TICKS for duration in animation.seconds):
        lost.append("frame rate above 50: browsers slow such a .gif down, not .apng and .webp")
    return lost


def check_animation_output(
    path: Path, animation: Animation, overwrite: bool, size: tuple[int, int]
) -> None:
    """Raise `OutputError` where an animation of (width, height) can't be written to `path`."""
    check_output_path(path, "animation", suffixes=ANIMATION_SUFFIXES, overwrite=overwrite)
    first = animation.first
    try:
        check_holds(path.suffix.lower(), size=size, exif=first.exif, tags=first.tags)
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from error


@contextmanager
def animation_writer(
    path: Path, animation: Animation, size: tuple[int, int]
) -> Iterator[AnimationWriter]:
    """Write an animation of (width, height) with the times and the metadata of `animation`.

    Frames are written one by one, in constant memory. The file appears when it is complete. Raises
    `OutputError`.
    """
    with atomic_path(path) as partial, partial.open("wb") as file:
        try:
            writer = _Writer(file, path.suffix.lower(), animation, size)
            yield writer
            writer.finish()
        except OutputError as error:
            raise OutputError(f"{path}: {error}") from error


class _Writer:
    """Writes the frames of an animation in one of the formats."""

    def __init__(
        self, file: BinaryIO, suffix: str, animation: Animation, size: tuple[int, int]
    ) -> None:
        first, still_suffix = animation.first, _still_suffix(suffix)
        sample = replace(
            first,
            rgb=np.zeros((*size[::-1], 3), np.uint8),
            alpha=np.zeros(size[::-1], np.uint8) if animation.has_alpha else None,
        )
        image = as_image(sample, still_suffix)
        ticks = _TICKS.get(suffix, 1)
        self._ticks = whole_ticks(animation.seconds, ticks)
        self._writer: ApngWriter | WebpWriter | GifWriter
        if suffix == ".gif":
            self._writer = GifWriter(file, size, animation.plays, first.tags.comment)
            return
        options = writer_options(first, still_suffix, image)
        if suffix == ".webp":
            self._writer = WebpWriter(file, size, animation.has_alpha, animation.plays, options)
        else:
            count = len(animation.seconds)
            self._writer = ApngWriter(file, image.mode, count, animation.plays, options)

    def add(self, frame: AnimationFrame) -> None:
        """Write the next frame."""
        image = Image.fromarray(frame.rgb)
        if frame.alpha is not None:
            image.putalpha(Image.fromarray(frame.alpha))
        if isinstance(self._writer, ApngWriter):
            self._writer.add(frame, image)
        else:
            self._writer.add(frame, image, next(self._ticks))

    def finish(self) -> None:
        """Write the end of the file."""
        self._writer.finish()


def _still_suffix(suffix: str) -> str:
    """Return the suffix of pictures with the same metadata."""
    return ".png" if suffix == ".apng" else suffix
