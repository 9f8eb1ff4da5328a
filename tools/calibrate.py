"""Calibrate the included models for int8 inference, and print the loss of PSNR.

    python tools/calibrate.py footage/train footage/val
    python tools/calibrate.py footage/train footage/val --only tiny-x4

The ranges of the inputs of convolutions, recurrent states included, are measured on TRAIN, degraded
by `bi` and by `bd`, and stored in the model files. The loss is that of luma PSNR on films of VAL,
degraded by `bi`.
"""

import argparse
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from scores import ZOO, films_in, included
from tool_main import run
from torch import Tensor

from vsr.data.sources import Source, source_frames
from vsr.imaging.degrade import Degradation
from vsr.metrics.image import psnr_y
from vsr.models import Generator
from vsr.models.int8 import calibrate, quantise
from vsr.scoring import degraded, upscale_pairs
from vsr.zoo.model_file import add_ranges, load_generator

_CPU = torch.device("cpu")
_FRAMES = 24
"""First frames of each film that are used, for calibration and for PSNR."""


def main() -> None:
    """Calibrate the included recurrent models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, help="films to measure ranges on")
    parser.add_argument("val", type=Path, help="films to measure PSNR on")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these models")
    chosen = parser.parse_args()
    train, val = films_in(chosen.train), films_in(chosen.val)
    for card in included(chosen.only):
        path = ZOO / "weights" / f"{card.name}.safetensors"
        generator = load_generator(path)
        if not generator.int8_layers():
            continue
        ranges = calibrate(generator, _clips(train, generator.scale))
        add_ranges(path, ranges)
        exact, rounded = (_psnr(model, val) for model in (generator, quantise(generator, ranges)))
        print(f"{card.name:<12} f32 {exact:.3f} dB, int8 {rounded:.3f} ({rounded - exact:+.3f})")


def _clips(films: list[Source], scale: int) -> Iterator[Iterator[Tensor]]:
    for film in films:
        for degradation in (Degradation.BI, Degradation.BD):
            pairs = degraded(islice(source_frames(film, _CPU), _FRAMES), scale, degradation)
            yield (low for low, _, _ in pairs)


@torch.inference_mode()
def _psnr(generator: Generator[Any], films: list[Source]) -> float:
    """Luma PSNR in dB: mean over films of the mean over their first frames."""
    means = []
    for film in films:
        frames = islice(source_frames(film, _CPU), _FRAMES)
        pairs = upscale_pairs(generator, degraded(frames, generator.scale, Degradation.BI))
        values = [float(psnr_y(p.output, p.target)) for p, _ in pairs]
        means.append(math.fsum(values) / len(values))
    return math.fsum(means) / len(means)


if __name__ == "__main__":
    run(main)
