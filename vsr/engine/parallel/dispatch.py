"""Let a pool of workers upscale the pending segments of an output."""

import threading
from dataclasses import replace

from vsr.engine.parallel.pool import (
    Chain,
    ChainEnded,
    Event,
    FrameDone,
    Job,
    Pool,
    SegmentDone,
    WorkerDied,
    WorkerFailed,
    WorkerLost,
)
from vsr.engine.parallel.scan import Scanner
from vsr.engine.parallel.schedule import CHAINS_AHEAD
from vsr.engine.pipeline import StageTimes
from vsr.engine.resume.journal import Journal
from vsr.engine.resume.writers import SegmentWriters
from vsr.engine.run import FrameCounter, RunOptions
from vsr.engine.segment_run import pending_frames
from vsr.engine.session import UpscaleSession
from vsr.errors import Interrupted, MediaError, VsrError

MOST_DEATHS = 3
"""Workers that may die while they upscale the same segment."""
_WAIT_SECONDS = 0.1
"""Time after which the stop of the user and new chains are noticed."""


class ParallelRun:
    """Upscales the segments that the journal doesn't list, by a pool of workers.

    It takes the place of `SegmentRun`, and the output has the same bytes.
    """

    def __init__(
        self,
        session: UpscaleSession,
        journal: Journal,
        run_options: RunOptions,
        pool: Pool,
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
        self._stop = run_options.stop or threading.Event()
        self._idle = set(range(len(pool.names)))
        self._running: dict[int, Chain] = {}
        self._unfinished: dict[int, int] = {}
        """Frames of each worker's unfinished segment."""
        self._retries: list[Chain] = []

    def upscale_pending(self, writers: SegmentWriters) -> None:
        """Upscale and write all pending segments.

        The reader of the session reads the film ahead, to find its shots. Raises `VsrError`.
        """
        pending = self._journal.pending
        if not pending:
            return
        session = self._session
        frames = pending_frames(session, self._journal)
        if session.part is not None:
            frames.find_warm_up()
        session.backend.release()
        job = Job(
            source=session.reader.path,
            output=self._journal.output,
            suffix=session.suffix,
            options=session.given_options,
            survey=session.survey,
            identity=self._journal.identity,
            writers=writers,
            memory=self._memory,
            decoder_threads=session.decoder_threads,
            warm_up=frames.warm_up,
        )
        self._pool.open(job, self._journal.folder)
        scanner = Scanner(
            frames,
            pending=pending,
            finished=frozenset(segment.number for segment in self._journal.finished),
            damage=lambda: session.reader.damage,
            most=CHAINS_AHEAD * len(self._pool.names),
        )
        with scanner:
            try:
                self._dispatch(scanner)
            except BaseException:
                self._pool.abandon()
                for chain in self._running.values():
                    if chain.segments:
                        writers.discard(chain.segments[0].start, chain.segments[0].frames)
                raise
        if self._journal.pending:
            raise Interrupted("stopped")

    def _dispatch(self, scanner: Scanner) -> None:
        """Give chains to idle workers until all are upscaled, or the run is stopped."""
        is_stopping = False
        while True:
            if self._stop.is_set() and not is_stopping:
                is_stopping = True
                self._pool.stop()
            is_empty = scanner.is_empty  # raises its error
            if not is_stopping:
                self._submit(scanner)
            if not self._running and (is_stopping or (is_empty and not self._retries)):
                return
            if event := self._pool.next_event(_WAIT_SECONDS):
                self._handle(event)

    def _submit(self, scanner: Scanner) -> None:
        for worker in sorted(self._idle):
            chain = self._retries.pop() if self._retries else scanner.take()
            if chain is None:
                return
            self._idle.remove(worker)
            self._running[worker] = chain
            self._unfinished[worker] = 0
            start = chain.segments[0].start
            state = None if start.begins_shot else self._journal.state(start.number)
            self._pool.submit(worker, chain, state)

    def _handle(self, event: Event) -> None:
        match event:
            case FrameDone():
                self._unfinished[event.worker] += 1
                self.counter.add(event.worker)
            case SegmentDone():
                self._finish(event)
            case ChainEnded():
                del self._running[event.worker]
                self._idle.add(event.worker)
            case WorkerDied():
                self._repeat(event)
            case WorkerLost():
                self._lose(event)
            case WorkerFailed():
                raise event.error

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
        self.stages.add(event.stages)
        notes = self._session.reader.notes
        notes += [note for note in event.notes if note not in notes]

    def _repeat(self, event: WorkerDied) -> None:
        """Let another process upscale the rest of a chain whose worker died."""
        chain = self._running.pop(event.worker)
        self._idle.add(event.worker)
        self.counter.discard(event.worker, self._unfinished[event.worker])
        if not chain.segments:
            return
        name, deaths = self._pool.names[event.worker], chain.deaths + 1
        if deaths == MOST_DEATHS:
            raise VsrError(
                f"{self._session.reader.path}: {deaths} workers died at frame "
                f"{chain.segments[0].start.frame} ({event.reason}); use fewer workers, or one "
                "process"
            )
        self._options.on_message(f"{name} died ({event.reason}); its shot is upscaled again")
        self._retries.append(replace(chain, deaths=deaths))

    def _lose(self, event: WorkerLost) -> None:
        """Let another worker upscale the rest of the chain of one whose machine is lost."""
        worker, reason = event.worker, event.reason
        chain = self._running.pop(worker, None)
        self._idle.discard(worker)
        if chain is not None:
            self.counter.discard(worker, self._unfinished[worker])
            if chain.segments:
                self._retries.append(chain)
        name = self._pool.names[worker]
        if not self._idle and not self._running:
            raise VsrError(
                f"{self._session.reader.path}: all workers are lost, the last is {name} ({reason})"
            )
        self._options.on_message(f"{name} is lost ({reason}); other workers upscale its shots")
