"""Progress of films that are upscaled at the same time, in one line."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import Any

from vsr.cli.progress import progress_bar
from vsr.engine.frame_rate import FrameRate


class FilmsProgress:
    """Adds up the progress of films that are upscaled at the same time."""

    def __init__(self, update: Callable[..., None]) -> None:
        """`update` is that of `progress_bar`."""
        self._update = update
        self._lock = threading.Lock()
        self._rate = FrameRate()
        self._running: list[_Film] = []
        self._ended = _Film()

    @contextmanager
    def film(self) -> Iterator[tuple[Callable[[Any], None], Callable[[Any], None]]]:
        """Add a film; yields the functions that get its start and its progress."""
        film = _Film()
        with self._lock:
            self._running.append(film)

        def on_start(start: Any) -> None:
            with self._lock:
                film.frames, film.frame_count = start.resumed_frames, start.frames

        def watch(progress: Any) -> None:
            with self._lock:
                rate = self._measure(film.workers, progress.workers)
                film.set(progress)
                self._show(rate)

        try:
            yield on_start, watch
        finally:
            with self._lock:
                self._running.remove(film)
                film.frame_count = None  # one that failed stays unfinished
                self._ended.add(film)

    def _measure(self, before: Counter[str], workers: Sequence[Any]) -> float | None:
        """Measure the speed of all workers; those of a film had written the frames `before`.

        The speeds of the films don't add up to it: a worker changes from film to film.
        """
        now, rate = monotonic(), None
        for index, worker in enumerate(workers):
            frames = worker.frames - before[worker.name]
            if frames < 0:  # a process died
                self._rate.restart(index)
            for _ in range(frames):
                rate = self._rate.add(index, now)
        return rate

    def _show(self, rate: float | None) -> None:
        whole = _Film()
        for film in (self._ended, *self._running):
            whole.add(film)
        count = len(self._running)
        self._update(
            whole.frames,
            None if any(film.frame_count is None for film in self._running) else whole.frame_count,
            films="1 film" if count == 1 else f"{count} films",
            rate=rate_text(rate),
            workers=", ".join(f"{name}: {frames}" for name, frames in whole.workers.items()),
        )


class _Film:
    """Progress of a film, or of several."""

    def __init__(self) -> None:
        self.frames = 0
        self.frame_count: int | None = 0
        self.workers: Counter[str] = Counter()
        """Frames of each worker."""

    def set(self, progress: Any) -> None:
        """Take over the progress of a film."""
        self.frames, self.frame_count = progress.frames, progress.frame_count
        self.workers = Counter({one.name: one.frames for one in progress.workers})

    def add(self, other: "_Film") -> None:
        """Add a film; of one whose length isn't known, the frames until now."""
        self.frames += other.frames
        known = other.frames if other.frame_count is None else other.frame_count
        self.frame_count = (self.frame_count or 0) + known
        self.workers.update(other.workers)


@contextmanager
def films_progress() -> Iterator[FilmsProgress]:
    """Show one progress bar for films that are upscaled at the same time."""
    columns = ["{task.fields[films]}", "{task.fields[rate]}", "{task.fields[workers]}"]
    with progress_bar(columns, films="", rate="", workers="") as update:
        yield FilmsProgress(update)


def rate_text(rate: float | None) -> str:
    """Describe a speed, if it is known."""
    return "" if rate is None else f"{rate:.1f} frames/s"


def left_text(seconds: float | None) -> str:
    """Describe the time left, if it is known."""
    return "" if seconds is None else f"{timedelta(seconds=round(seconds))} left"
