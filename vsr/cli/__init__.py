"""The command line: thin commands, whose heavy imports wait until one is run."""

import atexit
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from vsr import __version__
from vsr.cli.about import doctor, export, models
from vsr.cli.films import image, plan, upscale, verify
from vsr.cli.judging import compare, evaluate
from vsr.cli.learning import data, train
from vsr.cli.progress import INTERRUPTED
from vsr.cli.streams import check_said, open_standard_streams, tell
from vsr.errors import Interrupted, VsrError

_OF_THE_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EROFS)
"""Errors that no name of a file comes with, and that are no bugs of ours."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a user's mistake becomes one line and exit code 1."""
    open_standard_streams()
    # Ended from outside, leave as tidily as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    # All is done by then, and Python's end takes a while: Ctrl-C mustn't change the exit code.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        cli.main(args=arguments, prog_name="vsr", standalone_mode=False)
        check_said()
    except click.ClickException as error:
        if sys.stderr is not None:
            with contextlib.suppress(OSError):
                error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        tell("interrupted")
        sys.exit(INTERRUPTED)
    except Interrupted as error:
        tell(str(error))
        sys.exit(INTERRUPTED)
    except VsrError as error:
        tell(str(error))
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.errno not in _OF_THE_SYSTEM:
            raise
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        tell(f"{place}{str(error.strerror or error).lower()}")
        sys.exit(1)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    sys.exit(0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vsr")
def cli() -> None:
    """Make film and pictures sharper and larger.

    \b
    vsr upscale holiday.mp4 holiday-large.mp4
    """


for command in (
    upscale,
    plan,
    verify,
    image,
    data,
    train,
    evaluate,
    compare,
    export,
    models,
    doctor,
):
    cli.add_command(command)
