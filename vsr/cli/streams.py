"""Output of commands, also where a standard stream is closed or full."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator

import click

from vsr.errors import OutputError

_failures: list[OSError] = []
"""The first error of standard output in this command, if any."""


def open_standard_streams() -> None:
    """Open file descriptors 0 to 2 where they are closed, so that no other file gets one of them.

    Libraries write to descriptor 2: without this, they could write into a film. `sys.stdin`,
    `sys.stdout` and `sys.stderr` stay None where they were closed. Characters that a stream's
    encoding lacks are escaped, since file names can contain any.
    """
    _failures.clear()
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def print_result(text: str, err: bool = False, nl: bool = True) -> None:
    """Print a result on standard output, or with `err` on standard error.

    An error of standard output is kept until the command is done, see `raise_output_errors`. An
    error of standard error is ignored, since it can't be reported anywhere.
    """
    if _failures and not err:
        return
    try:
        click.echo(text, err=err, nl=nl)
    except OSError as error:
        if not err:
            _failures.append(error)
        _silence(2 if err else 1)


def print_message(line: str) -> None:
    """Print a line for the user on standard error."""
    print_result(f"vsr: {line}", err=True)


class _LineHandler(logging.Handler):
    def __init__(self, message: Callable[[str], None]) -> None:
        super().__init__()
        self._message = message

    def emit(self, record: logging.LogRecord) -> None:
        self._message(record.getMessage())


@contextlib.contextmanager
def logged_lines(message: Callable[[str], None]) -> Iterator[None]:
    """Pass what networks log, such as the start of a long measurement, to `message`."""
    logger = logging.getLogger("vsr.models")
    before = logger.level, logger.handlers, logger.propagate
    logger.setLevel(logging.INFO)
    logger.handlers, logger.propagate = [_LineHandler(message)], False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.handlers, logger.propagate = before[1:]


def raise_output_errors() -> None:
    """Raise `OutputError` if a result couldn't be printed."""
    if _failures:
        error = _failures[0]
        raise OutputError(f"standard output: {str(error.strerror or error).lower()}")


def is_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def _silence(descriptor: int) -> None:
    """Redirect a stream to the null device, or Python reports the error again at exit."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
