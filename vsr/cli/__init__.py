"""Command line interface: one file per command. Each command imports heavy modules when it runs."""

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
from vsr.cli.compare import compare_command
from vsr.cli.data import data_group
from vsr.cli.doctor import doctor_command
from vsr.cli.evaluate import evaluate_command
from vsr.cli.export import export_command
from vsr.cli.image import image_command
from vsr.cli.models import models_group
from vsr.cli.plan import plan_command
from vsr.cli.profiles import profiles_command
from vsr.cli.progress import INTERRUPTED
from vsr.cli.serve import serve_command
from vsr.cli.streams import (
    logged_lines,
    open_standard_streams,
    print_message,
    raise_output_errors,
)
from vsr.cli.train import train_command
from vsr.cli.upscale import upscale_command
from vsr.cli.verify import verify_command
from vsr.errors import Interrupted, VsrError

_SYSTEM_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EROFS)
"""Errors of the operating system that can come without a file name. They are not bugs."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. A `VsrError` is printed as one line, with exit code 1."""
    open_standard_streams()
    # SIGTERM unwinds the stack as Ctrl-C does, so that partial files are removed.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    # Python takes some tenths of a second to exit; Ctrl-C must not change the exit code by then.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        with logged_lines(print_message):
            cli.main(args=arguments, prog_name="vsr", standalone_mode=False)
        raise_output_errors()
    except click.ClickException as error:
        if sys.stderr is not None:
            with contextlib.suppress(OSError):
                error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print_message("interrupted")
        sys.exit(INTERRUPTED)
    except Interrupted as error:
        print_message(str(error))
        sys.exit(INTERRUPTED)
    except VsrError as error:
        print_message(str(error))
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.errno not in _SYSTEM_ERRORS:
            raise
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        print_message(f"{place}{str(error.strerror or error).lower()}")
        sys.exit(1)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    sys.exit(0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vsr")
def cli() -> None:
    """Upscale video and pictures; train and compare super-resolution models.

    \b
    vsr upscale holiday.mp4 holiday-large.mp4
    """


for command in (
    upscale_command,
    plan_command,
    verify_command,
    image_command,
    data_group,
    train_command,
    evaluate_command,
    compare_command,
    serve_command,
    export_command,
    models_group,
    profiles_command,
    doctor_command,
):
    cli.add_command(command)
