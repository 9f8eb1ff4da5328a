"""The command line in this process, which spares loading torch each time."""

import contextlib
import io
import signal
import sys
from subprocess import CompletedProcess
from unittest.mock import patch

import pytest

from vsr.cli import main


def vsr(*arguments: object) -> CompletedProcess[str]:
    """Run a command in this process; what it returned and printed."""
    words = [str(argument) for argument in arguments]
    stdout, stderr = io.StringIO(), io.StringIO()
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        with (
            patch.object(sys, "argv", ["vsr", *words]),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
            pytest.raises(SystemExit) as end,
        ):
            main(words)
    finally:
        signal.signal(signal.SIGTERM, on_terminate)
    code = end.value.code
    assert isinstance(code, int)
    return CompletedProcess(["vsr", *words], code, stdout.getvalue(), stderr.getvalue())


def complaint(*arguments: object) -> str:
    """Run a command that must fail; its error message, which is one line."""
    done = vsr(*arguments)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.startswith("vsr: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr
