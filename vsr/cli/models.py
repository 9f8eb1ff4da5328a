"""`vsr models`: the models in the package."""

import json

import click

from vsr.cli.options import json_option
from vsr.cli.streams import print_result


@click.command("models")
@json_option
def models_command(as_json: bool) -> None:
    """List the included models.

    Each with its scale, its weights in thousands, and its gain over bicubic interpolation; with its
    default of --detail if that isn't 0.

    \b
    vsr models
    """
    from vsr.zoo import list_models

    cards = list_models()
    if as_json:
        print_result(json.dumps([card.model_dump(mode="json") for card in cards]))
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
