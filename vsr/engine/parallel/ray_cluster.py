"""Join a Ray cluster, and start workers on its machines.

This module and `ray_pool` are the only ones that import Ray.
"""

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import ray
from ray.exceptions import AuthenticationError, OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vsr.engine.parallel.cluster_worker import ClusterWorker
from vsr.engine.parallel.machines import Machine, check_address
from vsr.engine.parallel.placement import Placement
from vsr.errors import VsrError, first_line

START_SECONDS = 300.0
"""Time in which the first worker of a cluster must start, and one that replaces a dead one."""
_OTHERS_SECONDS = 60.0
"""Time after which the other workers are left out."""
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")
"""Versions of the cluster, and of this machine, in Ray's error where they differ."""
_LISTED = 3
"""Workers that an error names for a reason."""


@dataclass(frozen=True)
class Slot:
    """The place of a worker in the cluster."""

    node: str
    """Ray's identifier of the machine."""
    cpus: float
    gpus: float
    placement: Placement

    def create_actor(self) -> Any:
        """Create an actor of `ClusterWorker` in this place."""
        actor = ray.remote(ClusterWorker).options(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_concurrency=4,
            scheduling_strategy=_on(self.node),
        )
        return actor.remote(self.placement)


@dataclass(frozen=True)
class StartedWorker:
    """A worker that has started."""

    slot: Slot
    actor: Any
    machine: Machine


class StartedWorkers(NamedTuple):
    """The workers of a cluster."""

    workers: list[StartedWorker]
    left_out: tuple[str, ...]
    """A line about each worker that didn't start, with the reason."""


def join_cluster(address: str) -> None:
    """Join a cluster as its driver; `ray.shutdown` leaves it. Raises `VsrError`."""
    check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray prints deaths of workers to standard output, which holds results of vsr alone.
    ray._private.worker.print_to_stdstream = lambda *args, **more: None
    try:
        with _kept_signal_handlers():
            ray.init(
                address=address,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
                namespace="vsr",
            )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, AuthenticationError) as error:
        reasons = f"{type(error).__name__} {error} {error.__cause__}"
        if AuthenticationError.__name__ in reasons:
            raise VsrError(
                f"--cluster {address}: refuses this machine's token; set RAY_AUTH_MODE=token, with "
                "the same ~/.ray/auth_token on all machines"
            ) from error
        if (versions := _VERSIONS.findall(reasons))[1:]:
            there, here = (f"Ray {ray} and Python {python}" for ray, python in versions[:2])
            raise VsrError(
                f"--cluster {address}: has {there}, this machine {here}; install the same versions "
                "on all machines"
            ) from error
        raise VsrError(
            f"--cluster {address}: can't be joined: {first_line(error)}; run `ray start` on this "
            "machine first, see docs/how-to/clusters.md"
        ) from error


def find_slots(address: str, device: str, workers: int | None) -> list[Slot]:
    """List the places of workers: the GPUs of a cluster, or else processors of its machines.

    Raises `VsrError` if there are none.
    """
    slots = list(_slots(device, workers))
    if not slots:
        raise VsrError(f"--cluster {address}: has no {device} device; see `ray status`")
    return slots


def start_workers(address: str, slots: Sequence[Slot]) -> StartedWorkers:
    """Start a worker in each place, and leave out those that don't start.

    Raises `VsrError` if none starts.
    """
    actors = [slot.create_actor() for slot in slots]
    asked = [actor.machine.remote() for actor in actors]
    answers = _await_answers(asked)
    started, failures = [], {}
    for slot, actor, ref in zip(slots, actors, asked, strict=True):
        answer = answers.get(ref, "not in time, is its machine busy?")
        if isinstance(answer, str):
            kill_actor(actor)
            failures[slot.placement.name] = answer
        else:
            started.append(StartedWorker(slot, actor, answer))
    if not started:
        raise VsrError(f"--cluster {address}: no worker started: {_summary(failures)}")
    return StartedWorkers(
        started,
        tuple(
            f"{name}: its worker didn't start ({reason}), others upscale without it"
            for name, reason in failures.items()
        ),
    )


def _await_answers(asked: Sequence[Any]) -> dict[Any, Machine | str]:
    """Wait for machines; an answer is the reason for which a worker didn't start, or its machine.

    There is none for a worker that Ray hasn't started in time.
    """
    answers: dict[Any, Machine | str] = {}
    pending = list(asked)
    deadline = time.monotonic() + START_SECONDS
    while pending and (seconds := deadline - time.monotonic()) > 0:
        ready, pending = ray.wait(pending, timeout=seconds)
        for ref in ready:
            try:
                answers[ref] = ray.get(ref)
            except RayError as error:
                answers[ref] = reason_of(error)
            else:
                deadline = min(deadline, time.monotonic() + _OTHERS_SECONDS)
    return answers


def _summary(failures: Mapping[str, str]) -> str:
    """List reasons, each with the workers that it concerns."""
    names: dict[str, list[str]] = {}
    for name, reason in failures.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(
        f"{reason} ({', '.join(several[:_LISTED])}"
        + (f" and {len(several) - _LISTED} others)" if len(several) > _LISTED else ")")
        for reason, several in names.items()
    )


def call_on(node: str, function: Callable[..., object], *arguments: object) -> Any:
    """Call a function on a machine in a process of its own; returns Ray's reference of the call."""
    task = ray.remote(function).options(num_cpus=0, scheduling_strategy=_on(node))
    return task.remote(*arguments)


def kill_actor(actor: Any) -> None:
    """Kill an actor, if it is alive."""
    with suppress(RayError, ValueError):
        ray.kill(actor)


def is_alive(node: str) -> bool:
    """Whether a machine belongs to the cluster."""
    return node in _alive_nodes()


def reason_of(error: RayError) -> str:
    """Describe in a few words why a worker died, or didn't start."""
    text = str(error)
    if isinstance(error, OutOfMemoryError) or "low on memory" in text:
        return "killed by Ray, its machine was low on memory"
    if "unexpectedly exits" in text:
        return "its process was killed, perhaps for lack of memory"
    if isinstance(error, RayTaskError) or "its creation task" in text:
        return text.rstrip().splitlines()[-1].strip()  # of the traceback
    found = re.search(r"(?i)worker exit detail: ([^.\n]+)", text)
    return found[1] if found else first_line(error)


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _slots(device: str, workers: int | None) -> Iterator[Slot]:
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
            yield Slot(
                node=identifier,
                cpus=0 if wants_gpus else threads,
                gpus=1 if wants_gpus else 0,
                placement=placement,
            )


def _alive_nodes() -> dict[str, dict[str, Any]]:
    list_nodes: Any = ray.nodes
    return {node["NodeID"]: node for node in list_nodes() if node["Alive"]}


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
