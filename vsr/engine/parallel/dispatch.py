"""Let the workers of a pool upscale the pending segments of an output."""

import threading
from dataclasses import replace
from pathlib import Path

from vsr.engine.parallel.pool import (
    Chain,
    ChainEnded,
    Event,
    FilmUnavailable,
    FrameDone,
    Job,
    SegmentDone,
    WorkerDied,
    WorkerFailed,
    WorkerLost,
)
from vsr.engine.parallel.scan import Scanner
from vsr.engine.parallel.schedule import CHAINS_AHEAD
from vsr.engine.parallel.sharing import SharedPool
from vsr.engine.pipeline import StageTimes
from vsr.engine.resume.journal import Journal
from vsr.engine.resume.writers import SegmentWriters
from vsr.engine.run import FrameCounter, RunOptions
from vsr.engine.segment_run import pending_frames
from vsr.engine.session import UpscaleSession
from vsr.errors import Interrupted, MediaError, VsrError

MOST_DEATHS = 3
"""Workers that may die while they upscale the same segment."""


class ParallelRun:
    """Upscales the segments that the journal doesn't list, by workers that other films use too.

    It takes the place of `SegmentRun`, and the output has the same bytes.
    """

    def __init__(
        self,
        session: UpscaleSession,
        journal: Journal,
        run_options: RunOptions,
        pool: SharedPool,
        memory: int,
    ) -> None:
        """Tiles are chosen for devices of `memory` bytes."""
        self.stages = StageTimes()
        self.counter = FrameCounter(
            session,
            run_options.on_progress,
            self.stages,
            before=journal.frames,
            workers=pool.names,
        )
        self._session, self._journal, self._options = session, journal, run_options
        self._pool, self._memory = pool, memory

    def upscale_pending(self, writers: SegmentWriters) -> None:
        """Upscale and write all pending segments.

        The reader of the session reads the film ahead, to find its shots. Raises `VsrError`.
        """
        journal, session = self._journal, self._session
        pending = journal.pending
        if not pending:
            return
        frames = pending_frames(session, journal)
        if session.part is not None:
            frames.find_warm_up()
        session.backend.release()
        job = Job(
            source=session.reader.path,
            output=journal.output,
            suffix=session.suffix,
            options=session.given_options,
            survey=session.survey,
            identity=journal.identity,
            writers=writers,
            memory=self._memory,
            decoder_threads=session.decoder_threads,
            warm_up=frames.warm_up,
        )
        scanner = Scanner(
            frames,
            pending=pending,
            finished=frozenset(segment.number for segment in journal.finished),
            damage=lambda: session.reader.damage,
            most=CHAINS_AHEAD * len(self._pool.names),
            plenty=len(self._pool.names),
        )
        chains = _Chains(
            job,
            scanner,
            session=session,
            journal=journal,
            run_options=self._options,
            names=self._pool.names,
            counter=self.counter,
            stages=self.stages,
        )
        with scanner:
            try:
                self._pool.upscale(chains)
            finally:
                chains.discard_unfinished()
        if journal.pending:
            raise Interrupted("stopped")


class _Chains:
    """The chains of a run, and what happens to them; see `sharing.Run`."""

    def __init__(
        self,
        job: Job,
        scanner: Scanner,
        *,
        session: UpscaleSession,
        journal: Journal,
        run_options: RunOptions,
        names: tuple[str, ...],
        counter: FrameCounter,
        stages: StageTimes,
    ) -> None:
        self.job = job
        self.folder = journal.folder
        self._scanner, self._names = scanner, names
        self._session, self._journal, self._options = session, journal, run_options
        self._counter, self._stages = counter, stages
        self._stop = run_options.stop or threading.Event()
        self._running: dict[int, Chain] = {}
        self._unfinished: dict[int, int] = {}
        """Frames of each worker's unfinished segment."""
        self._retries: list[Chain] = []

    @property
    def is_stopped(self) -> bool:
        """Whether the user has stopped the run."""
        return self._stop.is_set()

    @property
    def is_complete(self) -> bool:
        """Whether all chains were taken, and none will follow. Raises the error of the scan."""
        return self._scanner.is_empty and not self._retries

    @property
    def has_chain(self) -> bool:
        """Whether a chain can be taken."""
        return bool(self._retries) or self._scanner.has_chain

    @property
    def is_ahead(self) -> bool:
        """Whether chains can be taken for a while, or the last ones."""
        return bool(self._retries) or self._scanner.is_ahead

    def take(self, worker: int) -> tuple[Chain, Path | None]:
        """Take a chain for a worker, and the file of the state at its start."""
        chain = self._retries.pop() if self._retries else self._scanner.take()
        self._running[worker] = chain
        self._unfinished[worker] = 0
        start = chain.segments[0].start
        return chain, None if start.begins_shot else self._journal.state(start.number)

    def discard_unfinished(self) -> None:
        """Remove what workers that were killed have written of unfinished segments."""
        died = [chain for chain in self._retries if chain.deaths]
        for chain in (*self._running.values(), *died):
            if chain.segments:
                segment = chain.segments[0]
                self.job.writers.discard(segment.start, segment.frames)

    def handle(self, event: Event) -> None:
        """Handle an event of a worker that upscales a chain of this run."""
        match event:
            case FrameDone():
                self._unfinished[event.worker] += 1
                self._counter.add(event.worker)
            case SegmentDone():
                self._finish(event)
            case ChainEnded():
                chain = self._running.pop(event.worker)
                if chain.segments and not self.is_stopped:  # a stop of another run came late
                    self._retries.append(chain)
            case WorkerDied():
                self._repeat(event)
            case WorkerLost():
                self._lose(event, "is lost")
            case FilmUnavailable():
                self._lose(event, "can't have the film")
            case WorkerFailed():
                del self._running[event.worker]  # it has removed its files itself
                raise event.error

    def leave(self, worker: int) -> None:
        """Note that a worker takes a chain of another film: this one's speed is without it."""
        self._counter.leave(worker)

    def _finish(self, event: SegmentDone) -> None:
        """Record a segment, unless its worker read other frames than this process."""
        chain = self._running[event.worker]
        planned, segment = chain.segments[0], event.segment
        rest = chain.segments[1:]
        following = rest[0].start if rest else chain.following
        found = (segment.number, segment.frames, segment.following)
        if found != (planned.start.number, planned.frames, following):
            raise MediaError(
                f"{self._session.reader.path}: a worker read other frames than this process; has "
                "the file changed? Upscale it by one process, without --workers"
            )
        finished = segment._replace(damaged=planned.damaged)
        self._journal.take(finished, event.video, event.file, event.state)
        self._running[event.worker] = replace(chain, segments=rest, deaths=0)
        self._unfinished[event.worker] = 0
        self._stages.add(event.stages)
        notes = self._session.reader.notes
        notes += [note for note in event.notes if note not in notes]

    def _repeat(self, event: WorkerDied) -> None:
        """Let another process upscale the rest of a chain whose worker died."""
        chain = self._running.pop(event.worker)
        self._counter.discard(event.worker, self._unfinished[event.worker])
        if not chain.segments:
            return
        name, deaths = self._names[event.worker], chain.deaths + 1
        if deaths == MOST_DEATHS:
            raise VsrError(
                f"{self._session.reader.path}: {deaths} workers died at frame "
                f"{chain.segments[0].start.frame} ({event.reason}); use fewer workers, or one "
                "process"
            )
        self._options.on_message(f"{name} died ({event.reason}); its shot is upscaled again")
        self._retries.append(replace(chain, deaths=deaths))

    def _lose(self, event: WorkerLost | FilmUnavailable, what: str) -> None:
        """Let another worker upscale the rest of the chain of one that can't upscale the film."""
        worker, reason = event.worker, event.reason
        chain = self._running.pop(worker, None)
        if chain is not None:
            self._counter.discard(worker, self._unfinished[worker])
            if chain.segments:
                self._retries.append(chain)
        name = self._names[worker]
        self._options.on_message(f"{name} {what} ({reason}); other workers upscale its shots")
