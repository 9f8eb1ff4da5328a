"""Score a model on degraded films: means over frames, beside bicubic interpolation."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

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
    """Means over the frames of a film."""

    psnr_y: float
    """Luma PSNR in dB."""
    ssim_y: float
    """Structural similarity of luma."""
    tof: float
    """Distance of the optical flow from the target's in pixels; NaN for single frames."""
    sharpness: float
    """Energy in the upper half of the spectrum over the target's."""
    warping_error: float
    """1000 times the squared change along the target's motion; NaN for single frames."""
    flicker: float
    """Change along the input's motion in code values, less bicubic's; NaN for single frames."""


_SCORED = tuple(Metric(name) for name in Scores._fields)


@dataclass(frozen=True)
class FilmScore:
    """Scores of a model on one film."""

    name: str
    frames: int
    ours: Scores
    bicubic: Scores
    """Scores of bicubic interpolation of the same frames."""

    @property
    def gain(self) -> float:
        """Luma PSNR above that of bicubic, in dB."""
        return self.ours.psnr_y - self.bicubic.psnr_y


class Pictures(NamedTuple):
    """One frame in all its versions, RGB (3, H, W) or (3, sH, sW) on 8-bit levels."""

    low: Tensor
    bicubic: Tensor
    output: Tensor
    target: Tensor


@torch.inference_mode()
def upscale_pairs(
    generator: Generator[Any], pairs: Iterable[tuple[Tensor, Tensor, bool]]
) -> Iterable[tuple[Pictures, bool]]:
    """Upscale the low frames of a film, shot by shot, with the generator and with bicubic.

    `pairs` are (low, target, starts_shot), RGB (3, H, W) and (3, sH, sW), on the generator's
    device. Yields the frames on 8-bit levels, each with whether it starts a shot.
    """
    state: tuple[Tensor, ...] = ()
    for low, target, starts_shot in pairs:
        batch = low[None].contiguous(memory_format=torch.channels_last)
        if starts_shot or not state:
            state = generator.start(batch)
        high, state = generator.step(batch, state)
        bicubic = resize_bicubic(low[None], (target.shape[-2], target.shape[-1]))
        # NaN and infinity are kept, so that they are reported; rounding would turn them into black.
        output = torch.where(high.isfinite(), on_8_bit_levels(high), high)
        yield Pictures(low, on_8_bit_levels(bicubic)[0], output[0], target), starts_shot


def degraded(
    frames: Iterable[tuple[Tensor, bool]],
    scale: int,
    degradation: Degradation | FilmDegradation,
    name: str = "",
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Yield (low, target, starts_shot) of frames (3, H, W) with their cuts.

    Sides are cut to multiples of `scale`, or of twice that for "web", whose parameters depend on
    the film's `name` alone. Raises `DataError` where frames are too small for "web".
    """
    if degradation == "web":
        yield from degrade_film_as_web(frames, scale, name)
        return
    for frame, starts_shot in frames:
        height, width = (side - side % scale for side in frame.shape[-2:])
        target = frame[:, :height, :width]
        yield degrade(target[None], scale, Degradation(degradation))[0], target, starts_shot


def score_film(
    generator: Generator[Any],
    name: str,
    frames: Iterable[tuple[Tensor, bool]],
    degradation: Degradation | FilmDegradation,
    watch: Callable[[int, Pictures], None] = lambda index, pictures: None,
) -> FilmScore:
    """Degrade a film, upscale it shot by shot, and compare the result with the original.

    `frames` are RGB (3, H, W) in [0, 1] on the generator's device, each with whether it starts a
    shot. Measured by the protocol "plain": whole frames of equal weight. `watch` receives the
    index and the versions of each frame. Raises `DataError` for outputs that are NaN or infinite.
    """
    rows: tuple[list[Row], list[Row]] = ([], [])
    meter: FilmMeter | None = None
    pairs = degraded(frames, generator.scale, degradation, name)
    for index, (pictures, starts_shot) in enumerate(upscale_pairs(generator, pairs)):
        if meter is None:
            has_motion = min(pictures.target.shape[-2:]) >= TOF_SMALLEST_SIDE
            metrics = [m for m in _SCORED if m is not Metric.TOF or has_motion]
            meter = FilmMeter(metrics, PROTOCOLS["plain"], name=name)
        outputs = (pictures.output, pictures.bicubic)
        measured = meter.add(outputs, pictures.target, starts_shot, pictures.low)
        for film_rows, row in zip(rows, measured, strict=True):
            film_rows.append(row)
        watch(index, pictures)
    ours, bicubic = (
        Scores(*(mean_of(row.get(metric, math.nan) for row in film) for metric in _SCORED))
        for film in rows
    )
    return FilmScore(name, len(rows[0]), ours, bicubic)


def mean_scores(scores: Sequence[FilmScore]) -> FilmScore:
    """Mean over films of equal weight."""
    ours, bicubic = (
        Scores(*(mean_of(values) for values in zip(*films, strict=True)))
        for films in ([s.ours for s in scores], [s.bicubic for s in scores])
    )
    return FilmScore("mean", sum(score.frames for score in scores), ours, bicubic)


def degradation_scores(score: FilmScore, frames: int = 0) -> DegradationScores:
    """Convert to scores of a model card; `frames` are those measured of each film, 0 for all."""
    ours = {key: round(value, 4) for key, value in score.ours._asdict().items()}
    bicubic = {f"bicubic_{k}": round(v, 4) for k, v in score.bicubic._asdict().items()}
    return DegradationScores(**ours, **bicubic, frames=frames)
