"""Numbered pictures that are the frames of a film: find them, and name those to write."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vsr.errors import MediaError
from vsr.media.exif import ORIENTATION, TRANSPOSED
from vsr.media.image import read_still
from vsr.media.image_sequence import images_in, parse_name
from vsr.media.picture_formats import has_heif
from vsr.media.picture_header import bits_of
from vsr.media.picture_memory import reading_by_pillow
from vsr.system.folders import STILL_SUFFIXES

PICTURE_SUFFIXES = STILL_SUFFIXES | {".exr", ".jxl"}
"""Suffixes of the names that may be patterns."""
_PLACE = re.compile(r"%(?:0(\d{1,2}))?d|(#+)")
_GAPS_LISTED = 5
_SAMPLE_FORMAT, _FLOAT = 0x0153, 3


class NumberPattern(NamedTuple):
    """Names that differ by a number, such as `shots/a_%05d.png`."""

    folder: Path
    head: str
    digits: int
    """Least count of digits; smaller numbers have leading zeros."""
    tail: str
    """The rest of the name, with its suffix."""

    @classmethod
    def parse(cls, path: Path) -> "NumberPattern | None":
        """Parse a name with one `%d`, `%05d` or `####`; None for any other name."""
        places = list(_PLACE.finditer(path.name))
        if len(places) != 1 or path.suffix.lower() not in PICTURE_SUFFIXES:
            return None
        place = places[0]
        digits = len(place[2]) if place[2] else int(place[1] or 1)
        return cls(path.parent, path.name[: place.start()], digits, path.name[place.end() :])

    @property
    def suffix(self) -> str:
        """The suffix of all names, in lower case."""
        return Path(f"a{self.tail}").suffix.lower()

    def path(self, number: int) -> Path:
        """Return the path of a picture."""
        return self.folder / f"{self.head}{number:0{self.digits}d}{self.tail}"

    def number_of(self, path: Path) -> int | None:
        """Return the number of a path; None if its name is another one."""
        name = path.name
        text = name[len(self.head) : len(name) - len(self.tail)]
        if not (text.isascii() and text.isdigit()):
            return None
        return int(text) if self.path(int(text)).name == name else None

    def numbers(self) -> list[int]:
        """List the numbers of the pictures that exist, ascending."""
        if not self.folder.is_dir():
            return []
        found = (self.number_of(path) for path in self.folder.iterdir())
        return sorted(number for number in found if number is not None)

    def __str__(self) -> str:
        return str(self.folder / f"{self.head}%0{self.digits}d{self.tail}")


class PictureFormat(NamedTuple):
    """The properties that all pictures of a film share."""

    width: int
    """Pixels, after the rotation by Exif data."""
    height: int
    bits: int
    """Bits per sample: 8, 16, or 32 for floating point."""
    alpha: bool

    def __str__(self) -> str:
        alpha = " with transparency" if self.alpha else ""
        return f"{self.width}x{self.height} of {self.bits} bits{alpha}"


@dataclass(frozen=True)
class NumberedPictures:
    """Pictures of one format, without a gap in their numbers."""

    source: Path
    """The folder or pattern that the user named."""
    pattern: NumberPattern
    first: int
    """Number of the first picture."""
    files: Sequence[Path]
    """At least one, in the order of their numbers."""
    format: PictureFormat


def is_picture_pattern(path: Path) -> bool:
    """Whether a path names numbered pictures by a pattern."""
    return NumberPattern.parse(path) is not None


def holds_pictures(folder: Path) -> bool:
    """Whether a folder itself holds numbered pictures."""
    return any(parse_name(path).number is not None for path in _pictures_in(folder))


def find_pictures(source: Path) -> NumberedPictures:
    """Find the pictures of a folder or of a pattern, and check that they are one film.

    The headers of all pictures are read. Raises `MediaError` where there is none, a number is
    missing, or a picture has another size, depth or transparency than the first.
    """
    pattern = _pattern_in(source) if source.is_dir() else NumberPattern.parse(source)
    if pattern is None:
        raise MediaError(f"{source}: is no pattern of numbered pictures, such as %05d.png")
    numbers = pattern.numbers()
    if not numbers:
        raise MediaError(f"{source}: there is no such picture, such as {pattern.path(1).name}")
    if gaps := [(a + 1, b - 1) for a, b in pairwise(numbers) if b > a + 1]:
        raise MediaError(
            f"{source}: {_listed(gaps)} missing between {pattern.path(numbers[0]).name} and "
            f"{pattern.path(numbers[-1]).name}"
        )
    files = [pattern.path(number) for number in numbers]
    return NumberedPictures(source, pattern, numbers[0], files, _common_format(files))


def probe_picture(path: Path) -> PictureFormat:
    """Return the format of a picture by its header. Raises `MediaError`."""
    has_heif()
    try:
        if path.suffix.lower() == ".exr":
            return _probe_exr(path)
        with reading_by_pillow(path), path.open("rb") as file, Image.open(file) as opened:
            width, height = opened.size
            has_exif = opened.format != "PNG" or "exif" in opened.info
            if has_exif and opened.getexif().get(ORIENTATION, 1) in TRANSPOSED:
                width, height = height, width
            bits = 32 if _is_float(opened) else 16 if bits_of(opened, file) > 8 else 8
            return PictureFormat(width, height, bits, opened.has_transparency_data)
    except Exception:  # Pillow doesn't know all formats, and raises many types of error
        still = read_still(path)
        height, width = still.rgb.shape[:2]
        return PictureFormat(width, height, 8 * still.rgb.itemsize, still.alpha is not None)


def _probe_exr(path: Path) -> PictureFormat:
    import OpenEXR

    with OpenEXR.File(str(path), header_only=True) as opened:
        header = opened.header()
    (left, top), (right, bottom) = header["dataWindow"]
    alpha = any(channel.name == "A" for channel in header["channels"])
    return PictureFormat(int(right - left) + 1, int(bottom - top) + 1, 32, alpha)


def _is_float(opened: Image.Image) -> bool:
    tags = getattr(opened, "tag_v2", None) or {}
    kinds = tags.get(_SAMPLE_FORMAT, 1)
    return opened.mode == "F" or _FLOAT in (kinds if isinstance(kinds, tuple) else (kinds,))


def _common_format(files: Iterable[Path]) -> PictureFormat:
    first: tuple[Path, PictureFormat] | None = None
    for path in files:
        found = probe_picture(path)
        first = first or (path, found)
        if found != first[1]:
            raise MediaError(
                f"{path}: is {found}, but {first[0].name} is {first[1]}; the frames of a film are "
                "alike"
            )
    assert first is not None
    return first[1]


def _pictures_in(folder: Path) -> list[Path]:
    return images_in(folder, PICTURE_SUFFIXES) if folder.is_dir() else []


def _pattern_in(folder: Path) -> NumberPattern:
    """Return the pattern of all pictures of a folder. Raises `MediaError` if there are several."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in _pictures_in(folder):
        name = parse_name(path)
        if name.number is None:
            names[path.name, ""].append("")
        else:
            text = path.stem[len(name.head) : len(path.stem) - len(name.tail)]
            names[name.head, name.tail + path.suffix].append(text)
    if not names:
        raise MediaError(f"{folder}: holds no picture ({', '.join(sorted(PICTURE_SUFFIXES))})")
    if len(names) > 1:
        shown = ", ".join(f"{head}{'#' if tail else ''}{tail}" for head, tail in sorted(names)[:4])
        raise MediaError(
            f"{folder}: holds pictures of {len(names)} names ({shown}); name those of the film by "
            f"a pattern, such as {folder / '%05d.png'}"
        )
    (((head, tail), digits),) = names.items()
    if not tail:
        raise MediaError(f"{folder / head}: has no number; the frames of a film are numbered")
    pattern = NumberPattern(folder, head, min(map(len, digits)), tail)
    for text in digits:
        if pattern.path(int(text)).name != f"{head}{text}{tail}":
            raise MediaError(
                f"{folder / (head + text + tail)}: the numbers have different counts of leading "
                "zeros; rename them alike"
            )
    return pattern


def _listed(gaps: Sequence[tuple[int, int]]) -> str:
    """List missing numbers, as the subject of a sentence with its verb."""
    parts = [str(a) if a == b else f"{a} to {b}" for a, b in gaps[:_GAPS_LISTED]]
    more = sum(b - a + 1 for a, b in gaps[_GAPS_LISTED:])
    parts += [f"{more} more"] if more else []
    if len(gaps) == 1 and gaps[0][0] == gaps[0][1]:
        return f"picture {parts[0]} is"
    text = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"pictures {text} are"
