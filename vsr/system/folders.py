"""Find footage in folders, by the same rules for all commands."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# fmt: off
FILM_SUFFIXES = frozenset(
    {
        ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts",
        ".mts", ".wmv", ".flv", ".ogv", ".3gp", ".mxf", ".y4m", ".vob", ".dv", ".nut",
    }
)
# fmt: on
"""Suffixes of films in a folder; a file given by name is always tried."""

# fmt: off
STILL_SUFFIXES = frozenset(
    {
        ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp",
        ".dib", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm",
        ".mpo", ".tga", ".sgi", ".pcx", ".qoi", ".heic", ".heif", ".hif", ".exr", ".jxl",
    }
)
# fmt: on
"""Suffixes of pictures in a folder; a file given by name is always tried."""


class Walk(NamedTuple):
    """The files of a folder and its subfolders, sorted, without hidden ones."""

    matching: list[Path]
    others: list[Path]
    """Files with other suffixes, and folders that can't be listed."""


def files_in(folder: Path, suffixes: Collection[str], without: Path | None = None) -> Walk:
    """Find files by suffix in a folder and its subfolders, except in the folder `without`.

    Files and folders with a leading dot are skipped: settings, unfinished work, and the `._NAME`
    files of macOS. `without` is an output folder within the input.
    """
    excluded = without.resolve() if without is not None else None
    walk = Walk([], [])

    def note(error: OSError) -> None:
        walk.others.append(Path(os.fsdecode(error.filename)))

    for parent, folders, names in os.walk(folder, onerror=note):
        directory = Path(parent)
        folders[:] = [
            name
            for name in folders
            if not is_hidden(name)
            and (excluded is None or (directory / name).resolve() != excluded)
        ]
        for path in (directory / name for name in names if not is_hidden(name)):
            if path.is_file():
                matches = path.suffix.lower() in suffixes
                (walk.matching if matches else walk.others).append(path)
    return Walk(sorted(walk.matching), sorted(walk.others))


def visible_in(folder: Path) -> list[Path]:
    """List the entries of one folder that aren't hidden, sorted."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def is_hidden(name: str) -> bool:
    """Whether a file or folder with this name is hidden."""
    return name.startswith(".")


def skipped(folder: Path, others: Sequence[Path], wanted: str) -> Iterator[str]:
    """Describe the skipped files of a folder in one line; nothing if there are none."""
    if not others:
        return
    counts = Counter(path.suffix.lower() or path.name for path in others)
    types = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(8))
    more = ", ..." if len(counts) > 8 else ""
    files = "file" if len(others) == 1 else "files"
    yield f"{folder}: skipped {len(others)} {files} ({types}{more}): no {wanted}"
