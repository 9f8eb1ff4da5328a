"""Pictures worth looking at, gathered while a film streams by; few are held."""

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
"""The same place in the output, its reference and more, (H, W, 3) each, by name."""

_WORST = 3
_CROP = 192
_SECOND_CROP = 144
_MOST_FRAMES_OF_A_SECOND = 30
_FEWEST_FRAMES = 5
"""Of a second that a cut or the end makes shorter."""
_SLICE_FRAMES, _SLICE_WIDTH = 400, 480
_STEADINESS = (Metric.FLICKER, Metric.WARPING_ERROR, Metric.TOF)
"""What tells a flickering second, the best first."""


@dataclass(frozen=True)
class WorstFrame:
    """Where an output is farthest from its reference."""

    number: int
    psnr_y: float
    panels: Panels


@dataclass
class Second:
    """A second of film around one place."""

    first: int
    corner: tuple[int, int]
    frames: list[Panels] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)

    @property
    def flicker(self) -> float:
        """How unsteady it is."""
        return mean_of(self.changes)


class Highlights:
    """Of one film: its worst frames, its steadiest and most flickering second, x-t slices."""

    def __init__(self, frame_rate: float) -> None:
        self._length = min(max(round(frame_rate), 4), _MOST_FRAMES_OF_A_SECOND)
        self._apart = max(round(frame_rate / 2), 1)
        self._candidates: list[WorstFrame] = []
        self._stretch: WorstFrame | None = None
        self._second: Second | None = None
        self._rows: dict[str, list[Tensor]] = {}
        self._slice_place: tuple[int, int] | None = None
        self._seconds: list[Second] = []
        self.steadiness: Metric | None = None
        """What the seconds were chosen by."""

    def see(self, number: int, panels: dict[str, Tensor], row: Row) -> None:
        """A frame in all its forms, RGB (3, H, W) in [0, 1], the output first."""
        output, other = list(panels.values())[:2]
        if Metric.PSNR_Y in row:
            self._judge(number, panels, row[Metric.PSNR_Y], output, other)
        if self.steadiness is None:
            self.steadiness = next((metric for metric in _STEADINESS if metric in row), None)
        if self.steadiness is not None:
            self._watch(number, panels, row.get(self.steadiness, math.nan), other)
        if self._slice_place is None:
            self._slice_place = _busiest(other, _SECOND_CROP)
        if len(next(iter(self._rows.values()), [])) < _SLICE_FRAMES:
            middle = self._slice_place[0] + min(_SECOND_CROP, output.shape[-2]) // 2
            for name, picture in panels.items():
                line = temporal_profile(picture[None], middle)[:, 0]
                left = (line.shape[-1] - min(line.shape[-1], _SLICE_WIDTH)) // 2
                kept = to_uint8(line[:, left : left + _SLICE_WIDTH])
                self._rows.setdefault(name, []).append(kept.T.cpu())

    @property
    def worst(self) -> list[WorstFrame]:
        """Each the worst of its half second, the worst first."""
        found = [*self._candidates, *([self._stretch] if self._stretch else [])]
        return sorted(found, key=lambda frame: frame.psnr_y)[:_WORST]

    @property
    def seconds(self) -> list[Second]:
        """The steadiest second and the most flickering one, or the only one, or none."""
        self._finish()
        return self._seconds

    @property
    def slices(self) -> Panels:
        """The x-t slices, (T, W, 3), time going down."""
        return {name: np.stack([r.numpy() for r in rows]) for name, rows in self._rows.items()}

    def _judge(
        self, number: int, panels: dict[str, Tensor], score: float, output: Tensor, other: Tensor
    ) -> None:
        if self._stretch and number // self._apart != self._stretch.number // self._apart:
            self._candidates, self._stretch = self.worst, None
        if math.isinf(score) or (self._stretch and self._stretch.psnr_y <= score):
            return
        if len(self._candidates) == _WORST and self._candidates[-1].psnr_y <= score:
            return
        corner = _busiest(output - other, _CROP, gradient=False)
        self._stretch = WorstFrame(number, score, _cut(panels, corner, _CROP))

    def _watch(self, number: int, panels: dict[str, Tensor], change: float, other: Tensor) -> None:
        # Where nothing is known of the change, a shot begins: a second lies within one.
        if math.isnan(change) or (self._second and len(self._second.frames) == self._length):
            self._finish()
        if self._second is None:
            self._second = Second(number, _busiest(other, _SECOND_CROP))
        second = self._second
        second.frames.append(_cut(panels, second.corner, _SECOND_CROP))
        # The first frame's change is from what the second doesn't show.
        second.changes.append(change if len(second.frames) > 1 else math.nan)

    def _finish(self) -> None:
        """Keep the second at hand if it is the steadiest or the most flickering so far."""
        second, self._second = self._second, None
        if second is None or len(second.frames) < min(_FEWEST_FRAMES, self._length):
            return
        if math.isnan(second.flicker):
            return
        known = sorted([*self._seconds, second], key=lambda each: each.flicker)
        self._seconds = known if len(known) < 2 else [known[0], known[-1]]


def _busiest(picture: Tensor, side: int, gradient: bool = True) -> tuple[int, int]:
    """Top and left of the square of (3, H, W) in which most happens."""
    tall, wide = min(side, picture.shape[-2]), min(side, picture.shape[-1])
    grey = picture.mean(dim=0)
    if gradient:
        grey = (grey[:-1, 1:] - grey[:-1, :-1]).abs() + (grey[1:, :-1] - grey[:-1, :-1]).abs()
        tall, wide = min(tall, grey.shape[0]), min(wide, grey.shape[1])
    step = 16
    sums = F.avg_pool2d(grey.abs()[None, None], (tall, wide), step)[0, 0]
    place = int(sums.argmax())
    return place // sums.shape[1] * step, place % sums.shape[1] * step


def _cut(panels: dict[str, Tensor], corner: tuple[int, int], side: int) -> Panels:
    top, left = corner
    return {
        name: to_uint8(picture[:, top : top + side, left : left + side])
        .permute(1, 2, 0)
        .cpu()
        .numpy()
        for name, picture in panels.items()
    }
