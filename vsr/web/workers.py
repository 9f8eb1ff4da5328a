"""Run functions in processes of their own, so that broken files can't stop the server.

A process that crashes or exceeds its time costs one task: it is replaced.
"""

import heapq
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection, wait
from typing import Any

from vsr.errors import VsrError

_SPAWN = multiprocessing.get_context("spawn")
_KILL_SECONDS = 5.0
_log = logging.getLogger(__name__)


class TaskFailed(VsrError):
    """A task ended without a result, by a crash, a time limit or a bug."""


class TaskDropped(VsrError):
    """A task was removed from the queue before it started."""


class _Died(Exception):
    """The process of a task ended before the task did."""


@dataclass(order=True)
class _Task:
    """A function to call in a process."""

    rank: tuple[int, int]
    """Tasks of lower ranks are started first."""
    function: Callable[..., Any] = field(compare=False)
    arguments: tuple[Any, ...] = field(compare=False)
    future: Future[Any] = field(compare=False)
    seconds: float = field(compare=False)
    is_fresh: bool = field(compare=False)
    on_start: Callable[[], None] = field(compare=False)


class Lane:
    """A queue of tasks, and the processes that run them.

    A process is started with the first task, and stays for the next ones with all that it loaded.
    """

    def __init__(self, name: str, workers: int = 1, niceness: int = 0) -> None:
        """Run up to `workers` tasks at once, at a lower priority of the system by `niceness`."""
        self._name, self._niceness = name, niceness
        self._condition = threading.Condition()
        self._waiting: list[_Task] = []
        self._numbers = count()
        self._is_closed = False
        self._running: set[_Worker] = set()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{index}", daemon=True)
            for index in range(workers)
        ]

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        priority: int = 0,
        newest_first: bool = False,
        most_waiting: int | None = None,
        seconds: float = 600,
        is_fresh: bool = False,
        on_start: Callable[[], None] = lambda: None,
    ) -> Future[Any]:
        """Call a function in a process; it and its arguments are pickled.

        Tasks of a lower `priority` are started first, and among those of one priority the oldest,
        or the newest. The oldest of more than `most_waiting` tasks of a priority is dropped. After
        `seconds`, the process is killed. A fresh process runs no other task. A task whose process
        dies is repeated once. `on_start` is called in another thread. The future raises the
        function's `VsrError`, `TaskFailed` or `TaskDropped`.
        """
        with self._condition:
            number = next(self._numbers)
            rank = (priority, -number if newest_first else number)
            task = _Task(
                rank=rank,
                function=function,
                arguments=arguments,
                future=Future(),
                seconds=seconds,
                is_fresh=is_fresh,
                on_start=on_start,
            )
            if self._is_closed:
                raise TaskDropped("the server is stopping")
            for thread in self._threads if number == 0 else ():
                thread.start()
            heapq.heappush(self._waiting, task)
            dropped = self._excess(priority, most_waiting)
            self._condition.notify()
        if dropped is not None:
            dropped.future.set_exception(TaskDropped("newer requests took its place"))
        return task.future

    @property
    def pids(self) -> list[int]:
        """Identifiers of the processes."""
        with self._condition:
            return [worker.pid for worker in self._running]

    def close(self) -> None:
        """Kill all processes; tasks fail."""
        with self._condition:
            self._is_closed = True
            waiting, self._waiting = self._waiting, []
            running = list(self._running)
            self._condition.notify_all()
        for task in waiting:
            task.future.set_exception(TaskDropped("the server is stopping"))
        for worker in running:
            worker.kill()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_KILL_SECONDS)

    def _excess(self, priority: int, most: int | None) -> _Task | None:
        """Remove and return the oldest of too many tasks of a priority."""
        tasks = [task for task in self._waiting if task.rank[0] == priority]
        if most is None or len(tasks) <= most:
            return None
        oldest = min(tasks, key=lambda task: abs(task.rank[1]))
        self._waiting.remove(oldest)
        heapq.heapify(self._waiting)
        return oldest

    def _run(self) -> None:
        """Run tasks until the lane is closed."""
        worker: _Worker | None = None
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    break
                task = heapq.heappop(self._waiting)
            task.on_start()
            kept, result, error = self._call(None if task.is_fresh else worker, task)
            if not task.is_fresh:
                worker = kept
            else:
                self._stop(kept)
            if error is None:
                task.future.set_result(result)
            else:
                task.future.set_exception(error)
        self._stop(worker)

    def _call(
        self, worker: "_Worker | None", task: _Task
    ) -> "tuple[_Worker | None, Any, VsrError | None]":
        """Run a task, a second time in another process if its own dies.

        Returns the process for the next task, the result and the error.
        """
        died: _Died | None = None
        for _ in range(2):
            try:
                worker = worker or self._start()
                return worker, worker.call(task.function, task.arguments, task.seconds), None
            except VsrError as error:
                return worker, None, error
            except TimeoutError:
                self._stop(worker)
                return None, None, TaskFailed(f"took more than {task.seconds:g} seconds")
            except _Died as error:
                self._stop(worker)
                worker, died = None, error
                if self._is_closed:
                    break
            except Exception as error:  # no process can be started, or no result be unpickled
                _log.exception("%s failed", task.function.__name__)
                self._stop(worker)
                return None, None, TaskFailed(f"failed: {type(error).__name__}: {error}")
        return None, None, TaskFailed(str(died))

    def _start(self) -> "_Worker":
        worker = _Worker(self._name, self._niceness)
        with self._condition:
            self._running.add(worker)
            is_closed = self._is_closed
        if is_closed:
            worker.kill()
        return worker

    def _stop(self, worker: "_Worker | None") -> None:
        if worker is not None:
            with self._condition:
                self._running.discard(worker)
            worker.close()


class _Worker:
    """A process that calls functions, one after another."""

    def __init__(self, name: str, niceness: int) -> None:
        self._connection, other = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(other, niceness), name=f"vsr-{name}", daemon=True
        )
        self._process.start()
        other.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> Any:
        """Call a function in the process; raises `VsrError`, `TimeoutError` or `_Died`."""
        try:
            self._connection.send((function, arguments))
            if not self._connection.poll(seconds):
                raise TimeoutError
            outcome, value = self._connection.recv()
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            self._process.join(_KILL_SECONDS)
            raise _Died(f"its process ended (exit code {self._process.exitcode})") from error
        if outcome == "result":
            return value
        if outcome == "refused":
            raise value
        line, trace = value
        _log.error("%s failed\n%s", function.__name__, trace)
        raise TaskFailed(f"failed: {line}; the server's log has more")

    def kill(self) -> None:
        """End the process at once; a call in another thread raises `_Died`."""
        with suppress(OSError, ValueError):
            self._process.kill()

    def close(self) -> None:
        """End the process, and wait until it has ended."""
        self.kill()
        self._process.join(_KILL_SECONDS)
        self._connection.close()


def _serve(connection: Connection, niceness: int) -> None:
    """Call the functions that arrive, until the parent closes the connection or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)
    while True:
        try:
            function, arguments = connection.recv()
        except (EOFError, OSError):
            return
        outcome: tuple[str, Any]
        try:
            outcome = ("result", function(*arguments))
        except VsrError as error:
            outcome = ("refused", error)
        except Exception as error:
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            outcome = ("failed", (line, traceback.format_exc()))
        with suppress(OSError):
            connection.send(outcome)


def _end_with_parent() -> None:
    """End this process when the parent ends, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
