"""The processes and caches behind films, previews, plans and reports of one server."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from vsr.web.computations import Computation, Computations
from vsr.web.disk_cache import DiskCache
from vsr.web.films import Films
from vsr.web.plans import Plans
from vsr.web.preview_worker import describe_device, warm_up
from vsr.web.previews import FRAME_PRIORITY, PLAN_PRIORITY, Previews
from vsr.web.results import Results
from vsr.web.workers import Lane

_FILM_BYTES, _REPORT_BYTES = 200_000_000, 4_000_000_000
"""Limits of the caches on disk; reports include copies that browsers play."""


class Views:
    """Everything that shows films and results; processes start with the first task."""

    def __init__(self, folder: Path, preview_bytes: int) -> None:
        """Keep results in `folder`, of previews and plans up to `preview_bytes`."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._publish: Callable[[Computation], None] = lambda computation: None
        self._media, self._heavy = Lane("media", workers=2), Lane("preview")
        self._reports = Lane("report", workers=2, niceness=10)
        self._is_warm = False
        self._device: Future[str] | None = None
        self.films = Films(
            Computations(self._media, DiskCache(folder / "films", _FILM_BYTES)),
        )
        shared = Computations(
            self._heavy, DiskCache(folder / "previews", preview_bytes), self._changed
        )
        self.previews, self.plans = Previews(shared), Plans(shared)
        reports = DiskCache(folder / "reports", _REPORT_BYTES)
        self.results = Results(
            light=Computations(self._media, reports), heavy=Computations(self._reports, reports)
        )

    def start(self, publish: Callable[[Computation], None]) -> None:
        """Publish changes of previews and plans in the running event loop."""
        self._loop, self._publish = asyncio.get_running_loop(), publish

    def device(self) -> Future[str]:
        """Describe the device, in the process of previews: the server itself imports no torch."""
        if self._device is None or (self._device.done() and self._device.exception()):
            self._device = self._heavy.submit(describe_device, priority=FRAME_PRIORITY)
        return self._device

    def warm_up(self) -> None:
        """Start the process of previews, unless that was done: one is likely to be asked for."""
        if not self._is_warm:
            self._is_warm = True
            self._heavy.submit(warm_up, priority=PLAN_PRIORITY)

    def close(self) -> None:
        """End all processes."""
        self._loop = None
        for lane in (self._media, self._heavy, self._reports):
            lane.close()

    def _changed(self, computation: Computation) -> None:
        if (loop := self._loop) is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._publish, computation)
