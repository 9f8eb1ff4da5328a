"""A worker on a machine of a cluster: upscales chains, and returns segments as bytes.

Nothing here depends on Ray: `ray_pool` makes an actor of `ClusterWorker`.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch

from vsr.engine.digests import film_digest
from vsr.engine.parallel.placement import Placement
from vsr.engine.parallel.pool import Chain, Job
from vsr.engine.parallel.worker import SegmentWorker
from vsr.engine.pipeline import StageTimes
from vsr.engine.resume.journal import FinishedSegment
from vsr.errors import ConfigError, MediaError, VsrError
from vsr.media.encode.encoder import CodedVideo
from vsr.system.files import write_failure
from vsr.system.machine import computes_int8, memory_bytes, pick_device

Result = TypeVar("Result")

CLUSTER_DEVICES = ("auto", "cpu", "cuda", "all")
"""Devices of workers; "cuda" and "all" are all GPUs of the cluster."""
VERSIONS = ("vsr", "torch", "av", "openvino")
"""Packages whose versions must be the same on all machines."""
_CONNECT_SECONDS = 5.0
_FRAMES_SECONDS = 0.2
"""Time after which finished frames are reported."""
_FOLDER = re.compile(r"vsr-worker-(\d+)-\w+")


@dataclass(frozen=True)
class Machine:
    """What a machine computes with, as far as the samples depend on it."""

    host: str
    versions: Mapping[str, str]
    device: str
    """Type of the device."""
    arithmetic: str
    """Model of the GPU, or instruction set of the processor."""
    memory: int
    """Bytes of the device's memory."""


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
    """The machine doesn't have the film; the worker waits for `use_film`."""


@dataclass(frozen=True)
class Frames:
    """So many frames were written."""

    count: int


@dataclass(frozen=True)
class Segment:
    """A finished segment; see `SegmentDone`."""

    segment: FinishedSegment
    video: CodedVideo
    data: bytes
    state: bytes | None
    state_digest: str
    stages: StageTimes
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """The chain has ended."""


@dataclass(frozen=True)
class Failed:
    """The chain ended with an error of the user."""

    error: VsrError


@dataclass(frozen=True)
class Bug:
    """The chain ended with another error."""

    text: str


Message = FilmMissing | Frames | Segment | Ended | Failed | Bug


def this_machine(device: str) -> Machine:
    """Describe this machine."""
    chosen = pick_device(device)
    if chosen.type == "cuda":
        arithmetic = torch.cuda.get_device_name(chosen)
    else:
        vnni = ", VNNI" if computes_int8() else ""
        arithmetic = f"{torch.backends.cpu.get_cpu_capability()}{vnni}"
    return Machine(
        host=socket.gethostname(),
        versions={name: _version(name) for name in VERSIONS},
        device=chosen.type,
        arithmetic=arithmetic,
        memory=memory_bytes(chosen),
    )


def check_address(address: str) -> None:
    """Raise `VsrError` unless a program listens at "HOST:PORT"; Ray itself waits for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise VsrError(f"--cluster {address}: name auto, or HOST:PORT such as first:6379")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise VsrError(
            f"--cluster {address}: can't be reached ({error}); is it the address that `ray start "
            "--head` printed?"
        ) from error


def check_device(device: str) -> None:
    """Raise `ConfigError` for a device that isn't chosen by name on the machines of a cluster."""
    if device not in CLUSTER_DEVICES:
        raise ConfigError(
            f"--device {device}: with --cluster, use {', '.join(CLUSTER_DEVICES[:-1])} or "
            f"{CLUSTER_DEVICES[-1]}"
        )


def check_versions(machines: Sequence[Machine], own: Machine) -> None:
    """Raise `VsrError` unless all machines have the versions of this one."""
    for machine in machines:
        for name in VERSIONS:
            found, wanted = machine.versions[name], own.versions[name]
            if found != wanted:
                raise VsrError(
                    f"--cluster: {machine.host} has {name} {found}, this machine {wanted}; install "
                    "the same version on all machines"
                )


def unlike_machines(machines: Sequence[Machine]) -> str | None:
    """Return a line about machines whose samples may differ; None if they compute alike."""
    kinds = {(machine.device, machine.arithmetic): machine.host for machine in machines}
    if len(kinds) == 1:
        return None
    listed = ", ".join(f"{host}: {arithmetic}" for (_, arithmetic), host in kinds.items())
    return f"unlike machines ({listed})"


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
        self._folder = Path(tempfile.mkdtemp(prefix=f"vsr-worker-{os.getpid()}-"))
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._chains: queue.SimpleQueue[tuple[Task, Chain, bytes | None]] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._stop, self._stopped_task = threading.Event(), -1
        self._stop_lock = threading.Lock()
        self._frames, self._reported = 0, time.monotonic()
        self._task = -1
        self._segments: SegmentWorker | None = None
        self._partial: Path | None = None
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

    def find_film(self, path: Path, digest: str) -> Path | None:
        """Return where this machine has a film: at the same path, or as a copy from `receive`."""
        return next((one for one in (path, _copy(path, digest)) if _has(one, digest)), None)

    def receive(self, path: Path, digest: str, data: bytes, is_last: bool) -> Path | None:
        """Append to the copy of a film. Returns its path with the last piece."""
        copy = _copy(path, digest)
        with _writing(copy):
            if self._partial is None:
                copy.parent.mkdir(exist_ok=True, mode=0o700)
                self._partial = copy.with_name(f"{os.getpid()}.partial")
                self._partial.unlink(missing_ok=True)
            with self._partial.open("ab") as file:
                file.write(data)
        if not is_last:
            return None
        self._partial.replace(copy)
        self._partial = None
        if not _has(copy, digest):
            copy.unlink()
            raise MediaError(f"{path}: has changed while it was copied to {socket.gethostname()}")
        return copy

    def use_film(self, film: Path) -> None:
        """Tell a worker that waits where its machine has the film."""
        self._found.put(film)

    def submit(self, task: Task, chain: Chain, state: bytes | None) -> None:
        """Upscale a chain.

        `state` is the content of a file of the state, if the chain starts in mid-shot.
        """
        with self._stop_lock:
            if task.number != self._stopped_task:
                self._stop.clear()
        self._chains.put((task, chain, state))

    def stop(self, task: int) -> None:
        """End the chain of a task after the current segment, also one that arrives later.

        Ray may call `submit` and `stop` in another order than the driver.
        """
        with self._stop_lock:
            self._stopped_task = task
            self._stop.set()

    def poll(self, seconds: float) -> list[Message]:
        """Wait for messages, at most so long, and return those that there are."""
        messages: list[Message] = []
        try:
            messages.append(self._messages.get(timeout=seconds))
            while True:
                messages.append(self._messages.get_nowait())
        except queue.Empty:
            return messages

    def remove_copy(self, film: Path) -> None:
        """Remove a film, if it is a copy from `receive`."""
        if film.parent == _copies():
            film.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the files of this worker."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        while True:
            task, chain, state = self._chains.get()
            last: Message = Ended()
            try:
                self._upscale(task, chain, state)
            except VsrError as error:
                last = Failed(error)
            except Exception as error:
                last = Bug(f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
            self._report_frames()
            self._messages.put(last)

    def _upscale(self, task: Task, chain: Chain, state: bytes | None) -> None:
        if task.number != self._task or self._segments is None:
            if self._segments is not None:
                self._segments.close()
            self._segments = None
            self._segments = SegmentWorker(self._job(task), self._device, self._folder)
            self._task = task.number
        file = None
        if state is not None:
            file = self._folder / "start.state"
            with _writing(file):
                file.write_bytes(state)
        self._segments.upscale(
            chain, file, stop=self._stop, on_frame=self._count_frame, on_segment=self._finish
        )

    def _job(self, task: Task) -> Job:
        """Return the job, with the paths of the film and of the model's file on this machine."""
        job = replace(task.job, source=self._film(task))
        if task.model is None:
            return job
        file = self._folder / task.model.name
        with _writing(file):
            file.write_bytes(task.model.content)
        return replace(job, options=replace(job.options, model=str(file)))

    def _film(self, task: Task) -> Path:
        """Return the path of the source on this machine; waits until it is there."""
        source = task.job.source
        if task.digest is None:
            if not source.exists():
                raise MediaError(
                    f"{source}: isn't on {socket.gethostname()}; put pictures into a folder that "
                    "all machines share"
                )
            return source
        if (found := self.find_film(source, task.digest)) is not None:
            return found
        self._messages.put(FilmMissing())
        return self._found.get()

    def _count_frame(self) -> None:
        self._frames += 1
        if time.monotonic() - self._reported > _FRAMES_SECONDS:
            self._report_frames()

    def _report_frames(self) -> None:
        if self._frames:
            self._messages.put(Frames(self._frames))
        self._frames, self._reported = 0, time.monotonic()

    def _finish(
        self,
        segment: FinishedSegment,
        video: CodedVideo,
        file: Path,
        state: Path | None,
        stages: StageTimes,
        notes: tuple[str, ...],
    ) -> None:
        """Send a segment, and remove its files."""
        self._report_frames()
        data = file.read_bytes()
        content = None if state is None else state.read_bytes()
        for path in (file, state):
            if path is not None:
                path.unlink()
        self._messages.put(
            Segment(
                segment=segment,
                video=video,
                data=data,
                state=content,
                state_digest="" if content is None else digest_of(content),
                stages=stages,
                notes=notes,
            )
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise `OutputError`, with the name of this machine, where a file can't be written."""
    try:
        yield
    except OSError as error:
        raise write_failure(Path(f"{socket.gethostname()}:{path}"), error) from error


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _copies() -> Path:
    """Return the folder of the copies of films on this machine."""
    return Path(tempfile.gettempdir(), f"vsr-films-{os.getuid() if hasattr(os, 'getuid') else 0}")


def _copy(path: Path, digest: str) -> Path:
    return _copies() / f"{digest}{path.suffix}"


def _has(path: Path, digest: str) -> bool:
    try:
        return path.is_file() and film_digest(path) == digest
    except MediaError:
        return False


def _remove_abandoned_folders() -> None:
    """Remove the folders of workers that were killed on this machine."""
    for folder in Path(tempfile.gettempdir()).glob("vsr-worker-*"):
        found = _FOLDER.fullmatch(folder.name)
        if found and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)
