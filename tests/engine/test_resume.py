"""Work that is left and gone on with: the same bytes, whatever happened on the way."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.films import AudioTrack, scenes, write_film
from vsr.engine import segment_run
from vsr.engine.resume import segments
from vsr.engine.resume.journal import (
    FIRST_SEGMENT,
    FinishedSegment,
    Journal,
    SegmentStart,
    work_folder,
)
from vsr.engine.resume.segment_file import PacketFile, SegmentWriter
from vsr.engine.resume.segments import LONGEST_FRAMES, SHORTEST_FRAMES, mark_segments
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import Interrupted, OutputError
from vsr.media.decode.part import Part
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.encoder import CodedPacket, CodedVideo
from vsr.media.encode.settings import EncoderSettings
from vsr.media.fingerprint import FrameFingerprint
from vsr.media.frame import Frame

FAST = EncoderSettings(preset="ultrafast")


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 12)
    monkeypatch.setattr(segments, "SHORTEST_FRAMES", 5)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty frames in three shots, with B frames and sound."""
    path = tmp_path_factory.mktemp("resume") / "a.mp4"
    return write_film(
        path,
        scenes(64, 48, [30, 8, 12]),
        codec="libx264",
        options={"bf": "2", "g": "10"},
        audio=[AudioTrack("aac", 440)],
    )


def make(film: Path, output: Path, model: Path, **more: object) -> UpscaleResult:
    options = {"model": str(model), "device": "cpu", "settings": FAST, **more}
    return upscale_video(film, output, **options)  # type: ignore[arg-type]


def stopping_after(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    """Let the encoder break when it has had so many frames."""
    write, seen = SegmentWriter.write, 0

    def failing(self: SegmentWriter, frame: Frame) -> None:
        nonlocal seen
        seen += 1
        if seen > frames:
            raise OutputError("broke")
        write(self, frame)

    monkeypatch.setattr(SegmentWriter, "write", failing)


def test_segments_end_at_cuts_and_at_length(film: Path) -> None:
    with VideoReader(film) as reader:
        frames = list(reader.frames())
    longer = frames[:30] * 9 + frames[30:] * 3  # a shot of 270 frames, then shots of 8 and 12
    renumbered = [Frame(frame.planes, number) for number, frame in enumerate(longer)]
    marked = list(mark_segments(iter(renumbered), FIRST_SEGMENT))
    starts = [item.start.frame for item in marked if item.start]
    assert starts[0] == 0
    assert LONGEST_FRAMES in starts  # in mid-shot
    assert not next(m for m in marked if m.start and m.start.frame == LONGEST_FRAMES).begins_shot
    lengths = np.diff([*starts, len(longer)])
    assert max(lengths) <= LONGEST_FRAMES
    assert min(lengths[:-1]) >= SHORTEST_FRAMES


@pytest.mark.slow
@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("frames", [3, 12, 13, 25, 31, 44, 49])
def test_going_on_gives_the_bytes_of_a_run_without_a_break(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    make(film, tmp_path / "whole.mp4", tiny_model)
    with monkeypatch.context() as patched:
        stopping_after(patched, frames)
        with pytest.raises(OutputError, match="broke"):
            make(film, tmp_path / "b.mp4", tiny_model)
    assert not (tmp_path / "b.mp4").exists()
    reported: list[str] = []
    summary = make(film, tmp_path / "b.mp4", tiny_model, tell=reported.append)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert summary.frames == 50
    assert 0 <= frames - summary.resumed_frames <= 13
    assert (summary.resumed_frames > 0) == any("resuming after" in line for line in reported)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.mp4", "whole.mp4"]


@pytest.mark.slow
@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "record", "state"])
def test_what_a_power_cut_spoilt_is_done_anew(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    make(film, tmp_path / "whole.mp4", tiny_model)
    with monkeypatch.context() as patched:
        stopping_after(patched, 27)
        with pytest.raises(OutputError, match="broke"):
            make(film, tmp_path / "b.mp4", tiny_model)
    work = work_folder(tmp_path / "b.mp4")
    second = work / "000001.segment"
    match harm:
        case "cut":
            second.write_bytes(second.read_bytes()[:-9])
        case "changed":
            data = bytearray(second.read_bytes())
            data[100] ^= 1
            second.write_bytes(data)
        case "gone":
            second.unlink()
        case "record":
            record = work / "journal.jsonl"
            record.write_bytes(record.read_bytes()[:-30])
        case _:
            for state in work.glob("*.state"):
                state.unlink()
    make(film, tmp_path / "b.mp4", tiny_model)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.usefixtures("short_segments")
def test_other_settings_or_another_source_start_again_only_when_asked(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "b.mp4"
    with monkeypatch.context() as patched:
        stopping_after(patched, 27)
        with pytest.raises(OutputError, match="broke"):
            make(film, output, tiny_model)
    kept = sorted(path.name for path in work_folder(output).iterdir())
    with pytest.raises(OutputError, match=r"other settings \(crf None, now 20\); --no-resume"):
        make(film, output, tiny_model, settings=EncoderSettings(crf=20, preset="ultrafast"))
    other = write_film(tmp_path / "other.mp4", scenes(64, 48, [50]))
    with pytest.raises(OutputError, match="of another source; --no-resume discards it"):
        make(other, output, tiny_model)
    assert sorted(path.name for path in work_folder(output).iterdir()) == kept
    assert make(other, output, tiny_model, resume=False).resumed_frames == 0


@pytest.mark.usefixtures("short_segments")
def test_a_stop_ends_with_the_segment_in_hand(film: Path, tmp_path: Path, tiny_model: Path) -> None:
    make(film, tmp_path / "whole.mp4", tiny_model)
    stop = threading.Event()
    with pytest.raises(Interrupted, match="stopped; 12 frames are finished, and the same command"):
        make(film, tmp_path / "b.mp4", tiny_model, stop=stop, watch=lambda now: stop.set())
    assert make(film, tmp_path / "b.mp4", tiny_model).resumed_frames == 12
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_two_runs_on_one_output_do_not_mix(film: Path, tmp_path: Path, tiny_model: Path) -> None:
    journal = Journal(tmp_path / "b.mp4", {}, resume=True)
    with pytest.raises(OutputError, match="is being written by another vsr process"):
        make(film, tmp_path / "b.mp4", tiny_model)
    journal.remove()
    make(film, tmp_path / "b.mp4", tiny_model)


def test_an_output_that_is_in_place_is_only_tidied_up(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the renaming and the end."""
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "remove", lambda self: self._lock.release())
        make(film, tmp_path / "b.mp4", tiny_model)
    whole = (tmp_path / "b.mp4").read_bytes()
    assert work_folder(tmp_path / "b.mp4").exists()
    monkeypatch.setattr(segment_run, "run_stages", None)  # nothing is upscaled again
    assert make(film, tmp_path / "b.mp4", tiny_model).resumed_frames == 50
    assert (tmp_path / "b.mp4").read_bytes() == whole
    assert not work_folder(tmp_path / "b.mp4").exists()


def test_too_small_a_disk_is_reported_before_work(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match="of disk space, 1 kB are free"):
        make(film, tmp_path / "b.mp4", tiny_model)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1.2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("short_segments")
def test_a_full_disk_is_one_line_and_work_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path, tiny_model: Path
) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(96, 64, [50]))
    make(film, tmp_path / "whole.mp4", tiny_model)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(500_000))
    with pytest.raises(OutputError, match=r"b\.mp4: can't be written: no space left on device"):
        make(film, small_disk / "b.mp4", tiny_model)
    assert work_folder(small_disk / "b.mp4").is_dir()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert make(film, small_disk / "b.mp4", tiny_model).resumed_frames > 0
    assert (small_disk / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing() -> None:
    code = "from tests.engine.kills import disturb; print(*disturb(4, seed=1))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    kills, different = map(int, done.stdout.split())
    assert kills >= 1
    assert different == 0


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path, tiny_model: Path) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(64, 48, [300, 300]))
    command: list[str | Path] = [sys.executable, "-m", "vsr", "upscale", film]
    command += [tmp_path / "b.mp4", "--model", tiny_model, "--device", "cpu"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    work = work_folder(tmp_path / "b.mp4")
    deadline = time.monotonic() + 60
    while not list(work.glob("*.partial")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, reported = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finishing the current segment" in reported
    assert "stopped; 240 frames are finished, and the same command resumes" in reported
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "resuming after 240 finished frames" in done.stderr
    assert "600 frames" in done.stdout


SEGMENT = FinishedSegment(
    number=0,
    frames=48,
    shots=2,
    size=7,
    digest=hashlib.blake2b(b"packets", digest_size=16).hexdigest(),
    damaged=(3,),
    following=SegmentStart(
        number=1, frame=48, marks=(FrameFingerprint(47, "aa"),), begins_shot=True
    ),
)
SEGMENT_LINE = {
    "number": 0,
    "frames": 48,
    "shots": 2,
    "size": 7,
    "digest": SEGMENT.digest,
    "damaged": [3],
    "following": {"number": 1, "frame": 48, "marks": [[47, "aa"]], "begins_shot": True},
    "video": ["h264", "0001", "avc1"],
}
"""As vsr 0.1 writes it: a file format."""
LAST_LINE = {**SEGMENT_LINE, "number": 1, "following": None}


def journal_lines(output: Path) -> list[object]:
    text = (work_folder(output) / "journal.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_journal_has_the_keys_of_its_format(tmp_path: Path) -> None:
    output = tmp_path / "b.mkv"
    journal = Journal(output, {"weights": "a"}, resume=True)
    video = CodedVideo("h264", b"\0\1", "avc1")
    journal.add(SEGMENT, video)
    journal.add(SEGMENT._replace(number=1, following=None), video)
    assert journal_lines(output) == [{"format": 1, "weights": "a"}, SEGMENT_LINE, LAST_LINE]
    journal.remove()


@pytest.mark.parametrize("count", [1, 2])
def test_a_journal_of_its_format_is_read(tmp_path: Path, count: int) -> None:
    output = tmp_path / "b.mkv"
    work_folder(output).mkdir()
    lines = [{"format": 1, "weights": "a"}, SEGMENT_LINE, LAST_LINE][: 1 + count]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (work_folder(output) / "journal.jsonl").write_text(text)
    for number in range(count):
        (work_folder(output) / f"{number:06}.segment").write_bytes(b"packets")
    journal = Journal(output, {"weights": "a"}, resume=True)
    assert journal.finished == [SEGMENT, SEGMENT._replace(number=1, following=None)][:count]
    assert journal.video == CodedVideo("h264", b"\0\1", "avc1")
    assert journal_lines(output) == lines
    journal.remove()


def test_segments_are_recorded_in_any_order(tmp_path: Path) -> None:
    output = tmp_path / "b.mkv"
    journal = Journal(output, {}, resume=True)
    assert [start.number for start in journal.pending] == [0]
    video = CodedVideo("h264", b"", "")
    for number in (4, 1, 0):
        following = SegmentStart(number + 1, 48 * (number + 1), (), begins_shot=number != 1)
        journal.segment(number).write_bytes(b"packets")
        journal.add(SEGMENT._replace(number=number, following=following), video)
    assert [segment.number for segment in journal.finished] == [0, 1, 4]
    assert [start.number for start in journal.pending] == [2, 5]
    journal.release()
    resumed = Journal(output, {}, resume=True)  # the state of segment 2 is missing: 1 is discarded
    assert [segment.number for segment in resumed.finished] == [0, 4]
    assert [start.number for start in resumed.pending] == [1, 5]
    resumed.remove()


def test_a_run_resumes_with_its_encoder_threads(tmp_path: Path) -> None:
    output = tmp_path / "b.mkv"
    journal = Journal(output, {}, resume=True, encoder_threads=3)
    journal.segment(0).write_bytes(b"packets")
    journal.add(SEGMENT, CodedVideo("h264", b"", ""))
    journal.release()
    resumed = Journal(output, {}, resume=True, encoder_threads=12)
    assert resumed.encoder_threads == 3
    resumed.remove()


def test_the_identity_of_a_job_has_the_keys_of_its_format(film: Path, tiny_model: Path) -> None:
    settings = EncoderSettings("hevc", crf=20, preset="fast")
    session = UpscaleSession(
        film, UpscaleOptions(str(tiny_model), device="cpu", tiling=256, settings=settings), ".mkv"
    )
    with session.reader:
        identity = session.identity()
    hashes = [identity.pop(key) for key in ("source", "weights")]
    assert all(len(value) == 32 and int(value, 16) for value in hashes)
    assert sorted(identity.pop("versions")) == ["av", "torch", "vsr"]
    assert identity.pop("backend").startswith("torch ")
    assert identity == {
        "model": str(tiny_model),
        "scale": 4,
        "detail": 0.0,
        "device": "cpu",
        "precision": "auto",
        "tiling": 256,
        "deinterlace": "auto",
        "rotate": "keep",
        "decoder": "cpu",
        "codec": "hevc",
        "crf": 20,
        "preset": "fast",
        "encoder": "cpu",
        "output": [256, 192, "yuv420p"],
    }


def test_every_option_is_part_of_the_identity_of_a_job(film: Path) -> None:
    # Options of later releases have a key only if they differ from the default.
    later: dict[str, Any] = {
        "video": 1,
        "audio": "none",
        "subtitles": "none",
        "denoise": 0.5,
        "deblock": 0.5,
        "grain": 0.5,
        "part": Part.parse(start="2f"),
    }
    options = UpscaleOptions("tiny-x4", device="cpu", **later)
    session = UpscaleSession(film, options, ".mkv")
    with session.reader:
        identity = session.identity()
    names = {field.name for kind in (UpscaleOptions, EncoderSettings) for field in fields(kind)}
    names -= {"settings", "options"}  # their fields are listed
    names -= {"width", "height", "size", "square_pixels"}  # the size of the output is
    names -= {"inverse_telecine", "rate"}  # not set
    names -= {"provider"}  # the backend's name has it
    names -= {"steady"}  # for networks of single pictures only
    assert names <= identity.keys()


@pytest.mark.parametrize("moment", ["_rewrite", "_load"])
def test_ended_while_it_begins_nothing_is_left_but_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def end(*given: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    output = tmp_path / "b.mkv"
    monkeypatch.setattr(Journal, moment, end)
    with pytest.raises(SystemExit):
        Journal(output, {"weights": "a"}, resume=True)
    assert not list(tmp_path.iterdir())
    work_folder(output).mkdir()
    (work_folder(output) / "000000.segment").write_bytes(b"hours of work")
    with pytest.raises(SystemExit):
        Journal(output, {"weights": "a"}, resume=True)
    assert (work_folder(output) / "000000.segment").exists()
    monkeypatch.undo()
    journal = Journal(output, {"weights": "a"}, resume=True)  # and no lock is in the way
    journal.remove()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_segment_on_a_full_disk_is_removed(tmp_path: Path) -> None:
    partial = tmp_path / "0.segment.partial"
    partial.symlink_to("/dev/full")
    file = PacketFile(tmp_path / "0.segment")
    file.append(CodedPacket(b"packet", 0, 0, 1, True))
    with pytest.raises(OSError, match="No space left"):
        file.finish(1)
    file.abandon()
    assert list(tmp_path.iterdir()) == []
