"""Films side by side on one page, to look at rather than to read about."""

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from pathlib import Path
from string import Template
from urllib.parse import quote

import torch

from vsr.errors import ConfigError, DataError
from vsr.evaluation.html import as_script_data, asset, whole_page
from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.media.decode.frame_times import frame_times
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame, PixelLayout, StreamInfo
from vsr.media.mux.writer import VideoWriter, check_output
from vsr.system.files import check_distinct, check_text_output, write_text

_INSIDE_BYTES = 4 << 20
"""Films up to this size go into the page; larger ones stay beside it."""
_PLAYABLE_SUFFIXES = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mp4", ".webm": "webm"}
_PLAYABLE_CODECS = ("h264", "vp8", "vp9", "av1")
_COPY_SETTINGS = EncoderSettings("h264", 10, "veryfast")
_LONGEST_STEM = 200
"""Bytes of the name of a copy."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class _Film:
    path: Path
    """What is played: the film, or a copy that browsers can play."""
    label: str
    width: int
    height: int
    times: list[float]
    """In seconds."""


def write_comparison(
    films: Sequence[Path],
    page: Path,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Write a page on which two films or more are seen side by side, under one clock.

    Small films go into it; others are played from where they lie. Of one that no browser
    plays (another codec than H.264, VP8, VP9 and AV1, more than 8 bit or other chroma than 4:2:0),
    a copy is made beside the page, and `tell` is told. Raises `VsrError`.
    """
    if len(films) < 2:
        raise ConfigError("a comparison takes two films or more")
    check_text_output(page, overwrite)
    check_distinct([page], films)
    for film in films:
        if film.is_dir():
            raise DataError(f"{film}: is a folder; compare films")
    found = [_look_at(film) for film in films]
    needed = [film for film, (_, _, plays) in zip(films, found, strict=True) if not plays]
    copies = _copies(needed, page)
    check_distinct([page, *copies.values()], films)
    for copy in copies.values():
        check_output(copy, _COPY_SETTINGS, overwrite)
    shown = []
    for film, label, (info, codec, _) in zip(films, _labels(films), found, strict=True):
        if film in copies:
            tell(f"{film}: browsers don't play it ({codec}); a copy for them is {copies[film]}")
            _copy(film, copies[film], overwrite)
        played = copies.get(film, film)
        shown.append(_Film(played, label, info.width, info.height, frame_times(played)))
    write_text(page, comparison_page(shown, page))


def comparison_page(films: Sequence[_Film], page: Path) -> str:
    """The page as HTML, to lie at `page`."""
    largest = max(film.width * film.height for film in films)
    described = []
    for film in films:
        smaller = film.width * film.height < largest
        label = f"source: {film.label}" if smaller else film.label
        one = {"label": label, "width": film.width, "height": film.height}
        described.append(one | _told_shortly(film.times))
    videos = "".join(
        f'<video id="film-{number}" muted playsinline preload="auto" src="{_address(film, page)}">'
        "</video>\n"
        for number, film in enumerate(films)
    )
    title = " | ".join(film.label for film in films)
    body = Template(asset("compare.html")).substitute(
        title=escape(title, quote=True), videos=videos, data=as_script_data({"films": described})
    )
    return whole_page(f"{title}: comparison", body, "compare")


def _labels(films: Sequence[Path]) -> list[str]:
    """File names, with the folder where names are the same."""
    names = [film.name for film in films]
    return [
        f"{film.absolute().parent.name}/{film.name}" if names.count(film.name) > 1 else film.name
        for film in films
    ]


def _look_at(film: Path) -> tuple[StreamInfo, str, bool]:
    """What a film says of itself, its codec, and whether browsers play it."""
    with VideoReader(film) as reader:
        info, codec = reader.info, reader.codec
    known = film.suffix.lower() in _PLAYABLE_SUFFIXES and codec in _PLAYABLE_CODECS
    return info, codec, known and info.layout == PixelLayout()


def _copies(films: Sequence[Path], page: Path) -> dict[Path, Path]:
    """Where copies of films lie: beside the page, called after both, each differently."""
    copies: dict[Path, Path] = {}
    for film in films:
        stem = os.fsencode(f"{page.stem}-{film.stem}")[:_LONGEST_STEM].decode(errors="ignore")
        copy, number = page.with_name(f"{stem}.mp4"), 2
        while copy in copies.values():
            copy, number = page.with_name(f"{stem}-{number}.mp4"), number + 1
        copies.setdefault(film, copy)
    return copies


def _copy(film: Path, copy: Path, overwrite: bool) -> None:
    """An 8-bit 4:2:0 H.264 copy, to look at."""
    with VideoReader(film) as reader:
        read_as = colour_spec(reader.info)
        info = replace(reader.info, layout=PixelLayout())
        write_as = colour_spec(info)
        with VideoWriter(copy, info, settings=_COPY_SETTINGS, overwrite=overwrite) as writer:
            for frame in reader.frames():
                planes = rgb_to_planes(planes_to_rgb(frame.planes, read_as, _CPU), write_as)
                writer.write(Frame(planes, frame.pts, frame.duration))


def _address(film: _Film, page: Path) -> str:
    """A data URI of a small film; else where it lies, seen from the page."""
    if film.path.stat().st_size <= _INSIDE_BYTES:
        kind = _PLAYABLE_SUFFIXES[film.path.suffix.lower()]
        coded = base64.b64encode(film.path.read_bytes()).decode()
        return f"data:video/{kind};base64,{coded}"
    try:
        there = os.path.relpath(film.path.absolute(), page.absolute().parent)
    except ValueError:  # on another drive
        return film.path.absolute().as_uri()
    return quote(os.fsencode(there.replace(os.sep, "/")))


def _told_shortly(times: list[float]) -> dict[str, object]:
    """When frames are shown: all times, or where they are even, how many and how far apart."""
    count, first = len(times), times[0]
    step = (times[-1] - first) / (count - 1) if count > 1 else 0.04
    even = all(abs(b - a - step) < 1e-3 * step for a, b in pairwise(times))
    if even:
        return {"count": count, "first": first, "step": step}
    return {"times": [round(time, 6) for time in times]}
