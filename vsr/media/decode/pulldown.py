"""Cycles of 3:2 pulldown: five frames of video for four frames of film."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vsr.errors import MediaError
from vsr.media.frame import StreamInfo

CYCLE = 5
"""Frames of a cycle."""
TICKS = 4
"""Output ticks in a tick of the stream, so that four film frames divide a cycle exactly."""
_RATES = (Fraction(30000, 1001), Fraction(30))
_SLOWEST, _FASTEST = Fraction(51, 2), Fraction(61, 2)
"""Average frames per second, within which film with variable rate may have pulldown."""
_TOLERANCE = Fraction(1, 4)
"""Of an interval, by which a frame's time may deviate in a cycle."""
_MIN_SOFT, _MIN_ALTERNATING = 8, 0.9
"""Intervals between the frames of soft telecine, and the share of them that alternates."""
_BLOCK = 16
"""Side of the blocks in which frames are compared; a rest at the edges is not."""
_REPEAT, _DISTINCT = 0.3, 0.6
"""A cycle's smallest difference is that of a repeat up to the first share of the median difference,
or, as long as it may be noise, up to the second; above the second, frames are distinct."""
_NOISE, _MOTION = 4.0, 8.0
"""Differences up to which there may be noise, and above which there is motion, in 8-bit code
values."""


def has_video_rate(frame_rate: Fraction) -> bool:
    """Whether film of an average frame rate may have 3:2 pulldown."""
    return _SLOWEST <= frame_rate <= _FASTEST


def video_rate(frame_rate: Fraction, name: str) -> Fraction:
    """Return the frame rate of telecined video nearest to an average.

    Raises `MediaError`, with the file's name, where no 3:2 pulldown has such a rate.
    """
    if not has_video_rate(frame_rate):
        raise MediaError(
            f"{name}: has {float(frame_rate):.5g} frames per second; --inverse-telecine is for "
            "film at 29.97 or 30 frames per second, omit it"
        )
    return min(_RATES, key=lambda rate: abs(rate - frame_rate))


def is_soft_telecine(times: Sequence[Fraction]) -> bool:
    """Whether the times of frames, in seconds, are two and three fields apart in turn."""
    fields = [2 * _RATES[0] * (later - earlier) for earlier, later in pairwise(times)]
    pairs = [(round(one), round(other)) for one, other in pairwise(fields)]
    alternating = sum(pair in ((2, 3), (3, 2)) for pair in pairs)
    is_exact = all(abs(field - round(field)) <= _TOLERANCE for field in fields)
    return len(fields) >= _MIN_SOFT and is_exact and alternating >= _MIN_ALTERNATING * len(pairs)


def film_info(info: StreamInfo, frames: Fraction) -> StreamInfo:
    """Describe film with soft telecine by the rate of its frames, where a higher one is stated.

    `frames` is `FieldMode.frames`.
    """
    rate, stated = _RATES[0] * Fraction(CYCLE - 1, CYCLE), info.frame_rate / frames
    if stated < _SLOWEST:
        return info
    count = info.frame_count
    return replace(
        info,
        frame_rate=rate * frames,
        frame_count=None if count is None else round(count * rate / stated),
    )


class CycleClock:
    """Assigns frames to cycles by their time alone, in ticks of the stream."""

    def __init__(self, origin: int, rate: Fraction, time_base: Fraction) -> None:
        """`origin` is the time of the film's first frame, which starts a cycle."""
        self._origin = origin
        self.interval = 1 / (rate * time_base)
        """Ticks between two frames."""

    def cycle_of(self, pts: int) -> int:
        """Return the index of the cycle that a frame belongs to."""
        return round((pts - self._origin) / self.interval) // CYCLE

    def is_regular(self, times: Sequence[int]) -> bool:
        """Whether frames follow each other at the rate of the video."""
        slack = _TOLERANCE * self.interval
        gaps = (later - earlier for earlier, later in pairwise(times))
        return all(abs(gap - self.interval) <= slack for gap in gaps)

    def film_times(self, first: int, following: int | None, count: int) -> list[int]:
        """Return the times of the film's frames in a cycle, in output ticks.

        `first` is the time of the cycle's first frame, and `following` that of the next cycle.
        """
        step = round(CYCLE * self.interval) if following is None else following - first
        return [TICKS * first + index * step for index in range(count)]


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8] | None) -> float:
    """Mean difference of two luma planes in the block where it is largest; infinite without one."""
    if other is None or one.shape != other.shape:
        return float("inf")
    down, across = (min(_BLOCK, length) for length in one.shape)
    height, width = (length - length % _BLOCK or length for length in one.shape)
    step = (np.maximum(one, other) - np.minimum(one, other))[:height, :width]
    rows = step.reshape(-1, down, width).sum(axis=1, dtype=np.uint16)
    blocks = rows.reshape(len(rows), -1, across).sum(axis=2, dtype=np.uint32)
    return float(blocks.max() / (down * across))


def repeated_frame(differences: Sequence[float], is_film: bool) -> int | None:
    """Return which frame of a cycle repeats its predecessor; None if all are distinct.

    `differences` are those of each frame from its predecessor. `is_film` decides where they don't:
    whether the cycle before had a repeat.
    """
    smallest = int(np.argmin(differences))
    found, typical = differences[smallest], float(np.median(differences))
    if found <= (_DISTINCT if found <= _NOISE else _REPEAT) * typical:
        return smallest
    if found > _MOTION or (found > _NOISE and found >= _DISTINCT * typical):
        return None
    return smallest if is_film else None
