"""Put the model of a training run among those that ship: weights in f16, and its card.

    python tools/ship.py runs/tiny-x4 configs/tiny-x4.toml footage/val

The scores are those of `vsr evaluate`: whole films of DATA, by each degradation.
"""

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

import vsr.zoo
from vsr.checkpoint import load_generator
from vsr.config import load_toml
from vsr.data.sources import Kind, find_sources, source_frames
from vsr.degrade import Degradation
from vsr.scoring import mean_scores, score_film
from vsr.training.config import TrainConfig
from vsr.zoo.card import Card, DegradationScores, read_card, write_card

ZOO = Path(vsr.zoo.__file__).parent
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Write `zoo/weights/NAME.safetensors` and `zoo/cards/NAME.toml`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("config", type=Path, help="its recipe, which says what the card says")
    parser.add_argument("data", type=Path, help="films held back")
    parser.add_argument("--minutes-before", type=float, default=0, help="of the model it began as")
    chosen = parser.parse_args()
    name = chosen.config.stem
    card = read_card(chosen.run / "card.toml")
    source = chosen.run / "model.safetensors"
    shipped = ZOO / "weights" / f"{name}.safetensors"
    with safe_open(source, framework="pt") as weights:
        halved = {key: weights.get_tensor(key).half() for key in weights.keys()}  # noqa: SIM118
        save_file(halved, shipped, metadata=weights.metadata())
    scores = {kind.value: _score(shipped, chosen.data, kind) for kind in Degradation}
    minutes = card.minutes + chosen.minutes_before
    told = load_toml(chosen.config, TrainConfig).card.model_dump()
    told |= {"name": name, "minutes": minutes, "scores": scores}
    told |= {"recipe": f"vsr train --config {chosen.config}"}
    write_card(ZOO / "cards" / f"{name}.toml", Card.model_validate(card.model_dump() | told))
    for kind, score in scores.items():
        print(f"{name} {kind}: {score.psnr_y:.2f} dB ({score.gain:+.2f}), SSIM {score.ssim_y:.4f}")


def _score(model: Path, data: Path, kind: Degradation) -> DegradationScores:
    generator = load_generator(model).to(DEVICE)
    films = [source for source in find_sources([data]) if source.kind is Kind.FILM]
    scored = [score_film(generator, film.name, source_frames(film, DEVICE), kind) for film in films]
    return DegradationScores.of(mean_scores(scored))


if __name__ == "__main__":
    main()
