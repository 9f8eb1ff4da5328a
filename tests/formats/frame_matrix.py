"""Animations and files of several pages through `vsr`, for `picture_matrix`."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from skimage import data

from vsr.media.animation.reader import read_animation
from vsr.media.animation.writer import ANIMATION_SUFFIXES, animation_losses, animation_writer
from vsr.media.image import read_still
from vsr.media.image_writer import still_losses, write_still
from vsr.media.pages import PAGED_SUFFIXES, find_pages, page_losses, write_pages

ANIMATION, PAGES = "animation", "pages"
FRAME_SOURCES = {ANIMATION: (".gif", ".png", ".webp", ".avif"), PAGES: (".tif", ".mpo")}
FRAME_OUTPUTS = (".gif", ".png", ".webp", ".tif", ".mpo", ".jpg")
_DELAYS, _PLAYS = [40, 60, 100], 3
_TOLERANCE = 4.0
"""Mean difference of samples after a lossy codec."""


def frames_kept(feature: str, source: Path, output: Path) -> tuple[bool, list[str]] | None:
    """Write a file of three frames or pages to `output`, at its own size.

    Returns whether all is kept, as Pillow and tifffile read it, and what is reported as lost; None
    if the format has neither. Each is created in `source`.
    """
    if feature == ANIMATION and output.suffix == ".mpo":
        return None
    _create(feature, source)
    lost = _write_pages(source, output) if feature == PAGES else _write_animation(source, output)
    return _has_all(feature, source, output), lost


def _create(feature: str, path: Path) -> None:
    frames = [Image.fromarray(np.roll(data.coffee()[:16, :24], 6 * n, axis=1)) for n in range(3)]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    if feature == PAGES and path.suffix == ".tif":
        with tifffile.TiffWriter(path) as tif:
            for frame in frames:
                tif.write(np.asarray(frame), photometric="rgb", metadata=None, software=False)
        return
    if feature == ANIMATION:
        # GIF counts the repetitions; AVIF repeats endlessly.
        options |= {"duration": _DELAYS, "loop": _PLAYS - (path.suffix == ".gif")}
    frames[0].save(path, **options, quality=95)


def _write_animation(source: Path, output: Path) -> list[str]:
    if output.suffix not in ANIMATION_SUFFIXES:
        return _write_first(source, output)
    animation = read_animation(source)
    lost = animation_losses(output, animation)
    height, width = animation.first.rgb.shape[:2]
    given: dict[str, Any] = {"plays": animation.plays, "like": animation.first}
    with animation_writer(output, (width, height), **given) as writer:
        for frame in animation.frames():
            writer.add(frame)
    return lost


def _write_pages(source: Path, output: Path) -> list[str]:
    paged = find_pages(source)
    assert paged is not None
    if output.suffix not in PAGED_SUFFIXES:
        is_gif = output.suffix == ".gif"
        return _write_animation(source, output) if is_gif else _write_first(source, output)
    stills = [paged.read(page) for page in range(len(paged.numbers))]
    write_pages(output, stills, paged.types)
    return [*paged.lost, *page_losses(output, stills)]


def _write_first(source: Path, output: Path) -> list[str]:
    still = read_still(source)
    write_still(output, still)
    return still_losses(output, still)


def _has_all(feature: str, source: Path, output: Path) -> bool:
    expected, found = _frames(source), _frames(output)
    if len(expected) != len(found):
        return False
    pairs = zip(expected, found, strict=True)
    if any(np.abs(one - other).mean() > _TOLERANCE for one, other in pairs):
        return False
    if feature == PAGES:
        return True
    plays = 0 if source.suffix == ".avif" else _PLAYS
    with Image.open(output) as opened:
        delays = []
        for number in range(len(found)):
            opened.seek(number)
            opened.load()
            delays.append(round(opened.info["duration"]))
        is_gif = output.suffix == ".gif" and plays > 0
        return delays == _DELAYS and opened.info["loop"] == plays - is_gif


def _frames(path: Path) -> list[Any]:
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tif:
            return [page.asarray().astype(float) for page in tif.pages]
    frames = []
    with Image.open(path) as opened:
        for number in range(getattr(opened, "n_frames", 1)):
            opened.seek(number)
            frames.append(np.asarray(opened.convert("RGB"), float))
    return frames
