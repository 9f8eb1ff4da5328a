"""Plan how the shots of a film spread over workers."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, dropwhile
from typing import NamedTuple

from vsr.engine.parallel.scan import find_chains
from vsr.engine.parallel.schedule import schedule
from vsr.engine.resume.journal import FIRST_SEGMENT
from vsr.engine.resume.segments import SegmentFrame, mark_segments
from vsr.engine.segment_run import Span
from vsr.engine.session import UpscaleSession
from vsr.media.decode.part import PartRange
from vsr.media.frame import Frame


@dataclass(frozen=True)
class ShotPlan:
    """How the shots of a film, or of its part to upscale, spread over several workers."""

    shots: int
    """Count of shots."""
    longest_frames: int
    """Frames of the longest shot, which one worker upscales."""
    longest_share: float
    """Share of all frames that are in the longest shot."""
    busy_workers: float
    """Workers that upscale at the same time, on average."""
    chains: int
    """Independent pieces: shots, of which consecutive short ones are upscaled together."""
    frames_read: int
    """Frames that were read to find the shots."""
    are_counted: bool
    """Whether all frames were read; otherwise the rest is assumed to have the same shot lengths."""


class FoundShots(NamedTuple):
    """Shots from the start of a film or of a part, in film order.

    The last shot and the last chain may continue after what was read.
    """

    shots: tuple[int, ...]
    """Frames of each shot."""
    chains: tuple[int, ...]
    """Frames of each chain."""
    is_complete: bool
    """Whether all frames were read."""
    frames_per_second: float
    """Speed of reading."""

    @property
    def frames(self) -> int:
        """Frames that were read."""
        return sum(self.chains)


def find_shots(
    session: UpscaleSession, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> FoundShots:
    """Read the frames to upscale as the driver of a run does, for so many seconds at most.

    Frames before a part are read, too, if they can't be skipped by seeking. Moves the session's
    reader. Raises `MediaError`.
    """
    deadline = clock() + seconds
    is_complete = True
    shots: list[int] = []

    def until_deadline(frames: Iterator[Frame]) -> Iterator[Frame]:
        nonlocal is_complete
        for frame in frames:
            if clock() > deadline:
                is_complete = False
                return
            yield frame

    def count_shots(items: Iterator[SegmentFrame]) -> Iterator[SegmentFrame]:
        for item in items:
            if item.begins_shot or not shots:
                shots.append(0)
            shots[-1] += 1
            yield item

    frames = _skip_to_part(session, until_deadline(_sought_frames(session)))
    started = clock()
    first = next(frames, None)
    if first is None:
        return FoundShots((), (), is_complete, 0.0)
    part = None if session.part is None else PartRange(session.part, first.pts)
    items = mark_segments(chain([first], frames), FIRST_SEGMENT, part=part)
    span = Span(count_shots(items), lambda number: False)
    chains = tuple(found.frames for found in find_chains(span, session.reader.damage))
    rate = sum(chains) / max(clock() - started, 1e-9)
    return FoundShots(tuple(shots), chains, is_complete, rate)


def _sought_frames(session: UpscaleSession) -> Iterator[Frame]:
    """Read from a keyframe before the session's part, if it can be sought."""
    if session.found_part is not None:
        session.reader.seek_before(session.found_part.pts[0])
    return session.reader.frames()


def _skip_to_part(session: UpscaleSession, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Skip the frames before the session's part."""
    found, part = session.found_part, session.part
    if found is not None:
        return dropwhile(lambda frame: frame.pts < found.pts[0], frames)
    if part is None:
        return frames
    started = dropwhile(
        lambda numbered: not part.has_started(numbered[1].pts, numbered[0]), enumerate(frames)
    )
    return (frame for _, frame in started)


def plan_shots(
    found: FoundShots, frames: int | None, rates: Sequence[float]
) -> tuple[ShotPlan, float]:
    """Plan `found` shots on workers of so many frames per second.

    Returns the plan, and the mean frames per second of all workers together. `frames` is the count
    of all frames. If only some were read, the rest is assumed to have the same shot lengths;
    without a cut, all frames are assumed to be one shot. Without the count, the plan is for what
    was read.
    """
    chains = extrapolate(found, frames)
    total = sum(chains)
    shots, longest = len(found.shots), max(found.shots)
    if not found.is_complete and shots == 1:
        longest = total
    elif not found.is_complete:
        shots = round(shots * total / found.frames)
    tasks = schedule(chains, rates, scan_rate=found.frames_per_second)
    seconds = max(task.end for task in tasks)
    busy = sum(task.end - task.start for task in tasks)
    plan = ShotPlan(
        shots=shots,
        longest_frames=longest,
        longest_share=longest / total,
        busy_workers=busy / seconds,
        chains=len(chains),
        frames_read=found.frames,
        are_counted=found.is_complete,
    )
    return plan, total / seconds


def extrapolate(found: FoundShots, frames: int | None) -> list[int]:
    """Return the frames of each chain of a film of `frames`, of which some chains were read."""
    chains = list(found.chains)
    if found.is_complete or frames is None:
        return chains
    if len(found.shots) == 1:
        return [max(frames, found.frames)]
    if len(chains) > 1 and chains[-1] <= max(chains[:-1]):
        chains.pop()  # its end is unknown
    lengths = cycle(tuple(chains))
    while (rest := frames - sum(chains)) > 0:
        chains.append(min(next(lengths), rest))
    return chains
