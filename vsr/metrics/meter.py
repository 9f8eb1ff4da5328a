"""Measure one or more outputs for a film, frame by frame."""

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
from vsr.metrics.niqe import niqe
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
"""Measurements of one frame; NaN where a metric is undefined."""


class _Frame(NamedTuple):
    """A frame, kept for the comparison with the next one."""

    outputs: list[Tensor]
    target: Tensor | None
    low: Tensor | None
    greys: list[NDArray[np.uint8]]
    """Of the outputs, then of the target; empty unless tOF is requested."""


class FilmMeter:
    """Measures the frames of one film in order, keeping only the previous frame.

    Several outputs can be measured against one target, whose motion is then computed once.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        protocol: Protocol,
        networks: dict[Metric, nn.Module] | None = None,
        frame_rate: float = 25.0,
        name: str = "",
    ) -> None:
        """Measure `metrics` by `protocol`.

        `networks` are those of LPIPS, tLP and `features`. `frame_rate`, in frames a second, is used
        by `cvvdp`. `name` is the film's, for errors.
        """
        self._metrics = metrics
        self._protocol = protocol
        self._networks = networks or {}
        self._frame_rate = frame_rate
        self._name = name
        self._count = 0
        self._previous: _Frame | None = None
        self._cvvdp: list[ColorVideoVdp] = []

    @torch.inference_mode()
    def add(
        self,
        outputs: Sequence[Tensor],
        target: Tensor | None,
        starts_shot: bool = False,
        low: Tensor | None = None,
    ) -> list[Row]:
        """Measure the next frame, RGB (3, H, W) in [0, 1]: a row for each output.

        Flicker is measured along the motion of `low`, the input that the outputs were made from.
        Metrics that need a target are omitted without one. VMAF, which a process computes, is NaN.
        Raises `DataError` for values that are
        NaN or infinite, and ValueError where frames are too small for a metric.
        """
        for picture in (*outputs, target):
            if picture is not None and not bool(picture.isfinite().all()):
                film = f"{self._name}: " if self._name else ""
                raise DataError(
                    f"{film}frame {self._count} holds values that are not numbers (NaN or infinite)"
                )
        self._count += 1
        requested = [m for m in self._metrics if target is not None or not m.needs_target]
        current = _Frame(list(outputs), target, low, self._greys(requested, outputs, target))
        rows: list[Row] = [dict.fromkeys(requested, math.nan) for _ in outputs]
        for row, output in zip(rows, outputs, strict=True):
            row |= self.absolute(output)
        if target is not None:
            for row, output in zip(rows, outputs, strict=True):
                row |= self._spatial(requested, output, target)
            if Metric.FEATURES in requested:
                for row, distance in zip(rows, self._features(outputs, target), strict=True):
                    row[Metric.FEATURES] = distance
        cuts = starts_shot and self._protocol.minds_cuts
        if target is not None and Metric.CVVDP in requested:
            for row, quality in zip(rows, self._cvvdp_of(outputs, target, cuts), strict=True):
                row[Metric.CVVDP] = quality
        previous, self._previous = self._previous, current
        if previous is not None and not cuts:
            for row, temporal in zip(
                rows, self._temporal(requested, previous, current), strict=True
            ):
                row |= temporal
        return rows

    def absolute(self, picture: Tensor) -> Row:
        """Measure a picture, RGB (3, H, W) in [0, 1], by the metrics that need nothing else."""
        part = self._protocol.part(picture)
        return {metric: niqe(part) for metric in self._metrics if metric.is_absolute}

    def _spatial(self, requested: Sequence[Metric], output: Tensor, target: Tensor) -> Row:
        """Metrics that need no previous frame, except `features` and `cvvdp`."""
        shown, expected = (self._protocol.part(picture)[None] for picture in (output, target))
        functions: dict[Metric, Callable[[Tensor, Tensor], Tensor]] = {
            Metric.PSNR_Y: psnr_y,
            Metric.PSNR: psnr,
            Metric.SSIM_Y: ssim_y,
            Metric.MS_SSIM_Y: ms_ssim_y,
            Metric.SHARPNESS: sharpness,
            **{m: self._networks[m] for m in (Metric.LPIPS, Metric.LPIPS_VGG) if m in requested},
        }
        return {m: float(functions[m](shown, expected)) for m in requested if m in functions}

    def _features(self, outputs: Sequence[Tensor], target: Tensor) -> list[float]:
        """`features` of each output; those of the target are computed once."""
        part = self._protocol.part
        distance: Tensor = self._networks[Metric.FEATURES](
            part(torch.stack(list(outputs))), part(target)
        )
        return [float(value) for value in distance]

    def _cvvdp_of(
        self, outputs: Sequence[Tensor], target: Tensor, starts_shot: bool
    ) -> list[float]:
        """`cvvdp` of each output."""
        part = self._protocol.part
        if not self._cvvdp:
            self._cvvdp = [ColorVideoVdp(self._frame_rate, target.device) for _ in outputs]
        return [
            metric.add(part(output), part(target), starts_shot)
            for metric, output in zip(self._cvvdp, outputs, strict=True)
        ]

    def _temporal(
        self, requested: Sequence[Metric], previous: _Frame, current: _Frame
    ) -> list[Row]:
        """Metrics that need the previous frame, for each output."""
        rows: list[Row] = [{} for _ in current.outputs]
        target_motion: Motion | None = None
        if Metric.WARPING_ERROR in requested:
            assert current.target is not None
            assert previous.target is not None
            target_motion = motion_to_previous(current.target, previous.target)
        low_motion: Motion | None = None
        by_low = any(metric.needs_source for metric in requested)
        if by_low and current.low is not None and previous.low is not None:
            low_motion = motion_to_previous(current.low, previous.low)
        flows = []
        if current.greys:
            pairs = zip(previous.greys, current.greys, strict=True)
            flows = [farneback(one, other) for one, other in pairs]
        pictures = zip(rows, current.outputs, previous.outputs, strict=True)
        for index, (row, output, output_before) in enumerate(pictures):
            if flows:
                row[Metric.TOF] = tof(flows[index], flows[-1])
            if target_motion:
                row[Metric.WARPING_ERROR] = warping_error(output, output_before, target_motion)
            if low_motion:
                assert current.low is not None
                assert previous.low is not None
                if Metric.FLICKER in requested:
                    row[Metric.FLICKER] = flicker(
                        output, output_before, current.low, previous.low, low_motion
                    )
                if Metric.EXCESS_FLICKER in requested:
                    assert current.target is not None
                    assert previous.target is not None
                    row[Metric.EXCESS_FLICKER] = excess_flicker(
                        output, output_before, current.target, previous.target, low_motion
                    )
            if Metric.TLP in requested:
                row[Metric.TLP] = self._tlp(output, output_before, current.target, previous.target)
        return rows

    def _tlp(
        self,
        output: Tensor,
        output_before: Tensor,
        target: Tensor | None,
        target_before: Tensor | None,
    ) -> float:
        from vsr.metrics.perceptual import tlp

        assert target is not None
        assert target_before is not None
        part = self._protocol.part
        pictures = (part(picture) for picture in (output, output_before, target, target_before))
        return tlp(self._networks[Metric.TLP], *pictures)

    def _greys(
        self, requested: Sequence[Metric], outputs: Sequence[Tensor], target: Tensor | None
    ) -> list[NDArray[np.uint8]]:
        if Metric.TOF not in requested:
            return []
        assert target is not None
        return [grey(picture) for picture in (*outputs, target)]


def mean_of(values: Iterable[float]) -> float:
    """Mean of the values, ignoring NaN; infinite if one is, NaN if none remains."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
