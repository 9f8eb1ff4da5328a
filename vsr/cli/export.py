"""`vsr export`: a model for other runtimes."""

from pathlib import Path

import click

from vsr.cli.options import (
    FILE,
    denoise_option,
    detail_option,
    overwrite_option,
    parse_positive_int,
)
from vsr.cli.streams import print_result


@click.command("export")
@click.argument("model")
@click.argument("output", metavar="FILE", type=FILE)
@click.option(
    "--size",
    default="640x360",
    show_default=True,
    metavar="WIDTHxHEIGHT",
    help="Size of the input frames.",
)
@click.option(
    "--scale",
    type=click.IntRange(1, 4),
    help="Output size over input size, at most that of the model. Default: that of the model.",
)
@detail_option
@denoise_option
@overwrite_option
def export_command(
    model: str,
    output: Path,
    size: str,
    scale: int | None,
    detail: float,
    denoise: float | None,
    overwrite: bool,
) -> None:
    """Export one step of a model as ONNX or OpenVINO IR.

    FILE ends in .onnx for ONNX, or in .xml for OpenVINO. The recurrent state is an input and an
    output: low, state0, state1 give high, next0, next1. The exported file is compared with torch
    on thirty frames before it is saved.

    \b
    vsr export tiny-x4 tiny-x4.onnx --size 640x360
    """
    from vsr.engine.export import export_model

    across, _, down = size.lower().partition("x")
    width, height = parse_positive_int(across), parse_positive_int(down)
    if width is None or height is None:
        raise click.BadParameter(f"{size!r} isn't WIDTHxHEIGHT", param_hint="--size")
    worst = export_model(
        model,
        output,
        size=(height, width),
        detail=detail,
        overwrite=overwrite,
        denoise=denoise,
        scale=scale,
    )
    print_result(f"{output}: {width}x{height}, within {worst:.1e} of torch over thirty frames")
