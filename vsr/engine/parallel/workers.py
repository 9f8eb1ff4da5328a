"""The workers of a command: chosen by its options, started once, shared by its films."""

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from vsr.engine.parallel.dispatch import ParallelRun
from vsr.engine.parallel.local_pool import LocalPool
from vsr.engine.parallel.placement import (
    Placement,
    check_count,
    least_memory,
    place_workers,
    split_devices,
    unlike_devices,
)
from vsr.engine.parallel.pool import Pool
from vsr.engine.parallel.processes import call_in_each
from vsr.engine.parallel.sharing import SharedPool
from vsr.engine.resume.journal import Journal
from vsr.engine.run import RunOptions
from vsr.engine.segment_run import SegmentRun
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import VsrError

if TYPE_CHECKING:
    from vsr.engine.parallel.ray_pool import RayPool

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Processes that upscale films together, or none: then the calling process does it alone.

    They start with the first film, and stay until `close`, with all that they loaded. The output is
    the same, whatever their count. Several threads can upscale a film each: then the films share
    the processes, and those that started earlier come first.
    """

    def __init__(
        self, device: str = "auto", count: int | None = None, cluster: str | None = None
    ) -> None:
        """Use one process for each of several GPUs, or `count` processes on the CPU.

        `device` is `auto`, `cpu`, `cuda`, `cuda:N`, a list such as `cuda:0,cuda:1`, or `all`, all
        GPUs. Raises `VsrError` for devices that are missing, for a `count` on a GPU, and for one
        that isn't from 1 to 1024.

        `cluster` is the address of a Ray cluster, or `auto`: it has a worker on each GPU or,
        without GPUs, `count` workers on each machine.
        """
        self.is_cluster = cluster is not None
        """Whether the processes may be on other machines."""
        self._cluster: RayPool | None = None
        self._pool: Pool | None = None
        self._shared: SharedPool | None = None
        self._placements: tuple[Placement, ...] = ()
        self._lock = threading.Lock()
        self._left_out: tuple[str, ...] = ()
        check_count(count)
        if cluster is not None:
            try:
                from vsr.engine.parallel import ray_pool
            except ImportError as error:
                raise VsrError("--cluster needs Ray: pip install 'vsr[cluster]'") from error
            self._pool = self._cluster = ray_pool.RayPool(cluster, device, count)
            self._left_out = self._cluster.left_out
            self._devices = [self._cluster.machines[0].device]
            return
        self._devices = split_devices(device)
        self._placements = place_workers(self._devices, count)
        if count is not None and len(self._devices) == 1:
            self._devices = ["cpu"]  # `auto` may be another device without CUDA

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def device(self) -> str:
        """The device of the calling process; that of the workers, if they are on the CPU."""
        on_cpu = self._placements and len(self._devices) == 1
        return "cpu" if on_cpu else self._devices[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the processes; empty if there are none."""
        if self._cluster is not None:
            return self._cluster.names
        return tuple(placement.name for placement in self._placements)

    @property
    def memory(self) -> int:
        """Memory in bytes of the device that has least, by which all choose their tiles."""
        if self._cluster is not None:
            return self._cluster.memory
        return least_memory(self._devices)

    def take_left_out(self) -> tuple[str, ...]:
        """Return lines about workers that didn't start, for the first film alone."""
        lines, self._left_out = self._left_out, ()
        return lines

    def unlike_machines(self, options: UpscaleOptions) -> str | None:
        """Return a line about machines whose samples may differ.

        Raises `VsrError` for them, unless backend and precision are given.
        """
        line = None if self._cluster is None else self._cluster.unlike
        if line is None:
            return None
        if options.backend == "auto" or options.precision == "auto":
            raise VsrError(
                f"--cluster: {line}; give --backend and --precision, and samples may still differ "
                "in the last bit"
            )
        return f"{line}: samples may differ in the last bit from those of one machine"

    def run(
        self, session: UpscaleSession, journal: Journal, run_options: RunOptions
    ) -> SegmentRun | ParallelRun:
        """Return the run that upscales the pending segments of an output."""
        if not self.names:
            return SegmentRun(session, journal, run_options)
        several = self._cluster is None and len(self._devices) > 1
        if several and (line := unlike_devices(self._devices)):
            session.reader.notes.append(line)
        return ParallelRun(session, journal, run_options, self.shared, self.memory)

    @property
    def shared(self) -> SharedPool:
        """The processes, as films share them."""
        with self._lock:
            if self._shared is None:
                self._pool = self._pool or LocalPool(self._placements)
                self._shared = SharedPool(self._pool)
            return self._shared

    def until_abandoned(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield items; raises `Interrupted` once all films that share the processes have to end."""
        for item in items:
            if self._shared is not None:
                self._shared.check()
            yield item

    def call_each(self, function: Callable[..., Result], *arguments: Any) -> list[Result]:
        """Call a function in a process for each worker at the same time, and return its results.

        Its first argument is the device of the worker. Raises the `VsrError` that it raises, and
        `VsrError` if a process dies.
        """
        if self._cluster is not None:
            return self._cluster.call_each(function, *arguments)
        return call_in_each(self._placements, function, *arguments)

    def close(self) -> None:
        """End the processes."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None
