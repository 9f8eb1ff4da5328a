"""Workers on the machines of a Ray cluster. Nothing else imports Ray."""

import logging
import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from vsr.engine.parallel.cluster_worker import (
    Bug,
    ClusterWorker,
    Ended,
    Failed,
    FilmMissing,
    Frames,
    Machine,
    Message,
    ModelFile,
    Segment,
    Task,
    check_address,
    check_device,
    check_versions,
    digest_of,
    this_machine,
    unlike_machines,
)
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
    WorkerLost,
)
from vsr.engine.resume.segment_file import segment_digest
from vsr.errors import OutputError, VsrError, first_line
from vsr.system.files import write_failure

try:
    import ray
    from ray.exceptions import RayActorError, RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise VsrError("--cluster needs Ray: pip install 'vsr[cluster]'") from error

Result = TypeVar("Result")

_START_SECONDS = 300.0
"""Time in which the first worker of a cluster must start."""
_OTHERS_SECONDS = 60.0
"""Time after which the other workers are left out."""
_POLL_SECONDS = 2.0
_END_SECONDS = 5.0
_PIECE_BYTES = 32 << 20
"""A film travels in pieces of this size."""


@dataclass(frozen=True)
class _Slot:
    """The place of a worker in the cluster."""

    node: str
    """Ray's identifier of the machine."""
    cpus: float
    gpus: float
    placement: Placement


@dataclass
class _OpenJob:
    """A job of the pool."""

    task: Task
    ref: Any
    folder: Path
    """Folder for the files that arrive."""
    copies: dict[str, Path] = field(default_factory=dict)
    """Copy of the film on machines that don't see it."""


class RayPool:
    """Actors on the machines of a cluster: one per GPU, or one per machine; see `Pool`."""

    def __init__(self, address: str, device: str = "auto", workers: int | None = None) -> None:
        """Start workers on the cluster at `address`, or the one of this machine for "auto".

        `device` is "auto", "cpu", "cuda" or "all"; "auto" is "cuda" if the cluster has any GPU.
        `workers` is their count on each machine without a GPU. Raises `VsrError`.
        """
        check_device(device)
        self._address = address
        self._events: deque[Event] = deque()
        self._jobs: dict[int, _OpenJob] = {}
        self._opened = 0
        self._last: dict[int, int] = {}
        """Number of each worker's last job."""
        self._actors: list[Any] = []
        """The actor of each worker; None for those that start with their next chain."""
        self._polls: dict[Any, int] = {}
        self._busy: set[int] = set()
        self._lost: set[int] = set()
        with _kept_signal_handlers():
            _connect(address)
        try:
            self._slots = _slots(address, device, workers)
            self._start_workers()
        except BaseException:
            ray.shutdown()
            raise

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the workers."""
        return tuple(slot.placement.name for slot in self._slots)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The machine of each worker."""
        return tuple(self._machines)

    @property
    def unlike(self) -> str | None:
        """A line about machines whose samples may differ; None if they compute alike."""
        return unlike_machines(self._machines)

    @property
    def memory(self) -> int:
        """Memory in bytes of the device that has least."""
        return min(machine.memory for machine in self._machines)

    def open(self, job: Job, folder: Path) -> int:
        """Add a job, and return its number; see `Pool.open`."""
        model = Path(job.options.model) if job.options.model else None
        file = None
        if model is not None and model.is_file():
            file = ModelFile(model.name, model.read_bytes())
        source = job.source.absolute()
        self._opened += 1
        task = Task(
            number=self._opened,
            job=replace(job, source=source),
            digest=job.identity["source"] if source.is_file() else None,
            model=file,
        )
        arrived = folder / "worker-cluster"
        try:
            arrived.mkdir(exist_ok=True)
        except OSError as error:
            raise write_failure(job.output, error) from error
        self._jobs[task.number] = _OpenJob(task, ray.put(task), arrived)
        return task.number

    def release(self, job: int) -> None:
        """Remove a job, and the copies of its film."""
        self._remove_copies(self._jobs.pop(job))

    def submit(self, worker: int, job: int, chain: Chain, state: Path | None) -> None:
        """Let an idle worker upscale a chain; see `Pool.submit`."""
        if worker in self._lost:
            self._events.append(WorkerLost(worker))
            return
        self._busy.add(worker)
        self._last[worker] = job
        content = None if state is None else state.read_bytes()
        self._actor(worker).submit.remote(self._jobs[job].ref, chain, content)

    def next_event(self, seconds: float) -> Event | None:
        """Wait for the next event; see `Pool.next_event`."""
        if not self._events:
            self._receive(seconds)
        return self._events.popleft() if self._events else None

    def stop(self, worker: int) -> None:
        """Let a worker end its chain after the current segment."""
        if (actor := self._actors[worker]) is not None:
            actor.stop.remote(self._last[worker])

    def abandon(self, worker: int) -> None:
        """Kill a worker that is busy."""
        if worker in self._busy:
            self._busy.remove(worker)
            self._kill(worker)
        self._events = deque(event for event in self._events if event.worker != worker)

    def call_each(self, function: Callable[..., Result], *arguments: Any) -> list[Result]:
        """Call a function in each worker at the same time; see `Workers.call_each`."""
        sent = [one.absolute() if isinstance(one, Path) else one for one in arguments]
        calls = [actor.call.remote(function, *sent) for actor in self._actors if actor]
        return [_get(call) for call in calls]

    def close(self) -> None:
        """End all workers, remove their files, and leave the cluster."""
        for job in self._jobs.values():
            self._remove_copies(job)
        closed = [actor.close.remote() for actor in self._actors if actor is not None]
        _wait(closed, _END_SECONDS)
        for worker in range(len(self._actors)):
            self._kill(worker)
        ray.shutdown()

    def _remove_copies(self, job: _OpenJob) -> None:
        """Remove the copies of a film."""
        nodes = {slot.node: actor for slot, actor in zip(self._slots, self._actors, strict=True)}
        removed = [
            actor.remove_copy.remote(job.copies[node])
            for node, actor in nodes.items()
            if actor is not None and node in job.copies
        ]
        _wait(removed, _END_SECONDS)

    def _start_workers(self) -> None:
        """Start all workers, and check that they compute the same samples.

        Workers for which the cluster has no room at the moment are left out.
        """
        self._actors = [self._create(slot) for slot in self._slots]
        asked = [actor.machine.remote() for actor in self._actors]
        ray.wait(asked, num_returns=1, timeout=_START_SECONDS)
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=_OTHERS_SECONDS)
        present = [index for index, ref in enumerate(asked) if ref in ready]
        machines = {}
        for index in present:
            with suppress(RayActorError):
                machines[index] = ray.get(asked[index])
        if not machines:
            raise VsrError(
                f"--cluster {self._address}: no worker started within {_START_SECONDS:.0f} s; is "
                "the cluster busy? See `ray status`"
            )
        for index in range(len(asked)):
            if index not in machines:
                self._kill(index)
        self._slots = [self._slots[index] for index in machines]
        self._actors = [self._actors[index] for index in machines]
        self._machines: Sequence[Machine] = list(machines.values())
        check_versions(self._machines, this_machine("cpu"))
        for worker in range(len(self._slots)):
            self._poll(worker)

    def _create(self, slot: _Slot) -> Any:
        """Create the actor of a worker on its machine."""
        actor = ray.remote(ClusterWorker).options(
            num_cpus=slot.cpus,
            num_gpus=slot.gpus,
            max_concurrency=4,
            scheduling_strategy=NodeAffinitySchedulingStrategy(slot.node, soft=False),
        )
        return actor.remote(slot.placement)

    def _actor(self, worker: int) -> Any:
        """Return the actor of a worker, which is started if necessary."""
        if self._actors[worker] is None:
            self._actors[worker] = self._create(self._slots[worker])
            self._poll(worker)
        return self._actors[worker]

    def _supply_film(self, worker: int) -> None:
        """Copy the film to the machine of a worker, unless another worker has got it meanwhile."""
        job, actor = self._jobs[self._last[worker]], self._actors[worker]
        task = job.task
        assert task.digest is not None
        source = task.job.source
        try:
            film: Path | None = _get(actor.find_film.remote(source, task.digest))
            if film is None:
                film = self._send_film(actor, source, task.digest)
            job.copies[self._slots[worker].node] = film
            actor.use_film.remote(film)
        except RayActorError as error:
            self._bury(worker, error)

    def _send_film(self, actor: Any, source: Path, digest: str) -> Path:
        """Send a film in pieces through the object store, and return the path of the copy."""
        size, sent = source.stat().st_size, 0
        pending = None
        with source.open("rb") as file:
            while True:
                data = file.read(_PIECE_BYTES)
                sent += len(data)
                is_last = sent >= size or not data
                # Read a piece while the last one travels; each is written before the next is sent.
                if pending is not None:
                    _get(pending)
                pending = actor.receive.remote(source, digest, data, is_last)
                if is_last:
                    copy: Path = _get(pending)
                    return copy

    def _poll(self, worker: int) -> None:
        """Ask a worker for its messages."""
        self._polls[self._actors[worker].poll.remote(_POLL_SECONDS)] = worker

    def _receive(self, seconds: float) -> None:
        """Receive the messages that arrive within some seconds."""
        if not self._polls:
            time.sleep(seconds)
            return
        ready, _ = ray.wait(list(self._polls), num_returns=1, timeout=seconds)
        for ref in ready:
            worker = self._polls.pop(ref)
            try:
                messages: list[Message] = ray.get(ref)
            except RayTaskError:
                raise
            except RayError as error:
                self._bury(worker, error)
                continue
            self._poll(worker)
            try:
                for message in messages:
                    self._translate(worker, message)
            except VsrError as error:
                self.abandon(worker)
                self._events.append(WorkerFailed(worker, error))

    def _translate(self, worker: int, message: Message) -> None:
        """Append the events of a message."""
        match message:
            case FilmMissing():
                self._supply_film(worker)
            case Frames():
                self._events.extend([FrameDone(worker)] * message.count)
            case Segment():
                self._events.append(self._write(worker, message))
            case Ended():
                self._busy.discard(worker)
                self._events.append(ChainEnded(worker))
            case Failed():
                self._busy.discard(worker)
                self._events.append(WorkerFailed(worker, message.error))
            case Bug():
                self._busy.discard(worker)
                self._events.append(WorkerFailed(worker, WorkerBug(message.text)))

    def _write(self, worker: int, message: Segment) -> SegmentDone:
        """Write the files of a segment durably, and compare their digests."""
        job = self._jobs[self._last[worker]]
        output, segment = job.task.job.output, message.segment
        file = job.folder / f"{segment.number:06}.segment"
        state = None
        try:
            _write_durably(file, message.data)
            if message.state is not None:
                assert segment.following is not None
                state = job.folder / f"{segment.following.number:06}.state"
                _write_durably(state, message.state)
            is_intact = segment_digest(file) == segment.digest and (
                state is None or digest_of(state.read_bytes()) == message.state_digest
            )
        except OSError as error:
            raise write_failure(output, error) from error
        if not is_intact:
            name = self.names[worker]
            raise OutputError(f"{output}: a segment of {name} arrived damaged")
        return SegmentDone(
            worker,
            segment=segment,
            video=message.video,
            file=file,
            state=state,
            stages=message.stages,
            notes=message.notes,
        )

    def _bury(self, worker: int, error: RayError) -> None:
        """Note the death of a worker; another one starts with its next chain, if there is one."""
        self._kill(worker)
        was_busy = worker in self._busy
        self._busy.discard(worker)
        node = self._slots[worker].node
        if node not in _alive_nodes() or "node has died" in str(error):
            self._lost.add(worker)
            self._events.append(WorkerLost(worker))
        elif was_busy:
            self._events.append(WorkerDied(worker, _reason(error)))

    def _kill(self, worker: int) -> None:
        if (actor := self._actors[worker]) is not None:
            with suppress(RayError, ValueError):
                ray.kill(actor)
        self._actors[worker] = None
        self._polls = {ref: other for ref, other in self._polls.items() if other != worker}


def _get(ref: Any) -> Any:
    """Return the result of an actor's method; raises its `VsrError`s as such."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        if isinstance(error.cause, VsrError):
            raise error.cause from error
        raise


def _wait(refs: list[Any], seconds: float) -> None:
    """Wait for results, but not for those of actors that died."""
    if refs:
        with suppress(RayError):
            ray.wait(refs, num_returns=len(refs), timeout=seconds)


def _reason(error: RayError) -> str:
    """Describe the death of an actor in a few words."""
    text = str(error)
    found = re.search(r"(?i)worker exit detail: ([^.\n]+)|(out of memory)", text)
    return found[0] if found else first_line(error)


def _connect(address: str) -> None:
    """Connect to a cluster as its driver. Raises `VsrError`."""
    check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray prints deaths of workers to standard output, which holds results of vsr alone.
    ray._private.worker.print_to_stdstream = lambda *args, **more: None
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
            namespace="vsr",
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise VsrError(
            f"--cluster {address}: can't be joined: {first_line(error)}; run `ray start` on this "
            "machine first, see docs/how-to/clusters.md"
        ) from error


@contextmanager
def _kept_signal_handlers() -> Iterator[None]:
    """Restore the handlers of signals, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    handlers = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def _alive_nodes() -> dict[str, dict[str, Any]]:
    list_nodes: Any = ray.nodes
    return {node["NodeID"]: node for node in list_nodes() if node["Alive"]}


def _slots(address: str, device: str, workers: int | None) -> list[_Slot]:
    """List the places of workers. Raises `VsrError` if there are none."""
    slots = list(_find_slots(device, workers))
    if not slots:
        raise VsrError(f"--cluster {address}: has no {device} device; see `ray status`")
    return slots


def _find_slots(device: str, workers: int | None) -> Iterator[_Slot]:
    """Find the places of workers: the GPUs of a cluster, or else the processors of its machines."""
    nodes = _alive_nodes()
    gpus = any(node["Resources"].get("GPU", 0) >= 1 for node in nodes.values())
    wants_gpus = device in ("cuda", "all") or (device == "auto" and gpus)
    if wants_gpus and workers is not None:
        raise VsrError("--workers: is for clusters without GPUs; each GPU has one worker")
    for identifier, node in nodes.items():
        host, resources = node["NodeManagerHostname"], node["Resources"]
        cpus = int(resources.get("CPU", 0))
        count = int(resources.get("GPU", 0)) if wants_gpus else min(workers or 1, cpus)
        for index in range(count):
            threads = max(1, cpus // count)
            place = f"{host} {node['NodeManagerAddress']}"
            name = place if count == 1 else f"{place} #{index + 1}"
            placement = Placement(
                name=name, device="cuda:0" if wants_gpus else "cpu", threads=threads
            )
            yield _Slot(
                node=identifier,
                cpus=0 if wants_gpus else threads,
                gpus=1 if wants_gpus else 0,
                placement=placement,
            )


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
