"""How long a film is, and files that break off."""

import os
import shutil
import struct
import threading
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.helpers.ffmpeg import X264, ffmpeg, film, needs_ffmpeg, packets, pictures, tone
from tests.helpers.films import scenes, write_film
from vsr.engine.plan import plan_video
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import MediaError
from vsr.media.decode.completeness import ANOTHER_FOLLOWS, ENDS_EARLY, StreamEnd, is_cut_short
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.verify import verify_film

FAST = EncoderSettings(preset="ultrafast")


def upscaled(source: Path, output: Path, model: Path) -> UpscaleResult:
    return upscale_video(source, output, str(model), device="cpu", settings=FAST)


@needs_ffmpeg
@pytest.mark.parametrize(("norm", "rate"), [("ntsc", "30000/1001"), ("pal", "25")])
def test_raw_dv_has_the_frames_that_its_size_tells(tmp_path: Path, norm: str, rate: str) -> None:
    source = tmp_path / "in.dv"
    ffmpeg(*pictures(1.2, "720x480", "25"), *tone(1.2), "-target", f"{norm}-dv", source)
    size = {"ntsc": 120_000, "pal": 144_000}[norm]
    with VideoReader(source) as reader:
        assert reader.info.frame_rate == Fraction(rate)
        assert reader.info.frame_count == pytest.approx(source.stat().st_size / size, abs=1)


def test_a_header_that_promises_more_frames_than_bytes_is_not_believed(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = write_film(tmp_path / "in.avi", scenes(64, 48, [8]))
    data = bytearray(source.read_bytes())
    for key, place in ((b"avih", 24), (b"strh", 40)):  # dwTotalFrames, dwLength
        start = data.find(key) + place
        data[start : start + 4] = struct.pack("<I", 1_000_000_000)
    data[data.find(b"idx1") : data.find(b"idx1") + 4] = b"JUNK"
    source.write_bytes(data)
    with VideoReader(source) as reader:
        assert reader.info.frame_count is None
    assert upscaled(source, tmp_path / "out.mkv", tiny_model).frames == 8


def test_an_estimate_of_disk_warns_and_does_not_refuse(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_film(tmp_path / "in.mkv", scenes(64, 48, [8]))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    reported: list[str] = []
    upscale_video(source, tmp_path / "out.mkv", str(tiny_model), tell=reported.append)
    assert any("of disk space, 1 kB are free" in line for line in reported)


def whole_films(folder: Path) -> list[Path]:
    base = (*pictures(1.6), *tone(1.6), *X264, "-g", "10", "-c:a", "aac")
    fragments = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")
    made = {
        "fragments.mp4": (*base, *fragments),
        "index-first.mp4": (*base, "-movflags", "+faststart"),
        "a.mkv": base,
        "live.mkv": (*base, "-live", "1"),
        "a.ts": base,
        "a.m2ts": (*base, "-f", "mpegts", "-mpegts_m2ts_mode", "1"),
        "a.flv": base,
        "a.avi": (*pictures(1.6), *tone(1.6), "-c:v", "mpeg4", "-c:a", "libmp3lame"),
        "a.wmv": (*pictures(1.6), *tone(1.6), "-c:v", "wmv2", "-c:a", "wmav2"),
        "a.mxf": (*pictures(1.6), "-c:v", "mpeg2video"),
        "a.ogv": (*pictures(1.6), *tone(1.6), "-c:v", "libtheora", "-c:a", "libvorbis"),
    }
    for name, arguments in made.items():
        ffmpeg(*arguments, folder / name)
    return [folder / name for name in made]


@needs_ffmpeg
def test_files_that_are_whole_are_distinguished_from_those_that_are_cut(tmp_path: Path) -> None:
    for path in whole_films(tmp_path):
        assert not is_cut_short(path), path.name
        data = path.read_bytes()
        cut = path.with_name(f"cut{path.suffix}")
        found = 0
        for share in range(40, 95, 5):
            cut.write_bytes(data[: len(data) * share // 100 | 1])
            found += is_cut_short(cut)
        assert found >= 10, path.name  # one of eleven may end where a packet does


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize("muxer", ["avi", "flv", "asf", "matroska", "mpegts", "nut"])
def test_films_that_were_written_into_a_pipe_are_whole(tmp_path: Path, muxer: str) -> None:
    """Their headers lack what a muxer goes back to write."""
    codecs = ("-c:v", "wmv2", "-c:a", "wmav2") if muxer == "asf" else ("-c:v", "flv1", "-an")
    with (tmp_path / "in").open("wb") as file:
        command = ["ffmpeg", "-v", "error", *pictures(), *tone(), *codecs, "-f", muxer, "-"]
        with Popen(command, stdout=PIPE) as process:
            assert process.stdout is not None
            shutil.copyfileobj(process.stdout, file)
    assert not is_cut_short(tmp_path / "in")
    assert not stream_is_cut((tmp_path / "in").read_bytes(), 1000)


@needs_ffmpeg
def test_streams_that_are_whole_are_distinguished_from_those_that_are_cut(tmp_path: Path) -> None:
    """As files are, whatever the blocks in which a pipe gives them."""
    films = whole_films(tmp_path)
    ffmpeg(*pictures(1.6), *tone(1.6), *X264, "-c:a", "aac", tmp_path / "a.nut")
    for pixels in ("yuv420p", "yuv422p10le", "yuv411p", "gray", "yuv444p"):
        films.append(tmp_path / f"{pixels}.y4m")
        ffmpeg(*pictures(0.4, "63x47"), "-pix_fmt", pixels, "-strict", "-1", films[-1])
    for path in (*films, tmp_path / "a.nut"):
        data = path.read_bytes()
        for block in (1000, 1 << 15):
            assert not stream_is_cut(data, block), path.name
        for share in range(40, 95, 5):
            cut = path.with_name(f"cut{path.suffix}")
            cut.write_bytes(data[: len(data) * share // 100 | 1])
            assert stream_is_cut(cut.read_bytes(), 777) == is_cut_short(cut), (path.name, share)
            assert is_cut_short(cut) or path.suffix not in (".y4m", ".nut")


ROWS = ["a.mp4", "a.mov", "a.flv", "a.wmv", "a.ts", "fr.mp4", "a.mkv"]


def stream_is_cut(data: bytes, block: int) -> bool:
    end = StreamEnd()
    for start in range(0, len(data), block):
        end.feed(data[start : start + block])
        assert not end.is_cut_short()
    end.feed(b"")
    return end.is_cut_short()


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".nut", ".ts", ".mkv", ".mp4"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_film_that_breaks_off_in_a_pipe_is_noted(
    tmp_path: Path, tiny_model: Path, suffix: str, cut: bool
) -> None:
    whole = film(tmp_path / f"in{suffix}", "-g", "10", "-movflags", "+faststart").read_bytes()
    data = whole[: len(whole) * 7 // 10 | 1] if cut else whole
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[data])
    writer.start()
    summary = upscaled(tmp_path / "pipe", tmp_path / "out.mkv", tiny_model)
    writer.join()
    assert summary.notes == ((ENDS_EARLY,) if cut else ())
    assert (summary.frames < 20) == cut


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".nut", ".ts", ".mkv", ".mp4"])
@pytest.mark.parametrize("is_file", [False, True])
def test_a_film_that_breaks_off_in_standard_input_is_noted(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, is_file: bool
) -> None:
    source = film(tmp_path / f"in{suffix}", "-g", "10", "-movflags", "+faststart")
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 7 // 10 | 1])
    with ExitStack() as stack:
        if is_file:
            monkeypatch.setattr("sys.stdin", stack.enter_context(source.open("r")))
        else:
            process = stack.enter_context(Popen(["cat", source], stdout=PIPE, text=True))
            monkeypatch.setattr("sys.stdin", process.stdout)
        summary = upscaled(Path("-"), tmp_path / "out.mkv", tiny_model)
    assert summary.notes == (ENDS_EARLY,)


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize("name", ["fragments.mp4", "index-first.mp4", "a.mkv", "a.ts"])
def test_a_film_that_breaks_off_gives_its_frames_and_a_note_when_the_run_starts(
    tmp_path: Path, tiny_model: Path, name: str
) -> None:
    whole = next(path for path in whole_films(tmp_path) if path.name == name)
    source = tmp_path / f"cut{whole.suffix}"
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size * 7 // 10])
    events: list[str] = []
    output = tmp_path / "out.mkv"
    summary = upscale_video(
        *(source, output, str(tiny_model)),
        device="cpu",
        settings=FAST,
        tell=events.append,
        watch=lambda now: events.append("frame"),
    )
    assert events[0] == ENDS_EARLY
    assert summary.notes.count(ENDS_EARLY) == 1
    assert 20 <= summary.frames == len(packets(output, 0)) < 40
    assert all(finding.kept for finding in verify_film(source, output))
    assert ENDS_EARLY in plan_video(source, ".mkv", UpscaleOptions(model=str(tiny_model))).notes


@pytest.mark.slow
@needs_ffmpeg
def test_a_plan_counts_the_frames_that_can_be_read(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of recordings joined end to end, and of an MP4 whose index lists more than the file has."""
    ffmpeg(*pictures(), *X264, "-g", "10", tmp_path / "a.ts")
    ffmpeg(*pictures(), *X264, "-g", "10", "-output_ts_offset", "0.3", tmp_path / "b.ts")
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    ffmpeg(*pictures(1.6), *X264, "-g", "10", "-movflags", "+faststart", whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 7 // 10])
    options = UpscaleOptions(model=str(tiny_model))
    for source in (joined, cut, whole):
        planned = plan_video(source, ".mkv", options)
        output = tmp_path / f"{source.name}.mkv"
        assert planned.frames_are_counted
        assert planned.frames == upscaled(source, output, tiny_model).frames
    monkeypatch.setattr("vsr.engine.plan._COUNT_SECONDS", 0.0)
    planned = plan_video(joined, ".mkv", options)
    assert not planned.frames_are_counted
    assert planned.frames == pytest.approx(29, abs=1)


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize("name", ROWS)
def test_films_in_a_row_are_all_read_or_a_note_says_so(
    tmp_path: Path, tiny_model: Path, name: str
) -> None:
    codec = ("-c:v", "wmv2", "-c:a", "wmav2") if name == "a.wmv" else (*X264, "-c:a", "aac")
    flags = ("-movflags", "frag_keyframe+empty_moov") if name == "fr.mp4" else ()
    ffmpeg(*pictures(), *tone(), *codec, *flags, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    source = tmp_path / f"row-{name}"
    count = 3 if name == "a.mkv" else 2  # of Matroska, FFmpeg reads the second, too
    source.write_bytes(data * count)
    summary = upscaled(source, tmp_path / "out.mkv", tiny_model)
    assert (ANOTHER_FOLLOWS in summary.notes) == (summary.frames < 20 * count)
    planned = plan_video(source, ".mkv", UpscaleOptions(model=str(tiny_model)))
    assert (ANOTHER_FOLLOWS in planned.notes) == (summary.frames < 20 * count)
    with VideoReader(tmp_path / name) as reader:
        assert reader.notes == []


@needs_ffmpeg
def test_a_whole_film_has_no_such_note(tmp_path: Path, tiny_model: Path) -> None:
    ffmpeg(*pictures(), *tone(), *X264, "-c:a", "aac", tmp_path / "in.mp4")
    assert upscaled(tmp_path / "in.mp4", tmp_path / "out.mp4", tiny_model).notes == ()


@needs_ffmpeg
def test_a_film_without_a_whole_frame_is_one_line(tmp_path: Path) -> None:
    """Nothing is said of it before that line."""
    ffmpeg(*pictures(), *X264, "-movflags", "+faststart", tmp_path / "whole.mp4")
    data = bytearray((tmp_path / "whole.mp4").read_bytes())
    start = data.find(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    (tmp_path / "in.mp4").write_bytes(data[:-9])
    reported: list[str] = []
    with pytest.raises(MediaError, match="no frame"):
        upscale_video(tmp_path / "in.mp4", tmp_path / "out.mp4", tell=reported.append)
    assert reported == []
