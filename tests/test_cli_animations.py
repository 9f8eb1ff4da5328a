"""Animations as films, and films as animations; judged by ffprobe and Pillow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence
from skimage import data

from tests.helpers.cli import complaint, vsr
from tests.helpers.ffmpeg import ffmpeg_output, film, needs_ffmpeg, streams, times

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


def shown(path: Path) -> tuple[np.ndarray, list[float]]:
    with Image.open(path) as opened:
        frames, found = [], []
        for frame in ImageSequence.Iterator(opened):
            frames.append(np.asarray(frame.convert("RGB")).astype(int))
            found.append(frame.info["duration"])
        assert opened.info["loop"] == 0
    return np.array(frames), found


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng"])
def test_a_film_becomes_an_animation_that_repeats(tmp_path: Path, suffix: str) -> None:
    source = film(tmp_path / "a.mkv", seconds=0.4)
    part = ("--from", "0.08", "--to", "0.28")
    done = vsr("upscale", source, tmp_path / f"b{suffix}", *TINY, *part)
    assert done.returncode == 0, done.stderr
    assert f"{suffix} holds video alone, .mkv holds more" in done.stderr
    done = vsr("upscale", source, tmp_path / "b.mkv", *TINY, *part, "--codec", "ffv1")
    assert done.returncode == 0, done.stderr
    raw = ffmpeg_output("-i", tmp_path / "b.mkv", "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    expected = np.frombuffer(raw, np.uint8).reshape(-1, 96, 128, 3).astype(int)
    found, durations = shown(tmp_path / f"b{suffix}")
    assert durations == [40] * 5
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 6
    if suffix != ".webp":
        verified = vsr("verify", source, tmp_path / f"b{suffix}", *part).stdout
        lines = [line.split(None, 1) for line in verified.splitlines()]
        states = {line[1].split("  ")[0]: line[0] for line in lines if len(line) == 2}
        assert (states["frame times"], states["clock"]) == ("ok", "ok")


def test_an_animation_has_no_codec(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", seconds=0.2)
    line = complaint("upscale", source, tmp_path / "b.gif", "--codec", "hevc")
    assert "b.gif: has no codec; omit --codec" in line
    line = complaint("upscale", source, tmp_path / "b.gif", "--strict")
    assert "true colours: .gif holds 256 in a frame" in line
