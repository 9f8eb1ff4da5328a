"""Degrade whole films for the evaluation of models."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vsr.data.config import DegradationShares
from vsr.data.real_degradation import degrade_as_real
from vsr.imaging.tensors import on_8_bit_levels
from vsr.scoring import FilmDegradation, degraded

EvaluatedDegradation = FilmDegradation | Literal["real"]

_REAL_PIXELS = 64_000_000
"""Samples of a segment that `real` degrades at once."""
_REAL_FRAMES = (8, 48)
"""Fewest and most frames of such a segment, if the shot is long enough."""


def degrade_film(
    frames: Iterable[tuple[Tensor, bool]],
    scale: int,
    degradation: EvaluatedDegradation,
    name: str,
) -> Iterable[tuple[Tensor, Tensor, bool]]:
    """Yield (low, target, starts_shot) of frames, RGB (3, H, W) in [0, 1], with their cuts.

    "bi" and "bd" are those of `imaging.degrade`. "web" sends the whole film through the codecs of
    `frames.web_degradation`. "real" is that of `data.real_degradation` at the default strength of
    training, with new parameters at most every 48 frames. The parameters of the last two depend on
    the film's `name` alone.
    """
    if degradation == "real":
        return _degrade_as_real(frames, scale, zlib.crc32(name.encode()))
    return degraded(frames, scale, degradation, name)


def _degrade_as_real(
    frames: Iterable[tuple[Tensor, bool]], scale: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Degrade segments of a shot one at a time, so that memory is bounded."""
    for index, (starts_shot, high) in enumerate(_segments(frames, 2 * scale)):
        random = np.random.default_rng(seed)
        strength = DegradationShares().real_strength
        lows = on_8_bit_levels(degrade_as_real(high, scale, strength, random, seed + index))
        for number, (low, target) in enumerate(zip(lows, high, strict=True)):
            yield low, target, starts_shot and number == 0


def _segments(
    frames: Iterable[tuple[Tensor, bool]], multiple: int
) -> Iterator[tuple[bool, Tensor]]:
    """Whether a segment starts a shot, and its frames (T, 3, H, W); sides are cut to multiples."""
    segment: list[Tensor] = []
    starts_shot = False
    fewest, most = _REAL_FRAMES
    for frame, is_first in frames:
        height, width = (side - side % multiple for side in frame.shape[-2:])
        longest = min(max(_REAL_PIXELS // (3 * height * width), fewest), most)
        if segment and (is_first or len(segment) == longest):
            yield starts_shot, torch.stack(segment)
            segment, starts_shot = [], False
        starts_shot |= is_first
        segment.append(frame[:, :height, :width])
    if segment:
        yield starts_shot, torch.stack(segment)
