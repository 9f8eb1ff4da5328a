"""Options that several commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_MOST_DIGITS = 9


class _FilePath(click.Path):
    """A path as `pathlib.Path`; `./-` is a file of that name, `-` a standard stream."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        return Path.cwd() / path if path == Path("-") and os.fspath(value) != "-" else path


FILE = _FilePath(path_type=Path, allow_dash=True)

device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
model_option = click.option(
    "--model",
    metavar="fast|best|NAME|FILE",
    help="fast, best (the largest that ships for the scale), a name from `vsr models`, or a model "
    "file; `vsr plan` measures the time of each.",
)
detail_option = click.option(
    "--detail",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="0 is faithful; up to 1, the model's -gan twin invents texture.",
)
_film_options = (
    click.option(
        "--scale",
        type=click.Choice(["auto", "2", "4"]),
        default="auto",
        show_default=True,
        help="auto is 4 for films of up to 576 lines, else 2.",
    ),
    model_option,
    detail_option,
    device_option,
    click.option(
        "--backend",
        type=click.Choice(["auto", "torch", "openvino"]),
        default="auto",
        show_default=True,
        help="What computes: OpenVINO on a CPU where it is worth it, else torch.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "f32", "f16", "int8"]),
        default="auto",
        show_default=True,
        help="Arithmetic of convolutions: f16 on GPUs; int8 by OpenVINO loses hundredths of a dB.",
    ),
    click.option(
        "--tile",
        default="auto",
        show_default=True,
        metavar="auto|off|N",
        help="Do frames in overlapping tiles: where memory asks for it, never, or of N pixels.",
    ),
    click.option(
        "--codec",
        type=click.Choice(["h264", "hevc", "av1", "prores", "ffv1"]),
        help="How the video is encoded: h264 unless the output is .webm, which holds av1.",
    ),
    click.option("--crf", type=click.IntRange(0, 63), help="Lower is better and larger."),
    click.option("--preset", help="The encoder's speed against size, such as veryfast."),
    click.option(
        "--encoder",
        type=click.Choice(["cpu", "gpu"]),
        default="cpu",
        show_default=True,
        help="Whose: NVIDIA's cards encode h264, hevc and av1, faster and less well.",
    ),
    click.option(
        "--decoder",
        type=click.Choice(["cpu", "gpu"]),
        default="cpu",
        show_default=True,
        help="Whose: an NVIDIA card's where it knows the film's codec.",
    ),
    click.option(
        "--deinterlace",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        show_default=True,
        help="Make interlaced frames whole: where they say so, always, or never.",
    ),
    click.option(
        "--rotate",
        type=click.Choice(["keep", "apply"]),
        default="keep",
        show_default=True,
        help="Leave turning the picture to players, as the film tells them, or do it.",
    ),
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what exists.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def of_films(command: Callable[..., None]) -> Callable[..., None]:
    """All options of how a film is upscaled."""
    for option in reversed(_film_options):
        command = option(command)
    return command


def chosen_options(suffix: str, given: dict[str, Any]) -> dict[str, Any]:
    """What the options of `of_films` give, as `engine.job.Options` has it."""
    from vsr.media.encode.settings import EncoderSettings

    codec: Any = given.pop("codec") or ("av1" if suffix == ".webm" else "h264")
    coding = (given.pop(name) for name in ("crf", "preset", "encoder"))
    scale, tile = given.pop("scale"), given.pop("tile")
    return given | {
        "scale": None if scale == "auto" else int(scale),
        "tiling": _tiling(tile),
        "settings": EncoderSettings(codec, *coding),
    }


def _tiling(text: str) -> Any:
    if text in ("auto", "off"):
        return text
    if (side := whole_number(text)) is None:
        raise click.BadParameter(f"{text!r} is neither auto, off nor a number", param_hint="--tile")
    return side


def whole_number(text: str) -> int | None:
    """A number above 0 in plain digits of a sane count; None for any other text."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return (int(text) or None) if is_number else None
