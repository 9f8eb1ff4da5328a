"""Measure the speed of a run while it runs."""

from collections import deque
from typing import NamedTuple

_WINDOW_SECONDS = 30.0
_WINDOW_FRAMES = 8
"""The window is longer than its seconds where these are fewer frames."""
_START_SECONDS = 1.0
"""Least time from a worker's first frame until its speed counts."""
_RUN_START_SECONDS = 2.0
"""Least time from the first frame of all until there is a speed: workers don't start at once."""
_LATE_FRAMES = 2
"""Frames that a worker may be late before the time since its last frame counts."""
_REFRESH_SECONDS = 0.25


class _Sample(NamedTuple):
    time: float
    frames: int
    """Frames of the worker until then."""


class FrameRate:
    """Speed of one or several workers: the sum of theirs, each over the last half minute.

    A worker's time starts with its first frame: what it does before is done once.
    """

    def __init__(self) -> None:
        self._workers: dict[int, deque[_Sample]] = {}
        self._first: float | None = None
        self._computed = float("-inf")
        self._rate: float | None = None

    def add(self, worker: int, now: float) -> float | None:
        """Count a frame that a worker finished at the time `now`, in seconds.

        Returns the frames per second; None until they are known.
        """
        if self._first is None:
            self._first = now
        samples = self._workers.setdefault(worker, deque())
        samples.append(_Sample(now, samples[-1].frames + 1 if samples else 1))
        if now - self._computed >= _REFRESH_SECONDS:
            self._computed, self._rate = now, self._compute(now)
        return self._rate

    def restart(self, worker: int) -> None:
        """Discard a worker's frames: its time starts again with its next frame."""
        self._workers.pop(worker, None)

    def _compute(self, now: float) -> float | None:
        assert self._first is not None
        if now - self._first < _RUN_START_SECONDS:
            return None
        return sum(_speed(samples, now) for samples in self._workers.values()) or None


def _speed(samples: deque[_Sample], now: float) -> float:
    """Compute frames per second, and discard the samples before the window."""
    frames = samples[-1].frames
    while (
        len(samples) > 1
        and samples[1].time <= now - _WINDOW_SECONDS
        and frames - samples[1].frames >= _WINDOW_FRAMES
    ):
        samples.popleft()
    count, seconds = frames - samples[0].frames, samples[-1].time - samples[0].time
    if seconds < _START_SECONDS:
        return 0.0
    waits = now - samples[-1].time > _LATE_FRAMES * seconds / count
    return count / (now - samples[0].time if waits else seconds)
