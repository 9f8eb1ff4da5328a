"""Upscaling films of fields: a frame per field, film without pulldown, and the reports on both."""

import io
import os
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli import complaint, vsr
from tests.helpers.ffmpeg import ffmpeg, needs_ffmpeg, packets, streams, times, tone
from tests.helpers.fields import FLAGGED, interlaced, original, soft_telecined, telecined
from vsr.engine.plan import plan_video
from vsr.engine.resume import segments
from vsr.engine.resume.segment_file import SegmentWriter
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale import UpscaleProgress, UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import OutputError
from vsr.media.decode.part import Part
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

_FAST = EncoderSettings(preset="ultrafast")
_CODEC = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "15", "-g", "10")
_MODES: list[dict[str, Any]] = [{"deinterlace": "double"}, {"inverse_telecine": True}]


def upscaled(source: Path, output: Path, model: Path, **more: Any) -> UpscaleResult:
    options = {"model": str(model), "device": "cpu", "settings": _FAST, "backend": "torch", **more}
    return upscale_video(source, output, **options)


def with_sound(path: Path, film: Path) -> Path:
    ffmpeg("-i", film, *tone(1), "-c:v", "copy", "-c:a", "aac", "-shortest", path)
    return path


def lost(source: Path, output: Path, part: Part | None = None) -> list[str]:
    findings = verify_film(source, output, part=part)
    return [finding.what for finding in findings if not finding.kept]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_an_output_of_fields_has_twice_the_frames_and_the_rate(
    tmp_path: Path, tiny_model: Path, suffix: str
) -> None:
    film = interlaced(tmp_path / "film.mp4", 12, codec=_CODEC)
    source, output = with_sound(tmp_path / "in.mp4", film.path), tmp_path / f"out{suffix}"
    seen: list[UpscaleProgress] = []
    result = upscaled(source, output, tiny_model, deinterlace="double", watch=seen.append)
    assert result.frames == 24
    assert (seen[-1].frames, seen[-1].frame_count) == (24, 24)
    assert any(
        "12 frames deinterlaced (bwdif) to 24, one per field" in note for note in result.notes
    )
    video = streams(output, "video")[0]
    assert video["avg_frame_rate"] == video["r_frame_rate"] == "50/1"
    assert video.get("field_order", "progressive") == "progressive"
    assert times(output, 0) == pytest.approx([index / 50 for index in range(24)])
    assert len(packets(output, 1)) == len(packets(source, 1))
    assert lost(source, output) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_an_output_without_pulldown_has_the_rate_of_film(
    tmp_path: Path, tiny_model: Path, suffix: str
) -> None:
    film = telecined(tmp_path / "film.mp4", 22, codec=_CODEC)
    source, output = with_sound(tmp_path / "in.mp4", film.path), tmp_path / f"out{suffix}"
    result = upscaled(source, output, tiny_model, inverse_telecine=True)
    assert result.frames == 22
    video = streams(output, "video")[0]
    assert float(Fraction(video["avg_frame_rate"])) == pytest.approx(24000 / 1001, rel=1e-3)
    assert times(output, 0) == pytest.approx(
        [index * 1001 / 24000 for index in range(22)], abs=0.0006
    )
    assert len(packets(output, 1)) == len(packets(source, 1))
    assert lost(source, output) == []


@pytest.mark.parametrize(("start", "duration"), [("7f", "7f"), ("0.14", "0.3")])
@pytest.mark.parametrize("mode", _MODES)
def test_verify_counts_the_frames_of_a_part_after_its_fields_are_processed(
    tmp_path: Path, tiny_model: Path, mode: dict[str, Any], start: str, duration: str
) -> None:
    make = telecined if "inverse_telecine" in mode else interlaced
    source = with_sound(tmp_path / "in.mkv", make(tmp_path / "film.mp4", 20, codec=_CODEC).path)
    part, output = Part.parse(start, duration=duration), tmp_path / "out.mkv"
    upscaled(source, output, tiny_model, part=part, **mode)
    assert lost(source, output, part) == []
    assert "frames" in lost(source, output, Part.parse(start, duration="3f"))


def test_verify_misses_a_field_and_a_film_frame(tmp_path: Path) -> None:
    source = telecined(tmp_path / "in.mp4", 20, codec=_CODEC).path
    short = original(tmp_path / "short.nut", "24000/1001", 19)
    assert {"frames", "frame times"} <= set(lost(source, short))
    double = original(tmp_path / "double.nut", "60000/1001", 49)
    assert "frames" in lost(source, double)


@pytest.mark.slow
@pytest.mark.parametrize("mode", _MODES)
def test_resuming_gives_the_bytes_of_an_uninterrupted_run(
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: dict[str, Any],
) -> None:
    frames = 26
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 11)
    monkeypatch.setattr(segments, "SHORTEST_FRAMES", 5)
    film = telecined(tmp_path / "in.mp4", 32, codec=_CODEC)
    whole, output = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    upscaled(film.path, whole, tiny_model, **mode)
    write, seen = SegmentWriter.write, 0

    def failing(self: SegmentWriter, frame: Frame) -> None:
        nonlocal seen
        seen += 1
        if seen > frames:
            raise OutputError("broke")
        write(self, frame)

    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, "write", failing)
        with pytest.raises(OutputError, match="broke"):
            upscaled(film.path, output, tiny_model, **mode)
    result = upscaled(film.path, output, tiny_model, **mode)
    assert result.resumed_frames == frames // 11 * 11
    assert output.read_bytes() == whole.read_bytes()


def test_a_plan_counts_the_frames_that_come_out(tmp_path: Path, tiny_model: Path) -> None:
    source = telecined(tmp_path / "in.mp4", 20, codec=_CODEC).path
    for mode, expected in zip(_MODES, [(50, True), (20, False)], strict=True):
        options = UpscaleOptions(model=str(tiny_model), device="cpu", **mode)
        plan = plan_video(source, options=options)
        assert (plan.frames, plan.frames_are_counted) == expected


def test_the_header_of_raw_video_has_the_rate_of_fields(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Output(io.TextIOWrapper):
        def close(self) -> None:
            pass

    film = interlaced(tmp_path / "in.mkv", 3)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Output(written))
    upscaled(
        film.path,
        Path("-"),
        tiny_model,
        deinterlace="double",
        pipe_format="y4m",
        settings=EncoderSettings(),
    )
    header, *frames = written.getvalue().split(b"FRAME\n")
    assert b" F50:1 Ip " in header
    assert len(frames) == 6


@pytest.mark.parametrize("suffix", [".vob", ".mkv"])
def test_soft_telecine_keeps_its_frames_at_their_times(
    tmp_path: Path, tiny_model: Path, suffix: str
) -> None:
    source, output = soft_telecined(tmp_path / f"in{suffix}"), tmp_path / "out.mkv"
    reported: list[str] = []
    result = upscaled(source, output, tiny_model, tell=reported.append)
    assert (result.frames, reported) == (24, [])
    found = times(output, 0)
    fields = [2.5 * index + (index % 2) / 2 for index in range(24)]  # 3 and 2 in turn
    assert [time - found[0] for time in found[:-1]] == pytest.approx(
        [count * 1001 / 60000 for count in fields[:-1]], abs=0.0015
    )  # the file has an earlier time for the last frame
    assert streams(output, "video")[0]["avg_frame_rate"] == "24000/1001"
    assert lost(source, output) == []


def test_unflagged_fields_get_the_order_that_they_show(tmp_path: Path, tiny_model: Path) -> None:
    for order in ("top", "bottom"):
        film = interlaced(tmp_path / f"{order}.mkv", 12, order=order, flag="prog")
        options = UpscaleOptions(model=str(tiny_model), device="cpu", deinterlace="double")
        with (session := UpscaleSession(film.path, options, ".mkv")).reader as reader:
            assert reader.field_mode.is_bottom_first == (order == "bottom")
            assert len(list(session.reader.frames())) == 24


def advice(film: Path, model: Path, **more: Any) -> list[str]:
    options = UpscaleOptions(model=str(model), device="cpu", **more)
    with (session := UpscaleSession(film, options, ".mkv")).reader:
        return session.reader.notes


@pytest.mark.parametrize("flag", ["prog", "tff"])
def test_pulldown_is_reported_with_the_option_that_removes_it(
    tmp_path: Path, tiny_model: Path, flag: str
) -> None:
    film = telecined(tmp_path / "in.mkv", 20, flag=flag).path
    (line,) = advice(film, tiny_model)
    assert "--inverse-telecine" in line
    assert "23.976 frames per second" in line
    assert advice(film, tiny_model, inverse_telecine=True) == []
    assert advice(film, tiny_model, deinterlace="off") == []


def test_progressive_frames_with_flags_are_reported_with_the_option_that_keeps_them(
    tmp_path: Path, tiny_model: Path
) -> None:
    film, flagged = original(tmp_path / "film.nut", "25", 40), tmp_path / "in.mkv"
    ffmpeg("-i", film, "-vf", "setfield=tff", "-c:v", "ffv1", *FLAGGED, flagged)
    (line,) = advice(flagged, tiny_model)
    assert "look progressive; use --deinterlace off" in line
    for needless in ("on", "double"):
        (line,) = advice(film, tiny_model, deinterlace=needless)
        assert "omit it" in line
    assert advice(interlaced(tmp_path / "b.mkv", 40).path, tiny_model) == []


def test_interlacing_that_shows_in_the_run_is_reported_at_its_end(
    tmp_path: Path, tiny_model: Path
) -> None:
    film, pipe = interlaced(tmp_path / "film.mkv", 12, flag="prog").path, tmp_path / "pipe"
    os.mkfifo(pipe)  # can't be read twice, so it isn't surveyed
    writer = threading.Thread(target=pipe.write_bytes, args=(film.read_bytes(),))
    writer.start()
    reported: list[str] = []
    result = upscaled(pipe, tmp_path / "out.mkv", tiny_model, tell=reported.append)
    writer.join()
    assert not any("interlaced" in line for line in reported)
    assert any("found in the run: frames look interlaced" in note for note in result.notes)


def test_contradictions_and_other_rates_leave_all_as_it_is(tmp_path: Path) -> None:
    film, output = original(tmp_path / "in.mkv", "25", 3), tmp_path / "out.mkv"
    output.write_bytes(b"precious")
    words = ("upscale", film, output, "--overwrite", "--inverse-telecine")
    assert "contradict each other" in complaint(*words, "--deinterlace", "double")
    assert "has 25 frames per second" in complaint(*words)
    assert "contradict" in complaint("plan", film, "--inverse-telecine", "--deinterlace", "on")
    assert vsr("upscale", film, output, "--deinterlace", "both").returncode == 2
    assert output.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


def test_the_identity_has_a_key_for_inverse_telecine_only_with_it(
    tmp_path: Path, tiny_model: Path
) -> None:
    film = telecined(tmp_path / "in.mkv", 12).path
    found = []
    for is_on in (False, True):
        options = UpscaleOptions(model=str(tiny_model), device="cpu", inverse_telecine=is_on)
        with (session := UpscaleSession(film, options, ".mkv")).reader:
            found.append(session.identity().get("inverse_telecine"))
    assert found == [None, True]
