"""A part of a film: the same pictures as in the whole, sound in time, and nothing else."""

import io
import os
import sys
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from tests.helpers.cli import complaint, vsr
from tests.helpers.ffmpeg import ffmpeg, ffmpeg_output, needs_ffmpeg, packets, probe, times
from tests.helpers.films import write_film
from tests.helpers.shots import frame_hashes, shots
from vsr.cli import main
from vsr.engine import part_stream, plan, warm_up
from vsr.engine.plan import plan_video
from vsr.engine.preview_clip import write_preview_clip
from vsr.engine.resume import segments
from vsr.engine.upscale import UpscaleProgress, UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import Interrupted, MediaError, OutputError
from vsr.media.decode.demuxer import Demuxer
from vsr.media.decode.part import Part
from vsr.media.encode.settings import EncoderSettings
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

LENGTHS = (25, 15, 20)
"""Frames of the shots: 2.4 seconds."""
LOSSLESS = EncoderSettings("ffv1")
CLOCK = Fraction(1, 1000)
FAST = EncoderSettings(preset="ultrafast")


@pytest.fixture(scope="module")
def whole(film: Path, tiny_model: Path) -> list[str]:
    """Hashes of the upscaled frames of the whole film."""
    output = film.with_name("whole.mkv")
    result = upscale(film, output, tiny_model)
    assert result.shots == len(LENGTHS)
    hashes = frame_hashes(output)
    assert len(set(hashes)) == sum(LENGTHS)
    return hashes


def upscale(
    source: Path, output: Path, model: Path, *part: str | None, **more: Any
) -> UpscaleResult:
    """Upscale a part, named as by --from, --to and --duration."""
    options = {"device": "cpu", "settings": LOSSLESS, **more}
    named = Part.parse(*part) if part else None
    return upscale_video(source, output, str(model), part=named, **options)


def limit_warm_up(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    """Let so few frames before a part matter that short films are sought in."""
    for module in (warm_up, part_stream):
        monkeypatch.setattr(module, "MAX_WARM_UP_FRAMES", frames)
    monkeypatch.setattr(warm_up.find_warm_up, "__defaults__", (frames,))
    monkeypatch.setattr(warm_up, "_SEEK_SECONDS", 0)


@pytest.mark.parametrize(
    ("part", "first", "last"),
    [
        (("1.2", "1.8", None), 30, 44),  # two shots; a cut before it
        (("0.4", "0.8", None), 10, 19),  # no cut before it
        (("1", "1.6", None), 25, 39),  # exactly a shot
        (("00:00:01.01", None, None), 26, 59),  # between two frames
        (("30f", "40f", None), 30, 39),
        (("10f", None, "0.401"), 10, 20),
        (("1.01", None, "3f"), 26, 28),
        ((None, "0.5", None), 0, 12),
        (("2.36", "9:00", None), 59, 59),
    ],
)
def test_a_part_is_the_same_frames_of_the_whole_run(
    film: Path,
    whole: list[str],
    tmp_path: Path,
    tiny_model: Path,
    part: tuple[str | None, ...],
    first: int,
    last: int,
) -> None:
    result = upscale(film, tmp_path / "b.mkv", tiny_model, *part)
    assert frame_hashes(tmp_path / "b.mkv") == whole[first : last + 1]
    assert result.frames == last + 1 - first
    cuts = sum(first < sum(LENGTHS[:count]) <= last for count in (1, 2))
    assert result.shots == 1 + cuts
    assert result.notes == ()
    shown = times(tmp_path / "b.mkv", 0)
    assert shown == pytest.approx([index / 25 for index in range(len(shown))], abs=1e-6)


def test_the_first_frame_is_the_first_at_that_time_in_a_film_of_variable_rate(
    tmp_path: Path, tiny_model: Path
) -> None:
    pts = [1000, 1300, 1301, 5000, 5001, 9000, 20_000, 20_100]
    source = write_film(
        tmp_path / "a.mkv", shots([8]), codec="ffv1", pts=pts, time_base=Fraction(1, 1000)
    )
    start = pts[0]
    for begin, end in ((300, 8000), (301, 8001), (302, 19_000), (0, 300)):
        expected = [p for p in pts if begin <= p - start < end]
        upscale(
            source,
            tmp_path / "b.mkv",
            tiny_model,
            str(begin / 1000),
            str(end / 1000),
            overwrite=True,
        )
        shown = [round(1000 * time) for time in times(tmp_path / "b.mkv", 0)]
        assert shown == [p - expected[0] for p in expected]


def test_the_network_starts_at_the_last_cut_and_seeking_changes_nothing(
    film: Path, whole: list[str], tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_warm_up(monkeypatch, 8)
    upscaled: list[int] = []
    write = segments.SegmentSink.write

    def record(self: segments.SegmentSink, item: segments.SegmentFrame) -> None:
        upscaled.append(item.frame.pts // 512)
        write(self, item)

    monkeypatch.setattr(segments.SegmentSink, "write", record)
    upscale(film, tmp_path / "b.mkv", tiny_model, "1.2", "1.4")
    assert upscaled == list(range(25, 35))  # from the cut at frame 25
    assert frame_hashes(tmp_path / "b.mkv") == whole[30:35]
    sought = (tmp_path / "b.mkv").read_bytes()
    monkeypatch.setattr(Demuxer, "seek", lambda *given: False)
    monkeypatch.setattr("vsr.media.decode.reader.VideoReader.seek_before", lambda *given: None)
    upscale(film, tmp_path / "b.mkv", tiny_model, "1.2", "1.4", overwrite=True)
    assert (tmp_path / "b.mkv").read_bytes() == sought


def test_a_part_far_from_a_cut_says_so_and_starts_as_far_before_in_files_and_pipes(
    film: Path,
    whole: list[str],
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: Any,
) -> None:
    limit_warm_up(monkeypatch, 1)
    result = upscale(film, tmp_path / "b.mkv", tiny_model, "0.8", "0.96")
    assert [note for note in result.notes if "no cut in the" in note]
    hashes = frame_hashes(tmp_path / "b.mkv")
    assert len(hashes) == 4
    assert hashes != whole[20:24]
    piped = upscale(film, Path("-"), tiny_model, "0.8", "0.96", settings=EncoderSettings())
    (tmp_path / "b.nut").write_bytes(capfdbinary.readouterr().out)
    assert frame_hashes(tmp_path / "b.nut") == hashes
    assert piped.notes == result.notes


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_sound_is_the_packets_that_overlap_the_part_in_time(
    film: Path, tmp_path: Path, tiny_model: Path, suffix: str
) -> None:
    output = tmp_path / f"b{suffix}"
    upscale(film, output, tiny_model, "1.2", "1.8", settings=FAST)
    expected = [
        (float(packet["pts_time"]) - 1.2, packet["data_hash"])
        for packet in packets(film, 1)
        if 1.2 - float(packet["duration_time"]) < float(packet["pts_time"]) < 1.8
    ]
    assert len(expected) > 20
    found = [(float(p["pts_time"]), p["data_hash"]) for p in packets(output, 1)]
    assert [digest for _, digest in found] == [digest for _, digest in expected]
    tick = 0.0011 if suffix == ".mkv" else 1 / 44_100
    assert [time for time, _ in found] == pytest.approx([time for time, _ in expected], abs=tick)
    assert found[0][0] < 0
    assert min(times(output, 0)) == 0


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_pcm_is_cut_to_the_sample(
    film: Path, tmp_path: Path, tiny_model: Path, suffix: str
) -> None:
    source, output = tmp_path / "a.mov", tmp_path / f"b{suffix}"
    ffmpeg("-i", film, "-c:v", "copy", "-c:a", "pcm_s16le", source)
    upscale(source, output, tiny_model, "1.21", "1.33", settings=FAST)
    before, after = (
        np.frombuffer(ffmpeg_output("-i", path, "-ac", "1", "-f", "s16le", "-"), np.int16)
        for path in (source, output)
    )
    start = round(1.24 * 44_100)
    assert len(after) >= round(0.09 * 44_100)
    assert (after == before[start : start + len(after)]).all()
    assert float(packets(output, 1)[0]["pts_time"]) == 0


@pytest.mark.parametrize("codec", ["flac", "libopus"])
def test_verify_compares_converted_sound_with_that_of_the_part(
    film: Path, tmp_path: Path, tiny_model: Path, codec: str
) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "b.mov"
    rising = "aevalsrc='0.2*t*sin(2000*t*(1+t))':s=48000:d=2.4"
    sound = ("-f", "lavfi", "-i", rising, "-map", "0:v", "-map", "1:a", "-c:a", codec)
    ffmpeg("-i", film, *sound, "-c:v", "copy", source)
    upscale(source, output, tiny_model, "1.03", "1.7", settings=FAST)
    for start, end, is_kept in (("1.03", "1.7", True), ("0.23", "0.9", False)):
        findings = verify_film(source, output, part=Part.parse(start, end))
        (sound_kept,) = [found.kept for found in findings if "converted" in found.what]
        assert sound_kept == is_kept


def subtitles(path: Path) -> str:
    """A file of subtitles around the seconds from 1.2 to 1.8."""
    lines = [("0.100", "0.900"), ("0.900", "1.500"), ("1.550", "1.600"), ("1.700", "2.300")]
    cues = [
        f"{number}\n00:00:0{start} --> 00:00:0{end}\ncue {number}\n\n".replace(".", ",")
        for number, (start, end) in enumerate(lines, start=1)
    ]
    path.write_text("".join(cues))
    return str(path)


def rich_film(folder: Path, film: Path, *more: str) -> Path:
    """A copy of the film with subtitles, chapters, a tag and an attachment or a timecode."""
    chapters = ["0", "1000", "1500", "2000", "2400"]
    lines = [";FFMETADATA1", "title=Tape 1"]
    for number, (start, end) in enumerate(pairwise(chapters), start=1):
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start}", f"END={end}"]
        lines += [f"title=Chapter {number}"]
    (folder / "meta.txt").write_text("\n".join(lines))
    cues = subtitles(folder / "cues.srt")
    output = folder / f"rich{more[0]}"
    ffmpeg(
        *("-i", film, "-i", cues, "-i", folder / "meta.txt", "-map", "0", "-map", "1"),
        *("-map_metadata", "2", "-map_chapters", "2", "-c", "copy", *more[1:]),
        *("-avoid_negative_ts", "disabled", output),
    )
    return output


@pytest.fixture
def rich(tmp_path: Path, film: Path) -> Path:
    """A Matroska film with subtitles, chapters, a tag and an attachment."""
    notes = tmp_path / "notes.txt"
    notes.write_text("notes")
    attached = ("-attach", str(notes), "-metadata:s:t", "mimetype=text/plain")
    return rich_film(tmp_path, film, ".mkv", "-c:s", "srt", *attached)


def test_subtitles_and_chapters_are_shifted_and_clipped_and_all_else_is_kept(
    rich: Path, tmp_path: Path, tiny_model: Path
) -> None:
    output = tmp_path / "b.mkv"
    upscale(rich, output, tiny_model, "1.2", "1.8")
    found = probe(output, "streams", "chapters", "format")
    cues = [(float(p["pts_time"]), float(p["duration_time"])) for p in packets(output, 2)]
    expected = [(0, 0.3), (0.35, 0.05), (0.5, 0.1)]
    assert np.array(cues) == pytest.approx(np.array(expected), abs=0.0011)
    chapters = [
        (c["tags"]["title"], float(c["start_time"]), float(c["end_time"]))
        for c in found["chapters"]
    ]
    assert [title for title, _, _ in chapters] == ["Chapter 2", "Chapter 3"]
    limits = [time for _, *both in chapters for time in both]
    assert limits == pytest.approx([0, 0.3, 0.3, 0.6], abs=0.0011)
    assert found["format"]["tags"]["title"] == "Tape 1"
    assert [stream["codec_type"] for stream in found["streams"]][3] == "attachment"
    same = ("--from", "1.2", "--to", "1.8")
    assert vsr("verify", rich, output, *same).returncode == 0
    other = vsr("verify", rich, output, "--from", "1.24", "--to", "1.8")
    assert other.returncode == 1
    assert "frames" in other.stderr


def test_the_timecode_is_that_of_the_first_frame(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    source = rich_film(tmp_path, film, ".mov", "-c:s", "mov_text", "-timecode", "10:59:59:10")
    upscale(source, tmp_path / "b.mov", tiny_model, "40f", "50f", settings=FAST)
    tags = probe(tmp_path / "b.mov")["streams"][0]["tags"]
    assert tags["timecode"] == "11:00:01:00"
    findings = verify_film(source, tmp_path / "b.mov", part=Part.parse("40f", "50f"))
    assert [finding for finding in findings if not finding.kept] == []


def test_an_interrupted_part_resumes_to_the_same_bytes(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 12)
    monkeypatch.setattr(segments, "SHORTEST_FRAMES", 5)
    part = ("0.6", "1.4", None)
    upscale(film, tmp_path / "whole.mp4", tiny_model, *part, settings=FAST)
    stop = threading.Event()

    def watch(progress: UpscaleProgress) -> None:
        assert progress.frame_count == 20
        stop.set()

    with pytest.raises(Interrupted):
        upscale(film, tmp_path / "b.mp4", tiny_model, *part, settings=FAST, watch=watch, stop=stop)
    with pytest.raises(OutputError, match=r"other settings \(part 0.6 s to 1.4 s, now None\)"):
        upscale(film, tmp_path / "b.mp4", tiny_model, settings=FAST)
    result = upscale(film, tmp_path / "b.mp4", tiny_model, *part, settings=FAST)
    assert 0 < result.resumed_frames < 20
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_another_video_stream_without_a_keyframe_in_the_part_is_reported(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    source = tmp_path / "two.mkv"
    ffmpeg("-i", film, "-map", "0:v", "-map", "0:v", "-c", "copy", source)
    for start, is_empty in (("0f", False), ("1f", True)):
        result = upscale(source, tmp_path / f"{start}.mkv", tiny_model, start, None, "3f")
        line = "1 other video stream is empty: no keyframe in the part"
        assert (line in result.notes) == is_empty
        assert (packets(tmp_path / f"{start}.mkv", 1) == []) == is_empty


@pytest.mark.parametrize("part", [("1.2", "1.8", None), ("30f", None, "15f")])
def test_a_part_of_a_pipe_is_that_of_the_file(
    film: Path, whole: list[str], tmp_path: Path, tiny_model: Path, part: tuple[str | None, ...]
) -> None:
    source = tmp_path / "a.mkv"
    ffmpeg("-i", film, "-c", "copy", source)
    upscale(source, tmp_path / "file.mkv", tiny_model, *part)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = source.read_bytes()
    feeder = threading.Thread(target=lambda: feed(pipe, data))
    feeder.start()
    upscale(pipe, tmp_path / "piped.mkv", tiny_model, *part)
    feeder.join()
    assert frame_hashes(tmp_path / "piped.mkv") == whole[30:45]
    for index in (0, 1):
        both = [packets(tmp_path / name, index) for name in ("file.mkv", "piped.mkv")]
        found = [[(p["pts_time"], p["data_hash"]) for p in one] for one in both]
        assert found[0] == found[1]


def feed(pipe: Path, data: bytes) -> None:
    """Write into a pipe until its reader has had enough."""
    try:
        with pipe.open("wb") as file:
            file.write(data)
    except BrokenPipeError:
        pass


@pytest.mark.parametrize("pipe_format", ["nut", "y4m"])
def test_a_part_into_a_pipe_starts_at_zero(
    film: Path,
    whole: list[str],
    tmp_path: Path,
    tiny_model: Path,
    pipe_format: str,
    capfdbinary: Any,
) -> None:
    given = {"settings": EncoderSettings(), "pipe_format": pipe_format}
    if pipe_format == "y4m":  # through Python's own stream
        command = ("upscale", film, "-", "--format", "y4m", "--from", "1.2", "--to", "1.8")
        done = run_for_bytes(*command, "--model", tiny_model)
    else:
        upscale(film, Path("-"), tiny_model, "1.2", "1.8", **given)
        done = capfdbinary.readouterr().out
    output = tmp_path / f"b.{pipe_format}"
    output.write_bytes(done)
    assert frame_hashes(output) == whole[30:45]
    assert times(output, 0)[0] == 0
    if pipe_format == "nut":
        sound = times(output, 1)
        assert 0 <= sound[0] < 1024 / 44_100
        source = [time - 1.2 for time in times(film, 1)]
        assert sound == pytest.approx([t for t in source if 0 <= t < 0.6], abs=1e-4)


def run_for_bytes(*words: object) -> bytes:
    """Run `vsr` in this process; the bytes on its standard output."""
    buffer = io.BytesIO()
    stdout = io.TextIOWrapper(buffer)
    with patch.object(sys, "stdout", stdout), pytest.raises(SystemExit):
        main([str(word) for word in words])
    stdout.flush()
    return buffer.getvalue()


def test_a_folder_gives_the_same_part_of_each_film(
    film: Path, whole: list[str], tmp_path: Path, tiny_model: Path
) -> None:
    tapes = tmp_path / "tapes"
    tapes.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tapes / name).write_bytes(film.read_bytes())
    command = ("upscale", tapes, tmp_path / "out", "--model", tiny_model, "--preset", "ultrafast")
    done = vsr(*command, "--from", "50f")
    assert done.returncode == 0, done.stderr
    for name in ("a.mp4", "b.mp4"):
        assert len(packets(tmp_path / "out" / name, 0)) == 10


def test_a_plan_counts_the_frames_of_the_part(
    film: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_TRIAL_SECONDS", 0.0)
    options = UpscaleOptions(str(tiny_model), device="cpu", part=Part.parse("1.2", "1.8"))
    planned = plan_video(film, options=options)
    assert (planned.frames, planned.frames_are_counted) == (15, True)
    assert planned.seconds == pytest.approx(15 / planned.frames_per_second)
    whole = plan_video(film, options=UpscaleOptions(str(tiny_model), device="cpu"))
    assert planned.disk_bytes is not None
    assert whole.disk_bytes is not None
    assert planned.disk_bytes < whole.disk_bytes / 2


@pytest.mark.parametrize(
    ("part", "frames"), [(("0.4", "0.8"), 20), (("90f", "99f"), 9), (("2.2", None, "30f"), 10)]
)
def test_a_plan_estimates_a_part_whose_frames_are_those_of_fields(
    film: Path,
    tiny_model: Path,
    part: tuple[str | None, ...],
    frames: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "_TRIAL_SECONDS", 0.0)
    options = UpscaleOptions(
        str(tiny_model), device="cpu", deinterlace="double", part=Part.parse(*part)
    )
    planned = plan_video(film, options=options)
    assert (planned.frames, planned.frames_are_counted) == (frames, False)


def test_a_preview_clip_shows_two_seconds_on_both_sides(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_TRIAL_SECONDS", 0.0)
    clip = tmp_path / "clip.mp4"
    command = ("plan", film, "--model", tiny_model, "--preview", clip)
    done = vsr(*command)
    assert done.returncode == 0, done.stderr
    (video,) = probe(clip)["streams"]
    assert (video["codec_name"], video["pix_fmt"]) == ("h264", "yuv420p")
    assert (video["width"], video["height"]) == (2 * 192 + 4, 128)
    assert float(video["duration"]) == pytest.approx(2)
    assert int(video["nb_frames"]) == 50
    picture = np.frombuffer(
        ffmpeg_output("-i", clip, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"),
        np.uint8,
    ).reshape(128, 388)
    assert (picture[:, 193:195] > 240).all()  # the divider
    size = "scale=192:128:flags=bicubic"
    frame = ffmpeg_output(
        *("-i", film, "-vf", f"select=eq(n\\,5),{size}", "-frames:v", "1"),
        *("-f", "rawvideo", "-pix_fmt", "gray", "-"),
    )
    bicubic = np.frombuffer(frame, np.uint8).reshape(128, 192)
    difference = np.abs(picture[:, :188].astype(int) - bicubic[:, :188])
    assert np.median(difference) <= 3
    assert "exists; use --overwrite" in complaint(*command)
    options = UpscaleOptions(str(tiny_model), part=Part.parse("1.2", None, "10f"))
    write_preview_clip(clip, film, options, ".mp4", overwrite=True)
    assert len(packets(clip, 0)) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from", "3"), "its last frame is at 2.360 s; --from 3 s is after it"),
        (("--from", "60f"), "has 60 frames; --from 60f is after its end"),
        (("--from", "1.001", "--to", "1.002"), "no frame starts in the part from 1.001 s to"),
        (("--from", "2", "--to", "2"), "--to 2: is not after --from 2"),
        (("--from", "9f", "--to", "8f"), "--to 8f: is not after --from 9f"),
        (("--to", "0"), "--to 0: is an empty part"),
        (("--from", "1", "--to", "8f"), "a time and a frame; use --duration 8f"),
        (("--to", "2", "--duration", "1"), "--to 2 and --duration 1: name one of them"),
        (("--duration", "0f"), "--duration 0f: is empty"),
        (("--from", "-1"), "--from -1: is negative"),
        (("--to", "1:75"), "--to 1:75: has 75 seconds after the colon"),
        (("--to", "1:60:00"), "--to 1:60:00: has 60 minutes after the colon"),
        (("--from", "1.5f"), "--from '1.5f': is no time; write seconds (12.5)"),
        (("--from", ""), "--from '': is no time"),
        (("--from", "1:2:3:4"), "--from '1:2:3:4': is no time"),
        (("--from", "9999999999"), "has more than 9 digits in a row"),
    ],
)
def test_parts_that_can_not_be_are_refused_before_any_work(
    film: Path, tmp_path: Path, tiny_model: Path, options: tuple[str, ...], message: str
) -> None:
    output = tmp_path / "b.mp4"
    output.write_bytes(b"mine")
    command = ("upscale", film, output, "--overwrite", "--model", tiny_model, *options)
    assert message in complaint(*command)
    assert output.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [output]
    assert message in complaint("plan", film, "--model", tiny_model, *options)


def test_a_pipe_that_ends_before_the_part_leaves_the_output_as_it_is(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    output, pipe = tmp_path / "b.mkv", tmp_path / "pipe"
    output.write_bytes(b"mine")
    ffmpeg("-i", film, "-c", "copy", tmp_path / "a.mkv")
    os.mkfifo(pipe)
    data = (tmp_path / "a.mkv").read_bytes()
    feeder = threading.Thread(target=lambda: feed(pipe, data))
    feeder.start()
    with pytest.raises(MediaError, match=r"its last frame is at 2.360 s; --from 5 s is after it"):
        upscale(pipe, output, tiny_model, "5", overwrite=True)
    feeder.join()
    assert output.read_bytes() == b"mine"
    assert {path.name for path in tmp_path.iterdir()} == {"a.mkv", "b.mkv", "pipe"}
