"""Estimates of time, memory and disk space."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.cli import complaint, vsr
from tests.helpers.films import scenes, write_film
from vsr.engine import plan
from vsr.engine.parallel.workers import Workers
from vsr.engine.plan import plan_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import MediaError
from vsr.system.address import PIPE
from vsr.zoo import choose_model, default_detail


def test_a_plan_reckons_the_whole_from_a_part(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_TRIAL_SECONDS", 0.0)
    film = write_film(tmp_path / "a.mp4", scenes(64, 48, [60]))
    reported = plan_video(film, options=UpscaleOptions(model=str(tiny_model), device="cpu"))
    assert (reported.width, reported.height, reported.frames) == (256, 192, 60)
    assert 3 <= reported.tried_frames < 60
    assert reported.seconds == pytest.approx(60 / reported.frames_per_second)
    assert reported.output_bytes is not None
    assert reported.disk_bytes is not None
    assert 0 < reported.output_bytes < reported.disk_bytes
    assert 10**8 < reported.memory_bytes < 10**11
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_workers_with_another_working_folder_find_the_model(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_TRIAL_SECONDS", 0.0)
    monkeypatch.chdir(tiny_model.parent)
    film = write_film(tmp_path / "a.mp4", scenes(64, 48, [6]))
    workers, sent = Workers("cpu", 1), []

    def call_each(function: Any, source: Path, suffix: str, options: Any, memory: int) -> Any:
        sent.append(options.model)
        return [function("cpu", source, suffix, options, memory)]

    monkeypatch.setattr(workers, "call_each", call_each)
    plan_video(film, options=UpscaleOptions(model=tiny_model.name), workers=workers)
    assert sent == [str(tiny_model)]


def test_the_preview_shows_both_sides(tmp_path: Path, tiny_model: Path) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(64, 48, [8]))
    preview = tmp_path / "preview.png"
    done = vsr("plan", film, "--model", tiny_model, "--preview", preview, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 8
    pixels = np.asarray(Image.open(preview))
    assert pixels.shape == (192, 256, 3)
    assert (pixels[:, 127:129] == 255).all()  # the line between the two
    assert pixels[:, :120].std() > 10
    assert "exists; use --overwrite" in complaint("plan", film, "--preview", preview)


def test_people_read_a_plan_in_words(tmp_path: Path, tiny_model: Path) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(64, 48, [8]))
    done = vsr("plan", film, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    words = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert words == ["time", "memory", "disk", "tested"]


def test_the_model_of_the_other_quality_is_tried_too(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_TRIAL_SECONDS", 0.0)
    film = write_film(tmp_path / "a.mp4", scenes(32, 24, [12]))
    for quality, other in (("fast", "best"), ("best", "fast")):
        found = plan_video(film, options=UpscaleOptions(model=quality, scale=4, device="cpu"))
        (alternative,) = found.alternatives
        assert found.detail == default_detail(found.model)
        assert alternative.quality == other
        assert alternative.model == choose_model(other, 4, 0) != found.model
        assert alternative.seconds == pytest.approx(12 / alternative.frames_per_second)
    named = plan_video(film, options=UpscaleOptions(model=str(tiny_model), device="cpu"))
    assert named.alternatives == ()


def test_what_can_not_be_tried_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=f"^{tmp_path}: is a folder; name a film in it$"):
        plan_video(tmp_path)
    with pytest.raises(MediaError, match="a pipe can't be read twice; name a file"):
        plan_video(PIPE)
    assert "no such file" in complaint("plan", tmp_path / "gone.mp4")
