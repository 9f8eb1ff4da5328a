"""Footage: films, folders of numbered frames, and photographs."""

import hashlib
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

from vsr.data.rgb_frames import rgb_frames
from vsr.errors import DataError, MediaError
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.imaging.colour import ColourSpec
from vsr.imaging.tensors import on_8_bit_levels, to_float
from vsr.media.decode.reader import VideoReader
from vsr.media.frame import ColourTags, Frame, PixelLayout, StreamInfo
from vsr.media.image import read_still
from vsr.media.image_sequence import ImageSequence, parse_name
from vsr.system.address import is_pipe, printable
from vsr.system.folders import FILM_SUFFIXES, STILL_SUFFIXES, files_in, skipped

MIN_NUMBERED_FRAMES = 5
"""Numbered images that are taken for a film; fewer are photographs."""
_MIN_CORRELATION = 0.6
"""Of the thumbnails of two consecutive frames of one shot."""
_SEQUENCE_RATE = Fraction(25)
"""Frames a second assumed of numbered images."""
_HASHED_BYTES = 1 << 20
_PHOTOGRAPH_SUFFIXES = STILL_SUFFIXES - {".gif", ".apng"}
"""Animated or palette-based formats are not photographs."""


class SourceType(StrEnum):
    """Type of a source."""

    FILM = "film"
    FRAMES = "frames"
    PHOTOGRAPH = "photograph"


@dataclass(frozen=True)
class Source:
    """One piece of footage: the unit that is assigned to train or val as a whole."""

    name: str
    type: SourceType
    files: tuple[Path, ...]
    """One file, or the frames in order."""

    def identity(self) -> str:
        """Hash the size, the first and the last MiB of each file, independent of its path.

        Raises `DataError` where a file can't be read.
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
    """Find the footage among files and, recursively, folders, in order of path.

    Numbered images of one size that resemble one another are the frames of a film; other images
    are photographs. Files under `without`, an output folder, are excluded. `tell` receives a line
    about files that are neither. Raises `DataError` for a path that doesn't exist or holds no
    footage.
    """
    found: dict[Path, Source] = {}
    for place in places:
        if not place.exists():
            raise DataError(f"{place}: no such file or folder of footage")
        if is_pipe(place):
            raise DataError(f"{place}: is a pipe, which can be read only once; name a file")
        if not place.is_dir():
            is_photograph = place.suffix.lower() in _PHOTOGRAPH_SUFFIXES
            source_type = SourceType.PHOTOGRAPH if is_photograph else SourceType.FILM
            found[place.resolve()] = Source(printable(place.name), source_type, (place,))
            continue
        files, others = files_in(place, FILM_SUFFIXES | _PHOTOGRAPH_SUFFIXES, without)
        if not files:
            raise DataError(f"{place}: holds no film and no image")
        for line in skipped(place, others, "films or photographs"):
            tell(line)
        sources = _sources_among(files, place)
        found.update((source.files[0].resolve(), source) for source in sources)
    return [found[path] for path in sorted(found)]


def source_info(source: Source) -> StreamInfo:
    """Describe the planes that `open_source` reads; raises `MediaError` where it can't."""
    if source.type is SourceType.FILM:
        with VideoReader(source.files[0]) as reader:
            return reader.info
    height, width = ImageSequence(source.files).size
    return StreamInfo(
        width=width,
        height=height,
        layout=PixelLayout(),
        colour=ColourTags(matrix=1),
        time_base=1 / _SEQUENCE_RATE,
        frame_rate=_SEQUENCE_RATE,
        frame_count=len(source.files),
        sample_aspect_ratio=Fraction(1),
    )


def open_source(source: Source) -> tuple[StreamInfo, Iterator[Frame]]:
    """Describe a source and read it as Y'CbCr planes; a photograph has one frame.

    A film keeps its pixel format. Images become 8-bit 4:2:0, the format of a data set;
    `source_frames` keeps their full colour resolution. Raises `MediaError` where the source can't
    be read, also while the frames are read.
    """
    if source.type is SourceType.FILM:
        reader = VideoReader(source.files[0])
        return reader.info, _closing(reader)
    info = source_info(source)
    return info, _image_planes(ImageSequence(source.files), colour_spec(info))


def sample_source(source: Source, count: int) -> list[Frame]:
    """Read at most `count` frames spread over a source; none where it can't be read."""
    if source.type is SourceType.FILM:
        with VideoReader(source.files[0]) as reader:
            return reader.sample(count)
    step = -(-len(source.files) // count)
    chosen = Source(source.name, source.type, source.files[::step])
    _, frames = open_source(chosen)
    return list(frames)


def source_frames(source: Source, device: torch.device) -> Iterator[tuple[Tensor, bool]]:
    """Read RGB (3, H, W) in [0, 1] on 8-bit levels, each with whether it starts a shot.

    Images keep the colour of each pixel.
    """
    if source.type is not SourceType.FILM:
        yield from rgb_frames(ImageSequence(source.files).frames(), device)
        return
    info, frames = open_source(source)
    spec = colour_spec(info)
    for frame, starts_shot in mark_cuts(frames):
        assert isinstance(frame, Frame)
        yield on_8_bit_levels(planes_to_rgb(frame.planes, spec, device)), starts_shot


def _closing(reader: VideoReader) -> Iterator[Frame]:
    with reader:
        yield from reader.frames()


def _image_planes(sequence: ImageSequence, spec: ColourSpec) -> Iterator[Frame]:
    for index, still in enumerate(sequence.frames()):
        pixels = to_float(torch.from_numpy(still.rgb.copy())).permute(2, 0, 1)
        yield Frame(rgb_to_planes(pixels, spec), index)


def _sources_among(files: Sequence[Path], folder: Path) -> list[Source]:
    sources = []
    images: dict[tuple[Path, str, str], list[tuple[int, Path]]] = defaultdict(list)
    for path in files:
        suffix = path.suffix.lower()
        name = printable(path.relative_to(folder))
        if suffix in FILM_SUFFIXES:
            sources.append(Source(name, SourceType.FILM, (path,)))
            continue
        parsed = parse_name(path)
        if parsed.number is None or parsed.tail:  # only a number at the end orders frames
            images[path.parent, path.stem, suffix].append((-1, path))
        else:
            images[path.parent, parsed.head, suffix].append((parsed.number, path))
    for (parent, head, suffix), numbered in images.items():
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
    """Whether images have consecutive numbers, one size and similar content."""
    if len(files) < MIN_NUMBERED_FRAMES or numbers[0] < 0:
        return False
    if numbers[-1] - numbers[0] != len(numbers) - 1:
        return False
    try:
        first = [read_still(path).rgb for path in files[:MIN_NUMBERED_FRAMES]]
    except MediaError:
        return False
    if len({picture.shape for picture in first}) > 1:
        return False
    small = [cv2.resize(p, (32, 32), interpolation=cv2.INTER_AREA).ravel() for p in first]
    similar = [bool(np.corrcoef(a, b)[0, 1] > _MIN_CORRELATION) for a, b in pairwise(small)]
    return sum(similar) > len(similar) / 2
