"""The workers of a command: chosen by its options, started once, shared by its films."""

from vsr.engine.parallel.dispatch import ParallelRun
from vsr.engine.parallel.local_pool import LocalPool
from vsr.engine.parallel.placement import (
    least_memory,
    place_workers,
    split_devices,
    unlike_devices,
)
from vsr.engine.parallel.pool import Pool
from vsr.engine.resume.journal import Journal
from vsr.engine.run import RunOptions
from vsr.engine.segment_run import SegmentRun
from vsr.engine.session import UpscaleSession


class Workers:
    """Processes that upscale films together, or none: then the calling process does it alone.

    They start with the first film, and stay until `close`, with all that they loaded. The output is
    the same, whatever their count.
    """

    def __init__(self, device: str = "auto", count: int | None = None) -> None:
        """Use one process for each of several GPUs, or `count` processes on the CPU.

        `device` is `auto`, `cpu`, `cuda`, `cuda:N`, a list such as `cuda:0,cuda:1`, or `all`, all
        GPUs. Raises `VsrError` for devices that are missing, and for a `count` on a GPU.
        """
        self._devices = split_devices(device)
        self._placements = place_workers(self._devices, count)
        self._pool: Pool | None = None

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
        return tuple(placement.name for placement in self._placements)

    def run(
        self, session: UpscaleSession, journal: Journal, run_options: RunOptions
    ) -> SegmentRun | ParallelRun:
        """Return the run that upscales the pending segments of an output."""
        if not self._placements:
            return SegmentRun(session, journal, run_options)
        if len(self._devices) > 1 and (line := unlike_devices(self._devices)):
            session.reader.notes.append(line)
        if self._pool is None:
            self._pool = LocalPool(self._placements)
        memory = least_memory(self._devices)
        return ParallelRun(session, journal, run_options, self._pool, memory)

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
