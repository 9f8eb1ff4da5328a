"""Determine which frames an output should have: those of its source, of its fields, or of film."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby, pairwise
from typing import NamedTuple

from vsr.media.decode.pulldown import CYCLE, TICKS, CycleClock, has_video_rate, video_rate
from vsr.media.verify.contents import FilmContents


class ExpectedFrames(NamedTuple):
    """Times of the frames that an output should have."""

    times: list[Fraction]
    """In seconds."""
    note: str = ""
    """What was done to the fields of the source's frames, for a table; empty for nothing."""


def expected_frames(
    before: FilmContents, after: FilmContents, tolerance: Fraction
) -> ExpectedFrames:
    """Choose the expectation that fits the count of an output's frames.

    Twice as many frames are those of `--deinterlace double`. Fewer frames are those of
    `--inverse-telecine` if the times of each cycle are as it spaces them; then the output may keep
    all frames of other cycles.
    """
    plain, found = before.seconds(), after.seconds()
    if len(found) == 2 * len(plain) > 0:
        return ExpectedFrames(list(_fields(plain, found, tolerance)), ", 2 fields each")
    if len(found) < len(plain) and has_video_rate(before.info.frame_rate):
        film = list(_film(before, found, tolerance))
        if len(film) == len(found):
            return ExpectedFrames(film, " with pulldown")
    return ExpectedFrames(plain)


def _fields(
    times: Sequence[Fraction], found: Sequence[Fraction], tolerance: Fraction
) -> Iterator[Fraction]:
    """Iterate over the times of fields; a second field may be earlier than half-way to the next."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    gaps.append(gaps[-1] if gaps else Fraction(1))
    for time, gap, second in zip(times, gaps, found[1::2], strict=True):
        yield time
        yield second if time < second <= time + gap / 2 + tolerance else time + gap / 2


def _film(
    before: FilmContents, found: Sequence[Fraction], tolerance: Fraction
) -> Iterator[Fraction]:
    """Iterate over the times of film frames, or of all frames in cycles without pulldown."""
    info, times = before.info, before.times
    clock = CycleClock(times[0], video_rate(info.frame_rate, ""), info.time_base)
    cycles = [list(cycle) for _, cycle in groupby(times, clock.cycle_of)]
    done = 0
    for index, cycle in enumerate(cycles):
        following = cycles[index + 1][0] if index + 1 < len(cycles) else None
        count = CYCLE - 1
        if following is None and len(cycle) < CYCLE:
            count = len(found) - done
        film = [
            time * info.time_base / TICKS
            for time in clock.film_times(cycle[0], following, max(count, 0))
        ]
        actual = found[done : done + count]
        is_film = len(actual) == count and all(
            abs(one - other) <= tolerance for one, other in zip(film, actual, strict=True)
        )
        is_possible = count in (len(cycle), len(cycle) - 1)
        chosen = film if is_film and is_possible else [time * info.time_base for time in cycle]
        done += len(chosen)
        yield from chosen
