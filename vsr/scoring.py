"""How well films do against what they should have been, frame by frame."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from vsr.errors import DataError
from vsr.frames.web_degradation import degrade_film_as_web
from vsr.imaging.degrade import Degradation, degrade
from vsr.imaging.tensors import on_8_bit_levels, resize_bicubic
from vsr.metrics.meter import FilmMeter, Row, mean_of
from vsr.metrics.protocol import PROTOCOLS, Metric
from vsr.metrics.temporal import TOF_SMALLEST_SIDE
from vsr.models import Generator
from vsr.zoo.card import DegradationScores

FilmDegradation = Literal["bi", "bd", "web"]
"""A degradation of whole films: see `imaging.degrade` and, for "web", `frames.web_degradation`."""


class Scores(NamedTuple):
    """Means over frames."""

    psnr_y: float
    """Luma PSNR in dB."""
    ssim_y: float
    """Structural similarity of luma."""
    tof: float
    """Distance of the motion from the target's in pixels; NaN for single frames."""
    sharpness: float
    """Energy over the target's in the upper half of the spectrum."""
    warping_error: float
    """1000 times the squared change along the target's motion; NaN for single frames."""
    flicker: float
    """Change along the input's motion in code values, less bicubic's; NaN for single frames."""


_SCORED = tuple(Metric(name) for name in Scores._fields)


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
def upscale_pairs(
    generator: Generator[Any], pairs: Iterable[tuple[Tensor, Tensor, bool]]
) -> Iterable[tuple[Pictures, bool]]:
    """Upscale the low frames of a film shot by shot, beside bicubic interpolation.

    `pairs` are (low, target, begins_shot), RGB (3, H, W) and (3, sH, sW), on the generator's
    device; what comes back is on 8-bit levels.
    """
    state: tuple[Tensor, ...] = ()
    for low, target, begins_shot in pairs:
        seen = low[None].contiguous(memory_format=torch.channels_last)
        if begins_shot or not state:
            state = generator.start(seen)
        high, state = generator.step(seen, state)
        bicubic = resize_bicubic(low[None], (target.shape[-2], target.shape[-1]))
        # What is no number stays so, and is told: on 8-bit levels it would pass for black.
        output = torch.where(high.isfinite(), on_8_bit_levels(high), high)
        yield Pictures(low, on_8_bit_levels(bicubic)[0], output[0], target), begins_shot


def degraded(
    frames: Iterable[tuple[Tensor, bool]],
    scale: int,
    kind: Degradation | FilmDegradation,
    name: str = "",
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """(low, target, begins_shot) of frames (3, H, W).

    Sides are cut to multiples of `scale`, or of twice that for `web`, whose parameters follow
    from the film's `name`. Raises `DataError` where frames are too small for `web`.
    """
    if kind == "web":
        yield from degrade_film_as_web(frames, scale, name)
        return
    for frame, begins_shot in frames:
        height, width = (side - side % scale for side in frame.shape[-2:])
        target = frame[:, :height, :width]
        yield degrade(target[None], scale, Degradation(kind))[0], target, begins_shot


def score_film(
    generator: Generator[Any],
    name: str,
    frames: Iterable[tuple[Tensor, bool]],
    degradation: Degradation | FilmDegradation,
    watch: Callable[[int, Pictures], None] = lambda number, pictures: None,
) -> FilmScore:
    """Degrade a film, upscale it shot by shot, and compare with what it was.

    `frames` are RGB (3, H, W) in [0, 1], on the generator's device, and whether each begins a
    shot. By the protocol `plain`: whole frames count, each alike. `watch` sees each frame.
    """
    rows: tuple[list[Row], list[Row]] = ([], [])
    meter: FilmMeter | None = None
    pairs = degraded(frames, generator.scale, degradation, name)
    for number, (pictures, begins_shot) in enumerate(upscale_pairs(generator, pairs)):
        if meter is None:
            has_motion = min(pictures.target.shape[-2:]) >= TOF_SMALLEST_SIDE
            metrics = [m for m in _SCORED if m is not Metric.TOF or has_motion]
            meter = FilmMeter(metrics, PROTOCOLS["plain"])
        outputs = (pictures.output, pictures.bicubic)
        try:
            measured = meter.add(outputs, pictures.target, begins_shot, pictures.low)
        except DataError as error:
            raise DataError(f"{name}: frame {number} {error}") from error
        for kept, row in zip(rows, measured, strict=True):
            kept.append(row)
        watch(number, pictures)
    ours, bicubic = (
        Scores(*(mean_of(row.get(metric, math.nan) for row in film) for metric in _SCORED))
        for film in rows
    )
    return FilmScore(name, len(rows[0]), ours, bicubic)


def mean_scores(scores: Sequence[FilmScore]) -> FilmScore:
    """The mean over films, each counting alike."""
    ours, bicubic = (
        Scores(*(mean_of(values) for values in zip(*films, strict=True)))
        for films in ([s.ours for s in scores], [s.bicubic for s in scores])
    )
    return FilmScore("mean", sum(score.frames for score in scores), ours, bicubic)


def degradation_scores(score: FilmScore, frames: int = 0) -> DegradationScores:
    """The scores of a model card, measured on the first `frames` of each film, or on all (0)."""
    ours = {key: round(value, 4) for key, value in score.ours._asdict().items()}
    theirs = {f"bicubic_{k}": round(v, 4) for k, v in score.bicubic._asdict().items()}
    return DegradationScores(**ours, **theirs, frames=frames)
