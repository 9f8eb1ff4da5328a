"""Animations as films, and films as animations; judged by ffprobe and Pillow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.helpers.cli import complaint, vsr
from tests.helpers.ffmpeg import needs_ffmpeg, streams, times

pytestmark = needs_ffmpeg

DELAYS = [40, 100, 60, 500, 20, 70]
TINY = ("--model", "tiny-x4", "--scale", "2", "--device", "cpu", "--backend", "torch")


def animation(path: Path, alpha: bool = False) -> Path:
    """An animation of six frames by Pillow."""
    made = []
    for index in range(6):
        pixels = data.coffee()[60:84, 40 + 2 * index : 72 + 2 * index]
        opacity = np.where(np.arange(32) < 20 + index, 255, 0 if alpha else 255)
        plane = np.broadcast_to(opacity.astype(np.uint8), (24, 32))
        made.append(Image.fromarray(np.dstack((pixels, plane)) if alpha else pixels.copy()))
    options: dict[str, Any] = {"disposal": 2} if alpha and path.suffix == ".gif" else {}
    made[0].save(path, save_all=True, append_images=made[1:], duration=DELAYS, loop=0, **options)
    return path


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_an_animation_becomes_a_film_with_its_times(tmp_path: Path, suffix: str) -> None:
    source = animation(tmp_path / f"a{suffix}")
    done = vsr("upscale", source, tmp_path / "b.mp4", *TINY, "--strict")
    assert done.returncode == 0, done.stderr
    assert times(tmp_path / "b.mp4", 0) == pytest.approx([0, 0.04, 0.14, 0.2, 0.7, 0.72])
    (video,) = streams(tmp_path / "b.mp4")
    assert (video["width"], video["height"]) == (64, 48)
    assert float(video["duration"]) == pytest.approx(0.79)
    verified = vsr("verify", source, tmp_path / "b.mp4")
    assert (verified.returncode, "LOST" in verified.stdout) == (0, False), verified


def test_transparency_of_an_animation_is_kept_by_ffv1(tmp_path: Path) -> None:
    source = animation(tmp_path / "a.gif", alpha=True)
    line = complaint("upscale", source, tmp_path / "b.mp4", *TINY, "--strict")
    assert "transparency (h264 holds none" in line
    done = vsr("upscale", source, tmp_path / "b.mkv", *TINY, "--codec", "ffv1", "--strict")
    assert done.returncode == 0, done.stderr
    assert streams(tmp_path / "b.mkv")[0]["pix_fmt"] == "yuva444p"


def test_an_animated_webp_is_refused_with_a_way_out(tmp_path: Path) -> None:
    source = animation(tmp_path / "a.webp")
    line = complaint("upscale", source, tmp_path / "b.mp4", *TINY)
    assert "`vsr image IN OUT.apng` upscales it" in line
