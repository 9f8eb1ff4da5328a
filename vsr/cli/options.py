"""Options that several commands share."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_MAX_DIGITS = 9


class _FilePath(click.Path):
    """A path as `pathlib.Path`. `-` is a standard stream, `./-` a file of that name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("the name is empty", param, ctx)
        path = super().convert(value, param, ctx)
        return Path.cwd() / path if path == Path("-") and os.fspath(value) != "-" else path


class _Scale(click.ParamType[Any]):
    """A number above 0, or the word `auto` for None."""

    name = "scale"

    def __init__(self, auto: bool = False) -> None:
        self._auto = auto

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or isinstance(value, float) or (self._auto and value == "auto"):
            return value
        try:
            scale = float(value)
        except ValueError:
            scale = math.nan
        if not (math.isfinite(scale) and scale > 0):
            or_auto = ", or auto" if self._auto else ""
            self.fail(f"{value!r} isn't a number above 0, such as 2 or 1.5{or_auto}", param, ctx)
        return scale


FILE = _FilePath(path_type=Path, allow_dash=True)
SCALE = _Scale()
_side = click.IntRange(1, 10**_MAX_DIGITS - 1)
_size_options = (
    click.option(
        "--width",
        type=_side,
        metavar="PIXELS",
        help="Width of the output; the height follows.",
    ),
    click.option(
        "--height",
        type=_side,
        metavar="PIXELS",
        help="Height of the output; the width follows.",
    ),
    click.option(
        "--size",
        metavar="720p|1080p|1440p|4k|8k",
        help="Largest output that fits into this screen, turned for upright ones.",
    ),
)

device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
model_option = click.option(
    "--model",
    metavar="fast|best|NAME|FILE",
    help="fast, best (the largest included model of the scale), a name from `vsr models`, or a "
    "model file. Default: fast. `vsr plan` measures the speed of each.",
)
detail_option = click.option(
    "--detail",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="0 is faithful. Towards 1, the -gan twin of the model adds texture, some of it invented.",
)
default_detail_option = click.option(
    "--detail",
    type=click.FloatRange(0, 1),
    help="0 is faithful. Towards 1, the -gan twin of the model adds texture, some of it invented. "
    "By default that of the model, see `vsr models`.",
)
_film_options = (
    click.option(
        "--scale",
        type=_Scale(auto=True),
        default="auto",
        show_default=True,
        metavar="auto|NUMBER",
        help="Output size over input size: any number above 0, such as 1, 1.5, 2, 3 or 4. auto: 4 "
        "for films of up to 576 lines, else 2.",
    ),
    *_size_options,
    click.option(
        "--square-pixels",
        is_flag=True,
        help="Make the pixels of anamorphic films square, by enlarging one side.",
    ),
    model_option,
    default_detail_option,
    device_option,
    click.option(
        "--backend",
        type=click.Choice(["auto", "torch", "openvino"]),
        default="auto",
        show_default=True,
        help="Runtime. auto: OpenVINO on a CPU if the film is long enough, else torch.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "f32", "f16", "int8"]),
        default="auto",
        show_default=True,
        help="Arithmetic of convolutions. f16 is for GPUs; int8 needs OpenVINO and costs a few "
        "hundredths of a dB.",
    ),
    click.option(
        "--tile",
        default="auto",
        show_default=True,
        metavar="auto|off|N",
        help="Process frames in overlapping tiles. auto: if memory requires it. N: tiles of N "
        "pixels a side.",
    ),
    click.option(
        "--codec",
        type=click.Choice(["h264", "hevc", "av1", "prores", "ffv1"]),
        help="Video codec. Default: h264, or av1 in .webm.",
    ),
    click.option(
        "--crf",
        type=click.IntRange(0, 63),
        help="Constant rate factor: lower is better and larger. Default: that of the codec.",
    ),
    click.option("--preset", help="Speed preset of the encoder, such as veryfast or slow."),
    click.option(
        "--encoder",
        type=click.Choice(["cpu", "gpu"]),
        default="cpu",
        show_default=True,
        help="gpu: encode h264, hevc or av1 with NVENC, faster at lower quality.",
    ),
    click.option(
        "--decoder",
        type=click.Choice(["cpu", "gpu"]),
        default="cpu",
        show_default=True,
        help="gpu: decode with NVDEC if it supports the film's codec.",
    ),
    click.option(
        "--deinterlace",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        show_default=True,
        help="auto: deinterlace frames flagged as interlaced. on: all frames.",
    ),
    click.option(
        "--rotate",
        type=click.Choice(["keep", "apply"]),
        default="keep",
        show_default=True,
        help="keep: copy the rotation tag for players. apply: rotate the frames.",
    ),
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing files.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def size_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that set the size of the output in pixels."""
    for option in reversed(_size_options):
        command = option(command)
    return command


def film_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add all options that say how a film is upscaled."""
    for option in reversed(_film_options):
        command = option(command)
    return command


def parse_film_options(suffix: str, values: dict[str, Any]) -> dict[str, Any]:
    """Convert the values of `film_options` to keyword arguments of `engine.UpscaleOptions`.

    `suffix` is that of the output, in lower case.
    """
    from vsr.media.encode.settings import EncoderSettings

    rest = dict(values)
    codec: Any = rest.pop("codec") or ("av1" if suffix == ".webm" else "h264")
    coding = {name: rest.pop(name) for name in ("crf", "preset", "encoder")}
    scale, tile = rest.pop("scale"), rest.pop("tile")
    return rest | {
        "scale": None if scale == "auto" else scale,
        "tiling": _tiling(tile),
        "settings": EncoderSettings(codec, **coding),
    }


def named_model(model: str, detail: float) -> str:
    """Name a model and, unless it is 0, its detail."""
    return f"{model} at detail {detail:g}" if detail else model


def _tiling(text: str) -> Any:
    if text in ("auto", "off"):
        return text
    if (side := parse_positive_int(text)) is None:
        raise click.BadParameter(f"{text!r} is neither auto, off nor a number", param_hint="--tile")
    return side


def parse_positive_int(text: str) -> int | None:
    """Parse ASCII digits as an integer above 0; None for any other text or more than 9 digits."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return (int(text) or None) if is_number else None
