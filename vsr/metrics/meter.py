"""Measure the outputs of several models on a film, frame by frame."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vsr.errors import DataError
from vsr.metrics.cvvdp import ColorVideoVdp
from vsr.metrics.image import ms_ssim_y, psnr, psnr_y, sharpness, ssim_y
from vsr.metrics.protocol import Metric, Protocol
from vsr.metrics.temporal import (
    Motion,
    excess_flicker,
    farneback,
    flicker,
    grey,
    motion_to_previous,
    tof,
    warping_error,
)

Row = dict[Metric, float]
"""What was measured on one frame; NaN where a metric has no meaning there."""


class _Seen(NamedTuple):
    """A frame, kept until the next one."""

    outputs: list[Tensor]
    target: Tensor | None
    low: Tensor | None
    greys: list[NDArray[np.uint8]]
    """Of the outputs, then of the target; only where tOF is asked for."""


class FilmMeter:
    """Measures the frames of one film in order; holds one frame, whatever the length.

    Several outputs may be measured against one target: its motion is found but once.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        protocol: Protocol,
        networks: dict[Metric, nn.Module] | None = None,
        frame_rate: float = 25.0,
    ) -> None:
        """`networks` are those that LPIPS, tLP and `features` go by.

        `frame_rate` in frames a second is what `cvvdp` sees the film at.
        """
        self._metrics = metrics
        self._protocol = protocol
        self._networks = networks or {}
        self._frame_rate = frame_rate
        self._before: _Seen | None = None
        self._viewers: list[ColorVideoVdp] = []

    @torch.inference_mode()
    def add(
        self,
        outputs: Sequence[Tensor],
        target: Tensor | None,
        begins_shot: bool = False,
        low: Tensor | None = None,
    ) -> list[Row]:
        """The next frame, RGB (3, H, W) in [0, 1]: a row for each output.

        `low` is the input that the outputs were made from, which flicker is measured by; metrics
        that compare are left out where there is no target. Raises `DataError` for values
        that aren't numbers, and ValueError where frames are too small for a metric.
        """
        for picture in (*outputs, target):
            if picture is not None and not bool(picture.isfinite().all()):
                raise DataError("holds values that are not numbers (NaN or infinite)")
        wanted = [m for m in self._metrics if target is not None or not m.needs_target]
        now = _Seen(list(outputs), target, low, self._greys(wanted, outputs, target))
        rows: list[Row] = [dict.fromkeys(wanted, math.nan) for _ in outputs]
        if target is not None:
            for row, output in zip(rows, outputs, strict=True):
                row |= self._alike(wanted, output, target)
            if Metric.FEATURES in wanted:
                for row, distance in zip(rows, self._features(outputs, target), strict=True):
                    row[Metric.FEATURES] = distance
        cuts = begins_shot and self._protocol.minds_cuts
        if target is not None and Metric.CVVDP in wanted:
            for row, quality in zip(rows, self._viewed(outputs, target, cuts), strict=True):
                row[Metric.CVVDP] = quality
        before, self._before = self._before, now
        if before is not None and not cuts:
            for number, changes in enumerate(self._changes(wanted, before, now)):
                rows[number] |= changes
        return rows

    def _alike(self, wanted: Sequence[Metric], output: Tensor, target: Tensor) -> Row:
        """What needs no frame before."""
        here, there = (self._protocol.part(picture)[None] for picture in (output, target))
        functions: dict[Metric, Callable[[Tensor, Tensor], Tensor]] = {
            Metric.PSNR_Y: psnr_y,
            Metric.PSNR: psnr,
            Metric.SSIM_Y: ssim_y,
            Metric.MS_SSIM_Y: ms_ssim_y,
            Metric.SHARPNESS: sharpness,
            **{m: self._networks[m] for m in (Metric.LPIPS, Metric.LPIPS_VGG) if m in wanted},
        }
        return {m: float(functions[m](here, there)) for m in wanted if m in functions}

    def _features(self, outputs: Sequence[Tensor], target: Tensor) -> list[float]:
        """By VGG-16, for each output; the target's features are computed once."""
        part = self._protocol.part
        distance: Tensor = self._networks[Metric.FEATURES](
            part(torch.stack(list(outputs))), part(target)
        )
        return [float(value) for value in distance]

    def _viewed(self, outputs: Sequence[Tensor], target: Tensor, begins_shot: bool) -> list[float]:
        """By ColorVideoVDP, for each output."""
        part = self._protocol.part
        if not self._viewers:
            self._viewers = [ColorVideoVdp(self._frame_rate, target.device) for _ in outputs]
        return [
            viewer.add(part(output), part(target), begins_shot)
            for viewer, output in zip(self._viewers, outputs, strict=True)
        ]

    def _changes(self, wanted: Sequence[Metric], before: _Seen, now: _Seen) -> list[Row]:
        """What needs the frame before, for each output."""
        rows: list[Row] = [{} for _ in now.outputs]
        target_motion: Motion | None = None
        if Metric.WARPING_ERROR in wanted:
            assert now.target is not None
            assert before.target is not None
            target_motion = motion_to_previous(now.target, before.target)
        low_motion: Motion | None = None
        by_low = any(metric.needs_source for metric in wanted)
        if by_low and now.low is not None and before.low is not None:
            low_motion = motion_to_previous(now.low, before.low)
        flows = []
        if now.greys:
            pairs = zip(before.greys, now.greys, strict=True)
            flows = [farneback(was, here) for was, here in pairs]
        pictures = zip(rows, now.outputs, before.outputs, strict=True)
        for number, (row, output, previous) in enumerate(pictures):
            if flows:
                row[Metric.TOF] = tof(flows[number], flows[-1])
            if target_motion:
                row[Metric.WARPING_ERROR] = warping_error(output, previous, target_motion)
            if low_motion:
                assert now.low is not None
                assert before.low is not None
                if Metric.FLICKER in wanted:
                    row[Metric.FLICKER] = flicker(output, previous, now.low, before.low, low_motion)
                if Metric.EXCESS_FLICKER in wanted:
                    assert now.target is not None
                    assert before.target is not None
                    row[Metric.EXCESS_FLICKER] = excess_flicker(
                        output, previous, now.target, before.target, low_motion
                    )
            if Metric.TLP in wanted:
                row[Metric.TLP] = self._tlp(output, previous, now.target, before.target)
        return rows

    def _tlp(
        self, output: Tensor, previous: Tensor, target: Tensor | None, before: Tensor | None
    ) -> float:
        from vsr.metrics.perceptual import tlp

        assert target is not None
        assert before is not None
        part = self._protocol.part
        pictures = (part(picture) for picture in (output, previous, target, before))
        return tlp(self._networks[Metric.TLP], *pictures)

    def _greys(
        self, wanted: Sequence[Metric], outputs: Sequence[Tensor], target: Tensor | None
    ) -> list[NDArray[np.uint8]]:
        if Metric.TOF not in wanted:
            return []
        assert target is not None
        return [grey(picture) for picture in (*outputs, target)]


def mean_of(values: Iterable[float]) -> float:
    """The mean of those that are numbers, infinite ones included; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
