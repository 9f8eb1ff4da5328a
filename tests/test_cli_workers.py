"""Films that share workers, by the real command with workers in threads."""

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.cli import vsr as run
from tests.helpers.films import scenes, write_film
from tests.helpers.thread_pool import ThreadPool
from vsr.cli import films_progress, progress
from vsr.cli.films_progress import FilmsProgress
from vsr.cli.reports import TextReport
from vsr.engine.parallel import workers
from vsr.engine.parallel.placement import Placement
from vsr.engine.parallel.pool import Chain
from vsr.engine.result import UpscaleProgress, WorkerProgress
from vsr.engine.resume import segments
from vsr.errors import MediaError

FRAMES = 16
"""Frames of each film, which is one shot."""


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 6)
    monkeypatch.setattr(segments, "SHORTEST_FRAMES", 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six films of a shot each, of different colours."""
    folder = tmp_path_factory.mktemp("films")
    for name in "abcdef":
        frames = [frame // 6 * "abcdefg".index(name) + 9 for frame in scenes(32, 24, [FRAMES])]
        write_film(folder / f"{name}.mkv", frames)
    return folder


@pytest.fixture(scope="module")
def wanted(
    folder: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The films as one process upscales them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "LONGEST_FRAMES", 6)
        patch.setattr(segments, "SHORTEST_FRAMES", 4)
        output = tmp_path_factory.mktemp("whole")
        done = upscale(folder, output, tiny_model)
    assert done.returncode == 0, done.stderr
    return contents(output)


class Pools:
    """Pools of threads in place of processes."""

    def __init__(self) -> None:
        self.dies: Callable[[Chain, int], bool] = lambda chain, frame: False
        self.begins: Callable[[int, Path], None] = lambda worker, source: None
        self.last: Any = None

    def start(self, placements: tuple[Placement, ...]) -> ThreadPool:
        self.last = ThreadPool(placements, self.dies, lambda *given: self.begins(*given))
        pool: ThreadPool = self.last
        return pool

    def is_ending(self, worker: int) -> bool:
        """Whether a worker was asked to stop."""
        stop: threading.Event = self.last._workers[worker].stop
        return stop.is_set()


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Pools:
    pools = Pools()
    monkeypatch.setattr(workers, "LocalPool", pools.start)
    return pools


def upscale(*arguments: object) -> Any:
    """Upscale inputs, the last but two, into a folder by a model, the last two."""
    *inputs, output, model = arguments
    options = ["--model", model, "--device", "cpu", "--codec", "ffv1"]
    return run("upscale", *inputs, output, *options)


def upscale_by_two(*arguments: object) -> Any:
    return upscale("--workers", 2, "--json-progress", *arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def events_of(done: Any, *names: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return [event for event in events if event["event"] in names]


def said_of(done: Any, *films: Path) -> list[str]:
    """The only message about each film."""
    texts = {one["source"]: one["text"] for one in events_of(done, "message") if one["source"]}
    assert len(texts) == len(films)
    return [texts[str(film)] for film in films]


@pytest.mark.slow
def test_films_of_one_shot_are_upscaled_at_the_same_time(
    folder: Path, wanted: dict[str, bytes], tiny_model: Path, tmp_path: Path, pools: Pools
) -> None:
    both = threading.Barrier(2, timeout=60)

    def wait_for_the_other(worker: int, source: Path) -> None:
        both.wait()  # fails unless there are two

    pools.begins = wait_for_the_other
    done = upscale_by_two(folder, tmp_path, tiny_model)
    assert done.returncode == 0, done.stderr + done.stdout
    assert contents(tmp_path) == wanted
    assert [path.name for path in pools.last.sources[:2]] == ["a.mkv", "b.mkv"]
    last = events_of(done, "progress")
    assert {event["source"] for event in last} == {str(path) for path in folder.iterdir()}
    by_worker = [0, 0]
    for event in last:
        if event["frames"] == FRAMES:
            for index, one in enumerate(event["workers"]):
                by_worker[index] += one["frames"]
    assert by_worker == [3 * FRAMES, 3 * FRAMES]
    names = [event["event"] for event in events_of(done, "start", "result")]
    assert names[:2] == ["start", "start"]
    assert events_of(done, "summary")[0]["upscaled"] == 6


def test_a_film_that_fails_in_a_worker_does_not_stop_the_others(
    folder: Path, wanted: dict[str, bytes], tiny_model: Path, tmp_path: Path, pools: Pools
) -> None:
    def fail(worker: int, source: Path) -> None:
        if source == broken:
            raise MediaError(f"{source}: is broken")

    pools.begins = fail
    first, broken, last = (folder / f"{name}.mkv" for name in "abc")
    done = upscale_by_two(first, broken, last, tmp_path, tiny_model)
    assert done.returncode == 1
    assert contents(tmp_path) == {path.name: wanted[path.name] for path in (first, last)}
    assert [(one["source"], one["text"]) for one in events_of(done, "error")] == [
        (str(broken), f"{broken}: is broken"),
        (None, f"failed: {broken}"),
    ]
    assert events_of(done, "summary")[0] | {"output": ""} == {
        "event": "summary", "output": "", "upscaled": 2, "present": 0, "failed": 1
    }  # fmt: skip


def test_a_shot_whose_worker_died_is_upscaled_again(
    folder: Path, wanted: dict[str, bytes], tiny_model: Path, tmp_path: Path, pools: Pools
) -> None:
    inputs = [folder / f"{name}.mkv" for name in "ab"]
    pools.dies = lambda chain, frame: chain.deaths == 0 and chain.number == 0 and frame == 8
    done = upscale_by_two(*inputs, tmp_path, tiny_model)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path) == {path.name: wanted[path.name] for path in inputs}
    assert all("its shot is upscaled again" in line for line in said_of(done, *inputs))


def test_ctrl_c_leaves_two_films_to_be_resumed(
    folder: Path, wanted: dict[str, bytes], tiny_model: Path, tmp_path: Path, pools: Pools
) -> None:
    both = threading.Barrier(2, lambda: signal.raise_signal(signal.SIGINT), timeout=60)

    def wait_for_the_stop(worker: int, source: Path) -> None:
        both.wait()
        while not pools.is_ending(worker):
            time.sleep(0.01)

    pools.begins = wait_for_the_stop
    inputs = folder / "a.mkv", folder / "b.mkv"
    done = upscale_by_two(*inputs, tmp_path, tiny_model)
    assert done.returncode == 130
    assert contents(tmp_path) == {}
    kept = "stopped; 6 frames are finished, and the same command resumes"
    assert said_of(done, *inputs) == [kept, kept]
    line = "2 films are unfinished, and the same command resumes"
    assert events_of(done, "interrupted") == [{"event": "interrupted", "text": line}]
    pools.begins = lambda worker, source: None
    again = upscale_by_two(*inputs, tmp_path, tiny_model)
    assert [event["resumed_frames"] for event in events_of(again, "result")] == [6, 6]
    assert contents(tmp_path) == {name: wanted[name] for name in ("a.mkv", "b.mkv")}


def test_ctrl_c_names_the_only_film_that_is_unfinished(
    folder: Path, tiny_model: Path, tmp_path: Path, pools: Pools
) -> None:
    def interrupt(worker: int, source: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        while not pools.is_ending(worker):
            time.sleep(0.01)

    pools.begins = interrupt
    film = tmp_path / "films" / "a.mkv"
    film.parent.mkdir()
    film.write_bytes((folder / film.name).read_bytes())
    done = upscale_by_two(film.parent, tmp_path, tiny_model)
    assert done.returncode == 130
    assert said_of(done, film) == ["stopped; 6 frames are finished, and the same command resumes"]
    line = "1 film is unfinished, and the same command resumes"
    assert events_of(done, "interrupted") == [{"event": "interrupted", "text": line}]


def test_a_second_ctrl_c_ends_all_films_at_once(
    folder: Path, tiny_model: Path, tmp_path: Path, pools: Pools
) -> None:
    both = threading.Barrier(2, timeout=60)

    def interrupt_twice(worker: int, source: Path) -> None:
        if both.wait() == 0:
            signal.raise_signal(signal.SIGINT)
            while not pools.is_ending(worker):  # the first one was handled
                time.sleep(0.01)
            signal.raise_signal(signal.SIGINT)
        while not pools.last._workers[worker].is_abandoned:
            time.sleep(0.01)

    pools.begins = interrupt_twice
    inputs = folder / "a.mkv", folder / "b.mkv"
    done = upscale_by_two(*inputs, tmp_path, tiny_model)
    assert done.returncode == 130
    assert said_of(done, *inputs) == ["stopped at once", "stopped at once"]
    assert events_of(done, "interrupted")
    assert list(tmp_path.iterdir()) == []


def test_the_progress_line_adds_up_the_films(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_PLAIN_PROGRESS_SECONDS", 0)

    def now(frames: int, first: int, second: int) -> UpscaleProgress:
        counts = WorkerProgress("worker 1", first), WorkerProgress("worker 2", second)
        return UpscaleProgress(frames, 10, 2.0, workers=counts)

    report = TextReport()
    a, b, c = (Path(f"{name}.mkv") for name in "abc")
    with report.together(), report.film(a, a) as of_a:
        with report.film(b, b) as of_b:
            of_a["watch"](now(4, 4, 0))
            of_b["on_start"](SimpleNamespace(frames=10, resumed_frames=1))
            of_a["watch"](now(5, 4, 1))
            of_b["watch"](now(7, 1, 6))
            of_b["tell"]("fails")
        with report.film(c, c) as of_c:
            of_c["watch"](now(2, 0, 2))
    lines = [line.partition(", 0:00")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "4 of 10, 2 films, worker 1: 4, worker 2: 0",
        "6 of 20, 2 films, worker 1: 4, worker 2: 1",
        "12 of 20, 2 films, worker 1: 5, worker 2: 7",
        "vsr: b.mkv: fails",
        "14 of 27, 2 films, worker 1: 5, worker 2: 9",
    ]


def test_the_speed_of_films_is_that_of_their_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that changes to another film doesn't count in both."""
    shown: dict[str, Any] = {}
    clock = 0.0
    monkeypatch.setattr(films_progress, "monotonic", lambda: clock)
    films = FilmsProgress(lambda done, total, **fields: shown.update(fields))
    with films.film() as (_, of_a), films.film() as (_, of_b):
        for frames in range(1, 21):  # worker 2 changes to b after ten seconds
            clock += 1.0
            second = min(frames, 10)
            counts = WorkerProgress("worker 1", frames), WorkerProgress("worker 2", second)
            of_a(UpscaleProgress(frames + second, 99, 2.0, workers=counts))
            counts = WorkerProgress("worker 1", 0), WorkerProgress("worker 2", frames - second)
            of_b(UpscaleProgress(frames - second, 99, 2.0, workers=counts))
    assert shown["rate"] == "2.0 frames/s"
