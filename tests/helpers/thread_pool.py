"""Workers in threads of the test's own process, which spares starting processes."""

import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from vsr.engine.parallel.placement import Placement
from vsr.engine.parallel.pool import (
    Chain,
    ChainEnded,
    Event,
    FrameDone,
    Job,
    SegmentDone,
    WorkerBug,
    WorkerDied,
    WorkerFailed,
)
from vsr.engine.parallel.worker import SegmentWorker
from vsr.errors import VsrError


class _Death(Exception):
    pass


class _Worker:
    """A worker that upscales a chain."""

    def __init__(self, job: Job, folder: Path, chain: Chain, state: Path | None) -> None:
        self.job, self.folder, self.chain, self.state = job, folder, chain, state
        self.stop = threading.Event()
        self.is_abandoned = False
        self.thread: threading.Thread | None = None


class ThreadPool:
    """A `Pool` of threads. `dies` tells whether a worker dies at a frame of a chain's segment.

    `begins` is called with the number of the worker and its source, before it upscales a chain.
    """

    def __init__(
        self,
        placements: Sequence[Placement],
        dies: Callable[[Chain, int], bool] = lambda chain, frame: False,
        begins: Callable[[int, Path], None] = lambda worker, source: None,
    ) -> None:
        self.names = tuple(placement.name for placement in placements)
        self.chains: list[Chain] = []
        """All chains, in the order in which they were submitted."""
        self.sources: list[Path] = []
        """The source of each chain."""
        self._dies, self._begins = dies, begins
        self._jobs: dict[int, tuple[Job, Path]] = {}
        self._events: queue.Queue[tuple[_Worker, Event | WorkerBug]] = queue.Queue()
        self._workers: dict[int, _Worker] = {}
        self._opened = 0

    def open(self, job: Job, folder: Path) -> int:
        self._opened += 1
        self._jobs[self._opened] = job, folder
        return self._opened

    def release(self, job: int) -> None:
        del self._jobs[job]

    def submit(self, worker: int, job: int, chain: Chain, state: Path | None) -> None:
        self.chains.append(chain)
        self.sources.append(self._jobs[job][0].source)
        folder = self._jobs[job][1] / f"worker-{len(self.chains)}"
        one = self._workers[worker] = _Worker(self._jobs[job][0], folder, chain, state)
        one.thread = threading.Thread(target=self._upscale, args=(worker, one))
        one.thread.start()

    def _upscale(self, worker: int, one: _Worker) -> None:
        frames = 0

        def on_frame() -> None:
            nonlocal frames
            frames += 1
            if one.is_abandoned or self._dies(one.chain, frames):
                raise _Death
            self._events.put((one, FrameDone(worker)))

        def on_segment(**values: object) -> None:
            self._events.put((one, SegmentDone(worker, **values)))  # type: ignore[arg-type]

        last: Event | WorkerBug = ChainEnded(worker)
        try:
            self._begins(worker, one.job.source)
            one.folder.mkdir(exist_ok=True)
            with SegmentWorker(one.job, "cpu", one.folder) as segments:
                segments.upscale(
                    one.chain, one.state, stop=one.stop, on_frame=on_frame, on_segment=on_segment
                )
        except _Death:
            last = WorkerDied(worker, "killed by SIGKILL")
        except VsrError as error:
            last = WorkerFailed(worker, error)
        except Exception as error:
            last = WorkerBug(repr(error))
        self._events.put((one, last))

    def next_event(self, seconds: float) -> Event | None:
        try:
            one, event = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(event, WorkerBug):
            raise event
        return None if one.is_abandoned else event

    def stop(self, worker: int) -> None:
        self._workers[worker].stop.set()

    def abandon(self, worker: int) -> None:
        one = self._workers[worker]
        one.is_abandoned = True
        assert one.thread is not None
        one.thread.join()

    def close(self) -> None:
        for one in self._workers.values():
            assert one.thread is not None
            one.thread.join()
