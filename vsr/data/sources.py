"""What footage may be: films, numbered frames in a folder, and photographs."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vsr.errors import DataError, MediaError
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.imaging.colour import ColourSpec
from vsr.imaging.tensors import on_8_bit_levels, to_float
from vsr.media.decode.reader import VideoReader
from vsr.media.frame import ColourTags, Frame, PixelLayout, StreamInfo
from vsr.media.image import read_still
from vsr.system.address import is_pipe, printable
from vsr.system.folders import FILM_SUFFIXES, STILL_SUFFIXES, files_in, skipped

_FEWEST_NUMBERED = 5
_ALIKE = 0.6
"""Correlation of thumbnails of two frames of one shot, at least."""
_STILLS_RATE = Fraction(25)
_HASHED_BYTES = 1 << 20
_PHOTOGRAPHS = STILL_SUFFIXES - {".gif", ".apng"}
"""What moves, or has few colours, is no photograph."""


class SourceType(StrEnum):
    """What a source is."""

    FILM = "film"
    FRAMES = "frames"
    PHOTOGRAPH = "photograph"


@dataclass(frozen=True)
class Source:
    """One piece of footage: the unit that lies in train or in val, never in both."""

    name: str
    kind: SourceType
    files: tuple[Path, ...]
    """One, or the frames in order."""

    def identity(self) -> str:
        """A hash of size, beginning and end of its files: the same wherever it lies.

        Raises `DataError` where one can't be read.
        """
        digest = hashlib.sha256()
        for path in self.files:
            try:
                size = path.stat().st_size
                digest.update(str(size).encode())
                with path.open("rb") as file:
                    digest.update(file.read(_HASHED_BYTES))
                    file.seek(max(0, size - _HASHED_BYTES))
                    digest.update(file.read(_HASHED_BYTES))
            except OSError as error:
                raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
        return digest.hexdigest()[:24]


def find_sources(
    places: Sequence[Path],
    without: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Source]:
    """The footage among files and (recursively) folders, in order of path.

    Numbered pictures of one size that look like one film are frames; other pictures
    are photographs. What lies under `without`, an output, is none; `tell` hears of files
    that are neither. Raises `DataError` for a place that doesn't exist or holds nothing.
    """
    found: dict[Path, Source] = {}
    for place in places:
        if not place.exists():
            raise DataError(f"{place}: no such file or folder of footage")
        if is_pipe(place):
            raise DataError(f"{place}: is a pipe, which can be read only once; name a file")
        if not place.is_dir():
            kind = (
                SourceType.PHOTOGRAPH if place.suffix.lower() in _PHOTOGRAPHS else SourceType.FILM
            )
            found[place.resolve()] = Source(printable(place.name), kind, (place,))
            continue
        files, others = files_in(place, FILM_SUFFIXES | _PHOTOGRAPHS, without)
        if not files:
            raise DataError(f"{place}: holds no film and no picture")
        for line in skipped(place, others, "films or photographs"):
            tell(line)
        sources = _sources_among(files, place)
        found.update((source.files[0].resolve(), source) for source in sources)
    return [found[path] for path in sorted(found)]


def open_source(source: Source) -> tuple[StreamInfo, Iterator[Frame]]:
    """What a source says of itself, and its frames; a photograph has one.

    Raises `MediaError` where it can't be read, also in the midst of the frames.
    """
    if source.kind is SourceType.FILM:
        reader = VideoReader(source.files[0])
        return reader.info, _closing(reader)
    first = read_still(source.files[0]).rgb
    height, width = first.shape[:2]
    info = StreamInfo(
        width=width,
        height=height,
        layout=PixelLayout(),
        colour=ColourTags(matrix=1),
        time_base=1 / _STILLS_RATE,
        frame_rate=_STILLS_RATE,
        frame_count=len(source.files),
        sample_aspect_ratio=Fraction(1),
    )
    return info, _still_frames(source, (height, width), colour_spec(info))


def sample_source(source: Source, count: int) -> list[Frame]:
    """Some frames spread over a source, at most `count`; none where it can't be read."""
    if source.kind is SourceType.FILM:
        with VideoReader(source.files[0]) as reader:
            return reader.sample(count)
    step = -(-len(source.files) // count)
    chosen = Source(source.name, source.kind, source.files[::step])
    _, frames = open_source(chosen)
    return list(frames)


def source_frames(source: Source, device: torch.device) -> Iterator[tuple[Tensor, bool]]:
    """RGB (3, H, W) in [0, 1] on 8-bit levels, and whether a frame begins a shot."""
    info, frames = open_source(source)
    spec = colour_spec(info)
    for frame, cut in mark_cuts(frames):
        assert isinstance(frame, Frame)
        yield on_8_bit_levels(planes_to_rgb(frame.planes, spec, device)), cut


def _closing(reader: VideoReader) -> Iterator[Frame]:
    with reader:
        yield from reader.frames()


def _still_frames(source: Source, size: tuple[int, int], spec: ColourSpec) -> Iterator[Frame]:
    for number, path in enumerate(source.files):
        rgb = read_still(path).rgb
        if rgb.shape[:2] != size:
            raise MediaError(f"{path}: not of the size of the frames before it")
        pixels = to_float(torch.from_numpy(rgb.copy())).permute(2, 0, 1)
        yield Frame(rgb_to_planes(pixels, spec), number)


def _sources_among(files: Sequence[Path], folder: Path) -> list[Source]:
    sources = []
    pictures: dict[tuple[Path, str, str], list[tuple[int, Path]]] = defaultdict(list)
    for path in files:
        suffix = path.suffix.lower()
        name = printable(path.relative_to(folder))
        if suffix in FILM_SUFFIXES:
            sources.append(Source(name, SourceType.FILM, (path,)))
        else:
            head, digits = re.fullmatch(r"(.*?)(\d*)", path.stem, re.DOTALL).groups()  # type: ignore[union-attr]
            pictures[path.parent, head, suffix].append((int(digits or -1), path))
    for (parent, head, suffix), numbered in pictures.items():
        frames = tuple(path for _, path in sorted(numbered))
        if _is_film([number for number, _ in sorted(numbered)], frames):
            name = printable((parent / f"{head}*{suffix}").relative_to(folder))
            sources.append(Source(name, SourceType.FRAMES, frames))
        else:
            sources += [
                Source(printable(path.relative_to(folder)), SourceType.PHOTOGRAPH, (path,))
                for path in frames
            ]
    return sources


def _is_film(numbers: Sequence[int], files: Sequence[Path]) -> bool:
    """Whether pictures follow one another in number and in what they show."""
    if len(files) < _FEWEST_NUMBERED or numbers[0] < 0:
        return False
    if numbers[-1] - numbers[0] != len(numbers) - 1:
        return False
    try:
        first = [read_still(path).rgb for path in files[:_FEWEST_NUMBERED]]
    except MediaError:
        return False
    if len({picture.shape for picture in first}) > 1:
        return False
    small = [cv2.resize(p, (32, 32), interpolation=cv2.INTER_AREA).ravel() for p in first]
    alike = [bool(np.corrcoef(a, b)[0, 1] > _ALIKE) for a, b in pairwise(small)]
    return sum(alike) > len(alike) / 2
