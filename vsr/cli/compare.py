"""`vsr compare`: films side by side on one page."""

from pathlib import Path

import click

from vsr.cli.options import FILE, overwrite_option
from vsr.cli.streams import print_message, print_result


@click.command("compare")
@click.argument("films", metavar="A B...", type=FILE, nargs=-1, required=True)
@click.option("--html", "page", type=FILE, required=True, help="The page to write.")
@overwrite_option
def compare_command(films: tuple[Path, ...], page: Path, overwrite: bool) -> None:
    """Write an HTML page that plays films side by side, in step.

    The page has a draggable divider, zoom, frame stepping, a difference view and x-t slices. It
    works offline in any browser. Small films are embedded in the page; large ones are played from
    their own files.

    \b
    vsr compare holiday.mp4 holiday-large.mp4 --html compare.html
    """
    from vsr.evaluation.compare import write_comparison

    write_comparison(films, page, overwrite, print_message)
    if str(page) != "-":
        print_result(f"{page}: open it in a browser")
