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
    steady_option,
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
@steady_option
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

    OUT is a folder if there are several IN, or if IN is one; else its suffix is the format: PNG,
    JPEG, WebP, AVIF, TIFF, JPEG XL or OpenEXR. Animations stay animated in GIF, PNG, APNG and WebP.
    Pages are kept in TIFF and MPO. DICOM files and TIFF stacks keep their format. Bits, colour
    profile, transparency and metadata are kept. Anything that can't be kept is reported before the
    work starts.

    \b
    vsr image photo.png photo-large.png --scale 2
    vsr image photo.png wallpaper.png --width 5000
    vsr image dance.gif dance-large.webp
    vsr image photos/ larger/
    vsr image a.png b.jpg photos/ larger/
    """
    from vsr.engine.image import StillUpscaler
    from vsr.engine.image_folder import upscale_each
    from vsr.engine.image_pairs import pair_images
    from vsr.engine.output_size import SizeRequest
    from vsr.engine.picture import upscale_file
    from vsr.media.animation.reader import is_animated
    from vsr.media.picture_memory import memory_limit

    options = apply_profile(choices)
    sides = {name: options.pop(name) for name in ("scale", "width", "height")}
    request = SizeRequest(**sides, screen=options.pop("size"))
    upscaler = StillUpscaler(size=request, **options)
    pairs, faults = upscaler.survey(pair_images(sources, output, print_message))
    is_alone = len(pairs) == 1 and not faults
    failures: list[str] = []

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
            failures = upscale_each(pairs, upscale, print_message, update, upscaler.stop)
    done = len(pairs) - len(failures)
    if done:
        by = f", x{upscaler.scale:g}" if upscaler.scale else ""
        print_result(f"{output}: {done} picture{'s' if done > 1 else ''}{by}")
    if faults or failures:
        raise VsrError("\nvsr: ".join([*faults, *failures]))
