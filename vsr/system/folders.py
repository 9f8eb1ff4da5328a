"""What of a folder is footage: the one rule by which all verbs walk folders."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

FILM_SUFFIXES = frozenset(
    {
        *(".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts"),
        *(".mts", ".wmv", ".flv", ".ogv", ".3gp", ".mxf", ".y4m", ".vob", ".dv", ".nut"),
    }
)
"""What is taken for a film inside a folder; a file that is named is always tried."""

STILL_SUFFIXES = frozenset(
    {
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp"),
        *(".dib", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
        *(".tga", ".sgi", ".pcx", ".qoi"),
    }
)
"""What is taken for a picture inside a folder; a file that is named is always tried."""


class Walk(NamedTuple):
    """The files of a folder and of all folders in it, in order; hidden ones are in neither."""

    taken: list[Path]
    others: list[Path]
    """Files of another suffix, and folders that can't be listed."""


def files_in(folder: Path, suffixes: Collection[str], without: Path | None = None) -> Walk:
    """Find the files of some suffixes under a folder, skipping what lies under `without`.

    What begins with a dot is hidden, with all that is in it: settings, unfinished work, and the
    `._NAME` that macOS leaves beside its files. `without` is an output within the input.
    """
    excluded = without.resolve() if without is not None else None
    walk = Walk([], [])

    def note(error: OSError) -> None:
        walk.others.append(Path(os.fsdecode(error.filename)))

    for place, folders, names in os.walk(folder, onerror=note):
        here = Path(place)
        folders[:] = [
            name
            for name in folders
            if not is_hidden(name) and (excluded is None or (here / name).resolve() != excluded)
        ]
        for path in (here / name for name in names if not is_hidden(name)):
            if path.is_file():
                fits = path.suffix.lower() in suffixes
                (walk.taken if fits else walk.others).append(path)
    return Walk(sorted(walk.taken), sorted(walk.others))


def visible_in(folder: Path) -> list[Path]:
    """The entries of one folder that aren't hidden, in order."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def is_hidden(name: str) -> bool:
    """Whether a file or a folder of that name is hidden."""
    return name.startswith(".")


def skipped(folder: Path, others: Sequence[Path], wanted: str) -> Iterator[str]:
    """Say in a line which files of a folder aren't taken, if there are any."""
    if not others:
        return
    counts = Counter(path.suffix.lower() or path.name for path in others)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common(8))
    more = ", ..." if len(counts) > 8 else ""
    files = "file" if len(others) == 1 else "files"
    yield f"{folder}: skipped {len(others)} {files} ({kinds}{more}): no {wanted}"
