"""`--video`, `--audio` and `--subtitles`: what is upscaled, copied, converted or dropped."""

import os
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from tests.helpers.cli import complaint, vsr
from tests.helpers.ffmpeg import X264, ffmpeg, needs_ffmpeg, packets, pictures, streams
from vsr.engine.plan import plan_video
from vsr.engine.session import UpscaleOptions
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.errors import MediaError, OutputError
from vsr.media.encode.settings import EncoderSettings
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

FAST = EncoderSettings(preset="ultrafast")


def upscaled(source: Path, output: Path, model: Path, **more: object) -> UpscaleResult:
    options = {"device": "cpu", "settings": FAST, **more}
    return upscale_video(source, output, str(model), **options)  # type: ignore[arg-type]


def sizes(path: Path) -> list[tuple[int, int]]:
    return [(stream["width"], stream["height"]) for stream in streams(path, "video")]


def hashes(path: Path, size: tuple[int, int]) -> list[str]:
    """Hashes of the packets of the video stream of a size."""
    index = next(s["index"] for s in streams(path, "video") if (s["width"], s["height"]) == size)
    return [packet["data_hash"] for packet in packets(path, index)]


def lost(source: Path, output: Path, **options: object) -> list[str]:
    findings = verify_film(source, output, **options)  # type: ignore[arg-type]
    return [finding.what for finding in findings if not finding.kept]


@pytest.fixture(scope="module")
def two_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of 32x24, the default stream, and of 48x32, in German, behind a cover picture."""
    path = tmp_path_factory.mktemp("videos") / "in.mp4"
    ffmpeg(*pictures(0.04, "16x16"), *pictures(0.2, "32x24"), *pictures(0.2, "48x32"),
           "-map", "0", "-map", "1", "-map", "2", *X264, "-c:v:0", "png",
           "-disposition:v:0", "attached_pic", "-disposition:v:1", "default",
           "-disposition:v:2", "0", "-metadata:s:v:2", "language=deu", path)  # fmt: skip
    return path


@pytest.mark.parametrize("number", [1, 2])
def test_the_chosen_video_is_upscaled_and_the_other_is_copied(
    tmp_path: Path, two_videos: Path, tiny_model: Path, number: int
) -> None:
    output = tmp_path / "out.mp4"
    summary = upscaled(two_videos, output, tiny_model, video=number, strict=True)
    chosen, other = ((128, 96), (48, 32)) if number == 1 else ((192, 128), (32, 24))
    assert (summary.width, summary.height) == chosen
    assert sorted(sizes(output)) == sorted([(16, 16), chosen, other])
    before, after = (hashes(path, other) for path in (two_videos, output))
    assert before == after
    assert lost(two_videos, output, video=number) == []


def test_verify_compares_the_default_video_unless_told(
    tmp_path: Path, two_videos: Path, tiny_model: Path
) -> None:
    upscaled(two_videos, tmp_path / "out.mp4", tiny_model, video=2)
    assert "frame size" not in lost(two_videos, tmp_path / "out.mp4", video=2)
    assert vsr("verify", two_videos, tmp_path / "out.mp4", "--video", 2).returncode == 0
    assert vsr("verify", two_videos, tmp_path / "out.mp4").returncode == 1


def test_the_run_and_the_plan_say_which_video_they_take(
    tmp_path: Path, two_videos: Path, tiny_model: Path
) -> None:
    told = "video 2 of 2: h264 48x32, deu"
    assert upscaled(two_videos, tmp_path / "a.mp4", tiny_model, video=2).notes == (told,)
    options = UpscaleOptions(str(tiny_model), video=2)
    plan = plan_video(two_videos, ".mp4", options)
    assert (plan.notes, plan.width, plan.frames) == ((told,), 192, 5)
    by_default = "video 1 of 2: h264 32x24, default; --video chooses another"
    assert upscaled(two_videos, tmp_path / "b.mp4", tiny_model).notes == (by_default,)


def test_an_unknown_video_is_one_line_that_lists_what_there_is(
    tmp_path: Path, two_videos: Path, tiny_model: Path
) -> None:
    command = (two_videos, tmp_path / "out.mp4", "--model", tiny_model, "--video", 3)
    available = "it has 1 (h264 32x24, default), 2 (h264 48x32, deu)"
    assert f"in.mp4: has no video 3; {available}\n" in complaint("upscale", *command)
    assert list(tmp_path.iterdir()) == []
    refused = vsr("upscale", two_videos, tmp_path / "out.mp4", "--video", 0)
    assert refused.returncode == 2
    assert "0 is not in the range x>=1" in refused.stderr
    with pytest.raises(MediaError, match="has no video 0; it has 1"):
        upscaled(two_videos, tmp_path / "out.mp4", tiny_model, video=0)


def test_a_video_is_chosen_in_a_pipe(tmp_path: Path, two_videos: Path, tiny_model: Path) -> None:
    ffmpeg("-i", two_videos, "-map", "0:v", "-c", "copy", tmp_path / "in.mkv")
    os.mkfifo(tmp_path / "pipe")
    content = (tmp_path / "in.mkv").read_bytes()
    feeder = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    feeder.start()
    summary = upscaled(tmp_path / "pipe", tmp_path / "out.mkv", tiny_model, video=2)
    feeder.join()
    assert (summary.frames, summary.width, summary.height) == (5, 192, 128)


def broken_run(
    monkeypatch: pytest.MonkeyPatch, source: Path, output: Path, model: Path, **options: object
) -> None:
    """Start a run that fails when all of its frames are encoded."""

    def failing(*arguments: object) -> NoReturn:
        raise OutputError("broke")

    with monkeypatch.context() as patched:
        patched.setattr("vsr.engine.file_mode._join", failing)
        with pytest.raises(OutputError, match="broke"):
            upscaled(source, output, model, **options)


def test_a_run_resumes_with_the_same_video_only(
    tmp_path: Path, two_videos: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.mp4"
    upscaled(two_videos, tmp_path / "whole.mp4", tiny_model, video=2)
    broken_run(monkeypatch, two_videos, output, tiny_model, video=2)
    with pytest.raises(OutputError, match=r"of other settings \(.*video 2, now None\)"):
        upscaled(two_videos, output, tiny_model)
    assert upscaled(two_videos, output, tiny_model, video=2).resumed_frames == 5
    assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
