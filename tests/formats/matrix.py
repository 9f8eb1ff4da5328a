"""Every kind of film through `vsr upscale`, and the table of what became of each.

python -m tests.formats.matrix    # writes docs/formats.md
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.formats.ffprobe_check import losses
from tests.formats.media import CONTAINERS, FEATURES, CantBeMade, make
from tests.helpers.models import write_model
from vsr.engine.upscale import upscale_video
from vsr.errors import OutputError
from vsr.media.encode.encoder import EncoderSettings
from vsr.media.verify import verify_film

KEPT, NO_SUCH_FILM = "kept", "-"
DOC = Path(__file__).parents[2] / "docs" / "formats.md"
_WRITTEN = (".mp4", ".mov", ".mkv", ".webm")
_SCALE = 4

_HEAD = """# What is kept, by format

Made by `python -m tests.formats.matrix`: films of twenty frames, made by Debian's ffmpeg, went
through `vsr upscale`; `vsr verify` and Debian's ffprobe, which shares no code with what wrote the
output, then compared frame times, pixel formats, colours, packets, tags, chapters and dispositions,
and every output was decoded to its end. CI does the same again and holds this page to it.

`✓` all of it is kept; `-` no such film can be made; a number: something can't be kept, `vsr
upscale` says so in a line, and `--strict` makes that an error before any work.
"""


class Cell(NamedTuple):
    """A film with one feature, and what it is upscaled into."""

    feature: str
    source: str
    output: str


def cells() -> list[Cell]:
    """From each container into its own, or .mkv where that isn't written; into .mp4 and .mkv."""
    return [
        Cell(feature, source, output)
        for feature in FEATURES
        for source in CONTAINERS
        for output in sorted({_own(source), ".mp4", ".mkv"})
    ]


def outcome(cell: Cell, folder: Path, model: Path) -> str:
    """`KEPT`, `NO_SUCH_FILM`, or what can't be kept, as it was told.

    Raises `AssertionError` where something was lost that wasn't told.
    """
    try:
        source = make(cell.source, cell.feature, folder)
    except CantBeMade:
        return NO_SUCH_FILM
    output = folder / f"out{cell.output}"
    shared = {"model": str(model), "device": "cpu", "settings": _settings(cell)}
    summary = upscale_video(source, output, **shared)  # type: ignore[arg-type]
    by_us = [finding for finding in verify_film(source, output) if not finding.kept]
    by_ffprobe = losses(source, output, _SCALE, deinterlaced=cell.feature == "interlaced")
    if not summary.left_out:
        assert not by_us, by_us
        assert not by_ffprobe, by_ffprobe
        return KEPT
    assert len(by_us) == len(summary.left_out), (by_us, summary.left_out)
    assert len(by_ffprobe) == len(summary.left_out), (by_ffprobe, summary.left_out)
    strict = folder / f"strict{cell.output}"
    with pytest.raises(OutputError) as refusal:
        upscale_video(source, strict, strict=True, **shared)  # type: ignore[arg-type]
    assert all(what in str(refusal.value) for what in summary.left_out)
    assert not strict.exists()
    return "; ".join(summary.left_out)


def page(outcomes: Mapping[Cell, str]) -> str:
    """docs/formats.md of what became of all cells."""
    notes: list[str] = []
    parts = [_HEAD]
    kinds = {
        "Into the same container (.mkv from .ts and .avi)": _own,
        "Into .mp4": lambda source: ".mp4",
        "Into .mkv": lambda source: ".mkv",
    }
    for title, output_of in kinds.items():
        lines = [f"| | {' | '.join(CONTAINERS)} |", "|---" * (len(CONTAINERS) + 1) + "|"]
        for feature in FEATURES:
            found = [
                _short(outcomes[Cell(feature, source, output_of(source))], notes)
                for source in CONTAINERS
            ]
            lines.append(f"| {feature} | {' | '.join(found)} |")
        parts.append(f"## {title}\n\n" + "\n".join(lines) + "\n")
    parts.append("\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1)) + "\n")
    return "\n".join(parts)


def _short(found: str, notes: list[str]) -> str:
    if found in (KEPT, NO_SUCH_FILM):
        return "✓" if found == KEPT else found
    if found not in notes:
        notes.append(found)
    return str(notes.index(found) + 1)


def _own(source: str) -> str:
    return source if source in _WRITTEN else ".mkv"


def _settings(cell: Cell) -> EncoderSettings:
    if cell.output == ".webm":
        return EncoderSettings("av1", preset="13")
    if cell.feature in ("HDR10", "HDR10+", "Dolby Vision", "12 bit 4:2:0"):
        return EncoderSettings("hevc", preset="ultrafast")
    if "alpha" in cell.feature and cell.output in (".mkv", ".mov"):
        return EncoderSettings("ffv1" if cell.output == ".mkv" else "prores")
    return EncoderSettings("h264", preset="ultrafast")


def _main() -> None:
    outcomes = {}
    with tempfile.TemporaryDirectory() as name:
        model = write_model(Path(name) / "model.safetensors")
        for cell in cells():
            with tempfile.TemporaryDirectory(dir=name) as folder:
                outcomes[cell] = outcome(cell, Path(folder), model)
    DOC.write_text(page(outcomes), encoding="utf-8")


if __name__ == "__main__":
    _main()
