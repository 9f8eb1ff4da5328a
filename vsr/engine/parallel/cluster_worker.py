"""A worker on a machine of a cluster: upscales chains, and returns segments as bytes.

Nothing here depends on Ray: `ray_cluster` creates actors of `ClusterWorker`.
"""

import hashlib
import os
import queue
import re
import shutil
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import psutil

from vsr.engine.parallel.film_copy import FilmReceiver, find_copy, has_film, remove_copy
from vsr.engine.parallel.machines import Machine, this_machine, writing
from vsr.engine.parallel.placement import Placement
from vsr.engine.parallel.pool import (
    Chain,
    ChainEnded,
    Event,
    FrameDone,
    Job,
    SegmentDone,
    WorkerBug,
    WorkerFailed,
)
from vsr.engine.parallel.worker import SegmentWorker
from vsr.errors import Interrupted, MediaError, VsrError

Result = TypeVar("Result")

_FRAMES_SECONDS = 0.2
"""Time after which finished frames are reported."""
_STOP_SECONDS = 0.5
"""Time after which a stop is noticed while a worker waits for the film."""


@dataclass(frozen=True)
class ModelFile:
    """A model file of the user, which other machines don't have."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Task:
    """A job, and what it needs beside the film."""

    number: int
    """Another one for each job."""
    job: Job
    digest: str | None
    """Digest of the film; None for numbered pictures, which aren't copied."""
    model: ModelFile | None


@dataclass(frozen=True)
class FilmMissing:
    """The machine doesn't have the film at its path; the worker waits for `use_film`."""

    worker: int
    task: int
    path: Path
    digest: str


@dataclass(frozen=True)
class SegmentSent:
    """A finished segment with the content of its files, whose paths are the worker's."""

    event: SegmentDone
    data: bytes
    state: bytes | None
    state_digest: str


Message = Event | FilmMissing | SegmentSent | WorkerBug


def digest_of(data: bytes) -> str:
    """Compute the digest of bytes that travel between machines."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class ClusterWorker:
    """Upscales chains in a thread, while other threads call its methods."""

    def __init__(self, placement: Placement) -> None:
        """Use a share of this machine."""
        _remove_abandoned_folders()
        placement.apply()
        self._device = placement.device
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_own_folders()}-{os.getpid()}-"))
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._chains: queue.SimpleQueue[tuple[int, Task, Chain, bytes | None]]
        self._chains = queue.SimpleQueue()
        self._found: queue.SimpleQueue[tuple[int, Path | None]] = queue.SimpleQueue()
        self._receiver = FilmReceiver(self._folder / "film.partial")
        self._stop, self._stopped_task = threading.Event(), -1
        self._stop_lock = threading.Lock()
        self._task = -1
        self._segments: SegmentWorker | None = None
        threading.Thread(target=self._run, name="vsr-chains", daemon=True).start()

    def machine(self) -> Machine:
        """Describe the machine of this worker."""
        return this_machine(self._device)

    def pid(self) -> int:
        """Return the identifier of the process."""
        return os.getpid()

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function with the device of this worker, and other arguments."""
        return function(self._device, *arguments)

    def find_copy(self, path: Path, digest: str) -> Path | None:
        """Return the copy of a film on this machine, if there is one."""
        return find_copy(path, digest)

    def receive(
        self, path: Path, digest: str, offset: int, data: bytes, is_last: bool
    ) -> Path | None:
        """Append to the copy of a film; see `FilmReceiver.receive`."""
        return self._receiver.receive(path, digest, offset, data, is_last)

    def use_film(self, task: int, film: Path | None) -> None:
        """Tell a worker that waits with a task where its machine has the film.

        None ends its chain: the machine can't have the film.
        """
        self._found.put((task, film))

    def submit(self, worker: int, task: Task, chain: Chain, state: bytes | None) -> None:
        """Upscale a chain; events name this worker by its number in the pool.

        `state` is the content of a file of the state, if the chain starts in mid-shot.
        """
        with self._stop_lock:
            if task.number != self._stopped_task:
                self._stop.clear()
        self._chains.put((worker, task, chain, state))

    def stop(self, task: int) -> None:
        """End the chain of a task after the current segment, also one that arrives later.

        Ray may call `submit` and `stop` in another order than the driver.
        """
        with self._stop_lock:
            self._stopped_task = task
            self._stop.set()

    def poll(self, seconds: float) -> list[Message]:
        """Wait for messages, at most so long, and return those that there are.

        Frames wait a moment for further ones.
        """
        messages: list[Message] = []
        deadline = time.monotonic() + seconds
        while True:
            try:
                message = self._messages.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                return messages
            messages.append(message)
            wait = _FRAMES_SECONDS if isinstance(message, FrameDone) else 0
            deadline = min(deadline, time.monotonic() + wait)

    def remove_copy(self, film: Path) -> None:
        """Remove a film, if it is a copy from `receive`."""
        remove_copy(film)

    def close(self) -> None:
        """Remove the files of this worker."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        while True:
            worker, task, chain, state = self._chains.get()
            last: Message = ChainEnded(worker)
            try:
                self._upscale(worker, task, chain, state)
            except Interrupted:
                pass
            except VsrError as error:
                last = WorkerFailed(worker, error)
            except Exception as error:
                last = WorkerBug(f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
            self._messages.put(last)

    def _upscale(self, worker: int, task: Task, chain: Chain, state: bytes | None) -> None:
        if task.number != self._task or self._segments is None:
            if self._segments is not None:
                self._segments.close()
            self._segments = None
            self._segments = SegmentWorker(self._job(worker, task), self._device, self._folder)
            self._task = task.number
        file = None
        if state is not None:
            file = self._folder / "start.state"
            with writing(file):
                file.write_bytes(state)
        self._segments.upscale(
            chain,
            file,
            stop=self._stop,
            on_frame=lambda: self._messages.put(FrameDone(worker)),
            on_segment=lambda **values: self._send(SegmentDone(worker, **values)),
        )

    def _job(self, worker: int, task: Task) -> Job:
        """Return the job, with the paths of the film and of the model's file on this machine."""
        job = replace(task.job, source=self._film(worker, task))
        if task.model is None:
            return job
        file = self._folder / task.model.name
        with writing(file):
            file.write_bytes(task.model.content)
        return replace(job, options=replace(job.options, model=str(file)))

    def _film(self, worker: int, task: Task) -> Path:
        """Return the path of the source on this machine; waits until it is there.

        Raises `Interrupted` after `stop`, and if the machine can't have the film.
        """
        source = task.job.source
        if task.digest is None:
            if not source.exists():
                raise MediaError(
                    f"{source}: isn't on {socket.gethostname()}; put pictures into a folder that "
                    "all machines share"
                )
            return source
        if has_film(source, task.digest):
            return source
        self._messages.put(FilmMissing(worker, task.number, source, task.digest))
        while not self._stop.is_set():
            with suppress(queue.Empty):
                number, film = self._found.get(timeout=_STOP_SECONDS)
                if number == task.number:
                    if film is None:
                        raise Interrupted("no film")
                    return film
        raise Interrupted("stopped")

    def _send(self, event: SegmentDone) -> None:
        """Send a segment, and remove its files."""
        data = event.file.read_bytes()
        event.file.unlink()
        content = None
        if event.state is not None:
            content = event.state.read_bytes()
            event.state.unlink()
        digest = "" if content is None else digest_of(content)
        self._messages.put(SegmentSent(event, data, content, digest))


def _own_folders() -> str:
    """Return how the names of this machine's folders start; machines may share their parent."""
    return f"vsr-worker-{socket.gethostname()}"


def _remove_abandoned_folders() -> None:
    """Remove the folders of workers that were killed on this machine."""
    name = re.compile(rf"{re.escape(_own_folders())}-(\d+)-\w+")
    for folder in Path(tempfile.gettempdir()).glob("vsr-worker-*"):
        found = name.fullmatch(folder.name)
        if found and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)
