"""Workers in processes of this machine."""

import os
import queue
import shutil
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

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
from vsr.engine.parallel.processes import (
    SPAWN,
    bug,
    ending,
    ignore_interrupts,
    kill_process,
    start_process,
)
from vsr.engine.parallel.worker import SegmentWorker
from vsr.errors import VsrError
from vsr.system.files import write_failure


class LocalPool:
    """Worker processes, each on its share of the machine; see `Pool`.

    A process is started with its first chain, and stays for the next ones with all that it loaded.
    """

    def __init__(self, placements: Sequence[Placement]) -> None:
        self._placements = placements
        self._processes: list[_Process | None] = [None] * len(placements)
        self._events: deque[Event] = deque()
        self._jobs: dict[int, tuple[Job, Path]] = {}
        """Each job, and the folder of its journal."""
        self._opened = 0

    def __enter__(self) -> "LocalPool":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the workers."""
        return tuple(placement.name for placement in self._placements)

    @property
    def pids(self) -> list[int]:
        """Identifiers of the processes."""
        return [process.pid for process in self._processes if process is not None]

    def open(self, job: Job, folder: Path) -> int:
        """Add a job, and return its number; see `Pool.open`."""
        self._opened += 1
        self._jobs[self._opened] = job, folder
        return self._opened

    def release(self, job: int) -> None:
        """Remove a job, of which no worker upscales a chain, and its workers' files."""
        _, folder = self._jobs.pop(job)
        for path in folder.glob("worker-*"):
            shutil.rmtree(path, ignore_errors=True)

    def submit(self, worker: int, job: int, chain: Chain, state: Path | None) -> None:
        """Let an idle worker upscale a chain; see `Pool.submit`."""
        process = self._processes[worker]
        if process is not None and not process.is_alive():
            process.kill()
            process = None
        if process is None:
            process = _Process(worker, self._placements[worker])
            self._processes[worker] = process
        if job != process.job:
            process.set_job(job, *self._jobs[job])
        process.submit(chain, state)

    def next_event(self, seconds: float) -> Event | None:
        """Wait for the next event; see `Pool.next_event`."""
        if not self._events:
            self._receive(seconds)
        return self._events.popleft() if self._events else None

    def stop(self, worker: int) -> None:
        """Let a worker end its chain after the current segment."""
        if (process := self._processes[worker]) is not None:
            process.send(("stop",))

    def abandon(self, worker: int) -> None:
        """Kill a worker that is busy, and remove its files."""
        process = self._processes[worker]
        if process is not None and process.is_busy:
            process.kill()
            self._processes[worker] = None
        self._events = deque(event for event in self._events if event.worker != worker)

    def close(self) -> None:
        """Kill all workers."""
        for process in self._processes:
            if process is not None:
                process.kill()
        self._processes = [None] * len(self._placements)

    def _receive(self, seconds: float) -> None:
        """Receive an event of each process that has one."""
        connections = {
            process.connection: process for process in self._processes if process is not None
        }
        for ready in wait(list(connections), seconds):
            process = connections[ready]  # type: ignore[index]
            try:
                event = process.receive()
            except (EOFError, OSError):
                self._note_death(process)
                continue
            if isinstance(event, WorkerBug):
                raise event
            self._events.append(event)

    def _note_death(self, process: "_Process") -> None:
        """Note the death of a process; the next chain of the worker starts another one."""
        was_busy = process.is_busy
        process.kill()
        self._processes[process.worker] = None
        if was_busy:
            self._events.append(WorkerDied(process.worker, process.ending()))


class _Process:
    """A process that upscales chains, one after another."""

    def __init__(self, worker: int, placement: Placement) -> None:
        self.worker = worker
        self.connection, other = SPAWN.Pipe()
        self._process = SPAWN.Process(
            target=_serve, args=(other, worker, placement), name=f"vsr-{placement.name}"
        )
        self._process.daemon = True
        start_process(self._process)
        other.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.is_busy = False
        self.job = 0
        """Number of its last job; 0 before the first."""
        self._folder: Path | None = None

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def set_job(self, number: int, job: Job, folder: Path) -> None:
        """Set the job of the next chains."""
        self.job, self._folder = number, folder / f"worker-{self.pid}"
        self.send(("job", job, self._folder))

    def submit(self, chain: Chain, state: Path | None) -> None:
        """Let the process upscale a chain."""
        self.is_busy = True
        self.send(("chain", chain, state))

    def send(self, message: tuple[Any, ...]) -> None:
        """Send a message; the end of a dead process is noticed by `receive`."""
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Any:
        """Receive an event; raises EOFError or OSError where the process has ended."""
        event = self.connection.recv()
        if isinstance(event, ChainEnded | WorkerFailed):
            self.is_busy = False
        return event

    def kill(self) -> None:
        """End the process, wait until it has ended, and remove its unfinished files."""
        kill_process(self._process)
        self.connection.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def ending(self) -> str:
        """Describe how the process ended."""
        return ending(self._process)


class _Server:
    """Upscales the chains that arrive in a process."""

    def __init__(self, connection: Connection, worker: int, device: str) -> None:
        self._connection, self._worker, self._device = connection, worker, device
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._chains: queue.SimpleQueue[tuple[Job, Path, Chain, Path | None]] = queue.SimpleQueue()
        self._job: Job | None = None
        self._segments: SegmentWorker | None = None

    def receive(self) -> None:
        """Receive messages until the driver closes the connection or ends; ends the process."""
        job: Job | None = None
        folder = Path()
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)
            match message:
                case "job", job, folder:
                    pass
                case "chain", chain, state:
                    assert job is not None
                    self._stop.clear()
                    self._chains.put((job, folder, chain, state))
                case _:
                    self._stop.set()

    def run(self) -> None:
        """Upscale chains until the process ends."""
        while True:
            job, folder, chain, state = self._chains.get()
            try:
                self._upscale(job, folder, chain, state)
                event: Any = ChainEnded(self._worker)
            except VsrError as error:
                event = WorkerFailed(self._worker, error)
            except Exception as error:
                event = bug(error)
            self._send(event)

    def _upscale(self, job: Job, folder: Path, chain: Chain, state: Path | None) -> None:
        if job is not self._job:
            if self._segments is not None:
                self._segments.close()
            self._job = self._segments = None
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                raise write_failure(job.output, error) from error
            self._segments = SegmentWorker(job, self._device, folder)
            self._job = job
        assert self._segments is not None
        self._segments.upscale(
            chain,
            state,
            stop=self._stop,
            on_frame=lambda: self._send(FrameDone(self._worker)),
            on_segment=lambda **values: self._send(SegmentDone(self._worker, **values)),
        )

    def _send(self, event: Any) -> None:
        with self._lock, suppress(OSError):
            self._connection.send(event)


def _serve(connection: Connection, worker: int, placement: Placement) -> None:
    """Run a worker until the driver closes the connection or ends, even if that was killed."""
    ignore_interrupts()
    placement.apply()
    server = _Server(connection, worker, placement.device)
    threading.Thread(target=server.receive, daemon=True).start()
    server.run()
