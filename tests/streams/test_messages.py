"""What can't be kept is reported before any work."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli import vsr
from tests.helpers.ffmpeg import X264, ffmpeg, film, needs_ffmpeg, pictures, streams
from vsr.engine.plan import plan_video
from vsr.engine.upscale import upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import OutputError
from vsr.media.encode.settings import EncoderSettings

pytestmark = needs_ffmpeg

WEBM = EncoderSettings("av1", preset="13")
LOST = "stream 1, srt subtitle: .webm can't hold it, .mkv can"


def subtitled(path: Path) -> Path:
    """Twenty frames with a subtitle and no sound."""
    words = path.with_name("words.srt")
    words.write_text("1\n00:00:00,100 --> 00:00:00,300\nwords\n")
    ffmpeg(*pictures(), "-i", words, "-map", 0, "-map", 1, *X264, "-c:s", "srt", path)
    words.unlink()
    return path


def test_losses_are_reported_before_the_first_frame(tmp_path: Path, tiny_model: Path) -> None:
    source = subtitled(tmp_path / "in.mkv")
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
    assert streams(tmp_path / "out.webm", "subtitle") == []


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
        "vsr: not kept: stream 1, aac audio: y4m holds video alone, nut holds more\n"
    )
    assert done.stderr.count("not kept") == 1


@pytest.mark.parametrize("form", ["nut", "y4m"])
def test_what_raw_video_does_not_say_is_named(tmp_path: Path, tiny_model: Path, form: str) -> None:
    source, turned, output = (tmp_path / name for name in ("in.mp4", "turned.mp4", "out"))
    light = "master-display=G(1,2)B(3,4)R(5,6)WP(7,8)L(10000,1):max-cll=1000,400"
    ffmpeg(*pictures(0.2), "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le",
           "-x265-params", f"log-level=none:{light}", "-color_primaries", "bt2020",
           "-color_trc", "smpte2084", "-colorspace", "bt2020nc", source)  # fmt: skip
    ffmpeg("-i", source, "-c", "copy", "-metadata:s:v", "rotate=90", "-metadata", "title=A", turned)
    command: list[str | Path] = [sys.executable, "-m", "vsr", "upscale", turned, "-"]
    command += ["--format", form, "--model", tiny_model]
    done = subprocess.run(command, capture_output=True, check=True)
    output.write_bytes(done.stdout)
    (made,) = streams(output, "video")
    assert made.get("color_transfer", "unknown") == "unknown"
    assert "side_data_list" not in made
    lines = done.stderr.decode().splitlines()
    assert [line.split(" (")[0] for line in lines if "not kept" in line] == [
        *(["vsr: not kept: tags"] if form == "y4m" else []),
        "vsr: not kept: colour matrix BT.2020, primaries BT.2020, transfer PQ",
        "vsr: not kept: HDR10 metadata",
        "vsr: not kept: rotation",
    ]
    strict = subprocess.run([*command, "--strict"], capture_output=True, check=False)
    assert (strict.returncode, strict.stdout) == (1, b"")


def test_a_plan_names_losses_and_strict_refuses_them(tmp_path: Path, tiny_model: Path) -> None:
    source = subtitled(tmp_path / "in.mkv")
    options = UpscaleOptions(model=str(tiny_model), device="cpu", settings=WEBM)
    assert plan_video(source, ".webm", options).left_out == (LOST,)
    with pytest.raises(OutputError, match=r"would lack stream 1, srt subtitle"):
        upscale_video(source, tmp_path / "b.webm", str(tiny_model), settings=WEBM, strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_each_loss_is_one_line(tmp_path: Path, tiny_model: Path) -> None:
    source = subtitled(tmp_path / "in.mkv")
    done = vsr("upscale", source, tmp_path / "out.webm", "--model", tiny_model, "--preset", "13")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"vsr: not kept: {LOST}\n"
    assert ", 0 audio tracks, " in done.stdout


def test_a_film_without_sound_counts_none(tmp_path: Path, tiny_model: Path) -> None:
    ffmpeg(*pictures(), *X264, tmp_path / "in.mkv")
    summary = upscale_video(tmp_path / "in.mkv", tmp_path / "out.mkv", str(tiny_model))
    assert summary.audio_tracks == 0
