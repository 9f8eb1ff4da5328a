"""`vsr models`: the included models, and the user's own."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vsr.cli.options import FILE, json_option
from vsr.cli.streams import print_result

if TYPE_CHECKING:
    from vsr.zoo import ShelfCard


@click.group("models", invoke_without_command=True)
@json_option
@click.pass_context
def models_group(context: click.Context, as_json: bool) -> None:
    """List models, and keep your own under names.

    Without a command: those of `vsr models list`.

    \b
    vsr models
    vsr models add 4x-example.pth --name example
    vsr upscale holiday.mp4 holiday-large.mp4 --model example
    """
    if context.invoked_subcommand is None:
        _list(as_json)


@models_group.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the included models, then your own.

    Included models are listed with their scale, their weights in thousands, and their gain over
    bicubic interpolation; with their default of --detail if that isn't 0.
    """
    _list(as_json)


@models_group.command("add")
@click.argument("file", metavar="FILE", type=FILE)
@click.option("--name", metavar="NAME", help="Name of the model. Default: from that of the file.")
@click.option(
    "--licence", metavar="TEXT", help="Licence of the weights, if the file doesn't name it."
)
def add_command(file: Path, name: str | None, licence: str | None) -> None:
    """Copy a model file to your own models, under a name.

    FILE is a model of vsr, one that spandrel reads (.safetensors, .pth, .pt, .ckpt), or an ONNX
    file. It is loaded first, and no code in it is run. Models are kept in the folder `vsr/models`
    of the user's data, which is $XDG_DATA_HOME where that is set.

    \b
    vsr models add 4x-example.pth --name example --licence CC-BY-4.0
    """
    from vsr.zoo import add_to_shelf

    print_result("\n".join(_shelf_lines(add_to_shelf(file, name, licence))))


@models_group.command("show")
@click.argument("model", metavar="NAME|FILE")
@json_option
def show_command(model: str, as_json: bool) -> None:
    """Show the card of a model, or describe a file."""
    from vsr.zoo import find_card

    tree = find_card(model).model_dump(mode="json")
    if as_json:
        print_result(json.dumps(tree))
        return
    width = max(map(len, tree))
    for key, value in tree.items():
        if isinstance(value, list):
            value = "; ".join(value)
        if not isinstance(value, dict):
            shown = "unknown" if value == "" else value
            print_result(f"{key.replace('_', ' '):<{width}}  {shown}")


@models_group.command("remove")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def remove_command(names: tuple[str, ...]) -> None:
    """Remove models of your own. Included models stay."""
    from vsr.zoo.shelf import remove_model

    for name in names:
        remove_model(name)
        print_result(f"{name}: removed")


def _list(as_json: bool) -> None:
    from vsr.zoo import list_models
    from vsr.zoo.shelf import list_shelf

    cards, own = list_models(), list_shelf()
    if as_json:
        print_result(json.dumps([card.model_dump(mode="json") for card in (*cards, *own)]))
        return
    width = max((len(card.name) for card in cards), default=0)
    for card in cards:
        gains = ", ".join(
            f"{degradation} {score.psnr_y:.2f} dB ({score.gain:+.2f})"
            for degradation, score in card.scores.items()
        )
        print_result(f"{card.name:<{width}} x{card.scale}  {card.parameters / 1000:.0f}k  {gains}")
        print_result(f"{'':<{width}} {card.summary}")
        if card.default_detail:
            print_result(f"{'':<{width}} Default of --detail: {card.default_detail:g}")
    for kept in own:
        print_result("\n".join(_shelf_lines(kept, width)))


def _shelf_lines(card: "ShelfCard", width: int = 0) -> list[str]:
    """Describe a model of the user's own in two lines."""
    weights = f"  {card.parameters / 1000:.0f}k" if card.parameters else ""
    return [
        f"{card.name:<{width}} x{card.scale}{weights}  {card.architecture}",
        f"{'':<{width}} Your own, from {card.source}, added {card.added}; "
        f"licence: {card.licence or 'unknown'}",
    ]
