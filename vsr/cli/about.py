"""Commands about what ships, and about the machine."""

import json
from pathlib import Path

import click

from vsr import __version__
from vsr.cli.options import FILE, detail_option, json_option, overwrite_option, whole_number
from vsr.cli.streams import say


@click.command()
@click.argument("model")
@click.argument("output", metavar="FILE", type=FILE)
@click.option("--size", default="640x360", show_default=True, help="Of frames: WIDTHxHEIGHT.")
@detail_option
@overwrite_option
def export(model: str, output: Path, size: str, detail: float, overwrite: bool) -> None:
    """Write a step of MODEL to FILE for other runtimes: .onnx, or .xml for OpenVINO.

    The state goes in and comes out: low, state0, state1 to high, next0, next1. The file is
    proven on thirty frames before it gets its name.

    \b
    vsr export tiny-x4 tiny-x4.onnx --size 640x360
    """
    from vsr.engine.export import export_model

    across, _, down = size.lower().partition("x")
    width, height = whole_number(across), whole_number(down)
    if width is None or height is None:
        raise click.BadParameter(f"{size!r} isn't WIDTHxHEIGHT", param_hint="--size")
    worst = export_model(model, output, (height, width), detail, overwrite)
    say(f"{output}: {width}x{height}, within {worst:.1e} of torch over thirty frames")


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the models that ship: scale, size, and what they gain over bicubic.

    \b
    vsr models
    """
    from vsr.zoo import list_models

    if as_json:
        say(json.dumps([card.model_dump(mode="json") for card in list_models()]))
        return
    for card in list_models():
        gains = ", ".join(
            f"{kind} {score.psnr_y:.2f} dB ({score.gain:+.2f})"
            for kind, score in card.scores.items()
        )
        say(f"{card.name:<10} x{card.scale}  {card.parameters / 1000:.0f}k  {gains}")
        say(f"{'':<10} {card.summary}")


@click.command()
def doctor() -> None:
    """Print versions, devices and encoders: what to paste into a bug report.

    \b
    vsr doctor
    """
    import platform

    import av
    import torch

    from vsr.engine.backends import openvino_version
    from vsr.media.encode.codecs import available_encoders
    from vsr.zoo import list_models

    say(f"vsr      {__version__}")
    say(f"python   {platform.python_version()} on {platform.platform()}")
    say(f"torch    {torch.__version__}, {torch.get_num_threads()} threads")
    libraries = ", ".join(
        f"{name[3:]} {'.'.join(map(str, version))}" for name, version in av.library_versions.items()
    )
    say(f"openvino {openvino_version() or 'not installed'}")
    say(f"PyAV     {av.__version__} ({libraries})")
    devices = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    say(f"devices  cpu{''.join(f', cuda:{n} {name}' for n, name in enumerate(devices))}")
    for codec, present in available_encoders().items():
        say(f"{codec:<8} {'yes' if present else 'no encoder'}")
    say(f"models   {', '.join(card.name for card in list_models()) or 'none'}")
