"""Results of an evaluation, as a table, JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vsr.evaluation.highlights import Highlights
from vsr.metrics.cvvdp import pooled
from vsr.metrics.meter import Row, mean_of
from vsr.metrics.protocol import Metric, Protocol


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
    notes: tuple[str, ...] = ()
    frame_rate: float = 25.0
    gallery: Highlights | None = None
    """Pictures for the HTML page, if requested."""

    def values(self, metric: Metric, protocol: Protocol, of_bicubic: bool = False) -> list[float]:
        """Values of the frames that the protocol includes; NaN where the metric is undefined.

        Temporal metrics are undefined at the first of these frames.
        """
        rows = (self.bicubic or []) if of_bicubic else self.rows
        included = rows[protocol.dropped : len(rows) - protocol.dropped]
        values = [row.get(metric, math.nan) for row in included]
        if metric.is_temporal and values:
            values[0] = math.nan
        return values

    def mean(self, metric: Metric, protocol: Protocol, of_bicubic: bool = False) -> float:
        """Mean over the frames that the protocol includes; NaN where the metric is undefined."""
        return mean_over_frames(metric, self.values(metric, protocol, of_bicubic))


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

    def summary(self, metric: Metric, of_bicubic: bool = False) -> MetricSummary:
        """Summarise a metric over all films."""
        films = [film.values(metric, self.protocol, of_bicubic) for film in self.films]
        every = [value for film in films for value in film]
        if self.protocol.averages == "frames":
            mean = mean_over_frames(metric, every)
        else:
            mean = mean_of(mean_over_frames(metric, film) for film in films)
        known = [value for value in every if not math.isnan(value)]
        worst = (min if metric.higher_is_better else max)(known) if known else math.nan
        return MetricSummary(mean, worst)

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
    both = any(film.bicubic for film in report.films)
    head = ["film", "frames"]
    for metric in report.metrics:
        head += [metric.heading, *(["bicubic"] if both else [])]
    rows = [head]
    for film in report.films:
        cells = [film.name, str(len(film.rows))]
        for metric in report.metrics:
            cells.append(format_value(film.mean(metric, report.protocol), metric))
            if both:
                cells.append(format_value(film.mean(metric, report.protocol, True), metric))
        rows.append(cells)
    if len(report.films) > 1:
        cells = ["mean", str(report.frames)]
        for metric in report.metrics:
            cells.append(format_value(report.summary(metric).mean, metric))
            if both:
                cells.append(format_value(report.summary(metric, True).mean, metric))
        rows.append(cells)
    return rows


def table(report: Report) -> str:
    """Format a report for a terminal: a row for each film, with bicubic beside it if known."""
    rows = summary_rows(report)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
    rules = f"protocol {report.protocol}"
    return "\n".join([report.subject, rules, *report.notes, "", *lines])


def as_json(report: Report) -> str:
    """Serialise a report with all frames as JSON; NaN and infinity become null."""
    films: list[dict[str, Any]] = []
    for film in report.films:
        described: dict[str, Any] = {
            "name": film.name,
            "frames": len(film.rows),
            "mean": _means(film, report),
            "notes": list(film.notes),
            "per_frame": [_plain(row) for row in film.rows],
        }
        if film.bicubic is not None:
            described["bicubic_mean"] = _means(film, report, of_bicubic=True)
            described["bicubic_per_frame"] = [_plain(row) for row in film.bicubic]
        films.append(described)
    whole = {
        "subject": report.subject,
        "protocol": report.protocol.name,
        "rules": str(report.protocol),
        "mean": {metric: _known(report.summary(metric).mean) for metric in report.metrics},
        "films": films,
        "notes": report.notes,
        "command": report.command,
        "versions": report.versions,
    }
    if any(film.bicubic for film in report.films):
        means = {metric: _known(report.summary(metric, True).mean) for metric in report.metrics}
        whole["bicubic_mean"] = means
    return json.dumps(whole, indent=1)


def as_csv(report: Report) -> str:
    """Serialise a report as CSV, a line for each frame."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    both = any(film.bicubic for film in report.films)
    heads = [*report.metrics, *(f"bicubic_{metric}" for metric in report.metrics if both)]
    lines.writerow(["film", "frame", "counts", *heads])
    for film in report.films:
        first, last = report.protocol.dropped, len(film.rows) - report.protocol.dropped
        for index, row in enumerate(film.rows):
            rows = [row, *([film.bicubic[index]] if film.bicubic else [])]
            cells = [_cell(each.get(metric)) for each in rows for metric in report.metrics]
            lines.writerow([film.name, index, int(first <= index < last), *cells])
    return text.getvalue()


def _means(film: FilmReport, report: Report, of_bicubic: bool = False) -> dict[str, float | None]:
    return {
        metric: _known(film.mean(metric, report.protocol, of_bicubic)) for metric in report.metrics
    }


def _plain(row: Row) -> dict[str, float | None]:
    return {metric: _known(value) for metric, value in row.items()}


def _known(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6f}"


def format_value(value: float, metric: Metric) -> str:
    """Round a value for display; "-" for NaN."""
    return "-" if math.isnan(value) else f"{value:.{metric.digits}f}"
