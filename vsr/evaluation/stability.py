"""Measure second by second how steady an output is, compared with its source enlarged."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import DataError
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb
from vsr.imaging.tensors import resize_bicubic
from vsr.media.decode.part import Part, PartClock
from vsr.media.decode.reader import VideoReader
from vsr.media.frame import Frame
from vsr.metrics.temporal import (
    TOF_SMALLEST_SIDE,
    farneback,
    flicker,
    grey,
    motion_to_previous,
    tof,
)

_PAIRS_PER_SECOND = 4
"""Pairs of consecutive frames that are measured in each second."""
_LARGEST = 1280, 720
"""Width and height of the middle of the output that is measured."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class SecondStability:
    """Values of one second of an output."""

    second: int
    """Seconds since the output's first frame."""
    flicker: float | None
    """Mean of `metrics.temporal.flicker`; None where no motion can be trusted."""
    tof: float | None
    """Mean distance of the optical flow from that of the source enlarged bicubically, in pixels of
    the output; None in small pictures."""


class _Pair(NamedTuple):
    """A frame of the output, and the frame of the source that it was made from."""

    time: Fraction
    """Seconds since the output's first frame."""
    output: Frame
    source: Frame
    begins_shot: bool


def measure_stability(
    source: Path, output: Path, options: UpscaleOptions = UpscaleOptions()
) -> list[SecondStability]:
    """Measure flicker and tOF of an output against its source enlarged bicubically.

    `options` are those of the run. In each second, some pairs of consecutive frames are measured,
    in the middle of the picture. Raises `MediaError` where a film can't be read, and `DataError`
    where no frames have the same times.
    """
    upright = options.rotate == "apply"
    with (
        VideoReader(
            source,
            options.deinterlace,
            upright,
            video=options.video,
            inverse_telecine=options.inverse_telecine,
        ) as low,
        VideoReader(output, apply_rotation=upright) as high,
    ):
        crop = _Crop(low, high)
        found: dict[int, list[tuple[float, float]]] = {}
        previous: _Pair | None = None
        for pair in _pairs(low, high, options.part):
            second = found.setdefault(int(pair.time), [])
            is_wanted = len(second) < _PAIRS_PER_SECOND and not pair.begins_shot
            if previous is not None and is_wanted:
                second.append(crop.measure(pair, previous))
            previous = pair
        if previous is None:
            raise DataError(f"{output}: has no frame that is shown at the time of one of {source}")
    return [
        SecondStability(
            second=second,
            flicker=_mean([one for one, _ in values]),
            tof=_mean([other for _, other in values]),
        )
        for second, values in sorted(found.items())
    ]


class _Crop:
    """The middle of the pictures, as far as it is measured."""

    def __init__(self, low: VideoReader, high: VideoReader) -> None:
        self._specs = colour_spec(low.info), colour_spec(high.info)
        sides = []
        for small, large, most in (
            (low.info.width, high.info.width, _LARGEST[0]),
            (low.info.height, high.info.height, _LARGEST[1]),
        ):
            length = min(small, max(1, small * most // large))
            first = (small - length) // 2
            sides.append((first, length, round(first * large / small), length * large // small))
        self._across, self._down = sides

    def measure(self, pair: _Pair, previous: _Pair) -> tuple[float, float]:
        """Return flicker and tOF of a pair of consecutive frames."""
        low, low_before = (self._picture(one.source, 0) for one in (pair, previous))
        high, high_before = (self._picture(one.output, 1) for one in (pair, previous))
        motion = motion_to_previous(low, low_before)
        change = flicker(high, high_before, low, low_before, motion)
        if min(high.shape[-2:]) < TOF_SMALLEST_SIDE:
            return change, math.nan
        size = (high.shape[-2], high.shape[-1])
        both = resize_bicubic(torch.stack((low_before, low)), size).clamp(0, 1)
        flows = [
            farneback(grey(before), grey(after))
            for before, after in ((high_before, high), (both[0], both[1]))
        ]
        return change, tof(*flows)

    def _picture(self, frame: Frame, which: int) -> Tensor:
        """Return the crop of a frame of the source, 0, or of the output, 1."""
        left, width = self._across[2 * which : 2 * which + 2]
        top, height = self._down[2 * which : 2 * which + 2]
        rgb = planes_to_rgb(frame.planes, self._specs[which], _CPU)
        return rgb[:, top : top + height, left : left + width].clamp(0, 1)


def _pairs(low: VideoReader, high: VideoReader, part: Part | None) -> Iterator[_Pair]:
    """Pair frames whose times since the first ones are equal, but for rounding by the clocks."""
    tolerance = (low.info.time_base + high.info.time_base) / 2
    sources = _with_times(_source_frames(low, part), low.info.time_base)
    source = next(sources, None)
    first: Fraction | None = None
    for frame in high.frames():
        time = frame.pts * high.info.time_base
        first = time if first is None else first
        begins_shot = False
        while source is not None and source[0] < time - first - tolerance:
            begins_shot |= source[2]
            source = next(sources, None)
        if source is None:
            return
        if source[0] <= time - first + tolerance:
            yield _Pair(time - first, frame, source[1], begins_shot or source[2])


def _with_times(
    frames: Iterator[tuple[Frame, bool]], tick: Fraction
) -> Iterator[tuple[Fraction, Frame, bool]]:
    first: int | None = None
    for frame, begins_shot in frames:
        first = frame.pts if first is None else first
        yield (frame.pts - first) * tick, frame, begins_shot


def _source_frames(reader: VideoReader, part: Part | None) -> Iterator[tuple[Frame, bool]]:
    """Yield the frames of a part of the source, with flags of cuts."""
    info = reader.info
    clock = PartClock(
        part or Part(),
        origin=reader.first_pts,
        time_base=info.time_base,
        frame_rate=info.frame_rate,
    )
    start = clock.part.start
    if start.value and not start.in_frames:
        reader.seek_before(reader.first_pts + int(start.value / info.time_base), 1)
    for index, (frame, begins_shot) in enumerate(mark_cuts(reader.frames())):
        assert isinstance(frame, Frame)
        if clock.has_started(frame.pts, index):
            yield frame, begins_shot


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else None
