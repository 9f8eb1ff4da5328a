"""What a pool of workers does, wherever the workers are: tasks, events, and the interface.

The unit of work is a chain: consecutive segments, of which only the first one starts at a cut.
Chains are independent of each other. Within a chain, each segment needs the state of the network
at the end of the one before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from vsr.engine.pipeline import StageTimes
from vsr.engine.resume.journal import FinishedSegment, SegmentStart
from vsr.engine.resume.writers import SegmentWriters
from vsr.engine.upscale_options import UpscaleOptions
from vsr.engine.warm_up import WarmUp
from vsr.errors import VsrError
from vsr.media.decode.survey import Survey
from vsr.media.encode.encoder import CodedVideo


@dataclass(frozen=True)
class Job:
    """All that a worker needs to upscale chains of one output. It can be pickled."""

    source: Path
    output: Path
    """The output, which errors name."""
    suffix: str
    """Suffix of the output, in lower case."""
    options: UpscaleOptions
    """Options of the run; a pool replaces `device` by that of each worker."""
    survey: Survey
    identity: Mapping[str, Any]
    """Identity in the journal. A worker whose session has another one refuses to work."""
    writers: SegmentWriters
    """Opens the files of segments, with the encoder threads of the driver."""
    memory: int
    """Bytes of device memory by which the tiles are chosen, the same for all workers."""
    decoder_threads: int
    """Threads of the driver's decoder, on which damaged frames depend."""
    warm_up: WarmUp | None = None
    """Start of the part to upscale, if there is one."""


class PlannedSegment(NamedTuple):
    """A segment as the driver read it, before it is upscaled."""

    start: SegmentStart
    frames: int
    damaged: tuple[int, ...]
    """pts of its frames that are damaged in the source."""


@dataclass(frozen=True)
class Chain:
    """Consecutive segments to upscale in one worker, one after another."""

    segments: tuple[PlannedSegment, ...]
    following: SegmentStart | None
    """Start of the segment after the chain; None at the end of the film."""
    deaths: int = 0
    """Workers that died while they upscaled the first of the segments."""

    @property
    def number(self) -> int:
        """Number of the chain's first segment."""
        return self.segments[0].start.number

    @property
    def frames(self) -> int:
        """Frames to upscale."""
        return sum(segment.frames for segment in self.segments)


@dataclass(frozen=True)
class FrameDone:
    """A worker has written a frame."""

    worker: int


@dataclass(frozen=True)
class SegmentDone:
    """A worker has finished a segment, whose files are on disk."""

    worker: int
    segment: FinishedSegment
    video: CodedVideo
    file: Path
    """The segment's file, where the driver can move it into the journal."""
    state: Path | None
    """State at the start of the following segment, if it is in mid-shot."""
    stages: StageTimes
    """Times of the stages since the previous event of this type."""
    notes: tuple[str, ...] = ()
    """All lines so far on how the worker's frames were computed, see `Backend.notes`."""


@dataclass(frozen=True)
class ChainEnded:
    """A worker has finished its chain, or stopped after a segment. It can take another chain."""

    worker: int


@dataclass(frozen=True)
class WorkerDied:
    """The process of a worker ended in mid-chain; a new one takes its place."""

    worker: int
    reason: str
    """Such as "killed by SIGKILL"."""


@dataclass(frozen=True)
class WorkerLost:
    """A worker has ended, and no other one takes its place, since its machine can't be used."""

    worker: int
    reason: str


@dataclass(frozen=True)
class FilmUnavailable:
    """A worker has ended its chain, since its machine can't read or store the film.

    It can take chains of other films.
    """

    worker: int
    reason: str


@dataclass(frozen=True)
class WorkerFailed:
    """A worker can't upscale a chain; it has ended it, or must be abandoned."""

    worker: int
    error: VsrError


Event = (
    FrameDone | SegmentDone | ChainEnded | WorkerDied | WorkerLost | FilmUnavailable | WorkerFailed
)


class WorkerBug(RuntimeError):
    """An error in a worker that isn't a `VsrError`; its text has the worker's traceback."""


class Pool(Protocol):
    """Workers that upscale chains of several jobs, one chain at a time each.

    Only one thread uses a pool. Workers are numbered from 0, and keep the number when they are
    replaced.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the workers, for reports; one for each number."""

    def open(self, job: Job, folder: Path) -> int:
        """Add a job, and return its number.

        Workers may write unfinished files into subfolders `worker-*` of `folder`, the journal's.
        Raises `VsrError`.
        """

    def release(self, job: int) -> None:
        """Remove a job, of which no worker upscales a chain."""

    def submit(self, worker: int, job: int, chain: Chain, state: Path | None) -> None:
        """Let an idle worker upscale a chain of a job.

        `state` is the file of the state at its start, if that is in mid-shot; it stays until the
        first segment is finished.
        """

    def next_event(self, seconds: float) -> Event | None:
        """Wait for the next event; None if there is none within `seconds`.

        Raises `WorkerBug`.
        """

    def stop(self, worker: int) -> None:
        """Let a worker end its chain after the current segment."""

    def abandon(self, worker: int) -> None:
        """End the chain of a worker, if it has one, at once and without further events."""

    def close(self) -> None:
        """End all workers."""
