"""Compute previews, in the process that keeps models and decoded frames."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsr.engine.preview_frame import FramePreviewer, Pixels
    from vsr.engine.upscale_options import UpscaleOptions

BEFORE, AFTER, CLIP = "before.webp", "after.webp", "clip.mp4"
"""Names of files."""


def describe_device() -> str:
    """Describe the device that computes models."""
    from vsr.system.machine import describe_machine, pick_device

    return describe_machine(pick_device("auto"))


def warm_up() -> None:
    """Import all that previews need, so that the first one doesn't wait for it."""
    _previewer()


def frame_preview(
    folder: Path, source: Path, seconds: float, options: "UpscaleOptions"
) -> dict[str, Any]:
    """Write a frame before and after upscaling, as lossless WebP. Raises `VsrError`."""
    started = time.perf_counter()
    found = _previewer().preview(source, seconds, options)
    with ThreadPoolExecutor(2) as pool:
        files = (folder / BEFORE, folder / AFTER)
        list(pool.map(_write, files, (found.before, found.after)))
    height, width = found.after.shape[:2]
    return {
        "time": found.seconds,
        "seconds": time.perf_counter() - started,
        "width": width,
        "height": height,
        "pixel_aspect": found.pixel_aspect,
        "model": found.model,
        "detail": found.detail,
        "backend": found.backend,
    }


def clip_preview(
    folder: Path, source: Path, seconds: float, options: "UpscaleOptions"
) -> dict[str, Any]:
    """Write two seconds, bicubic on the left and upscaled on the right. Raises `VsrError`."""
    from vsr.engine.preview_clip import write_preview_clip
    from vsr.media.decode.part import Part, Timestamp
    from vsr.media.decode.reader import VideoReader

    started = time.perf_counter()
    # Times in JSON are rounded, so that a frame may seem to start before its time.
    start = Fraction(round(1000 * seconds), 1000) - Fraction(1, 2000)
    part = Part(Timestamp(max(Fraction(0), start)))
    path = folder / CLIP
    write_preview_clip(path, source, replace(options, part=part), ".mkv", overwrite=True)
    with VideoReader(path) as reader:
        info = reader.info
    return {
        "time": seconds,
        "seconds": time.perf_counter() - started,
        "width": info.width,
        "height": info.height,
        "pixel_aspect": float(info.sample_aspect_ratio),
    }


def plan_film(folder: Path, source: Path, suffix: str, options: "UpscaleOptions") -> dict[str, Any]:
    """Estimate time, memory and disk of upscaling a film, as `vsr plan`. Raises `VsrError`."""
    from vsr.engine.plan import plan_video

    return asdict(plan_video(source, suffix, options))


@cache
def _previewer() -> "FramePreviewer":
    from vsr.engine.preview_frame import FramePreviewer

    return FramePreviewer()


def _write(path: Path, pixels: "Pixels") -> None:
    from PIL import Image

    Image.fromarray(pixels).save(path, "WEBP", lossless=True, quality=0, method=0)
