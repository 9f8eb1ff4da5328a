"""Commands that measure and show what came out."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from vsr.cli.options import FILE, detail_option, device_option, overwrite_option
from vsr.cli.progress import progress_bar
from vsr.cli.streams import say, tell


@click.command()
@click.argument("output", metavar="[OUT]", type=FILE, required=False)
@click.argument("reference", metavar="[REF]", type=FILE, required=False)
@click.option("--model", help="A name from `vsr models`, or a model file, to evaluate by itself.")
@click.option("--data", type=FILE, help="With --model: films it has not learnt from.")
@click.option(
    "--degradation",
    type=click.Choice(["bi", "bd", "web", "real"]),
    default="bi",
    show_default=True,
    help="With --model: how the films are shrunk first; web: as uploads, DVDs and camcorders do.",
)
@detail_option
@click.option("--source", type=FILE, help="What OUT was made from: measures flicker.")
@click.option(
    "--protocol",
    type=click.Choice(["plain", "tecogan", "basicvsr"]),
    default="plain",
    show_default=True,
    help="Which frames and which part of them count.",
)
@click.option("--metrics", help="Names with commas between, such as psnr_y,ssim_y,tof.")
@click.option(
    "--align",
    type=click.Choice(["strict", "crop"]),
    default="strict",
    show_default=True,
    help="crop: compare what two films of different length or size have in common.",
)
@device_option
@click.option("--json", "json_file", type=FILE, help="Write all as JSON; - prints it.")
@click.option("--csv", "csv_file", type=FILE, help="Write a line for each frame; - prints.")
@click.option("--html", "html_file", type=FILE, help="Write a page with curves and crops.")
@overwrite_option
def evaluate(
    output: Path | None,
    reference: Path | None,
    model: str | None,
    data: Path | None,
    degradation: Any,
    detail: float,
    source: Path | None,
    protocol: str,
    metrics: str | None,
    align: Any,
    device: str,
    json_file: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    overwrite: bool,
) -> None:
    """Compare OUT with its reference REF: PSNR, SSIM, LPIPS, and how steady it is.

    Both are films, folders of numbered pictures, or folders of either. With --source
    and no REF, flicker alone is measured. With --model and --data, films are shrunk,
    upscaled and measured in one go, beside bicubic interpolation.

    \b
    vsr evaluate upscaled.mp4 original.mp4 --html report.html
    vsr evaluate upscaled.mp4 --source holiday.mp4
    vsr evaluate --model tiny-x4 --data footage/val --degradation bi
    """
    if (output is None) == (model is None):
        raise click.UsageError("give OUT and REF, or --model and --data")
    if model is not None and data is None:
        raise click.UsageError("--model needs --data: films that it has not learnt from")
    if model is not None and source is not None:
        raise click.UsageError("--source goes with OUT; a model's own input is known")
    from vsr.evaluation import evaluate as evaluate_films
    from vsr.evaluation import evaluate_model
    from vsr.evaluation.html import report_page
    from vsr.evaluation.report import as_csv, as_json, table
    from vsr.system.files import check_distinct, check_text_output, write_text

    reports = (json_file, csv_file, html_file)
    for file in reports:
        check_text_output(file, overwrite)
    check_distinct(reports, (output, reference, source, data, Path(model) if model else None))
    shared: dict[str, Any] = {
        "protocol": protocol,
        "metrics": metrics.split(",") if metrics else None,
        "device": device,
        "gallery": html_file is not None,
        "command": shlex.join(["vsr", *sys.argv[1:]]),
    }
    with progress_bar([]) as update:
        if model is not None:
            assert data is not None
            report = evaluate_model(model, data, degradation, detail=detail, **shared, watch=update)
        else:
            assert output is not None
            report = evaluate_films(
                output, reference, **shared, source=source, align=align, watch=update
            )
    written = ((json_file, as_json), (csv_file, as_csv), (html_file, report_page))
    for file, render in written:
        if file is not None:
            write_text(file, render(report))
    if any(str(file) == "-" for file, _ in written):
        for line in report.left_out:
            tell(line)
    else:
        say(table(report))


@click.command()
@click.argument("films", metavar="A B...", type=FILE, nargs=-1, required=True)
@click.option("--html", "page", type=FILE, required=True, help="The page.")
@overwrite_option
def compare(films: tuple[Path, ...], page: Path, overwrite: bool) -> None:
    """Make a page on which films are seen side by side, under one clock.

    A draggable divider, zoom, frame steps, difference and x-t views; it works offline, in
    any browser. Small films go into the page, large ones are played from where they lie.

    \b
    vsr compare holiday.mp4 holiday-large.mp4 --html compare.html
    """
    from vsr.evaluation.compare import write_comparison

    write_comparison(films, page, overwrite, tell)
    if str(page) != "-":
        say(f"{page}: open it in a browser")
