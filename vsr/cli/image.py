"""`vsr image`: one picture, or a folder of pictures."""

from pathlib import Path

import click

from vsr.cli.options import (
    FILE,
    default_detail_option,
    device_option,
    grain_option,
    model_option,
    overwrite_option,
)
from vsr.cli.progress import progress_bar
from vsr.cli.streams import print_message, print_result
from vsr.errors import VsrError


@click.command("image")
@click.argument("source", metavar="IN", type=FILE)
@click.argument("output", metavar="OUT", type=FILE)
@click.option(
    "--scale",
    type=click.Choice(["2", "4"]),
    help="Output size over input size. Default: 4, or the scale of --model.",
)
@model_option
@default_detail_option
@device_option
@grain_option
@click.option(
    "--strict", is_flag=True, help="Fail before any work if anything in a picture can't be kept."
)
@overwrite_option
def image_command(
    source: Path,
    output: Path,
    scale: str | None,
    model: str | None,
    detail: float | None,
    device: str,
    grain: float,
    strict: bool,
    overwrite: bool,
) -> None:
    """Upscale a picture, or a folder of pictures.

    Output formats are PNG, JPEG and WebP. Colour profile, transparency, Exif, XMP, resolution and
    comment are kept. Anything that can't be kept is reported before the work starts.

    \b
    vsr image small.png large.png --scale 2
    vsr image photos/ larger/
    """
    from vsr.engine.image import StillUpscaler, pair_images

    upscaler = StillUpscaler(model, int(scale) if scale else None, device, detail, grain)
    pairs = pair_images(source, output, print_message)
    failures = []
    with progress_bar([], quiet=len(pairs) == 1) as update:
        for count, (picture, output_path) in enumerate(pairs, start=1):
            try:
                upscaler.upscale_file(
                    picture, output_path, overwrite=overwrite, strict=strict, tell=print_message
                )
            except VsrError as error:
                failures.append(str(error))
            update(count, len(pairs))
    done = len(pairs) - len(failures)
    if done:
        print_result(f"{output}: {done} picture{'s' if done > 1 else ''}, x{upscaler.scale}")
    if failures:
        raise VsrError("\nvsr: ".join(failures))
