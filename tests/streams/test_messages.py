"""What can't be kept is reported before any work."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli import vsr
from tests.helpers.ffmpeg import X264, ffmpeg, film, needs_ffmpeg, pictures, streams
from vsr.engine.plan import plan_video
from vsr.engine.session import UpscaleOptions
from vsr.engine.upscale import upscale_video
from vsr.errors import OutputError
from vsr.media.encode.encoder import EncoderSettings

pytestmark = needs_ffmpeg

WEBM = EncoderSettings("av1", preset="13")
LOST = "stream 1, aac audio: .webm can't hold it, .mkv can"


def test_losses_are_reported_before_the_first_frame(tmp_path: Path, tiny_model: Path) -> None:
    source = film(tmp_path / "in.mkv")
    events: list[str] = []
    summary = upscale_video(
        *(source, tmp_path / "out.webm", str(tiny_model)),
        device="cpu",
        settings=WEBM,
        tell=events.append,
        watch=lambda now: events.append("frame"),
    )
    assert events[0] == f"not kept: {LOST}"
    assert events.count("frame") == 20
    assert summary.left_out == (LOST,)
    assert streams(tmp_path / "out.webm", "audio") == []


@pytest.mark.slow
def test_losses_are_reported_before_the_first_frame_of_a_pipe(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = film(tmp_path / "in.mkv")
    command: list[str | Path] = [sys.executable, "-m", "vsr", "upscale", source, "-"]
    done = subprocess.run(
        [*command, "--format", "y4m", "--model", tiny_model],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stderr.startswith(
        "vsr: not kept: stream 1, aac audio: y4m holds pictures alone, nut holds more\n"
    )
    assert done.stderr.count("not kept") == 1


def test_a_plan_names_losses_and_strict_refuses_them(tmp_path: Path, tiny_model: Path) -> None:
    source = film(tmp_path / "in.mkv")
    options = UpscaleOptions(model=str(tiny_model), device="cpu", settings=WEBM)
    assert plan_video(source, ".webm", options).left_out == (LOST,)
    with pytest.raises(OutputError, match=r"would lack stream 1, aac audio"):
        upscale_video(source, tmp_path / "b.webm", str(tiny_model), settings=WEBM, strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_each_loss_is_one_line_and_sound_that_is_gone_is_not_counted(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = film(tmp_path / "in.mkv")
    done = vsr("upscale", source, tmp_path / "out.webm", "--model", tiny_model, "--preset", "13")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"vsr: not kept: {LOST}\n"
    assert ", 0 audio tracks, " in done.stdout


def test_a_film_without_sound_counts_none(tmp_path: Path, tiny_model: Path) -> None:
    ffmpeg(*pictures(), *X264, tmp_path / "in.mkv")
    summary = upscale_video(tmp_path / "in.mkv", tmp_path / "out.mkv", str(tiny_model))
    assert summary.audio_tracks == 0
