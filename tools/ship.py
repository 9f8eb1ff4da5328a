"""Add the model of a training run to the included models: f16 weights and a card.

    python tools/ship.py runs/tiny-x4 configs/tiny-x4.toml footage/val

Scores are those of `vsr evaluate --model`: the first 16 frames of each film of DATA, with each
degradation. A model that was included before keeps its default detail. Run `tools/calibrate.py`
afterwards, which stores the ranges for int8 inference, and `tools/compare_models.py`, which
measures perceptual scores.
"""

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from scores import ZOO, print_scores, score_model
from tool_main import run

from vsr.config import load_toml
from vsr.training.config import TrainConfig
from vsr.zoo.card import Card, read_card, write_card


def main() -> None:
    """Write `zoo/weights/NAME.safetensors` and `zoo/cards/NAME.toml`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("config", type=Path, help="its recipe, with the text of the card")
    parser.add_argument("data", type=Path, help="held-out films")
    parser.add_argument(
        "--steadier",
        type=float,
        default=0,
        help="add this to the logit of the weight of past frames in the temporal filter",
    )
    parser.add_argument(
        "--minutes-before", type=float, default=0, help="training time of the model it started from"
    )
    chosen = parser.parse_args()
    name = chosen.config.stem
    card = read_card(chosen.run / "card.toml")
    source = chosen.run / "model.safetensors"
    shipped = ZOO / "weights" / f"{name}.safetensors"
    with safe_open(source, framework="pt") as weights:
        trained = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
        if chosen.steadier:
            trained["steady.second.bias"] += chosen.steadier
        half = {key: value.half() for key, value in trained.items()}
        save_file(half, shipped, metadata=weights.metadata())
    scores = score_model(shipped, chosen.data)["scores"]
    minutes = card.minutes + chosen.minutes_before
    fields = load_toml(chosen.config, TrainConfig).card.model_dump()
    fields |= {"name": name, "minutes": minutes, "scores": scores}
    fields |= {"recipe": f"vsr train --config {chosen.config}"}
    path = ZOO / "cards" / f"{name}.toml"
    if path.is_file():
        fields |= {"default_detail": read_card(path).default_detail}
    write_card(path, Card.model_validate(card.model_dump() | fields))
    print_scores(name, scores)


if __name__ == "__main__":
    run(main)
