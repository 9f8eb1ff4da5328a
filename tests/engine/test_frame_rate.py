"""The speed of a run, and the time left, while it runs. Clocks are fake."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vsr.cli.progress import progress_bar
from vsr.cli.reports import TextReport
from vsr.engine.frame_rate import FrameRate
from vsr.engine.pipeline import StageTimes
from vsr.engine.result import UpscaleProgress
from vsr.engine.run import FrameCounter


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        for name in ("perf_counter", "monotonic"):
            monkeypatch.setattr(time, name, lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def counter(seen: list[UpscaleProgress], frames: int, before: int = 0) -> FrameCounter:
    """A counter of a run that started at time zero."""
    session: Any = SimpleNamespace(started=0.0, info=SimpleNamespace(frame_count=frames))
    return FrameCounter(session, seen.append, StageTimes(), before, ("worker 1", "worker 2"))


def test_each_worker_counts_from_its_first_frame() -> None:
    # They start for a minute. Worker 0 writes 2 frames per second from then on; worker 1 starts
    # three seconds later, and writes 4.
    rate, rates = FrameRate(), {}
    for tick in range(41):
        now = 60 + tick / 4
        if tick % 2 == 0:
            rates[now] = rate.add(0, now)
        if tick >= 12:
            rates[now] = rate.add(1, now)
    assert [rates[second] for second in (60, 61, 62, 64, 65, 70)] == [None, None, 2, 2, 6, 6]


def test_one_process_counts_from_its_first_frame_too(clock: Clock) -> None:
    seen: list[UpscaleProgress] = []
    frames = counter(seen, 100)
    for clock.now in range(60, 64):
        frames.add()
    assert [progress.seconds_left for progress in seen] == [None, None, 97, 96]


def test_the_speed_is_that_of_the_last_half_minute() -> None:
    rate = FrameRate()
    before = [rate.add(0, second) for second in range(200)]
    assert before[-1] == 1
    after = [rate.add(0, 200 + tick / 2) for tick in range(70)]
    assert after[-1] == pytest.approx(2, rel=0.05)


def test_slow_frames_have_a_speed() -> None:
    rate = FrameRate()
    assert rate.add(0, 0) is None
    for minute in range(1, 20):
        assert rate.add(0, 60 * minute) == pytest.approx(1 / 60)


def test_a_worker_without_work_stops_counting() -> None:
    rate = FrameRate()
    for second in range(30):
        rate.add(1, second)
        both = rate.add(0, second)
    assert both == pytest.approx(2, rel=0.05)
    alone = [rate.add(0, second) for second in range(30, 100)]
    assert alone[-1] == pytest.approx(1, rel=0.15)


def test_a_worker_that_died_counts_from_its_next_frame(clock: Clock) -> None:
    seen: list[UpscaleProgress] = []
    frames = counter(seen, 1000)
    for tick in range(11):
        clock.now = 10 + tick
        frames.add(0)
        frames.add(1)
    assert seen[-1].frames_per_second == 2
    frames.discard(1, 11)
    for tick in range(60):
        clock.now = 21 + tick
        frames.add(0)
        if tick >= 40:
            frames.add(1)
        if tick == 30:
            assert seen[-1].frames_per_second == pytest.approx(1)
    assert seen[-1].frames_per_second == pytest.approx(2)
    assert seen[-1].frames == 22 - 11 + 80


def test_the_time_left_counts_no_start_and_no_frames_of_earlier_runs(clock: Clock) -> None:
    seen: list[UpscaleProgress] = []
    frames = counter(seen, 1100, before=900)
    for tick in range(5):
        clock.now = 50 + tick
        frames.add(0)
        frames.add(1)
    assert seen[0].seconds_left is seen[0].frames_per_second is None
    assert (seen[-1].frames, seen[-1].seconds) == (910, 54)
    assert (seen[-1].frames_per_second, seen[-1].seconds_left) == (2, 190 / 2)


def test_nothing_is_left_after_the_last_frame() -> None:
    assert UpscaleProgress(frames=9, frame_count=9, seconds=1).seconds_left == 0
    assert UpscaleProgress(frames=9, frame_count=None, seconds=1).seconds_left is None


def test_the_first_line_of_a_resumed_run_with_workers(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with TextReport().film(Path("a.mp4"), Path("b.mp4")) as callbacks:
        frames = counter([], 1100, before=900)
        frames._on_progress = callbacks["watch"]
        for tick in range(5):  # the first frames are written after eight seconds
            clock.now = 8 + tick
            frames.add(0)
            frames.add(1)
    line, *rest = capsys.readouterr().err.splitlines()
    assert line == "905 of 1100, 2.0 frames/s, worker 1: 3, worker 2: 2, 0:01:38 left"
    assert rest == []


def test_lines_of_other_commands_count_from_the_first_item_on(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar([]) as update:
        for clock.now, done in ((9, 50), (11, 51), (21, 61)):
            update(done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "51 of 100, 0:01:38 left",  # an item in two seconds
        "61 of 100, 0:00:39 left",
    ]
