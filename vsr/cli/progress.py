"""Progress on standard error, and a clean stop at Ctrl-C."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vsr.cli.streams import is_terminal, print_message, print_result

if TYPE_CHECKING:
    import threading

    from rich.progress import ProgressColumn

INTERRUPTED = 130
"""Exit code of an interrupted command: 128 + SIGINT."""
_PLAIN_PROGRESS_SECONDS = 10
"""Seconds between progress lines where standard error is not a terminal."""
_ANNOUNCEMENT_SECONDS = 1.0
"""Time limit for printing what the first Ctrl-C does; a full pipe may block that."""


@contextmanager
def progress_bar(
    columns: list[str], quiet: bool = False, **fields: Any
) -> Iterator[Callable[..., None]]:
    """Show progress on standard error: a bar on a terminal, elsewhere a line every ten seconds.

    Yields `update(done, total, **fields)`. `columns` are format strings with the fields as
    `task.fields[NAME]`; `fields` holds their first values. A field `left`, if there is one, is
    shown in place of the time left that the bar estimates. `quiet` shows nothing.
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
    shown.append(TimeElapsedColumn())
    if "left" in fields:
        shown.append(TextColumn("{task.fields[left]}"))
    else:
        shown += [TextColumn("left"), TimeRemainingColumn()]
    console = Console(stderr=True)
    # The bar would send results to standard error, where that alone is a terminal.
    redirects = sys.stdout is not None and sys.stdout.isatty()
    with Progress(*shown, console=console, transient=True, redirect_stdout=redirects) as progress:
        task = progress.add_task("", total=None, **fields)
        yield lambda done, total, **fields: progress.update(
            task, completed=done, total=total, **fields
        )


def _plain_progress(columns: list[str]) -> Callable[..., None]:
    from datetime import timedelta
    from time import monotonic
    from types import SimpleNamespace

    last_time = monotonic()
    since: tuple[float, int] | None = None  # time and count of the last line, or of the first call

    def update(done: int, total: int | None, **fields: Any) -> None:
        nonlocal last_time, since
        now = monotonic()
        since = since or (now, done)
        if now - last_time < _PLAIN_PROGRESS_SECONDS:
            return
        seconds, count = now - since[0], done - since[1]
        last_time, since = now, (now, done)
        task = SimpleNamespace(fields=fields)
        values = "".join(f", {text}" for column in columns if (text := column.format(task=task)))
        left = fields.get("left", "")
        if "left" not in fields and total and count > 0:
            left = f"{timedelta(seconds=round((total - done) * seconds / count))} left"
        print_result(f"{done} of {total or '?'}{values}{left and f', {left}'}", err=True)

    return update


@contextmanager
def stop_on_interrupt(
    message: Callable[[str], None] = print_message,
) -> "Iterator[threading.Event]":
    """Yield an event that the first Ctrl-C sets. The second raises `KeyboardInterrupt`.

    `message` is called with a line for the user, in another thread: the main thread may be printing
    when the signal interrupts it, and hold the locks of that.
    """
    import threading

    stop = threading.Event()
    line = "finishing the current segment; press Ctrl-C again to stop at once"
    announcement = threading.Thread(target=message, args=(line,), daemon=True)

    def interrupt(signum: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        announcement.start()

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
        if announcement.ident is not None:
            announcement.join(_ANNOUNCEMENT_SECONDS)


@contextmanager
def stop_on_signals() -> "Iterator[threading.Event]":
    """Yield an event that SIGINT and SIGTERM set instead of ending the process."""
    import threading

    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
