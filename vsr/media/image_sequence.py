"""Numbered images that form one film, read in order as RGB."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from vsr.errors import DataError, MediaError
from vsr.media.image import read_still
from vsr.media.still import Still
from vsr.system.folders import STILL_SUFFIXES, visible_in


class NumberedName(NamedTuple):
    """A file name without its suffix, split at its last run of digits."""

    head: str
    """The whole name if it holds no digit."""
    number: int | None
    tail: str


@dataclass(frozen=True)
class ImageSequence:
    """Images of one size, in the order of the frames."""

    files: tuple[Path, ...]
    """At least one."""

    @classmethod
    def in_folder(cls, folder: Path) -> "ImageSequence":
        """All images of a folder; see `numbered_images`."""
        return cls(tuple(numbered_images(folder)))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, after any Exif rotation; reads the first image.

        Raises `MediaError` where that can't be read.
        """
        height, width = read_still(self.files[0]).rgb.shape[:2]
        return height, width

    def frames(self) -> Iterator[Still]:
        """Read the images one by one, at full colour resolution.

        Raises `MediaError` at an image that can't be read or differs in size from the first.
        """
        size: tuple[int, ...] | None = None
        for path in self.files:
            still = read_still(path)
            size = size or still.rgb.shape[:2]
            if still.rgb.shape[:2] != size:
                height, width = still.rgb.shape[:2]
                raise MediaError(
                    f"{path}: is {width}x{height}, the images before it {size[1]}x{size[0]}"
                )
            yield still


def parse_name(path: Path) -> NumberedName:
    """Split a file name into head, number and tail: `shot2_0007_left.png` has number 7."""
    match = re.fullmatch(r"(.*?)(\d+)(\D*)", path.stem, re.DOTALL)
    if match is None:
        return NumberedName(path.stem, None, "")
    return NumberedName(match[1], int(match[2]), match[3])


def images_in(folder: Path, suffixes: Collection[str] = STILL_SUFFIXES) -> list[Path]:
    """The images directly in a folder, hidden files excluded, in order of name."""
    return [
        path for path in visible_in(folder) if path.suffix.lower() in suffixes and path.is_file()
    ]


def numbered_images(folder: Path) -> list[Path]:
    """The images of a folder in the order of their numbers.

    Raises `DataError` where there is none, one has no number, two share a number, or a number is
    missing.
    """
    found = _by_number(images_in(folder))
    if not found:
        raise DataError(f"{folder}: holds no image ({', '.join(sorted(STILL_SUFFIXES))})")
    for previous, current in pairwise(sorted(found)):
        if current != previous + 1:
            raise DataError(
                f"{folder}: frame {previous + 1} is missing; {previous} is followed by {current}"
            )
    return [found[number] for number in sorted(found)]


def _by_number(files: Iterable[Path]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in files:
        number = parse_name(path).number
        if number is None:
            raise DataError(
                f"{path}: has no number; frames are ordered by the last number of a name"
            )
        if number in found:
            raise DataError(f"{path}: has the same number as {found[number].name}")
        found[number] = path
    return found
