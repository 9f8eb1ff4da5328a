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
    WorkerDied,
    WorkerFailed,
)
from vsr.engine.parallel.worker import SegmentWorker
from vsr.errors import VsrError


class _Death(Exception):
    pass


class ThreadPool:
    """A `Pool` of threads. `dies` tells whether a worker dies at a frame of a chain's segment."""

    def __init__(
        self,
        placements: Sequence[Placement],
        dies: Callable[[Chain, int], bool] = lambda chain, frame: False,
    ) -> None:
        self.names = tuple(placement.name for placement in placements)
        self.chains: list[Chain] = []
        """All chains, in the order in which they were submitted."""
        self._dies = dies
        self._events: queue.Queue[Event | BaseException] = queue.Queue()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def open(self, job: Job, folder: Path) -> None:
        self._job, self._folder = job, folder

    def submit(self, worker: int, chain: Chain, state: Path | None) -> None:
        self.chains.append(chain)
        thread = threading.Thread(target=self._upscale, args=(worker, chain, state))
        self._threads.append(thread)
        thread.start()

    def _upscale(self, worker: int, chain: Chain, state: Path | None) -> None:
        folder = self._folder / f"worker-{len(self._threads)}"
        folder.mkdir(exist_ok=True)
        frames = 0

        def on_frame() -> None:
            nonlocal frames
            frames += 1
            if self._dies(chain, frames):
                raise _Death
            self._events.put(FrameDone(worker))

        try:
            with SegmentWorker(self._job, "cpu", folder) as segments:
                segments.upscale(
                    chain,
                    state,
                    stop=self._stop,
                    on_frame=on_frame,
                    on_segment=lambda **values: self._events.put(SegmentDone(worker, **values)),
                )
            self._events.put(ChainEnded(worker))
        except _Death:
            self._events.put(WorkerDied(worker, "killed by SIGKILL"))
        except VsrError as error:
            self._events.put(WorkerFailed(worker, error))
        except BaseException as error:
            self._events.put(error)

    def next_event(self, seconds: float) -> Event | None:
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(event, BaseException):
            raise event
        return event

    def stop(self) -> None:
        self._stop.set()

    def abandon(self) -> None:
        self.stop()
        self.close()

    def close(self) -> None:
        for thread in self._threads:
            thread.join()
