"""Processes of this machine that upscale."""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from vsr.engine.parallel.placement import Placement
from vsr.engine.parallel.pool import WorkerBug
from vsr.errors import VsrError

SPAWN = multiprocessing.get_context("spawn")
_END_SECONDS = 10.0

Result = TypeVar("Result")


def start_process(process: SpawnProcess) -> None:
    """Start a process that Ctrl-C doesn't reach, not even while it imports its modules.

    Ctrl-C reaches all processes of a terminal; the caller ends this one.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        process.start()
        return
    resource_tracker.ensure_running()  # which would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill_process(process: SpawnProcess) -> None:
    """Kill a process, and wait until it has ended."""
    with suppress(OSError, ValueError):
        process.kill()
    process.join(_END_SECONDS)


def ending(process: SpawnProcess) -> str:
    """Describe how a process ended, such as "killed by SIGTERM"."""
    code = process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = ", perhaps for lack of memory" if name == "SIGKILL" else ""
        return f"killed by {name}{memory}"
    return f"exit code {code}"


def bug(error: Exception) -> WorkerBug:
    """Return an error, with its traceback as text, that can be sent to another process."""
    return WorkerBug(f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")


def call_in_each(
    placements: Sequence[Placement], function: Callable[..., Result], *arguments: Any
) -> list[Result]:
    """Call a function in a process for each placement at the same time, and return its results.

    Its first argument is the device. Raises the `VsrError` that it raises, `VsrError` if a process
    dies, and `WorkerBug`.
    """
    with ExitStack() as stack:
        calls = [_Call(placement, function, arguments, stack) for placement in placements]
        return [call.result() for call in calls]


class _Call:
    """A call in a process of its own."""

    def __init__(
        self,
        placement: Placement,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        stack: ExitStack,
    ) -> None:
        """Start the call; `stack` ends the process."""
        self._name = placement.name
        self._connection, other = SPAWN.Pipe(duplex=False)
        self._process = SPAWN.Process(
            target=_answer,
            args=(other, placement, function, arguments),
            name=f"vsr-{placement.name}",
            daemon=True,
        )
        stack.callback(self._connection.close)
        start_process(self._process)
        stack.callback(kill_process, self._process)
        other.close()

    def result(self) -> Any:
        """Wait for the result."""
        try:
            result = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(_END_SECONDS)
            raise VsrError(
                f"{self._name} died ({ending(self._process)}); use fewer workers"
            ) from error
        if isinstance(result, Exception):
            raise result
        return result


def ignore_interrupts() -> None:
    """Ignore Ctrl-C in this process, also on Windows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _answer(
    connection: Connection,
    placement: Placement,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    ignore_interrupts()
    placement.apply()
    try:
        result = function(placement.device, *arguments)
    except VsrError as error:
        result = error
    except Exception as error:
        result = bug(error)
    with suppress(OSError):  # the caller has ended
        connection.send(result)
