"""Functions in processes of their own: order, replacement, limits."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from functools import partial
from pathlib import Path

import pytest

from vsr.errors import MediaError
from vsr.system.files import file_stamp
from vsr.web.workers import Lane, TaskDropped, TaskFailed

pytestmark = pytest.mark.slow


@pytest.fixture
def lane() -> Iterator[Lane]:
    started = Lane("test")
    yield started
    started.close()


def test_one_process_runs_all_tasks(lane: Lane) -> None:
    assert len({lane.submit(os.getpid).result() for _ in range(3)} - {os.getpid()}) == 1


def test_a_fresh_process_runs_one_task(lane: Lane) -> None:
    warm = lane.submit(os.getpid).result()
    assert lane.submit(os.getpid, is_fresh=True).result() != warm
    assert lane.submit(os.getpid).result() == warm


def test_a_killed_process_is_replaced_and_its_task_repeated(lane: Lane, tmp_path: Path) -> None:
    first = lane.submit(os.getpid).result()
    started = threading.Event()
    task = lane.submit(time.sleep, 0.5, on_start=started.set)
    started.wait(10)
    os.kill(first, signal.SIGKILL)
    assert task.result(30) is None
    assert lane.pids != [first]


def test_a_task_that_always_crashes_fails_and_the_next_one_runs(lane: Lane) -> None:
    with pytest.raises(TaskFailed, match=r"its process ended \(exit code 3\)"):
        lane.submit(os._exit, 3).result(30)
    assert lane.submit(abs, -1).result(30) == 1


class Unreadable:
    """Can be pickled, and not be unpickled."""

    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("x",)


def test_a_result_that_can_not_be_read_fails_and_the_next_task_runs(lane: Lane) -> None:
    with pytest.raises(TaskFailed, match="ValueError: invalid literal"):
        lane.submit(Unreadable).result(30)
    assert lane.submit(abs, -1).result(30) == 1


def test_a_process_that_can_not_be_started_fails_its_task_alone(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Lane) -> None:
        raise OSError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(Lane, "_start", fail)
        with pytest.raises(TaskFailed, match="no memory"):
            lane.submit(abs, -1).result(30)
    assert lane.submit(abs, -1).result(30) == 1


def test_errors_of_users_and_bugs_leave_the_process(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    pid = lane.submit(os.getpid).result()
    with pytest.raises(MediaError, match="none: no such file"):
        lane.submit(file_stamp, Path("none")).result()
    with pytest.raises(TaskFailed, match="TypeError: bad operand"):
        lane.submit(abs, "text").result()
    assert "Traceback" in caplog.text
    assert lane.pids == [pid]


def test_a_task_that_takes_too_long_is_ended(lane: Lane) -> None:
    lane.submit(os.getpid).result()
    started = time.monotonic()
    with pytest.raises(TaskFailed, match=r"took more than 0\.2 seconds"):
        lane.submit(time.sleep, 60, seconds=0.2).result()
    assert time.monotonic() - started < 20
    assert lane.pids == []


def test_the_newest_task_of_the_first_priority_runs_first(lane: Lane) -> None:
    order: list[str] = []
    tasks = [lane.submit(time.sleep, 0.3)]
    for name, priority, newest_first in (
        ("plan 1", 2, False),
        ("plan 2", 2, False),
        ("frame 1", 0, True),
        ("frame 2", 0, True),
    ):
        tasks.append(
            lane.submit(
                abs,
                1,
                priority=priority,
                newest_first=newest_first,
                on_start=partial(order.append, name),
            )
        )
    wait(tasks)
    assert order == ["frame 2", "frame 1", "plan 1", "plan 2"]


def test_the_oldest_waiting_tasks_are_dropped(lane: Lane) -> None:
    lane.submit(time.sleep, 0.3)
    tasks = [lane.submit(abs, -n, newest_first=True, most_waiting=2) for n in range(1, 5)]
    for task in tasks[:2]:
        with pytest.raises(TaskDropped, match="newer requests"):
            task.result()
    assert [task.result() for task in tasks[2:]] == [3, 4]


def test_closing_ends_processes_and_tasks() -> None:
    lane = Lane("test")
    pid = lane.submit(os.getpid).result()
    running, waiting = lane.submit(time.sleep, 60), lane.submit(abs, 1)
    lane.close()
    for task in (running, waiting):
        with pytest.raises((TaskDropped, TaskFailed)):
            task.result(10)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
