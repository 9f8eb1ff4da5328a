"""How commands tell of their progress, and how they are stopped."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vsr.cli.streams import is_terminal, say, tell

if TYPE_CHECKING:
    import threading

    from rich.progress import ProgressColumn

INTERRUPTED = 130
"""The exit code of what was stopped."""
_PLAIN_PROGRESS_SECONDS = 10


@contextmanager
def progress_bar(
    columns: list[str], quiet: bool = False, **fields: Any
) -> Iterator[Callable[..., None]]:
    """A function `update(done, total, **fields)` that draws progress on standard error.

    A bar on a terminal; elsewhere a plain line now and then.
    """
    if quiet:
        yield lambda done, total, **fields: None
        return
    if not is_terminal():
        yield _plain_progress(columns)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    shown: list[ProgressColumn] = [BarColumn(), MofNCompleteColumn()]
    shown += [TextColumn(column) for column in columns]
    shown += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
    with Progress(*shown, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, **fields)
        yield lambda done, total, **fields: progress.update(
            task, completed=done, total=total, **fields
        )


def _plain_progress(columns: list[str]) -> Callable[..., None]:
    from time import monotonic
    from types import SimpleNamespace

    last_time, last_done = monotonic(), 0

    def update(done: int, total: int | None, **fields: Any) -> None:
        nonlocal last_time, last_done
        seconds = monotonic() - last_time
        if seconds < _PLAIN_PROGRESS_SECONDS:
            return
        rate = (done - last_done) / seconds
        last_time, last_done = monotonic(), done
        task = SimpleNamespace(fields=fields)
        values = "".join(f", {text}" for column in columns if (text := column.format(task=task)))
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        say(f"{done} of {total or '?'}{values}{left}", err=True)

    return update


@contextmanager
def stop_gently() -> "Iterator[threading.Event]":
    """An event that the first Ctrl-C sets; the second ends at once."""
    import threading

    stop = threading.Event()

    def interrupt(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        tell("ending the segment in hand; Ctrl-C again to end at once")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def stop_on_signals() -> "Iterator[threading.Event]":
    """An event that SIGINT and SIGTERM set instead of ending the process."""
    import threading

    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
