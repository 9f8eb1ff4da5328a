"""Results of an evaluation, as a table, JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from vsr.evaluation.highlights import Highlights
from vsr.evaluation.vmaf import VMAF_METRICS, harmonic_mean
from vsr.metrics.cvvdp import pooled
from vsr.metrics.meter import Row, mean_of
from vsr.metrics.protocol import Metric, Protocol

Version = Literal["output", "bicubic", "reference"]
"""Version of a film that was measured."""
_VERSIONS: tuple[Version, ...] = ("output", "bicubic", "reference")


class MetricSummary(NamedTuple):
    """A metric over all frames that the protocol includes."""

    mean: float
    """Over all frames, or over the means of the clips, as the protocol defines."""
    worst: float
    """Of a single frame."""


@dataclass(frozen=True)
class FilmReport:
    """Measurements of one film, including the frames that the protocol drops."""

    name: str
    rows: list[Row]
    bicubic: list[Row] | None = None
    """The same for bicubic interpolation, if the source is known."""
    reference: list[Row] | None = None
    """Metrics of the reference by itself, such as NIQE, if one was requested."""
    notes: tuple[str, ...] = ()
    frame_rate: float = 25.0
    gallery: Highlights | None = None
    """Pictures for the HTML page, if requested."""

    def rows_of(self, version: Version) -> list[Row]:
        """Measurements of a version; empty if it wasn't measured."""
        rows = {"output": self.rows, "bicubic": self.bicubic, "reference": self.reference}
        return rows[version] or []

    def values(
        self, metric: Metric, protocol: Protocol, version: Version = "output"
    ) -> list[float]:
        """Values of the frames that the protocol includes; NaN where the metric is undefined.

        Temporal metrics are undefined at the first of these frames.
        """
        rows = self.rows_of(version)
        included = rows[protocol.dropped : len(rows) - protocol.dropped]
        values = [row.get(metric, math.nan) for row in included]
        if metric.is_temporal and values:
            values[0] = math.nan
        return values

    def mean(self, metric: Metric, protocol: Protocol, version: Version = "output") -> float:
        """Mean over the frames that the protocol includes; NaN where the metric is undefined."""
        return mean_over_frames(metric, self.values(metric, protocol, version))


@dataclass(frozen=True)
class Report:
    """Results of an evaluation; `report["psnr_y"].mean` is its mean luma PSNR."""

    films: tuple[FilmReport, ...]
    protocol: Protocol
    metrics: tuple[Metric, ...]
    subject: str
    """What was evaluated, for the heading."""
    command: str
    versions: dict[str, str]
    left_out: tuple[str, ...] = ()
    """Metrics that could not be measured, with the reason."""

    def __getitem__(self, metric: str) -> MetricSummary:
        """Summarise a metric; raises KeyError for one that wasn't measured."""
        if metric not in self.metrics:
            raise KeyError(f"{metric} was not measured; {', '.join(self.metrics)} were")
        return self.summary(Metric(metric))

    def versions_of(self, metric: Metric) -> list[Version]:
        """Versions of the films that a metric was measured on."""
        measured: list[Version] = ["output"]
        if any(film.bicubic for film in self.films):
            measured.append("bicubic")
        if metric.is_absolute and any(film.reference for film in self.films):
            measured.append("reference")
        return measured

    def summary(self, metric: Metric, version: Version = "output") -> MetricSummary:
        """Summarise a metric over all films."""
        films = [film.values(metric, self.protocol, version) for film in self.films]
        every = [value for film in films for value in film]
        if self.protocol.averages == "frames":
            mean = mean_over_frames(metric, every)
        else:
            mean = mean_of(mean_over_frames(metric, film) for film in films)
        known = [value for value in every if not math.isnan(value)]
        worst = (min if metric.higher_is_better else max)(known) if known else math.nan
        return MetricSummary(mean, worst)

    @property
    def rules(self) -> str:
        """The protocol, and what differs from it."""
        has_vmaf = any(metric in VMAF_METRICS for metric in self.metrics)
        return f"{self.protocol}{'; VMAF: luma by the matrix of the film' if has_vmaf else ''}"

    @property
    def notes(self) -> list[str]:
        """Remarks on how the result was obtained, beside the protocol."""
        films = [f"{film.name}: {note}" for film in self.films for note in film.notes]
        return [*self.left_out, *films]

    @property
    def frames(self) -> int:
        """Frames measured in all films."""
        return sum(len(film.rows) for film in self.films)


def mean_over_frames(metric: Metric, values: Sequence[float]) -> float:
    """Mean over frames, ignoring NaN; NaN if no value remains.

    For `cvvdp`, the quality that ColorVideoVDP assigns to all these frames together.
    """
    return pooled(values) if metric is Metric.CVVDP else mean_of(values)


def summary_rows(report: Report) -> list[list[str]]:
    """Table cells: headings, a row for each film, and the mean of several films last."""
    columns = [(metric, v) for metric in report.metrics for v in report.versions_of(metric)]
    head = [metric.heading if v == "output" else v for metric, v in columns]
    rows = [["film", "frames", *head]]
    for film in report.films:
        means = [(film.mean(metric, report.protocol, v), metric) for metric, v in columns]
        rows.append([film.name, str(len(film.rows)), *(format_value(*mean) for mean in means)])
    if len(report.films) > 1:
        means = [(report.summary(metric, v).mean, metric) for metric, v in columns]
        rows.append(["mean", str(report.frames), *(format_value(*mean) for mean in means)])
    return rows


def table(report: Report) -> str:
    """Format a report for a terminal: a row for each film, with bicubic beside it if known."""
    rows = summary_rows(report)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
    return "\n".join([report.subject, f"protocol {report.rules}", *report.notes, "", *lines])


def as_json(report: Report) -> str:
    """Serialise a report with all frames as JSON; NaN and infinity become null."""
    films: list[dict[str, Any]] = []
    for film in report.films:
        described: dict[str, Any] = {"name": film.name, "frames": len(film.rows)}
        if harmonic := _harmonic_means(film, report):
            described["harmonic_mean"] = harmonic
        described["notes"] = list(film.notes)
        for version in _VERSIONS:
            if rows := film.rows_of(version):
                prefix = "" if version == "output" else f"{version}_"
                described[f"{prefix}mean"] = _film_means(film, report, version)
                described[f"{prefix}per_frame"] = [_plain(row) for row in rows]
        films.append(described)
    whole = {
        "subject": report.subject,
        "protocol": report.protocol.name,
        "rules": report.rules,
        "mean": _means(report, "output"),
        "films": films,
        "notes": report.notes,
        "command": report.command,
        "versions": report.versions,
    }
    for version in _VERSIONS[1:]:
        if means := _means(report, version):
            whole[f"{version}_mean"] = means
    return json.dumps(whole, indent=1)


def as_csv(report: Report) -> str:
    """Serialise a report as CSV, a line for each frame."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    columns = [(m, v) for v in _VERSIONS for m in report.metrics if v in report.versions_of(m)]
    heads = [metric if v == "output" else f"{v}_{metric}" for metric, v in columns]
    lines.writerow(["film", "frame", "counts", *heads])
    for film in report.films:
        first, last = report.protocol.dropped, len(film.rows) - report.protocol.dropped
        for index in range(len(film.rows)):
            rows = {v: film.rows_of(v)[index : index + 1] or [{}] for v in _VERSIONS}
            cells = [_cell(rows[v][0].get(metric)) for metric, v in columns]
            lines.writerow([film.name, index, int(first <= index < last), *cells])
    return text.getvalue()


def _film_means(film: FilmReport, report: Report, version: Version) -> dict[str, float | None]:
    return {
        metric: _known(film.mean(metric, report.protocol, version))
        for metric in report.metrics
        if version in report.versions_of(metric)
    }


def _means(report: Report, version: Version) -> dict[str, float | None]:
    return {
        metric: _known(report.summary(metric, version).mean)
        for metric in report.metrics
        if version in report.versions_of(metric)
    }


def _harmonic_means(film: FilmReport, report: Report) -> dict[str, float | None]:
    """Of VMAF, as libvmaf pools it."""
    values = {m: film.values(m, report.protocol) for m in report.metrics if m in VMAF_METRICS}
    return {metric: _known(harmonic_mean(scores)) for metric, scores in values.items()}


def _plain(row: Row) -> dict[str, float | None]:
    return {metric: _known(value) for metric, value in row.items()}


def _known(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6f}"


def format_value(value: float, metric: Metric) -> str:
    """Round a value for display; "-" for NaN."""
    return "-" if math.isnan(value) else f"{value:.{metric.digits}f}"
