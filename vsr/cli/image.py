"""`vsr image`: pictures, and folders of pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vsr.cli.options import (
    FILE,
    SCALE,
    apply_profile,
    default_detail_option,
    device_option,
    grain_option,
    inputs_argument,
    model_option,
    overwrite_option,
    profile_option,
    size_options,
)
from vsr.cli.progress import progress_bar
from vsr.cli.streams import print_message, print_result
from vsr.errors import VsrError


@click.command("image")
@inputs_argument
@click.argument("output", metavar="OUT", type=FILE)
@profile_option
@click.option(
    "--scale",
    type=SCALE,
    metavar="NUMBER",
    help="Output size over input size: any number above 0. Default: 4, or the scale of --model.",
)
@size_options
@model_option
@default_detail_option
@device_option
@grain_option
@click.option(
    "--allow-invented-detail",
    is_flag=True,
    help="Allow --detail and --grain for DICOM files and TIFF stacks, whose values are measured.",
)
@click.option(
    "--strict", is_flag=True, help="Fail before any work if anything in a picture can't be kept."
)
@click.option(
    "--max-memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GB",
    help="Refuse pictures that need more memory. Default: half of this machine's.",
)
@overwrite_option
def image_command(
    sources: tuple[Path, ...],
    output: Path,
    strict: bool,
    max_memory: float | None,
    overwrite: bool,
    **choices: Any,
) -> None:
    """Upscale pictures, or folders of pictures.

    OUT is a folder if there are several IN, or if IN is one. Output formats are PNG, JPEG, WebP,
    AVIF, TIFF, JPEG XL and OpenEXR. Animations stay animated in GIF, PNG, APNG and WebP; pages are
    kept in TIFF and MPO. Colour profile, transparency, Exif, XMP, resolution and comment are kept.
    Anything that can't be kept is reported before the work starts.

    \b
    vsr image small.png large.png --scale 2
    vsr image small.png wall.png --width 5000
    vsr image photos/ larger/
    vsr image dance.gif dance.webp
    vsr image a.png b.jpg photos/ larger/
    """
    from vsr.engine.image import StillUpscaler, pair_images
    from vsr.engine.image_folder import upscale_each
    from vsr.engine.output_size import SizeRequest
    from vsr.engine.picture import upscale_file
    from vsr.media.animation.reader import is_animated
    from vsr.media.picture_memory import memory_limit

    options = apply_profile(choices)
    sides = {name: options.pop(name) for name in ("scale", "width", "height")}
    request = SizeRequest(**sides, screen=options.pop("size"))
    upscaler = StillUpscaler(size=request, **options)
    pairs, failures = upscaler.survey(pair_images(sources, output, print_message))
    is_alone, failed = len(pairs) == 1 and not failures, 0

    def upscale(picture: Path, path: Path, tell: Callable[[str], None]) -> None:
        with memory_limit(max_memory):
            upscale_file(
                upscaler,
                picture,
                path,
                overwrite=overwrite,
                strict=strict,
                tell=tell,
                watch=update if is_alone else lambda done, total: None,
            )

    with progress_bar([], quiet=is_alone and not is_animated(pairs[0][0])) as update:
        if is_alone:  # in this thread, where lines are printed at once
            upscale(*pairs[0], print_message)
        else:
            broken = upscale_each(pairs, upscale, print_message, update, upscaler.stop)
            failed, failures = len(broken), failures + broken
    done = len(pairs) - failed
    if done:
        by = f", x{upscaler.scale:g}" if upscaler.scale else ""
        print_result(f"{output}: {done} picture{'s' if done > 1 else ''}{by}")
    if failures:
        raise VsrError("\nvsr: ".join(failures))
