"""Write an animation in the format of its suffix."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image

from vsr.errors import OutputError
from vsr.media.animation.apng import ApngWriter
from vsr.media.animation.frame import AnimationFrame, TickCounter
from vsr.media.animation.gif import GifWriter
from vsr.media.animation.reader import Animation
from vsr.media.animation.webp import WebpWriter
from vsr.media.image_writer import as_image, still_losses, writer_options
from vsr.media.picture_limits import check_holds
from vsr.media.picture_tags import PictureTags
from vsr.media.still import Still
from vsr.system.files import atomic_path, check_output_path

ANIMATION_SUFFIXES = frozenset({".gif", ".png", ".apng", ".webp"})
"""Suffixes of the formats that animations are written in."""
FILM_ANIMATION_SUFFIXES = ANIMATION_SUFFIXES - {".png"}
"""Suffixes of animations that films are written to; .png is that of a picture."""

GIF_COLOURS = "true colours: .gif holds 256 in a frame, .apng and .webp all"
GIF_ALPHA = "partial transparency: .gif holds none, .apng and .webp do"
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
    lost += timing_losses(suffix, animation.seconds)
    if suffix != ".gif":
        return lost
    if animation.path.suffix.lower() != ".gif":
        lost.append(GIF_COLOURS)
    if animation.is_translucent:
        lost.append(GIF_ALPHA)
    for what, content in (
        ("colour profile", first.icc_profile),
        ("Exif data", first.exif),
        ("XMP", first.tags.xmp),
        ("resolution", first.tags.dpi),
    ):
        if content:
            lost.append(f"{what}: .gif can't hold it, .apng and .webp can")
    return lost


def timing_losses(suffix: str, seconds: Iterable[Fraction]) -> list[str]:
    """List what becomes of the durations of frames in a format, one line each."""
    durations = set(seconds)
    ticks = _TICKS.get(suffix)
    lost = []
    if ticks and any((duration * ticks).denominator > 1 for duration in durations):
        unit = "hundredths of a second" if ticks == 100 else "milliseconds"
        lost.append(f"exact frame times: {suffix} holds {unit}, .apng all")
    if suffix == ".gif" and any(0 < 100 * duration < _BROWSER_TICKS for duration in durations):
        lost.append("frame rate above 50: browsers slow such a .gif down, not .apng and .webp")
    return lost


def check_animation_output(path: Path, overwrite: bool, size: tuple[int, int]) -> None:
    """Raise `OutputError` where an animation of (width, height) can't be written to `path`."""
    check_output_path(path, "animation", suffixes=ANIMATION_SUFFIXES, overwrite=overwrite)
    check_animation_size(path, size)


def check_animation_size(path: Path, size: tuple[int, int]) -> None:
    """Raise `OutputError` where the format of `path` can't hold frames of (width, height)."""
    try:
        check_holds(path.suffix.lower(), size=size, exif=None, tags=PictureTags())
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from error


@contextmanager
def animation_writer(
    path: Path,
    size: tuple[int, int],
    *,
    plays: int = 0,
    has_alpha: bool = False,
    like: Still | None = None,
) -> Iterator[AnimationWriter]:
    """Write an animation of (width, height) with the metadata of a picture.

    `plays` is how often it is played, 0 for endlessly. Frames are written one by one, in constant
    memory. The file appears when it is complete. Raises `OutputError`.
    """
    like = like or Still(np.zeros((1, 1, 3), np.uint8))
    with atomic_path(path) as partial, partial.open("wb") as file:
        try:
            writer = _Writer(
                file,
                path.suffix.lower(),
                size=size,
                plays=plays,
                has_alpha=has_alpha,
                like=like,
            )
            yield writer
            writer.finish()
        except OutputError as error:
            raise OutputError(f"{path}: {error}") from error


class _Writer:
    """Writes the frames of an animation in one of the formats."""

    def __init__(
        self,
        file: BinaryIO,
        suffix: str,
        *,
        size: tuple[int, int],
        plays: int,
        has_alpha: bool,
        like: Still,
    ) -> None:
        still_suffix = _still_suffix(suffix)
        sample = replace(
            like,
            rgb=np.zeros((*size[::-1], 3), np.uint8),
            alpha=np.zeros(size[::-1], np.uint8) if has_alpha else None,
        )
        image = as_image(sample, still_suffix)
        self._ticks = TickCounter(_TICKS.get(suffix, 1))
        self._writer: ApngWriter | WebpWriter | GifWriter
        if suffix == ".gif":
            self._writer = GifWriter(file, size, plays, like.tags.comment)
            return
        options = writer_options(like, still_suffix, image)
        if suffix == ".webp":
            self._writer = WebpWriter(file, size, has_alpha, plays, options)
        else:
            self._writer = ApngWriter(file, image.mode, plays, options)

    def add(self, frame: AnimationFrame) -> None:
        """Write the next frame."""
        image = Image.fromarray(frame.rgb)
        if frame.alpha is not None:
            image.putalpha(Image.fromarray(frame.alpha))
        if isinstance(self._writer, ApngWriter):
            self._writer.add(frame, image)
        else:
            self._writer.add(frame, image, self._ticks.ticks(frame.seconds))

    def finish(self) -> None:
        """Write the end of the file."""
        self._writer.finish()


def _still_suffix(suffix: str) -> str:
    """Return the suffix of pictures with the same metadata."""
    return ".png" if suffix == ".apng" else suffix
