"""Options that several commands share."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vsr.errors import ConfigError

_MAX_DIGITS = 9


class FiniteRange(click.FloatRange):
    """A range of numbers without `nan`, which passes click's comparisons."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse a number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


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


class _Inputs(click.Argument):
    """The inputs before the output; a single argument is not reported as a missing input."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        try:
            return super().process_value(ctx, value)
        except click.MissingParameter as error:
            line = "Name at least one input, IN, and the output, OUT."
            raise click.UsageError(line, ctx) from error


FILE = _FilePath(path_type=Path, allow_dash=True)
SCALE = _Scale()
_side = click.IntRange(min=1)
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
        help="Largest output that fits into a screen of this size, upright if IN is upright.",
    ),
)

inputs_argument = click.argument(
    "sources", cls=_Inputs, metavar="IN...", type=FILE, nargs=-1, required=True
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N|xpu|mps",
    help="Where the model is computed. auto: on a GPU if there is one. `vsr doctor` lists those of "
    "this machine.",
)
_film_device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N,...|all|xpu|mps|intel-gpu|intel-npu",
    help="Where the model is computed. auto: on a GPU if there is one. `vsr doctor` lists those of "
    "this machine. A list such as cuda:0,cuda:1, or all, gives each NVIDIA GPU a process that "
    "upscales shots of its own.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Upscale on the CPU in N processes, which divide its cores. The output is the same.",
)
cluster_option = click.option(
    "--cluster",
    metavar="auto|ADDRESS",
    help="Upscale on the machines of a Ray cluster, with a worker on each GPU or, without GPUs, on "
    "each machine; --workers N: N on each. auto: the cluster that this machine belongs to. The "
    "output is that of one such machine. Needs vsr[cluster].",
)
model_option = click.option(
    "--model",
    metavar="fast|best|NAME|FILE",
    help="fast, best (the largest included model of the scale), a name from `vsr models`, or a "
    "model file, also of other projects (.safetensors, .pth, .onnx). Default: fast. `vsr plan` "
    "measures the speed of each.",
)
detail_option = click.option(
    "--detail",
    type=FiniteRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="NUMBER",
    help="0 is faithful. Towards 1, the -gan twin of the model adds texture, some of it invented.",
)
default_detail_option = click.option(
    "--detail",
    type=FiniteRange(0, 1),
    metavar="NUMBER",
    help="0 is faithful. Towards 1, the -gan twin of the model adds texture, some of it invented. "
    "By default that of the model, see `vsr models`.",
)
profile_option = click.option(
    "--profile",
    metavar="NAME|FILE.toml",
    help="Options for a type of source: anime, clean, dvd, phone, vhs or web, see `vsr profiles`, "
    "or a TOML file. Options on the command line take precedence.",
)
denoise_option = click.option(
    "--denoise",
    type=FiniteRange(0, 1),
    metavar="NUMBER",
    help="Remove noise and flicker by the model's temporal filter. 0: off. 0.5: as trained, the "
    "default. 1: strongest, with less detail in motion.",
)
steady_option = click.option(
    "--steady",
    type=FiniteRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="NUMBER",
    help="For models of single pictures: make films and animations flicker less, by a temporal "
    "filter along motion. 0: off. 0.5: as trained. 1: strongest.",
)
video_option = click.option(
    "--video",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take the Nth of several video streams; cover pictures don't count. Default: the one "
    "flagged as default, else the first.",
)
rate_option = click.option(
    "--rate",
    metavar="N",
    help="Frames per second of numbered pictures, such as 24, 23.976 or 24000/1001.",
)
audio_option = click.option(
    "--audio",
    type=click.Choice(["copy", "auto", "none"]),
    default="auto",
    show_default=True,
    help="auto: copy sound that the container of OUT can hold, and convert the rest. copy: convert "
    "nothing. none: drop all sound.",
)
subtitles_option = click.option(
    "--subtitles",
    type=click.Choice(["copy", "none"]),
    default="copy",
    show_default=True,
    help="none: drop all subtitles.",
)
grain_option = click.option(
    "--grain",
    type=FiniteRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="NUMBER",
    help="Add film grain of this strength. In av1 films encoded on the CPU, players add it from a "
    "description.",
)
_part_options = (
    click.option(
        "--from",
        "from_time",
        metavar="T",
        help="Start of a part of IN: the first frame at or after T. T is seconds, MM:SS, "
        "HH:MM:SS.ms or a count of frames such as 120f, from the start of the film.",
    ),
    click.option("--to", "to_time", metavar="T", help="End of the part, excluded; T as in --from."),
    click.option("--duration", metavar="T", help="Duration of the part, instead of --to."),
)
_film_options = (
    profile_option,
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
    _film_device_option,
    click.option(
        "--backend",
        type=click.Choice(["auto", "torch", "openvino", "onnx"]),
        default="auto",
        show_default=True,
        help="Software that computes the model. auto: OpenVINO on a CPU for films that are long "
        "enough, else torch. onnx: ONNX Runtime.",
    ),
    click.option(
        "--provider",
        default="auto",
        show_default=True,
        metavar="auto|NAME|NAME:N",
        help="Execution provider of --backend onnx, and its Nth device from 0: cuda, tensorrt, "
        "migraphx, rocm, directml, openvino, coreml or cpu. auto: the first one installed.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "f32", "f16", "bf16", "int8"]),
        default="auto",
        show_default=True,
        help="Arithmetic of convolutions. f16 is for GPUs; int8 needs OpenVINO and costs a few "
        "hundredths of a dB. bf16 is for models of other projects on a CPU.",
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
        metavar="N",
        help="Constant rate factor: lower is better and larger. Default: that of the codec.",
    ),
    click.option(
        "--preset",
        metavar="NAME",
        help="Speed preset of the encoder, such as veryfast or slow.",
    ),
    click.option(
        "--encoder",
        type=click.Choice(["cpu", "gpu", "nvenc", "qsv", "amf", "videotoolbox", "vaapi"]),
        default="cpu",
        show_default=True,
        help="Hardware that encodes h264, hevc or av1, faster at lower quality; gpu is nvenc. "
        "`vsr doctor` lists those of this machine.",
    ),
    click.option(
        "--encoder-option",
        metavar="KEY=VALUE",
        multiple=True,
        help="Option of FFmpeg's encoder, such as tune=film or x265-params=aq-mode=3; repeatable.",
    ),
    grain_option,
    click.option(
        "--decoder",
        type=click.Choice(["cpu", "gpu"]),
        default="cpu",
        show_default=True,
        help="Where to decode. gpu: by NVDEC if it supports the film's codec.",
    ),
    video_option,
    rate_option,
    audio_option,
    subtitles_option,
    *_part_options,
    click.option(
        "--deinterlace",
        type=click.Choice(["auto", "on", "off", "double"]),
        default="auto",
        show_default=True,
        help="auto: deinterlace frames flagged as interlaced. on: all frames. double: all, to a "
        "frame for each field.",
    ),
    click.option(
        "--inverse-telecine",
        is_flag=True,
        help="Restore the 24 frames per second of film from 3:2 pulldown.",
    ),
    click.option(
        "--rotate",
        type=click.Choice(["keep", "apply"]),
        default="keep",
        show_default=True,
        help="keep: copy the rotation tag for players. apply: rotate the frames.",
    ),
    denoise_option,
    steady_option,
    click.option(
        "--deblock",
        type=FiniteRange(0, 1),
        default=0.0,
        show_default=True,
        metavar="NUMBER",
        help="Remove blocks and ringing of compression before upscaling. 0: off. 0.25: for "
        "compressed film. 0.5: for very strongly compressed film. Above, detail is lost.",
    ),
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing files.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def part_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select a part of a film; see `parse_part`."""
    for option in reversed(_part_options):
        command = option(command)
    return command


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

    `suffix` is that of the output, in lower case. Raises `VsrError` for an invalid profile, and for
    names of encoder options that the encoder doesn't have.
    """
    from vsr.media.decode.picture_reader import parse_rate
    from vsr.media.encode.encoder_options import parse_encoder_options
    from vsr.media.encode.settings import EncoderSettings, check_values

    rest = apply_profile(values, suffix)
    codec: Any = rest.pop("codec") or ("av1" if suffix == ".webm" else "h264")
    coding = {name: rest.pop(name) for name in ("crf", "preset", "encoder")}
    coding["options"] = parse_encoder_options(rest.pop("encoder_option"))
    scale, tile = rest.pop("scale"), rest.pop("tile")
    bounds = [rest.pop(name) for name in ("from_time", "to_time", "duration")]
    rate = rest.pop("rate")
    settings = EncoderSettings(codec, **coding)
    if settings.options:
        check_values(settings)  # once, rather than for each film of a folder
    return rest | {
        "scale": None if scale == "auto" else scale,
        "tiling": _tiling(tile),
        "settings": settings,
        "part": parse_part(*bounds),
        "rate": None if rate is None else parse_rate(rate),
    }


def apply_profile(values: dict[str, Any], suffix: str = "") -> dict[str, Any]:
    """Replace the options in `values` that the command line doesn't give by those of a profile.

    `values` holds the options of the current command by name, and under `profile` the name of the
    profile, which is removed. `suffix` is that of the output. Raises `ConfigError`.
    """
    from vsr.engine.profile import read_profile, without_overridden

    rest = dict(values)
    name = rest.pop("profile")
    if name is None:
        return rest
    context = click.get_current_context()
    parameters = {parameter.name or "": parameter for parameter in context.command.params}
    given = {
        key: values.get(key)
        for key in parameters
        if context.get_parameter_source(key) is ParameterSource.COMMANDLINE
    }
    to_pipe = context.params.get("output") == Path("-")
    profile = without_overridden(read_profile(name), given, suffix, to_pipe)
    for key, value in profile.items():
        if key in parameters:
            rest[key] = _converted(parameters[key], value, context, name)
    return rest


def _converted(parameter: click.Parameter, value: Any, context: click.Context, profile: str) -> Any:
    """Convert and check a profile's value as if it were on the command line."""
    is_text = not isinstance(value, bool | list | tuple)
    try:
        return parameter.type_cast_value(context, str(value) if is_text else value)
    except click.BadParameter as error:
        raise ConfigError(f"{profile}: {parameter.name} = {value!r}: {error.message}") from error


def parse_part(start: str | None, end: str | None, duration: str | None) -> Any:
    """Parse `--from`, `--to` and `--duration`; None if none of them is given."""
    from vsr.media.decode.part import Part

    if start is None and end is None and duration is None:
        return None
    return Part.parse(start, end, duration)


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
