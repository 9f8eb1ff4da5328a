"""The command line: thin commands, whose heavy imports wait until one is run."""

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
from vsr.errors import Interrupted, VsrError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a user's mistake becomes one line and exit code 1."""
    # Ended from outside, leave as tidily as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        cli.main(args=arguments, prog_name="vsr", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("vsr: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except Interrupted as error:
        click.echo(f"vsr: {error}", err=True)
        sys.exit(INTERRUPTED)
    except VsrError as error:
        click.echo(f"vsr: {error}", err=True)
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
