"""Records of a run: log, TensorBoard curves, strips of pictures and the model's card."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vsr.data.store import Store
from vsr.imaging.tensors import to_uint8
from vsr.media.contact_sheet import Captioned, write_sheet
from vsr.scoring import FilmScore, Pictures, degradation_scores
from vsr.system.address import printable
from vsr.system.files import make_folder, output_errors
from vsr.training.config import CardConfig
from vsr.zoo.card import Card, write_card

LOG_FILE = "log.jsonl"
STRIPS = "strips"
CARD_FILE = "card.toml"
_STRIP_SIDE = 192
_STRIP_FRAME = 5
"""Index of the frame in a strip: late enough for the recurrent state to contribute."""


class Log:
    """Writes a line of JSON for each validation, and TensorBoard curves."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._path = folder / LOG_FILE
        self._curves = SummaryWriter(str(folder / "tensorboard"))

    def step(
        self,
        iteration: int,
        loss: float,
        learning_rate: float,
        *,
        rate: float,
        parts: Mapping[str, float],
    ) -> None:
        """Add points to the curves of training; `parts` are the terms of the loss."""
        self._curves.add_scalar("loss", loss, iteration)
        self._curves.add_scalar("learning_rate", learning_rate, iteration)
        self._curves.add_scalar("iterations_per_second", rate, iteration)
        for name, part in parts.items():
            self._curves.add_scalar(f"loss/{name}", part, iteration)

    def validation(
        self,
        iteration: int,
        seconds: float,
        loss: float,
        mean: FilmScore,
        films: Sequence[FilmScore],
    ) -> None:
        """Write the scores on held-out films."""
        line = {
            "iteration": iteration,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "loss": loss,
            **{key: round(value, 4) for key, value in mean.ours._asdict().items()},
            **{f"bicubic_{k}": round(value, 4) for k, value in mean.bicubic._asdict().items()},
            "gains": {score.name: round(score.gain, 4) for score in films},
        }
        with output_errors(self._path), self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        for name, value in mean.ours._asdict().items():
            self._curves.add_scalar(f"validation/{name}", value, iteration)
        self._curves.flush()

    def close(self) -> None:
        """Flush and close the curves."""
        self._curves.close()


class Strip:
    """Crops of validation films side by side: low, bicubic, output, target."""

    def __init__(self) -> None:
        self._rows: list[list[Captioned]] = []

    def observer(self, name: str, frames: int) -> "_Row":
        """An observer of the scoring of a film of `frames` frames, which adds a row of crops."""
        return _Row(self._rows, name, min(_STRIP_FRAME, frames - 1))

    def write(self, folder: Path, iteration: int) -> None:
        """Write `strips/<iteration>.png`."""
        make_folder(folder / STRIPS)
        write_sheet(folder / STRIPS / f"{iteration:07d}.png", self._rows)


class _Row:
    def __init__(self, rows: list[list[Captioned]], name: str, frame: int) -> None:
        self._rows, self._name, self._frame = rows, name, frame

    def __call__(self, index: int, pictures: Pictures) -> None:
        if index != self._frame:
            return
        height, width = pictures.target.shape[-2:]
        low = F.interpolate(pictures.low[None], size=(height, width), mode="nearest")[0]
        shown = zip(
            (low, pictures.bicubic, pictures.output, pictures.target),
            (self._name, "bicubic", "output", "target"),
            strict=True,
        )
        self._rows.append([(_middle(picture), caption) for picture, caption in shown])


def write_run_card(
    path: Path,
    store: Store,
    card: CardConfig,
    *,
    name: str,
    scale: int,
    parameters: int,
    multiplies_per_pixel: int,
    machine: str,
    minutes: float,
    iterations: int,
    recipe: str,
    scores: dict[str, FilmScore],
) -> None:
    """Write the card of a model: its size, data, training and scores."""
    sources = store.sources.values()
    trained = tuple(source.name for source in sources if source.split == "train")
    held_out = tuple(source.name for source in sources if source.split == "val")
    write_card(
        path,
        Card(
            name=printable(name),
            scale=scale,
            summary=card.summary or f"Trained by {printable(recipe)}",
            parameters=parameters,
            multiplies_per_pixel=multiplies_per_pixel,
            licence=card.licence or "not said",
            machine=machine,
            minutes=round(minutes),
            iterations=iterations,
            recipe=printable(recipe),
            data=card.data or trained,
            validation=card.validation or held_out,
            scores={name: degradation_scores(score) for name, score in scores.items()},
        ),
    )


def _middle(picture: Tensor) -> NDArray[np.uint8]:
    height, width = picture.shape[-2:]
    tall, wide = min(height, _STRIP_SIDE), min(width, _STRIP_SIDE)
    top, left = (height - tall) // 2, (width - wide) // 2
    part = picture[:, top : top + tall, left : left + wide]
    return np.asarray(to_uint8(part).permute(1, 2, 0).cpu().numpy(), dtype=np.uint8)
