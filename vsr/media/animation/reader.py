"""Read animations with Pillow, which composes each frame with those before it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vsr.errors import MediaError, first_line
from vsr.media.animation.frame import AnimationFrame
from vsr.media.exif import ORIENTATION
from vsr.media.image import read_still
from vsr.media.picture_memory import reading_by_pillow
from vsr.media.still import Still, rotate_samples, to_levels
from vsr.system.address import is_pipe

ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
"""Pillow's names of the formats whose pictures follow each other in time."""
_MAX_DENOMINATOR = 0xFFFF
"""APNG's delays are fractions of 16-bit numbers."""


@dataclass(frozen=True)
class Animation:
    """An animation whose frames have all been decoded once."""

    path: Path
    first: Still
    """The first frame in 8 bits and without alpha; colour profile and metadata."""
    seconds: tuple[Fraction, ...]
    """Duration of each frame."""
    plays: int
    """How often the animation is played; 0 for endlessly."""
    has_alpha: bool
    """Whether any pixel of any frame is transparent."""
    is_translucent: bool
    """Whether any pixel is partly transparent."""
    start: int = 0
    """First frame of the animation in the file: 1 if another picture precedes it."""

    @property
    def loops(self) -> bool:
        """Whether the first frame follows the last one."""
        return self.plays != 1

    def frames(self, first: int = 0) -> Iterator[AnimationFrame]:
        """Iterate over the frames from number `first` on; raises `MediaError`."""
        with _opened(self.path) as opened:
            orientation = opened.getexif().get(ORIENTATION, 1)
            for index in range(first, len(self.seconds)):
                pixels = _pixels(opened, self.start + index, self.path, self.has_alpha)
                pixels = rotate_samples(pixels, orientation)
                alpha = np.ascontiguousarray(pixels[..., 3]) if self.has_alpha else None
                rgb = np.ascontiguousarray(pixels[..., :3])
                yield AnimationFrame(rgb, alpha, self.seconds[index])


def is_animated(path: Path) -> bool:
    """Whether a file is an animation of several frames that can be read."""
    if is_pipe(path) or not path.is_file():
        return False
    try:
        with _opened(path) as opened:
            return opened.format in ANIMATED_FORMATS and _frame_count(opened, path) > 1
    except MediaError:
        return False


def read_animation(path: Path) -> Animation:
    """Decode all frames of a picture or an animation, to learn their times and transparency.

    Of files of several pages, the first page is read. Raises `MediaError` where the file or any
    frame can't be read.
    """
    first = read_still(path)
    seconds, has_alpha, is_translucent, grey = [], False, False, True
    with _opened(path) as opened:
        start = int(bool(getattr(opened, "default_image", False)))
        is_timed = opened.format in ANIMATED_FORMATS
        for index in range(start, _frame_count(opened, path) if is_timed else 1):
            pixels = _pixels(opened, index, path, with_alpha=True)
            seconds.append(_seconds(opened.info))
            alpha = pixels[..., 3]
            if (alpha < 255).any():
                has_alpha = True
                is_translucent |= bool(((alpha > 0) & (alpha < 255)).any())
            grey = grey and bool((pixels[..., :1] == pixels[..., 1:3]).all())
        plays = plays_of(opened)
    lost = [line for line in first.lost if not line.startswith("palette")]
    if start:
        lost.append("picture for programs without animation: the first frame takes its place")
    if first.rgb.dtype != np.uint8:
        lost.append(f"{first.bits} bits a channel: 8 are read from animations")
    return Animation(
        path=path,
        first=replace(
            first,
            rgb=to_levels(first.rgb, np.dtype(np.uint8)),
            alpha=None,
            grey=grey and first.grey,
            lost=tuple(lost),
            pages=1 if is_timed else first.pages,
        ),
        seconds=tuple(seconds),
        plays=plays,
        has_alpha=has_alpha,
        is_translucent=is_translucent,
        start=start,
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with reading_by_pillow(path):
        try:
            opened = Image.open(path)
        except Image.DecompressionBombError:
            raise
        except Exception as error:  # Pillow raises many types of error for broken files
            raise MediaError(f"{path}: not a picture that can be read") from error
        with opened:
            yield opened


def _frame_count(opened: Any, path: Path) -> int:
    """Count the frames of a file; raises `MediaError` where it is damaged."""
    try:
        return int(getattr(opened, "n_frames", 1))
    except Exception as error:  # Pillow raises many types of error for broken files
        raise MediaError(f"{path}: its frames can't be read; is it complete?") from error


def _pixels(opened: Any, index: int, path: Path, with_alpha: bool) -> Any:
    """Decode a frame to (H, W, 3) or, with alpha, (H, W, 4)."""
    try:
        opened.seek(index)
        opened.load()
        return np.array(opened.convert("RGBA" if with_alpha else "RGB"))
    except Exception as error:  # Pillow raises many types of error for broken files
        raise MediaError(f"{path}: frame {index + 1} can't be read: {first_line(error)}") from error


def _seconds(info: dict[str, Any]) -> Fraction:
    """Return the duration of a frame; 0 if none is stated."""
    return Fraction(info.get("duration", 0) / 1000).limit_denominator(_MAX_DENOMINATOR)


def plays_of(opened: Any) -> int:
    """Return how often an animation is played, 0 for endlessly; GIF counts the repetitions."""
    loop = opened.info.get("loop")
    if opened.format == "AVIF":
        return 0
    if loop is None:
        return 1
    return loop + 1 if opened.format == "GIF" and loop else int(loop)
