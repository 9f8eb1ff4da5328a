"""Put the model of a training run among those that ship: weights in f16, and its card.

    python tools/ship.py runs/tiny-x4 configs/tiny-x4.toml footage/val

The scores are those of `vsr evaluate`: whole films of DATA, by each degradation. Afterwards,
`tools/calibrate.py` measures what eight-bit arithmetic needs.
"""

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from scores import ZOO, print_scores, score_model

from vsr.config import load_toml
from vsr.training.config import TrainConfig
from vsr.zoo.card import Card, read_card, write_card


def main() -> None:
    """Write `zoo/weights/NAME.safetensors` and `zoo/cards/NAME.toml`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("config", type=Path, help="its recipe, which says what the card says")
    parser.add_argument("data", type=Path, help="films held back")
    parser.add_argument(
        "--steadier",
        type=float,
        default=0,
        help="add this to the share of the past that a model's temporal filter takes, as a logit",
    )
    parser.add_argument("--minutes-before", type=float, default=0, help="of the model it began as")
    chosen = parser.parse_args()
    name = chosen.config.stem
    card = read_card(chosen.run / "card.toml")
    source = chosen.run / "model.safetensors"
    shipped = ZOO / "weights" / f"{name}.safetensors"
    with safe_open(source, framework="pt") as weights:
        given = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
        if chosen.steadier:
            given["steady.second.bias"] += chosen.steadier
        halved = {key: value.half() for key, value in given.items()}
        save_file(halved, shipped, metadata=weights.metadata())
    scores = score_model(shipped, chosen.data)["scores"]
    minutes = card.minutes + chosen.minutes_before
    told = load_toml(chosen.config, TrainConfig).card.model_dump()
    told |= {"name": name, "minutes": minutes, "scores": scores}
    told |= {"recipe": f"vsr train --config {chosen.config}"}
    write_card(ZOO / "cards" / f"{name}.toml", Card.model_validate(card.model_dump() | told))
    print_scores(name, scores)


if __name__ == "__main__":
    main()
