"""What commands print, also where a standard stream is closed, full or gone."""

import contextlib
import os
import sys

import click

from vsr.errors import OutputError

_failures: list[OSError] = []
"""Of standard output, the first of this command."""


def open_standard_streams() -> None:
    """Have the numbers 0 to 2 taken, so that no file opened later gets one of them.

    Libraries print to 2 by its number: without this, into a film. `sys.stdin`, `sys.stdout` and
    `sys.stderr` stay None where they were closed. Characters that a stream's encoding lacks are
    escaped, for names of files may hold any.
    """
    _failures.clear()
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def say(text: str, err: bool = False, nl: bool = True) -> None:
    """Print a result on standard output, or else on standard error.

    An error of standard output waits until the command is done, see `check_said`; of standard
    error, there is nobody left to hear of it.
    """
    if _failures and not err:
        return
    try:
        click.echo(text, err=err, nl=nl)
    except OSError as error:
        if not err:
            _failures.append(error)
        _silence(2 if err else 1)


def tell(line: str) -> None:
    """Print a line that the user should know on standard error, if anybody can read it."""
    say(f"vsr: {line}", err=True)


def check_said() -> None:
    """Raise `OutputError` where a result couldn't be printed."""
    if _failures:
        error = _failures[0]
        raise OutputError(f"standard output: {str(error.strerror or error).lower()}")


def is_terminal() -> bool:
    """Whether standard error is one."""
    return sys.stderr is not None and sys.stderr.isatty()


def _silence(number: int) -> None:
    """Lead a stream nowhere, or Python complains once more when it ends."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
