"""`vsr evaluate`: a film against its reference, or a model on films."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from vsr.cli.options import (
    FILE,
    detail_option,
    device_option,
    overwrite_option,
    steady_option,
)
from vsr.cli.progress import progress_bar
from vsr.cli.streams import print_message, print_result


@click.command("evaluate")
@click.argument("output", metavar="[OUT]", type=FILE, required=False)
@click.argument("reference", metavar="[REF]", type=FILE, required=False)
@click.option(
    "--model", help="Evaluate this model, a name from `vsr models` or a file. Needs --data."
)
@click.option(
    "--data", type=FILE, help="With --model: the films to evaluate on. Use held-out films."
)
@click.option(
    "--degradation",
    type=click.Choice(["bi", "bd", "web", "real"]),
    default="bi",
    show_default=True,
    help="With --model: how films are downscaled. bi: bicubic. bd: Gaussian blur and subsampling. "
    "web: as uploads, DVDs and camcorders are. real: random blur, noise and compression.",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    metavar="N",
    help="With --model: measure only the first N frames of each film.",
)
@detail_option
@steady_option
@click.option(
    "--source", type=FILE, help="The film that OUT was made from. Needed to measure flicker."
)
@click.option(
    "--protocol",
    type=click.Choice(["plain", "tecogan", "basicvsr"]),
    default="plain",
    show_default=True,
    help="Which frames, and which part of them, are measured.",
)
@click.option("--metrics", help="Comma-separated names, such as psnr_y,vmaf,niqe.")
@click.option(
    "--align",
    type=click.Choice(["strict", "crop"]),
    default="strict",
    show_default=True,
    help="crop: compare only what films of different length or size have in common.",
)
@device_option
@click.option("--json", "json_file", type=FILE, help="Write the report as JSON; - prints it.")
@click.option("--csv", "csv_file", type=FILE, help="Write one CSV row per frame; - prints them.")
@click.option("--html", "html_file", type=FILE, help="Write a page with curves and crops.")
@overwrite_option
def evaluate_command(
    output: Path | None,
    reference: Path | None,
    model: str | None,
    data: Path | None,
    degradation: Any,
    frames: int | None,
    detail: float,
    steady: float,
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
    """Measure a film against its reference, or a model on films.

    OUT is compared with REF: fidelity (PSNR, SSIM, LPIPS) and temporal stability. Both are films,
    folders of numbered pictures, or folders of either. Without REF, only flicker (with --source)
    and NIQE are measured. With --model and --data, films are downscaled, upscaled and measured,
    next to bicubic interpolation.

    \b
    vsr evaluate upscaled.mp4 original.mp4 --html report.html
    vsr evaluate upscaled.mp4 original.mp4 --metrics vmaf,vmaf_neg,cvvdp,niqe
    vsr evaluate upscaled.mp4 --source holiday.mp4
    vsr evaluate --model tiny-x4 --data footage/val --degradation bi --frames 16
    """
    if (output is None) == (model is None):
        raise click.UsageError("give OUT and REF, or --model and --data")
    if model is not None and data is None:
        raise click.UsageError("--model needs --data: held-out films to evaluate on")
    if model is None and frames is not None:
        raise click.UsageError("--frames is for --model")
    if model is not None and source is not None:
        raise click.UsageError("--source can't be combined with --model, which makes its own input")
    from vsr.evaluation import evaluate, evaluate_model
    from vsr.evaluation.html import report_page
    from vsr.evaluation.report import as_csv, as_json, table
    from vsr.system.files import check_distinct, check_text_output, write_text

    reports = (json_file, csv_file, html_file)
    for file in reports:
        check_text_output(file, overwrite)
    check_distinct(reports, (output, reference, source, data, Path(model) if model else None))
    shared: dict[str, Any] = {
        "protocol": protocol,
        "metrics": metrics.split(",") if metrics is not None else None,
        "device": device,
        "gallery": html_file is not None,
        "command": shlex.join(["vsr", *sys.argv[1:]]),
    }
    with progress_bar([]) as update:
        if model is not None:
            assert data is not None
            report = evaluate_model(
                model,
                data,
                degradation,
                detail=detail,
                steady=steady,
                frames=frames,
                **shared,
                watch=update,
            )
        else:
            assert output is not None
            report = evaluate(output, reference, **shared, source=source, align=align, watch=update)
    written = ((json_file, as_json), (csv_file, as_csv), (html_file, report_page))
    for file, render in written:
        if file is not None:
            write_text(file, render(report))
    if any(str(file) == "-" for file, _ in written):
        for line in report.left_out:
            print_message(line)
    else:
        print_result(table(report))
