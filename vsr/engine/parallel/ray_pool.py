"""Workers on the machines of a Ray cluster: actors, of which the driver asks their messages."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from vsr.engine.parallel.cluster_worker import (
    FilmMissing,
    Message,
    ModelFile,
    SegmentSent,
    Task,
)
from vsr.engine.parallel.film_copy import remove_copy
from vsr.engine.parallel.film_sender import FilmSender
from vsr.engine.parallel.machines import (
    Machine,
    check_device,
    check_versions,
    this_machine,
    unlike_machines,
)
from vsr.engine.parallel.pool import (
    Chain,
    ChainEnded,
    Event,
    FilmUnavailable,
    Job,
    WorkerBug,
    WorkerDied,
    WorkerFailed,
    WorkerLost,
)
from vsr.engine.parallel.ray_cluster import (
    START_SECONDS,
    call_on,
    find_slots,
    is_alive,
    join_cluster,
    kill_actor,
    reason_of,
    start_workers,
)
from vsr.engine.parallel.segment_store import store_segment
from vsr.errors import OutputError, VsrError
from vsr.system.files import write_failure
from vsr.zoo import own_file

Result = TypeVar("Result")

_POLL_SECONDS = 2.0
_END_SECONDS = 5.0
_REMOVE_SECONDS = 30.0


@dataclass(frozen=True)
class _OpenJob:
    """A job of the pool."""

    task: Task
    ref: Any
    folder: Path
    """Folder for the files that arrive."""


class RayPool:
    """Actors on the machines of a cluster: one per GPU, or one per machine; see `Pool`."""

    def __init__(self, address: str, device: str = "auto", workers: int | None = None) -> None:
        """Start workers on the cluster at `address`, or the one of this machine for "auto".

        `device` is "auto", "cpu", "cuda" or "all"; "auto" is "cuda" if the cluster has any GPU.
        `workers` is their count on each machine without a GPU. `left_out` has a line about each
        worker that didn't start. Raises `VsrError`.
        """
        check_device(device)
        self._events: deque[Event] = deque()
        self._jobs: dict[int, _OpenJob] = {}
        self._opened = 0
        self._last: dict[int, int] = {}
        """Number of each worker's last job."""
        self._films = FilmSender()
        self._without_film: dict[int, str] = {}
        """Workers that end their chain without the film, with the reasons."""
        self._removals: list[Any] = []
        """Calls that remove copies of films from machines without a worker."""
        self._polls: dict[Any, int] = {}
        self._busy: set[int] = set()
        self._lost: dict[int, str] = {}
        """Workers whose machine can't be used any more, with the reasons."""
        self._starting: dict[int, float] = {}
        """Time by which each worker that was started again must answer."""
        join_cluster(address)
        try:
            started, self.left_out = start_workers(address, find_slots(address, device, workers))
            check_versions([one.machine for one in started], this_machine("cpu"))
        except BaseException:
            ray.shutdown()
            raise
        self._slots = [one.slot for one in started]
        self._actors: list[Any] = [one.actor for one in started]
        """The actor of each worker; None for those that start with their next chain."""
        self._machines = [one.machine for one in started]
        for worker in range(len(started)):
            self._poll(worker)

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
        model = own_file(job.options.model)
        file = None if model is None else ModelFile(model.name, model.read_bytes())
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
        """Remove a job, and the copies of its film unless another job has the same one."""
        digest = self._jobs.pop(job).task.digest
        if digest is not None and all(one.task.digest != digest for one in self._jobs.values()):
            self._remove_copies(digest)

    def submit(self, worker: int, job: int, chain: Chain, state: Path | None) -> None:
        """Let an idle worker upscale a chain; see `Pool.submit`."""
        if worker in self._lost:
            self._events.append(WorkerLost(worker, self._lost[worker]))
            return
        self._busy.add(worker)
        self._last[worker] = job
        content = None if state is None else state.read_bytes()
        self._actor(worker).submit.remote(worker, self._jobs[job].ref, chain, content)

    def next_event(self, seconds: float) -> Event | None:
        """Wait for the next event; see `Pool.next_event`."""
        if not self._events:
            self._receive(seconds)
        return self._events.popleft() if self._events else None

    def stop(self, worker: int) -> None:
        """Let a worker end its chain after the current segment, at once if it hasn't started."""
        if worker in self._starting:
            self._busy.discard(worker)
            self._kill(worker)
            self._events.append(ChainEnded(worker))
            return
        self._films.forget(worker)
        if (actor := self._actors[worker]) is not None:
            actor.stop.remote(self._last[worker])

    def abandon(self, worker: int) -> None:
        """Kill a worker that is busy."""
        if worker in self._busy:
            self._busy.remove(worker)
            self._end([worker])
        self._events = deque(event for event in self._events if event.worker != worker)

    def call_each(self, function: Callable[..., Result], *arguments: Any) -> list[Result]:
        """Call a function in each worker at the same time; see `Workers.call_each`."""
        sent = [one.absolute() if isinstance(one, Path) else one for one in arguments]
        calls = [
            (name, actor.call.remote(function, *sent))
            for name, actor in zip(self.names, self._actors, strict=True)
            if actor is not None
        ]
        return [_result(name, call) for name, call in calls]

    def close(self) -> None:
        """End all workers, remove their files, and leave the cluster."""
        for job in list(self._jobs):
            self.release(job)
        self._end(range(len(self._actors)))
        _wait(self._removals, _REMOVE_SECONDS)
        ray.shutdown()

    def _end(self, workers: Sequence[int]) -> None:
        """Remove the files of workers, and kill them."""
        actors = [actor for worker in workers if (actor := self._actors[worker]) is not None]
        _wait([actor.close.remote() for actor in actors], _END_SECONDS)
        for worker in workers:
            self._kill(worker)

    def _remove_copies(self, digest: str) -> None:
        """Remove the copies of a film: by a worker of each machine, or else another process."""
        actors = {
            slot.node: actor
            for slot, actor in zip(self._slots, self._actors, strict=True)
            if actor is not None
        }
        removed = []
        for node, copies in self._films.take_copies(digest).items():
            for copy in copies:
                if node in actors:
                    removed.append(actors[node].remove_copy.remote(copy))
                elif is_alive(node):
                    self._removals.append(call_on(node, remove_copy, copy))
        _wait(removed, _END_SECONDS)

    def _actor(self, worker: int) -> Any:
        """Return the actor of a worker, which is started if necessary."""
        if self._actors[worker] is None:
            self._actors[worker] = self._slots[worker].create_actor()
            self._starting[worker] = time.monotonic() + START_SECONDS
            self._poll(worker)
        return self._actors[worker]

    def _poll(self, worker: int) -> None:
        """Ask a worker for its messages."""
        self._polls[self._actors[worker].poll.remote(_POLL_SECONDS)] = worker

    def _receive(self, seconds: float) -> None:
        """Receive the messages that arrive within some seconds."""
        self._lose_late()
        refs = [*self._polls, *self._films.pending]
        if not refs:
            time.sleep(seconds)
            return
        ready, _ = ray.wait(refs, num_returns=1, timeout=seconds)
        for ref in ready:
            if ref in self._polls:
                self._read(ref)
            else:
                self._continue_transfer(ref)

    def _read(self, ref: Any) -> None:
        """Handle the messages of a worker."""
        worker = self._polls.pop(ref)
        try:
            messages: list[Message] = ray.get(ref)
        except RayTaskError:
            raise
        except RayError as error:
            self._record_death(worker, error)
            return
        self._starting.pop(worker, None)
        self._poll(worker)
        try:
            for message in messages:
                self._handle(message)
        except VsrError as error:
            self._events.append(WorkerFailed(worker, error))

    def _continue_transfer(self, ref: Any) -> None:
        """Send the next piece of a film. A machine that can't have it upscales other films."""
        try:
            self._films.advance(ref, _get(ref))
        except RayActorError as error:
            self._record_death(self._films.receiver(ref), error)
        except RayTaskError:
            raise
        except (OutputError, RayError) as error:
            reason = reason_of(error) if isinstance(error, RayError) else str(error)
            self._without_film |= dict.fromkeys(self._films.fail(ref), reason)
        except VsrError as error:
            self._events += [WorkerFailed(worker, error) for worker in self._films.fail(ref)]

    def _handle(self, message: Message) -> None:
        """Append the event of a message."""
        match message:
            case WorkerBug():
                raise message
            case FilmMissing():
                node, actor = self._slots[message.worker].node, self._actors[message.worker]
                self._films.request(node, actor, message)
            case SegmentSent():
                worker = message.event.worker
                job, name = self._jobs[self._last[worker]], self.names[worker]
                output = job.task.job.output
                self._events.append(store_segment(message, job.folder, output, name))
            case ChainEnded(worker) if worker in self._without_film:
                self._busy.discard(worker)
                self._events.append(FilmUnavailable(worker, self._without_film.pop(worker)))
            case _:
                if isinstance(message, ChainEnded | WorkerFailed):
                    self._busy.discard(message.worker)
                self._events.append(message)

    def _record_death(self, worker: int, error: RayError) -> None:
        """Record the death of a worker; another one starts with its next chain, if there is one."""
        self._kill(worker)
        was_busy = worker in self._busy
        self._busy.discard(worker)
        node = self._slots[worker].node
        if not is_alive(node) or "node has died" in str(error):
            self._lose(worker, "its machine has left the cluster")
        elif was_busy:
            self._events.append(WorkerDied(worker, reason_of(error)))

    def _lose_late(self) -> None:
        """Lose the workers that have no answer in time after they were started again."""
        now = time.monotonic()
        for worker in [one for one, latest in self._starting.items() if latest < now]:
            self._busy.discard(worker)
            self._kill(worker)
            self._lose(worker, "another process didn't start in time, is its machine busy?")

    def _lose(self, worker: int, reason: str) -> None:
        """Note that no other worker takes the place of one that has ended."""
        self._lost[worker] = reason
        self._events.append(WorkerLost(worker, reason))

    def _kill(self, worker: int) -> None:
        if (actor := self._actors[worker]) is not None:
            kill_actor(actor)
        self._actors[worker] = None
        self._starting.pop(worker, None)
        self._without_film.pop(worker, None)
        self._polls = {ref: other for ref, other in self._polls.items() if other != worker}
        self._films.forget(worker)


def _get(ref: Any) -> Any:
    """Return the result of an actor's method; raises its `VsrError`s as such."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        if isinstance(error.cause, VsrError):
            raise error.cause from error
        raise


def _result(name: str, call: Any) -> Any:
    """Return the result of a call in a worker; raises `VsrError` with its name."""
    try:
        return _get(call)
    except VsrError as error:
        raise VsrError(f"{name}: {error}") from error
    except RayTaskError:
        raise
    except RayError as error:
        raise VsrError(f"{name} died ({reason_of(error)}); run the command again") from error


def _wait(refs: list[Any], seconds: float) -> None:
    """Wait for results, but not for those of actors that died."""
    if refs:
        with suppress(RayError):
            ray.wait(refs, num_returns=len(refs), timeout=seconds)
