"""Write a page that plays films side by side."""

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import torch

from vsr.errors import ConfigError, DataError
from vsr.evaluation.comparison_page import ComparedFilm, comparison_page
from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.media.decode.frame_times import frame_times
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame, PixelLayout
from vsr.media.mux.writer import VideoWriter, check_output
from vsr.media.playback import PLAYABLE_SUFFIXES, probe_playback
from vsr.system.files import check_distinct, check_text_output, write_text

_EMBEDDED_BYTES = 4 << 20
"""Films up to this size are embedded in the page; larger ones are referenced."""
_COPY_SETTINGS = EncoderSettings("h264", 10, "veryfast")
_LONGEST_STEM = 200
"""Bytes of the file name of a copy."""
_CPU = torch.device("cpu")


def write_comparison(
    films: Sequence[Path],
    page: Path,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Write a page that plays two or more films side by side, synchronised by time.

    Small films are embedded; others are played from their own files. A film that browsers don't
    play (a codec other than H.264, VP8, VP9 and AV1, more than 8 bits, or chroma other than 4:2:0)
    is copied to a file beside the page, and `tell` receives a line that names it. Raises
    `VsrError`.
    """
    if len(films) < 2:
        raise ConfigError("a comparison takes two films or more")
    check_text_output(page, overwrite)
    check_distinct([page], films)
    for film in films:
        if film.is_dir():
            raise DataError(f"{film}: is a folder; name films")
    probed = [probe_playback(film) for film in films]
    unplayable = [film for film, (_, _, plays) in zip(films, probed, strict=True) if not plays]
    copies = _copies(unplayable, page)
    check_distinct([page, *copies.values()], films)
    for copy in copies.values():
        check_output(copy, _COPY_SETTINGS, overwrite)
    shown = []
    for film, label, (info, codec, _) in zip(films, _labels(films), probed, strict=True):
        if film in copies:
            tell(f"{film}: browsers don't play it ({codec}); writing a copy, {copies[film]}")
            write_playable_copy(film, copies[film], overwrite=overwrite)
        played = copies.get(film, film)
        address = _address(played, page)
        shown.append(
            ComparedFilm(address, label, info.width, info.height, times=frame_times(played))
        )
    write_text(page, comparison_page(shown))


def _labels(films: Sequence[Path]) -> list[str]:
    """File names, with the folder where several have the same name."""
    names = [film.name for film in films]
    return [
        f"{film.absolute().parent.name}/{film.name}" if names.count(film.name) > 1 else film.name
        for film in films
    ]


def _copies(films: Sequence[Path], page: Path) -> dict[Path, Path]:
    """A distinct path beside the page for a copy of each film, named after both."""
    copies: dict[Path, Path] = {}
    for film in films:
        stem = os.fsencode(f"{page.stem}-{film.stem}")[:_LONGEST_STEM].decode(errors="ignore")
        copy, suffix = page.with_name(f"{stem}.mp4"), 2
        while copy in copies.values():
            copy, suffix = page.with_name(f"{stem}-{suffix}.mp4"), suffix + 1
        copies.setdefault(film, copy)
    return copies


def write_playable_copy(film: Path, copy: Path, overwrite: bool = False) -> None:
    """Write an 8-bit 4:2:0 H.264 copy of a film, which browsers play. Raises `VsrError`."""
    with VideoReader(film) as reader:
        source_spec = colour_spec(reader.info)
        info = replace(reader.info, layout=PixelLayout())
        copy_spec = colour_spec(info)
        with VideoWriter(copy, info, settings=_COPY_SETTINGS, overwrite=overwrite) as writer:
            for frame in reader.frames():
                planes = rgb_to_planes(planes_to_rgb(frame.planes, source_spec, _CPU), copy_spec)
                writer.write(Frame(planes, frame.pts, frame.duration))


def _address(film: Path, page: Path) -> str:
    """A data URI of a small film, else its path relative to the page."""
    if film.stat().st_size <= _EMBEDDED_BYTES:
        media_type = PLAYABLE_SUFFIXES[film.suffix.lower()]
        coded = base64.b64encode(film.read_bytes()).decode()
        return f"data:video/{media_type};base64,{coded}"
    try:
        relative = os.path.relpath(film.absolute(), page.absolute().parent)
    except ValueError:  # on another drive
        return film.absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))
