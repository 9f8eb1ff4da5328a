"""Results that are computed once, by a hash of all that determines them."""

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vsr import __version__
from vsr.errors import VsrError
from vsr.web.disk_cache import DiskCache
from vsr.web.workers import Lane

State = Literal["waiting", "running", "done", "failed"]
_RESULT = "result.json"
_KEY = re.compile(r"[0-9a-f]{32}")
_KEPT = 500
"""Computations in memory; results stay on disk."""


@dataclass(frozen=True)
class Computation:
    """A result, or the state of its computation."""

    key: str
    """Hash of all that determines the result."""
    subject: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for, as JSON."""
    state: State = "waiting"
    error: VsrError | None = None
    """Why it failed."""
    result: Mapping[str, Any] = field(default_factory=dict)
    """The result, as JSON."""
    folder: Path | None = None
    """Folder of the result's files, if it is done."""


@dataclass(frozen=True)
class Work:
    """How to compute a result: a function, which runs in a process of its own.

    It is called with a folder for files and the arguments, and returns the result as JSON.
    """

    function: Callable[..., Mapping[str, Any]]
    arguments: tuple[Any, ...]
    priority: int = 0
    newest_first: bool = False
    most_waiting: int | None = None
    seconds: float = 600
    is_fresh: bool = False


class Computations:
    """Computes results in the processes of a lane, and keeps them on disk."""

    def __init__(
        self,
        lane: Lane,
        cache: DiskCache,
        on_change: Callable[[Computation], None] = lambda computation: None,
    ) -> None:
        """`on_change` is called in any thread after each change of state."""
        self._lane, self._cache, self._on_change = lane, cache, on_change
        self._lock = threading.RLock()
        self._known: OrderedDict[str, Computation] = OrderedDict()
        self._futures: dict[str, Future[Computation]] = {}

    def request(
        self, identity: tuple[object, ...], subject: Mapping[str, Any], work: Work
    ) -> tuple[Computation, Future[Computation]]:
        """Return the result for an identity, or start to compute it unless that was started.

        The future gives the finished computation, which may have failed. A failed one is repeated.
        """
        key = key_of(identity)
        with self._lock:
            if key in self._futures:
                return self._known[key], self._futures[key]
            found = self.find(key)
            future: Future[Computation] = Future()
            if found is not None and found.state == "done":
                future.set_result(found)
                return found, future
            computation = Computation(key, subject)
            partial = self._cache.begin(key)  # first: it fails where the disk is full
            self._remember(computation)
            self._futures[key] = future
        self._on_change(computation)
        try:
            task = self._lane.submit(
                work.function,
                partial,
                *work.arguments,
                priority=work.priority,
                newest_first=work.newest_first,
                most_waiting=work.most_waiting,
                seconds=work.seconds,
                is_fresh=work.is_fresh,
                on_start=lambda: self._change(replace(computation, state="running")),
            )
        except VsrError as error:
            return self._fail(computation, partial, error), future
        task.add_done_callback(lambda done: self._finish(computation, partial, done))
        return self._known.get(key, computation), future

    def find(self, key: str) -> Computation | None:
        """Return a computation that was requested, in this run or an earlier one."""
        if not _KEY.fullmatch(key):
            return None
        with self._lock:
            known = self._known.get(key)
            if known is not None and known.state != "done":
                return known
            folder = self._cache.find(key)
            if folder is None:
                self._known.pop(key, None)
                return None
            if known is None:
                try:
                    stored = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    return None
                known = Computation(key, stored["subject"], "done", None, stored["result"], folder)
                self._remember(known)
            return known

    def _finish(self, computation: Computation, partial: Path, task: Future[Any]) -> None:
        error = task.exception()
        if isinstance(error, VsrError):
            self._fail(computation, partial, error)
            return
        stored = {"subject": dict(computation.subject), "result": task.result()}
        try:
            (partial / _RESULT).write_text(json.dumps(stored), encoding="utf-8")
            folder = self._cache.finish(computation.key, partial)
        except OSError as failure:
            line = f"the result can't be written: {failure.strerror or failure}"
            self._fail(computation, partial, VsrError(line))
            return
        done = replace(computation, state="done", result=stored["result"], folder=folder)
        self._end(done)

    def _fail(self, computation: Computation, partial: Path, error: VsrError) -> Computation:
        self._cache.discard(partial)
        failed = replace(computation, state="failed", error=error)
        self._end(failed)
        return failed

    def _end(self, computation: Computation) -> None:
        with self._lock:
            future = self._futures.pop(computation.key)
            self._change(computation)
        future.set_result(computation)

    def _change(self, computation: Computation) -> None:
        with self._lock:
            self._remember(computation)
        self._on_change(computation)

    def _remember(self, computation: Computation) -> None:
        self._known[computation.key] = computation
        self._known.move_to_end(computation.key)
        while len(self._known) > _KEPT:
            oldest = next(key for key in self._known if key not in self._futures)
            del self._known[oldest]


def key_of(identity: tuple[object, ...]) -> str:
    """Hash all that determines a result, and the version of this package."""
    text = repr((__version__, *identity))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
