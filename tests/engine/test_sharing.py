"""Which film an idle worker is lent to."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vsr.engine.parallel.pool import (
    ChainEnded,
    Event,
    FilmUnavailable,
    FrameDone,
    WorkerFailed,
    WorkerLost,
)
from vsr.engine.parallel.sharing import SharedPool
from vsr.errors import VsrError


class Film:
    """A run whose chains are added by the test."""

    def __init__(self, name: str, chains: int, *, is_read: bool = True) -> None:
        self.job: Any = SimpleNamespace(source=Path(name))
        self.folder = Path(name)
        self.chains, self.is_read = chains, is_read
        self.is_stopped = False
        self.seen: list[Event] = []
        self.left: list[int] = []
        self.thread: Any = None
        self.error: VsrError | None = None

    def upscale(self, shared: SharedPool) -> None:
        try:
            shared.upscale(self)
        except VsrError as error:
            self.error = error

    @property
    def is_complete(self) -> bool:
        return self.is_read and not self.chains

    @property
    def has_chain(self) -> bool:
        return self.chains > 0

    @property
    def is_ahead(self) -> bool:
        return self.is_read or self.chains > 1

    def take(self, worker: int) -> tuple[Any, Path | None]:
        self.chains -= 1
        return self.job.source.name, None

    def handle(self, event: Event) -> None:
        self.seen.append(event)
        if isinstance(event, WorkerFailed):
            raise event.error
        if isinstance(event, WorkerLost | FilmUnavailable):
            self.chains += 1

    def leave(self, worker: int) -> None:
        self.left.append(worker)


class Script:
    """A pool whose events are those of the test."""

    def __init__(self, workers: int) -> None:
        self.names = tuple(f"worker {number + 1}" for number in range(workers))
        self.submitted: list[tuple[int, str]] = []
        self.abandoned: list[int] = []
        self._jobs = 0
        self._asked = threading.Semaphore(0)
        self._events: list[Event | None] = []
        self._handled = threading.Semaphore(0)

    def open(self, job: Any, folder: Path) -> int:
        self._jobs += 1
        return self._jobs

    def release(self, job: int) -> None:
        pass

    def submit(self, worker: int, job: int, chain: Any, state: Path | None) -> None:
        self.submitted.append((worker, chain))

    def next_event(self, seconds: float) -> Event | None:
        self._handled.release()
        self._asked.acquire()
        return self._events.pop(0)

    def stop(self, worker: int) -> None:
        pass

    def abandon(self, worker: int) -> None:
        self.abandoned.append(worker)

    def close(self) -> None:
        pass

    def wait(self) -> None:
        """Wait until all runs and idle workers were looked at."""
        assert self._handled.acquire(timeout=60)

    def report(self, event: Event | None = None, *, is_last: bool = False) -> None:
        """Report an event, and wait until it is handled unless it ends the last run."""
        self._events.append(event)
        self._asked.release()
        if not is_last:
            self.wait()


@pytest.fixture
def started() -> Iterator[Any]:
    """A function that starts a run in a thread."""
    threads: list[threading.Thread] = []

    def start(shared: SharedPool, film: Film) -> Film:
        count = shared.started
        film.thread = threading.Thread(target=film.upscale, args=(shared,))
        film.thread.start()
        threads.append(film.thread)
        while shared.started == count:
            pass
        return film

    yield start
    for thread in threads:
        thread.join(60)


def test_a_worker_is_lent_to_the_first_film_that_has_a_chain(started: Any) -> None:
    pool = Script(1)
    shared = SharedPool(pool)
    first = started(shared, Film("first", 0, is_read=False))
    pool.wait()
    assert shared.needs_run
    second = started(shared, Film("second", 4))
    pool.report()
    assert pool.submitted == [(0, "second")]
    assert not shared.needs_run
    first.chains = 1
    pool.report(ChainEnded(0))
    assert pool.submitted[1:] == [(0, "second")]  # which it has loaded
    assert second.left == []
    first.chains = 2
    pool.report(ChainEnded(0))
    assert pool.submitted[2:] == [(0, "first")]
    assert second.left == [0]
    first.chains, first.is_read = 0, True
    pool.report(ChainEnded(0))
    assert pool.submitted[3:] == [(0, "second")]
    pool.report(FrameDone(0))
    assert second.seen == [ChainEnded(0), ChainEnded(0), FrameDone(0)]
    assert first.seen == [ChainEnded(0)]
    first.thread.join(60)
    second.chains = 0
    pool.report(ChainEnded(0), is_last=True)
    second.thread.join(60)
    assert not second.thread.is_alive()
    shared.close()


def test_a_film_that_fails_releases_its_workers_alone(started: Any) -> None:
    pool = Script(3)
    shared = SharedPool(pool)
    first = started(shared, Film("first", 2))
    pool.wait()
    second = started(shared, Film("second", 3))
    pool.report()
    pool.report(WorkerFailed(0, VsrError("broken")))
    first.thread.join(60)
    assert str(first.error) == "broken"
    assert sorted(pool.abandoned) == [0, 1]
    assert pool.submitted[2:] == [(2, "second"), (0, "second"), (1, "second")]
    pool.report(ChainEnded(0))
    pool.report(ChainEnded(1))
    pool.report(ChainEnded(2), is_last=True)
    second.thread.join(60)
    assert second.error is None
    shared.close()


def test_films_fail_once_all_workers_are_lost(started: Any) -> None:
    pool = Script(2)
    shared = SharedPool(pool)
    films = [started(shared, Film(name, 1)) for name in ("first", "second")]
    pool.wait()
    pool.report()
    assert pool.submitted == [(0, "first"), (1, "second")]
    pool.report(WorkerLost(0, "off"))
    pool.report(WorkerLost(1, "off"), is_last=True)
    for film in films:
        film.thread.join(60)
        line = "no worker is left, the last was worker 2 (off)"
        assert str(film.error) == f"{film.folder}: {line}"
    shared.close()


def test_a_worker_without_a_film_upscales_others(started: Any) -> None:
    pool = Script(2)
    shared = SharedPool(pool)
    first = started(shared, Film("first", 3))
    pool.wait()
    assert not shared.needs_run
    pool.report(FilmUnavailable(1, "full"))
    assert shared.needs_run
    second = started(shared, Film("second", 1))
    pool.report()
    pool.report(ChainEnded(0))
    assert pool.submitted == [(0, "first"), (1, "first"), (1, "second"), (0, "first")]
    pool.report(FilmUnavailable(0, "full"))
    first.thread.join(60)
    assert str(first.error) == "first: no worker is left, the last was worker 1 (full)"
    pool.report(ChainEnded(1), is_last=True)
    second.thread.join(60)
    assert second.error is None
    shared.close()
