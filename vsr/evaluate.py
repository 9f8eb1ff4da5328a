"""How well a generator does on films it has never seen."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vsr.degrade import Degradation, degrade
from vsr.metrics.image import psnr_y, ssim_y
from vsr.metrics.temporal import farneback, grey, tof
from vsr.models import Generator
from vsr.tensors import on_8_bit_levels, resize_bicubic

_SMALLEST_FLOW_SIDE = 48
"""Pixels under which nothing is left of a frame's inside."""


class Scores(NamedTuple):
    """Means over frames."""

    psnr_y: float
    """Luma PSNR in dB."""
    ssim_y: float
    """Structural similarity of luma."""
    tof: float
    """Distance of the motion from the target's in pixels; NaN for single frames."""


@dataclass(frozen=True)
class FilmScore:
    """What was measured on one film."""

    name: str
    frames: int
    ours: Scores
    bicubic: Scores
    """Of bicubic interpolation of the same frames."""

    @property
    def gain(self) -> float:
        """Luma PSNR over bicubic, in dB."""
        return self.ours.psnr_y - self.bicubic.psnr_y


class Pictures(NamedTuple):
    """One frame in all its forms, RGB (3, H, W) or (3, sH, sW) on 8-bit levels."""

    low: Tensor
    bicubic: Tensor
    output: Tensor
    target: Tensor


@torch.inference_mode()
def score_film(
    generator: Generator[Any],
    name: str,
    frames: Iterable[tuple[Tensor, bool]],
    degradation: Degradation,
    watch: Callable[[int, Pictures], None] = lambda number, pictures: None,
) -> FilmScore:
    """Degrade a film frame by frame, upscale it shot by shot, and compare with what it was.

    `frames` are RGB (3, H, W) in [0, 1] and whether each begins a shot. Whole frames count
    (sides cut to a multiple of the scale), 8-bit pictures, each frame alike. `watch`
    sees each frame.
    """
    device = next(generator.parameters()).device
    scale = generator.scale
    ours, bicubics = _Sums(), _Sums()
    state: tuple[Tensor, ...] = ()
    before: list[np.ndarray[Any, Any]] = []
    count = 0
    for frame, begins_shot in frames:
        height, width = (side - side % scale for side in frame.shape[-2:])
        target = frame[None, :, :height, :width].to(device)
        low = degrade(target, scale, degradation)
        seen = low.contiguous(memory_format=torch.channels_last)
        if begins_shot or not state:
            state = generator.start(seen)
        high, state = generator.step(seen, state)
        output = on_8_bit_levels(high)
        bicubic = on_8_bit_levels(resize_bicubic(low, (height, width)))
        for sums, picture in ((ours, output), (bicubics, bicubic)):
            sums.psnr.append(float(psnr_y(picture, target)))
            sums.ssim.append(float(ssim_y(picture, target)))
        now = [grey(picture[0]) for picture in (target, output, bicubic)]
        if not begins_shot and before and min(height, width) >= _SMALLEST_FLOW_SIDE:
            flows = [farneback(was, here) for was, here in zip(before, now, strict=True)]
            ours.tof.append(tof(flows[1], flows[0]))
            bicubics.tof.append(tof(flows[2], flows[0]))
        before = now
        watch(count, Pictures(low[0], bicubic[0], output[0], target[0]))
        count += 1
    return FilmScore(name, count, ours.means(), bicubics.means())


def mean_scores(scores: Sequence[FilmScore]) -> FilmScore:
    """The mean over films, each counting alike."""
    return FilmScore(
        "mean",
        sum(score.frames for score in scores),
        Scores(*(_mean(values) for values in zip(*(s.ours for s in scores), strict=True))),
        Scores(*(_mean(values) for values in zip(*(s.bicubic for s in scores), strict=True))),
    )


class _Sums:
    def __init__(self) -> None:
        self.psnr: list[float] = []
        self.ssim: list[float] = []
        self.tof: list[float] = []

    def means(self) -> Scores:
        return Scores(_mean(self.psnr), _mean(self.ssim), _mean(self.tof))


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
