"""Re-measure the included models: the scores on their cards, and the table in the README.

    python tools/scores.py footage/val
    python tools/scores.py footage/val --only tiny-x4
    python tools/scores.py footage/val --frames 0
    python tools/scores.py --table

Scores are those of `vsr evaluate --model`: the first frames of the films of DATA, with each
degradation. With --table, only the table is written, from the present cards.
"""

import argparse
import math
from itertools import islice
from pathlib import Path

import torch
from tool_main import run

import vsr.zoo
from vsr.data.sources import Source, SourceType, find_sources, source_frames
from vsr.errors import DataError, ModelError, VsrError
from vsr.imaging.degrade import Degradation
from vsr.scoring import degradation_scores, mean_scores, score_film
from vsr.zoo.card import Card, DegradationScores, write_card
from vsr.zoo.model_file import load_generator

ZOO = Path(vsr.zoo.__file__).parent
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- scores -->", "<!-- end of scores -->"
FRAMES = 16
"""First frames of each film that cards have the scores of."""
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Update cards and table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", help="held-out films")
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="score only these models")
    parser.add_argument(
        "--frames",
        type=frame_count,
        default=FRAMES,
        help=f"first frames of each film; 0 for all [{FRAMES}]",
    )
    chosen = parser.parse_args()
    if (chosen.data is None) != chosen.table:
        parser.error("give DATA, or --table")
    if not chosen.table:
        for card in included(chosen.only):
            scores = score_model(
                ZOO / "weights" / f"{card.name}.safetensors", chosen.data, chosen.frames
            )
            write_card(ZOO / "cards" / f"{card.name}.toml", card.model_copy(update=scores))
            print_scores(card.name, scores["scores"])
    readme = README.read_text(encoding="utf-8")
    README.write_text(with_table(readme, vsr.zoo.list_models()), encoding="utf-8")


def frame_count(text: str) -> int:
    """Parse a count of frames; raises ValueError for one below 0."""
    if (frames := int(text)) < 0:
        raise ValueError
    return frames


def included(names: list[str] | None) -> list[Card]:
    """Cards of the included models of these names, or of all; raises `ModelError`."""
    cards = {card.name: card for card in vsr.zoo.list_models()}
    for name in names or ():
        if name not in cards:
            raise ModelError(f"{name}: not an included model; there are: {', '.join(cards)}")
    return [card for card in cards.values() if not names or card.name in names]


def films_in(data: Path) -> list[Source]:
    """Films in a folder; raises `DataError` where it holds none."""
    films = [source for source in find_sources([data]) if source.type is SourceType.FILM]
    if not films:
        raise DataError(f"{data}: holds no film")
    return films


def score_model(
    model: Path, data: Path, frames: int = FRAMES
) -> dict[str, dict[str, DegradationScores]]:
    """Scores for a card, from the first `frames` of each film, or from all (0)."""
    generator = load_generator(model).to(DEVICE)
    films = films_in(data)
    scores = {}
    for degradation in Degradation:
        scored = [
            score_film(
                generator,
                film.name,
                islice(source_frames(film, DEVICE), frames or None),
                degradation,
            )
            for film in films
        ]
        scores[degradation.value] = degradation_scores(mean_scores(scored), frames)
    return {"scores": scores}


def print_scores(name: str, scores: dict[str, DegradationScores]) -> None:
    """Print a line for each degradation."""
    for degradation, score in scores.items():
        print(
            f"{name} {degradation}: {score.psnr_y:.2f} dB ({score.gain:+.2f}), "
            f"SSIM {score.ssim_y:.4f}, tOF {score.tof:.3f}",
            flush=True,
        )


def with_table(readme: str, cards: list[Card]) -> str:
    """Return the README with the cards' scores between its two markers."""
    lines = [
        "| model | scale | weights | bi: PSNR-Y (bicubic) | tOF | sharp | "
        "bd: PSNR-Y (bicubic) | tOF |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for card in cards:
        frames, scale = card.scores["bi"].frames, f"x{card.scale}"
        if frames != FRAMES:
            scale += f", first {frames} frames" if frames else ", all frames"
        cells = [f"`{card.name}`", scale, f"{card.parameters / 1000:.0f}k"]
        for score in (card.scores["bi"], card.scores["bd"]):
            gain = f"{score.psnr_y:.2f} ({score.bicubic_psnr_y:.2f}): **{score.gain:+.2f}**"
            cells += [gain, f"{score.tof:.3f} ({score.bicubic_tof:.3f})"]
            if score is card.scores["bi"]:
                cells.append(f"{score.sharpness:.3f}" if not math.isnan(score.sharpness) else "")
        lines.append(f"| {' | '.join(cells)} |")
    before, start, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise VsrError(f"{README}: lacks {BEGIN} and {END}")
    return "\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"])


if __name__ == "__main__":
    run(main)
