"""Plans of films whose shots spread over several workers."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.cli import vsr
from tests.helpers.ffmpeg import ffmpeg
from tests.helpers.models import write_model
from tests.helpers.shots import write_shots
from vsr.engine import plan
from vsr.engine.parallel import schedule as schedules
from vsr.engine.parallel.schedule import schedule
from vsr.engine.parallel.shot_plan import FoundShots, extrapolate, find_shots, plan_shots
from vsr.engine.parallel.workers import Workers
from vsr.engine.plan import Plan, plan_video
from vsr.engine.resume import segments
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import VsrError
from vsr.media.decode.part import Part

LENGTHS = (18, 30, 8, 12)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shots(tmp_path_factory.mktemp("shots") / "a.mp4", LENGTHS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "a.safetensors")


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 12)
    monkeypatch.setattr(segments, "SHORTEST_FRAMES", 5)


@pytest.fixture
def two_frames_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try the film in this process, and give each worker half a second per frame."""

    def call_each(self: Workers, function: Callable[..., Any], *given: object) -> list[Any]:
        tried = function("cpu", *given)._replace(seconds_per_frame=0.5)
        return [tried] * len(self.names)

    monkeypatch.setattr(Workers, "call_each", call_each)
    monkeypatch.setattr(plan, "_TRIAL_SECONDS", 0.0)


def planned(film: Path, model: Path, workers: int, **options: Any) -> Plan:
    given = UpscaleOptions(str(model), device="cpu", **options)
    return plan_video(film, options=given, workers=Workers("cpu", workers))


def found_in(
    film: Path, model: Path, part: Part | None = None, seconds: float = float("inf")
) -> FoundShots:
    """Find the shots; a frame takes a second, and so does the start of the part."""
    options = UpscaleOptions(str(model), device="cpu", part=part)
    session = UpscaleSession(film, options, ".mp4")
    clock = count()
    with session.reader:
        return find_shots(session, seconds, lambda: next(clock))


def shots(*lengths: int, chains: Sequence[int] = (), is_complete: bool = True) -> FoundShots:
    return FoundShots(lengths, tuple(chains or lengths), is_complete, 1e9)


def test_all_workers_are_tried_with_the_tiles_of_the_least_memory(
    film: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call_each(self: Workers, function: Callable[..., Any], *given: object) -> list[Any]:
        raise VsrError(f"tried with {given[-1]} bytes")

    monkeypatch.setattr(Workers, "call_each", call_each)
    monkeypatch.setattr(Workers, "memory", 2**30)
    monkeypatch.setattr(plan, "_TRIAL_SECONDS", 0.0)
    with pytest.raises(VsrError, match=f"tried with {2**30} bytes"):
        planned(film, model, 2)


def test_chains_go_to_the_next_idle_worker_and_once_all_are_found_the_longest_first() -> None:
    # Worker 0 is twice as fast: it ends 20 frames at 10 s, and 12 more at 16 s.
    tasks = schedule([8, 20, 10, 12], [2, 1])
    assert [(task.worker, task.frames, task.end) for task in tasks] == [
        (0, 20, 10), (1, 12, 12), (0, 10, 15), (1, 8, 20)
    ]  # fmt: skip


def test_the_driver_waits_while_enough_chains_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # It reads 10 frames in a second, and upscales one. The third chain has been read at 4 s, but
    # waits for the second one to be taken, at 11 s. Reading the fourth takes from then until 51 s.
    monkeypatch.setattr(schedules, "CHAINS_AHEAD", 1)
    tasks = schedule([10, 20, 10, 400], [1], scan_rate=10)
    assert [task.start for task in tasks] == [1, 11, 31, 51]
    monkeypatch.setattr(schedules, "CHAINS_AHEAD", 3)
    tasks = schedule([10, 20, 10, 40], [1], scan_rate=10)
    assert [task.frames for task in tasks] == [10, 40, 20, 10]


def test_the_shots_are_those_of_a_run(film: Path, model: Path, short_segments: None) -> None:
    found = found_in(film, model)
    assert found[:3] == (LENGTHS, LENGTHS, True)
    assert found_in(film, model, seconds=41)[:3] == ((18, 22), (18, 22), False)


def test_short_shots_are_a_chain_together(film: Path, model: Path) -> None:
    assert found_in(film, model)[:3] == (LENGTHS, (48, 20), True)


@pytest.mark.parametrize(
    ("start", "duration"), [("1.2", "0.8"), ("30f", "20f")], ids=["times", "frames"]
)
def test_the_shots_of_a_part_are_found(
    film: Path, model: Path, short_segments: None, tmp_path: Path, start: str, duration: str
) -> None:
    part = Part.parse(start=start, duration=duration)
    assert found_in(film, model, part)[:3] == ((18, 2), (18, 2), True)


def test_the_shots_of_a_part_are_found_without_seeking(
    film: Path, model: Path, short_segments: None, tmp_path: Path
) -> None:
    raw = tmp_path / "a.h264"  # without times in its packets
    ffmpeg("-i", film, "-c", "copy", "-an", "-bsf:v", "h264_mp4toannexb", raw)
    assert found_in(raw, model, Part.parse(start="30f", duration="20f")).chains == (18, 2)


def test_a_part_that_is_not_reached_in_time_has_no_shots(film: Path, model: Path) -> None:
    found = found_in(film, model, Part.parse(start="60f"), seconds=0)
    assert found[:3] == ((), (), False)


def test_the_rest_of_a_film_is_assumed_to_have_the_same_shot_lengths() -> None:
    found = shots(60, 100, 40, chains=(60, 100, 40), is_complete=False)
    assert extrapolate(found, 500) == [60, 100, 60, 100, 60, 100, 20]
    found = shots(60, 100, 140, chains=(60, 100, 140), is_complete=False)
    assert extrapolate(found, 500) == [60, 100, 140, 60, 100, 40]
    plan, _ = plan_shots(found, 500, [1, 1])
    assert (plan.shots, plan.longest_share, plan.are_counted) == (5, 140 / 500, False)
    assert (plan.frames_read, plan.chains) == (300, 6)


def test_without_a_cut_all_frames_are_assumed_to_be_one_shot() -> None:
    plan, rate = plan_shots(shots(60, is_complete=False), 600, [2, 2])
    assert (plan.shots, plan.longest_frames, plan.longest_share) == (1, 600, 1)
    assert (plan.busy_workers, rate) == pytest.approx((1, 2))


def test_without_the_length_of_the_film_the_plan_is_for_what_was_read() -> None:
    plan, rate = plan_shots(shots(60, 60, 20, is_complete=False), None, [2, 2])
    assert (plan.shots, plan.frames_read) == (3, 140)
    assert rate == pytest.approx(140 / 40)


def test_the_time_of_a_plan_is_that_of_the_longest_worker(
    film: Path, model: Path, short_segments: None, two_frames_a_second: None
) -> None:
    found = planned(film, model, 2)
    # One worker upscales 30 and 8 frames, or 30 and 12 and 8; the other one what is left.
    assert found.workers == ("worker 1", "worker 2")
    assert found.shots is not None
    assert found.seconds is not None
    assert found.seconds == pytest.approx(68 / found.frames_per_second)
    assert 17 <= found.seconds <= 24
    assert found.shots.busy_workers == pytest.approx(34 / found.seconds)
    assert (found.shots.shots, found.shots.longest_frames) == (4, 30)
    assert found.shots.longest_share == 30 / 68
    assert (found.frames, found.frames_are_counted) == (68, True)


def test_a_film_of_one_shot_takes_as_long_as_on_one_worker(
    tmp_path: Path, model: Path, two_frames_a_second: None, short_segments: None
) -> None:
    one_shot = write_shots(tmp_path / "a.mp4", (40,))
    one, four = (planned(one_shot, model, workers) for workers in (1, 4))
    assert (one.seconds, one.shots) == (20, None)
    assert four.seconds is not None
    assert 20 <= four.seconds < 25  # and the time in which the film is read
    arguments = ("plan", one_shot, "--model", model, "--device", "cpu", "--workers", 2)
    lines = vsr(*arguments).stdout.splitlines()
    assert "shots   one, of 40 frames" in lines
    assert lines[-1] == "note    one worker upscales a shot, so that more workers don't help"


def test_a_plan_shows_the_shots(
    film: Path,
    model: Path,
    two_frames_a_second: None,
    short_segments: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ("plan", film, "--model", model, "--device", "cpu", "--workers", 2)
    (line,) = [line for line in vsr(*arguments).stdout.splitlines() if line[:5] == "shots"]
    assert line.startswith("shots   4, the longest of 30 frames (44.1 %) on one worker; 1.")
    assert line.endswith(" of 2 workers are busy on average")
    clock = count()
    monkeypatch.setattr(
        plan, "find_shots", lambda session, _: find_shots(session, 40, lambda: next(clock))
    )
    lines = vsr(*arguments).stdout.splitlines()
    assert any(line.startswith("shots   about 3, the longest of ") for line in lines)
    read = "in the first 39 frames, which were read in ten seconds"
    assert lines[-1] == f"note    shots are estimated from those {read}"


def test_without_several_workers_the_film_is_not_read_ahead(
    film: Path, model: Path, two_frames_a_second: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "find_shots", SimpleNamespace())
    for workers in (Workers("cpu"), Workers("cpu", 1)):
        options = UpscaleOptions(str(model), device="cpu")
        assert plan_video(film, options=options, workers=workers).shots is None
