"""Join a Ray cluster, and start workers on its machines.

This module and `ray_pool` are the only ones that import Ray.
"""

import logging
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vsr.engine.parallel.cluster_worker import ClusterWorker
from vsr.engine.parallel.machines import Machine, check_address
from vsr.engine.parallel.placement import Placement
from vsr.errors import VsrError, first_line

_START_SECONDS = 300.0
"""Time in which the first worker of a cluster must start."""
_OTHERS_SECONDS = 60.0
"""Time after which the other workers are left out."""


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
            scheduling_strategy=NodeAffinitySchedulingStrategy(self.node, soft=False),
        )
        return actor.remote(self.placement)


@dataclass(frozen=True)
class StartedWorker:
    """A worker that has started."""

    slot: Slot
    actor: Any
    machine: Machine


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
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
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


def start_workers(address: str, slots: Sequence[Slot]) -> list[StartedWorker]:
    """Start a worker in each place; places without room at the moment are left out.

    Raises `VsrError` if no worker starts.
    """
    actors = [slot.create_actor() for slot in slots]
    asked = [actor.machine.remote() for actor in actors]
    ray.wait(asked, num_returns=1, timeout=_START_SECONDS)
    ready, _ = ray.wait(asked, num_returns=len(asked), timeout=_OTHERS_SECONDS)
    started = []
    for slot, actor, ref in zip(slots, actors, asked, strict=True):
        machine = None
        if ref in ready:
            with suppress(RayActorError):
                machine = ray.get(ref)
        if machine is None:
            kill_actor(actor)
        else:
            started.append(StartedWorker(slot, actor, machine))
    if not started:
        raise VsrError(
            f"--cluster {address}: no worker started within {_START_SECONDS:.0f} s; is the "
            "cluster busy? See `ray status`"
        )
    return started


def kill_actor(actor: Any) -> None:
    """Kill an actor, if it is alive."""
    with suppress(RayError, ValueError):
        ray.kill(actor)


def is_alive(node: str) -> bool:
    """Whether a machine belongs to the cluster."""
    return node in _alive_nodes()


def reason_of(error: RayError) -> str:
    """Describe the death of an actor in a few words."""
    text = str(error)
    found = re.search(r"(?i)worker exit detail: ([^.\n]+)|(out of memory)", text)
    return found[0] if found else first_line(error)


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
