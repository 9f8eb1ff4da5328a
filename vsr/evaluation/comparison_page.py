"""Render the page that plays films side by side; importing this needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from string import Template

from vsr.evaluation.page import as_script_data, asset, render_page


@dataclass(frozen=True)
class ComparedFilm:
    """A film on the page."""

    address: str
    """URL of the file to play: the film, or a copy that browsers can play."""
    label: str
    width: int
    height: int
    times: list[float]
    """Presentation times of the frames in seconds."""


def comparison_page(films: Sequence[ComparedFilm], assets: str | None = None) -> str:
    """Render the page as HTML; see `render_page` for `assets`."""
    largest = max(film.width * film.height for film in films)
    described = []
    for film in films:
        smaller = film.width * film.height < largest
        label = f"source: {film.label}" if smaller else film.label
        entry = {"label": label, "width": film.width, "height": film.height}
        described.append(entry | _describe_times(film.times))
    videos = "".join(
        f'<video id="film-{index}" muted playsinline preload="auto" src="{escape(film.address)}">'
        "</video>\n"
        for index, film in enumerate(films)
    )
    title = " | ".join(film.label for film in films)
    body = Template(asset("compare.html")).substitute(
        title=escape(title, quote=True), videos=videos, data=as_script_data({"films": described})
    )
    return render_page(f"{title}: comparison", body, "compare", assets)


def _describe_times(times: list[float]) -> dict[str, object]:
    """Presentation times: their count and step if evenly spaced, else all of them."""
    count, first = len(times), times[0]
    step = (times[-1] - first) / (count - 1) if count > 1 else 0.04
    even = all(abs(b - a - step) < 1e-3 * step for a, b in pairwise(times))
    if even:
        return {"count": count, "first": first, "step": step}
    return {"times": [round(time, 6) for time in times]}
