"""Render a report as a self-contained HTML page."""

import base64
import io
import math
from html import escape

import numpy as np
from PIL import Image

from vsr.evaluation.highlights import Highlights, Pixels, Second
from vsr.evaluation.page import as_script_data, render_page
from vsr.evaluation.report import FilmReport, Report, summary_rows
from vsr.metrics.protocol import Metric

_MOST_POINTS = 3000
_STRIP_ZOOM = 2


def report_page(report: Report) -> str:
    """Render tables, curves and the highlights of each film as HTML."""
    films = "".join(_film(film, index) for index, film in enumerate(report.films))
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    body = f"""<main>
<h1>{escape(report.subject)}</h1>
<p>Protocol {escape(report.rules)}.</p>
{f"<ul>{notes}</ul>" if notes else ""}
<div class="scroll">{_table(report)}</div>
{films}
<h2>Reproduction</h2>
<p><code>{escape(report.command or "vsr.evaluate")}</code></p>
<p class="faint">{escape(versions)}</p>
</main>
<script type="application/json" id="data">{_data(report)}</script>"""
    return render_page(f"{report.subject}: report", body, "report")


def _table(report: Report) -> str:
    heads, *rows = summary_rows(report)
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _film(film: FilmReport, index: int) -> str:
    pictures = _highlights(film.gallery, film.frame_rate) if film.gallery else ""
    return f"""<section>
<h2>{escape(film.name)}</h2>
<div id="curves-{index}"></div>
{pictures}
</section>"""


def _highlights(highlights: Highlights, frame_rate: float) -> str:
    parts = []
    if highlights.worst:
        parts.append("<h3>Worst frames</h3>")
        for frame in highlights.worst:
            caption = f"frame {frame.index}, {frame.psnr_y:.2f} dB"
            shown = "".join(
                _figure(_image(pixels, "PNG"), pixels, f"{name}, {caption}")
                for name, pixels in frame.panels.items()
            )
            parts.append(f'<div class="row">{shown}</div>')
    seconds = highlights.seconds
    if seconds:
        parts.append('<p><button id="pause" aria-pressed="false">Hold still</button></p>')
    for title, second in zip(
        ("Most flickering second", "Steadiest second"), seconds[::-1], strict=False
    ):
        metric = highlights.flicker_metric
        heading = metric.heading if metric else ""
        parts.append(
            f"<h3>{title}: from frame {second.first}, {escape(heading)} {second.flicker:.3f}</h3>"
            f'<div class="row">{_strips(second, frame_rate)}</div>'
        )
    slices = highlights.slices
    parts.append("<h3>x-t slices: one row of the picture, time downwards</h3>")
    shown = "".join(
        _figure(_image(pixels, "WEBP"), pixels, name) for name, pixels in slices.items()
    )
    parts.append(f'<div class="row">{shown}</div>')
    return "\n".join(parts)


def _strips(second: Second, frame_rate: float) -> str:
    shown = []
    count = len(second.frames)
    for name, first in second.frames[0].items():
        height, width = first.shape[:2]
        strip = np.concatenate([panels[name] for panels in second.frames], axis=1)
        style = (
            f"--w:{_STRIP_ZOOM * width}px;--h:{_STRIP_ZOOM * height}px;--n:{count};"
            f"--s:{count / frame_rate:.3f}s;background-image:url({_image(strip, 'WEBP')})"
        )
        shown.append(
            f'<figure><div class="strip" role="img" aria-label="{escape(name)}, moving" '
            f'style="{style}"></div><figcaption>{escape(name)}</figcaption></figure>'
        )
    return "".join(shown)


def _figure(source: str, pixels: Pixels, caption: str) -> str:
    height, width = pixels.shape[:2]
    text = escape(caption)
    return (
        f'<figure><img src="{source}" width="{width}" height="{height}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _image(pixels: Pixels, image_format: str) -> str:
    """Encode a picture as a data URI; PNG keeps every pixel."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, image_format, quality=90)
    coded = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{image_format.lower()};base64,{coded}"


def _data(report: Report) -> str:
    films = []
    for film in report.films:
        count = len(film.rows) - 2 * report.protocol.dropped
        stride = max(1, math.ceil(count / _MOST_POINTS))
        first = report.protocol.dropped
        frames = [
            start if stride == 1 else f"{start} to {min(start + stride, first + count) - 1}, worst"
            for start in range(first, first + count, stride)
        ]
        curves = []
        for metric in report.metrics:
            curve: dict[str, object] = {"title": metric.heading, "digits": metric.digits}
            for version in report.versions_of(metric):
                values = film.values(metric, report.protocol, version)
                name = "ours" if version == "output" else version
                curve[name] = _points(values, metric, stride)
            curves.append(curve)
        films.append({"name": film.name, "frames": frames, "curves": curves})
    return as_script_data({"films": films})


def _points(values: list[float], metric: Metric, stride: int) -> list[float | None]:
    """The worst value of each `stride` frames; None if there is no finite one."""
    worst = min if metric.higher_is_better else max
    points: list[float | None] = []
    for start in range(0, len(values), stride):
        known = [value for value in values[start : start + stride] if math.isfinite(value)]
        points.append(round(worst(known), metric.digits + 1) if known else None)
    return points
