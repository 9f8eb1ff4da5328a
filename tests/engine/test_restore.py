"""Denoising and deblocking of whole films."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.cli import complaint, vsr
from tests.helpers.films import write_film
from tests.helpers.read_back import frames_of
from vsr.engine.resume import segments
from vsr.engine.upscale import upscale_video
from vsr.errors import Interrupted
from vsr.media.encode.settings import EncoderSettings

LOSSLESS = EncoderSettings("ffv1")
RESTORED: Any = {"denoise": 0.9, "deblock": 0.6}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen noisy frames of 32x24, strongly compressed."""
    random = np.random.default_rng(2)
    still = random.integers(60, 190, (6, 8, 3)).repeat(4, 0).repeat(4, 1)
    noise = random.normal(0, 8, (16, 24, 32, 3))
    frames = [(still + one).clip(0, 255).astype(np.uint8) for one in noise]
    path = tmp_path_factory.mktemp("restore") / "a.mkv"
    return write_film(path, frames, codec="libx264", options={"crf": "24"})


def made(film: Path, output: Path, **options: Any) -> np.ndarray:
    options = {"model": "tiny-x4", "device": "cpu", "settings": LOSSLESS, **options}
    upscale_video(film, output, **options)
    return luma_of(output)


def luma_of(film: Path) -> np.ndarray:
    return np.stack([frame.planes[0] for frame in frames_of(film)]).astype(int)


def unrest(frames: np.ndarray) -> float:
    """Mean change from frame to frame in code values."""
    return float(np.abs(np.diff(frames, axis=0)).mean())


def test_both_options_calm_noise(film: Path, tmp_path: Path) -> None:
    plain = unrest(made(film, tmp_path / "a.mkv"))
    off = unrest(made(film, tmp_path / "b.mkv", denoise=0.0))
    strong = unrest(made(film, tmp_path / "c.mkv", denoise=1.0))
    deblocked = unrest(made(film, tmp_path / "d.mkv", deblock=0.5))
    assert strong < 0.7 * plain < 0.7 * off
    assert deblocked < 0.95 * plain


@pytest.mark.slow
def test_backends_agree_on_restored_frames(film: Path, tmp_path: Path) -> None:
    expected = made(film, tmp_path / "a.mkv", backend="torch", **RESTORED)
    options = {"backend": "openvino", "precision": "f32", **RESTORED}
    assert np.abs(made(film, tmp_path / "b.mkv", **options) - expected).max() <= 1


def test_a_pipe_is_restored_as_a_file_is(film: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(film.read_bytes()))
    writer.start()
    found = made(pipe, tmp_path / "a.mkv", **RESTORED)
    writer.join()
    assert np.array_equal(found, made(film, tmp_path / "b.mkv", **RESTORED))


def test_an_interrupted_run_resumes_to_the_same_bytes(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 6)
    monkeypatch.setattr(segments, "SHORTEST_FRAMES", 4)
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    made(film, whole, **RESTORED)
    stop = threading.Event()
    with pytest.raises(Interrupted):
        made(film, cut, stop=stop, watch=lambda progress: stop.set(), **RESTORED)
    line = complaint("upscale", film, cut, "--model", "tiny-x4", "--codec", "ffv1")
    assert "of other settings" in line
    assert "denoise 0.9, now None" in line
    assert "deblock 0.6, now None" in line
    made(film, cut, **RESTORED)
    assert cut.read_bytes() == whole.read_bytes()


def test_the_command_line_takes_both_options(film: Path, tmp_path: Path) -> None:
    options = ("--model", "tiny-x4", "--denoise", 1, "--deblock", 0.5)
    assert vsr("plan", film, *options).returncode == 0
    output = tmp_path / "a.mkv"
    assert vsr("upscale", film, output, "--codec", "ffv1", *options).returncode == 0
    expected = made(film, tmp_path / "b.mkv", denoise=1.0, deblock=0.5)
    assert np.array_equal(luma_of(output), expected)


def test_a_model_without_the_filter_is_refused_before_any_work(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    line = complaint("upscale", film, tmp_path / "a.mkv", "--model", tiny_model, "--denoise", 1)
    assert "has no temporal filter; leave out denoise, or use a model" in line
    assert not list(tmp_path.iterdir())
