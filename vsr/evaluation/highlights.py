"""Select pictures of a film for its report while it is streamed; only a few are kept."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.tensors import to_uint8
from vsr.metrics.meter import Row, mean_of
from vsr.metrics.protocol import Metric
from vsr.metrics.temporal import temporal_profile

Pixels = NDArray[np.uint8]
Panels = dict[str, Pixels]
"""The same area of the output, its reference and other versions, (H, W, 3) each, by name."""

_WORST_FRAMES = 3
_CROP = 192
_SECOND_CROP = 144
_MAX_SECOND_FRAMES = 30
_MIN_SECOND_FRAMES = 5
"""Of a second that is cut short by a cut or the end of the film."""
_SLICE_FRAMES, _SLICE_WIDTH = 400, 480
_FLICKER_METRICS = (Metric.FLICKER, Metric.WARPING_ERROR, Metric.TOF)
"""Metrics that rank seconds by flicker, in order of preference."""


@dataclass(frozen=True)
class WorstFrame:
    """A frame of low PSNR, cropped where it differs most from its reference."""

    index: int
    psnr_y: float
    panels: Panels


@dataclass
class Second:
    """A crop of a second of film."""

    first: int
    """Index of its first frame."""
    corner: tuple[int, int]
    """Top and left of the crop."""
    frames: list[Panels] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    """The flicker metric of each frame."""

    @property
    def flicker(self) -> float:
        """The mean of the flicker metric; NaN if no frame has one."""
        return mean_of(self.changes)


class Highlights:
    """The worst frames, the steadiest and the most flickering second, and x-t slices of a film."""

    def __init__(self, frame_rate: float) -> None:
        self._length = min(max(round(frame_rate), 4), _MAX_SECOND_FRAMES)
        self._spacing = max(round(frame_rate / 2), 1)
        self._candidates: list[WorstFrame] = []
        self._current: WorstFrame | None = None
        self._second: Second | None = None
        self._rows: dict[str, list[Tensor]] = {}
        self._slice_corner: tuple[int, int] | None = None
        self._seconds: list[Second] = []
        self.flicker_metric: Metric | None = None
        """The metric that the seconds are ranked by."""

    def add(self, index: int, panels: dict[str, Tensor], row: Row) -> None:
        """Add a frame in all its versions, RGB (3, H, W) in [0, 1], the output first."""
        output, *others = panels.values()
        other = others[0] if others else output
        if Metric.PSNR_Y in row:
            self._update_worst(index, panels, row[Metric.PSNR_Y], output - other)
        if self.flicker_metric is None:
            self.flicker_metric = next(
                (metric for metric in _FLICKER_METRICS if metric in row), None
            )
        if self.flicker_metric is not None:
            self._update_second(index, panels, row.get(self.flicker_metric, math.nan), other)
        if self._slice_corner is None:
            self._slice_corner = _busiest(other, _SECOND_CROP)
        if len(next(iter(self._rows.values()), [])) < _SLICE_FRAMES:
            middle = self._slice_corner[0] + min(_SECOND_CROP, output.shape[-2]) // 2
            for name, picture in panels.items():
                line = temporal_profile(picture[None], middle)[:, 0]
                left = (line.shape[-1] - min(line.shape[-1], _SLICE_WIDTH)) // 2
                pixels = to_uint8(line[:, left : left + _SLICE_WIDTH])
                self._rows.setdefault(name, []).append(pixels.T.cpu())

    @property
    def worst(self) -> list[WorstFrame]:
        """At most three frames, each the worst of its half second, the worst first."""
        found = [*self._candidates, *([self._current] if self._current else [])]
        return sorted(found, key=lambda frame: frame.psnr_y)[:_WORST_FRAMES]

    @property
    def seconds(self) -> list[Second]:
        """The steadiest second and the most flickering one, or the only one, or none."""
        self._finish_second()
        return self._seconds

    @property
    def slices(self) -> Panels:
        """The x-t slices, (T, W, 3), with time downwards."""
        return {name: np.stack([r.numpy() for r in rows]) for name, rows in self._rows.items()}

    def _update_worst(
        self, index: int, panels: dict[str, Tensor], score: float, error: Tensor
    ) -> None:
        if self._current and index // self._spacing != self._current.index // self._spacing:
            self._candidates, self._current = self.worst, None
        if math.isinf(score) or (self._current and self._current.psnr_y <= score):
            return
        if len(self._candidates) == _WORST_FRAMES and self._candidates[-1].psnr_y <= score:
            return
        corner = _busiest(error, _CROP, gradient=False)
        self._current = WorstFrame(index, score, _cut(panels, corner, _CROP))

    def _update_second(
        self, index: int, panels: dict[str, Tensor], change: float, other: Tensor
    ) -> None:
        # A frame without a change starts a shot, and a second must not span two shots.
        if math.isnan(change) or (self._second and len(self._second.frames) == self._length):
            self._finish_second()
        if self._second is None:
            self._second = Second(index, _busiest(other, _SECOND_CROP))
        second = self._second
        second.frames.append(_cut(panels, second.corner, _SECOND_CROP))
        # The first frame changes from one that is not part of the second.
        second.changes.append(change if len(second.frames) > 1 else math.nan)

    def _finish_second(self) -> None:
        """Keep the current second if it is the steadiest or the most flickering so far."""
        second, self._second = self._second, None
        if second is None or len(second.frames) < min(_MIN_SECOND_FRAMES, self._length):
            return
        if math.isnan(second.flicker):
            return
        ranked = sorted([*self._seconds, second], key=lambda each: each.flicker)
        self._seconds = ranked if len(ranked) < 2 else [ranked[0], ranked[-1]]


def _busiest(picture: Tensor, side: int, gradient: bool = True) -> tuple[int, int]:
    """Top and left of the square of (3, H, W) with the largest sum of magnitudes or gradients."""
    rows, columns = min(side, picture.shape[-2]), min(side, picture.shape[-1])
    grey = picture.mean(dim=0)
    if gradient:
        grey = (grey[:-1, 1:] - grey[:-1, :-1]).abs() + (grey[1:, :-1] - grey[:-1, :-1]).abs()
        rows, columns = min(rows, grey.shape[0]), min(columns, grey.shape[1])
    step = 16
    sums = F.avg_pool2d(grey.abs()[None, None], (rows, columns), step)[0, 0]
    best = int(sums.argmax())
    return best // sums.shape[1] * step, best % sums.shape[1] * step


def _cut(panels: dict[str, Tensor], corner: tuple[int, int], side: int) -> Panels:
    top, left = corner
    return {
        name: to_uint8(picture[:, top : top + side, left : left + side])
        .permute(1, 2, 0)
        .cpu()
        .numpy()
        for name, picture in panels.items()
    }
