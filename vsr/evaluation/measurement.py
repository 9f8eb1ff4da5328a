"""Measure films frame by frame and collect the results in a report."""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from vsr.errors import ConfigError, DataError
from vsr.evaluation.highlights import Highlights
from vsr.evaluation.metric_plan import MetricPlan
from vsr.evaluation.report import FilmReport, Report
from vsr.evaluation.vmaf import FilmVmaf, ffmpeg_version
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.metrics.meter import FilmMeter, Row
from vsr.metrics.protocol import PROTOCOLS, Metric, Protocol

FrameProgress = Callable[[int, int | None], None]
"""Called with the frames measured so far and the total, or None if that is unknown."""

OUTPUT, BICUBIC, REFERENCE = "output", "bicubic", "reference"


class MeasuredFrame(NamedTuple):
    """A frame in all its versions, RGB (3, H, W) in [0, 1]."""

    panels: dict[str, Tensor]
    """By name, the output first; shown in the report, and `OUTPUT` and `BICUBIC` measured."""
    target: Tensor | None
    low: Tensor | None
    """The input that the output was made from."""
    starts_shot: bool
    coded_luma: Mapping[str, Tensor] = MappingProxyType({})
    """By name, (H, W) from 0 for black to 1 for white, where it is known."""

    def luma_of(self, name: str, matrix: Matrix) -> Tensor:
        """Return the luma (H, W) of a panel: as coded if that is known, else that of its RGB."""
        if name in self.coded_luma:
            return self.coded_luma[name]
        red, green, blue = self.panels[name].unbind(0)
        weights = matrix.luma_weights
        return weights[0] * red + weights[1] * green + weights[2] * blue


class Measurement:
    """Measures films one after another."""

    def __init__(
        self,
        plan: MetricPlan,
        protocol: Protocol,
        device: torch.device,
        gallery: bool,
        watch: FrameProgress,
        counts: Sequence[int | None],
    ) -> None:
        """`gallery` collects highlights; `counts` are the frames of each film, if known."""
        self.device = device
        self._plan = plan
        self._protocol = protocol
        self._gallery = gallery
        self._watch = watch
        known = [count for count in counts if count is not None]
        self._total = sum(known) if len(known) == len(counts) else None
        self._done = 0
        for network in plan.networks.values():
            network.to(device)

    def measure(
        self, name: str, frames: Iterable[MeasuredFrame], frame_rate: float, luma: ColourSpec
    ) -> FilmReport:
        """Measure one film; raises `DataError` where the protocol or a metric doesn't apply.

        `luma` is that in which VMAF is computed, see `vmaf_luma`.
        """
        meter = FilmMeter(
            self._plan.metrics,
            self._protocol,
            self._plan.networks,
            frame_rate=frame_rate,
            name=name,
        )
        highlights = Highlights(frame_rate) if self._gallery else None
        rows: list[Row] = []
        bicubic: list[Row] = []
        reference: list[Row] = []
        has_absolute = any(metric.is_absolute for metric in self._plan.metrics)
        part = self._protocol.part
        with FilmVmaf(self._plan.metrics, luma) as vmaf:
            for index, frame in enumerate(frames):
                outputs = [frame.panels[key] for key in (OUTPUT, BICUBIC) if key in frame.panels]
                if frame.target is None and not has_absolute:
                    outputs = outputs[:1]  # the flicker of bicubic is 0 by definition
                measured = meter.add(outputs, frame.target, frame.starts_shot, frame.low)
                rows.append(measured[0])
                bicubic += measured[1:]
                if frame.target is not None:
                    if self._plan.has_vmaf:
                        *lumas, target = (
                            part(frame.luma_of(key, luma.matrix))
                            for key in (OUTPUT, BICUBIC, REFERENCE)
                            if key in frame.panels
                        )
                        vmaf.add(lumas, target)
                    if has_absolute:
                        reference.append(meter.absolute(frame.target))
                if highlights:
                    highlights.add(index, frame.panels, measured[0])
                self._done += 1
                self._watch(self._done, self._total)
            for film_rows, scores in zip((rows, bicubic), vmaf.scores(), strict=False):
                for row, score in zip(film_rows, scores, strict=True):
                    row |= score
        self._check_count(name, len(rows))
        return FilmReport(
            name=name,
            rows=rows,
            bicubic=bicubic or None,
            reference=reference or None,
            frame_rate=frame_rate,
            gallery=highlights,
        )

    def report(self, films: Sequence[FilmReport], subject: str, command: str) -> Report:
        """Collect the films in a report, with the versions of the packages used."""
        packages = ["torch", "av", "opencv-python", "lpips"]
        packages += ["cvvdp"] if Metric.CVVDP in self._plan.metrics else []
        versions = {name: version(name) for name in packages}
        if self._plan.has_vmaf:
            versions["ffmpeg"] = ffmpeg_version()
        return Report(
            films=tuple(films),
            protocol=self._protocol,
            metrics=tuple(self._plan.metrics),
            subject=subject,
            command=command,
            versions={"vsr": version("vsr"), "python": platform.python_version(), **versions},
            left_out=tuple(self._plan.left_out),
        )

    def _check_count(self, name: str, count: int) -> None:
        temporal = [metric for metric in self._plan.metrics if metric.is_temporal]
        if count == 1 and temporal:
            rest = [metric for metric in self._plan.metrics if not metric.is_temporal]
            raise DataError(
                f"{name}: one frame has no motion to measure {', '.join(temporal)} by; "
                f"ask for other metrics: --metrics {','.join(rest or [Metric.PSNR_Y])}"
            )
        if count <= 2 * self._protocol.dropped:
            raise DataError(
                f"{name}: has {count} frames, and {self._protocol.name} drops "
                f"{self._protocol.dropped} at either end"
            )


def find_protocol(name: str) -> Protocol:
    """Look a protocol up by name; raises `ConfigError` for one that doesn't exist."""
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {name!r}; choose one of: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def vmaf_luma(matrix: Matrix, depths: Iterable[int]) -> ColourSpec:
    """Luma in which VMAF is computed: studio range, of 10 bits if a film has more than 8."""
    return ColourSpec(matrix, bit_depth=10 if max(depths) > 8 else 8)
