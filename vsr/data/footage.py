"""Ordinary films and photographs, decoded once and kept where clips can be cut from them.

Each film becomes one file of raw RGB frames beside a list of its shots, in a cache
that outlives the run. Memory stays with the operating system, which shares it among
runs and gives it back.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray

from vsr.errors import TrainingError
from vsr.media import image
from vsr.media.frame import Frame
from vsr.media.reader import VideoReader
from vsr.planes import colour_spec, planes_to_rgb
from vsr.shots import mark_cuts
from vsr.tensors import to_uint8

_VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi"})
_WINDOW_FRAMES = 60
MOST_FRAMES = 600
"""Frames of a film that are kept, unless told otherwise."""
_FORMAT = 1


@dataclass(frozen=True)
class Film:
    """A decoded film: frames (N, H, W, 3) of RGB, on disk until touched, and its shots."""

    name: str
    frames: NDArray[np.uint8]
    shots: tuple[tuple[int, int], ...]
    """First frame and the frame after the last of each stretch without a cut."""


def find_footage(places: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The films and the photographs among files and (recursively) folders, sorted.

    Raises `TrainingError` for a place that doesn't exist or holds neither.
    """
    films: set[Path] = set()
    photographs: set[Path] = set()
    for place in places:
        if not place.exists():
            raise TrainingError(f"{place}: no such file or folder of footage")
        files = [place] if place.is_file() else list(place.rglob("*"))
        here = {path for path in files if path.suffix.lower() in _VIDEO_SUFFIXES}
        stills = {path for path in files if path.suffix.lower() in image.SUFFIXES}
        if not here and not stills:
            raise TrainingError(f"{place}: holds no film and no photograph")
        films |= here
        photographs |= stills
    return sorted(films), sorted(photographs)


def load_film(path: Path, cache: Path | None = None, most_frames: int = MOST_FRAMES) -> Film:
    """Decode a film, or find it in the cache.

    Of a film longer than `most_frames`, stretches of two seconds or so are taken,
    spread evenly over its length.
    """
    cache = cache or platformdirs.user_cache_path("vsr") / "footage"
    stat = path.stat()
    identity = f"{_FORMAT} {path.resolve()} {stat.st_size} {stat.st_mtime_ns} {most_frames}"
    stem = cache / f"{path.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    frames_file, index_file = Path(f"{stem}.rgb"), Path(f"{stem}.json")
    if not index_file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _decode(path, frames_file, index_file, most_frames)
    index = json.loads(index_file.read_text())
    frames = np.memmap(frames_file, dtype=np.uint8, mode="r", shape=tuple(index["shape"]))
    return Film(path.name, frames, tuple((first, end) for first, end in index["shots"]))


def _decode(path: Path, frames_file: Path, index_file: Path, most_frames: int) -> None:
    """Write the two files of the cache: frames first, so that an index means all is there."""
    starts: list[int] = []
    count = 0
    partial = frames_file.with_suffix(f".{os.getpid()}.partial")
    try:
        with VideoReader(path) as reader, partial.open("wb") as raw:
            info, spec = reader.info, colour_spec(reader.info)
            for frame, begins in _windows(reader, info.frame_count or most_frames, most_frames):
                if begins:
                    starts.append(count)
                rgb = planes_to_rgb(frame.planes, spec, torch.device("cpu"))
                raw.write(to_uint8(rgb).permute(1, 2, 0).contiguous().numpy().tobytes())
                count += 1
        partial.replace(frames_file)
        index = {
            "shape": (count, info.height, info.width, 3),
            "shots": list(zip(starts, [*starts[1:], count], strict=True)),
        }
        partial.write_text(json.dumps(index))
        partial.replace(index_file)
    finally:
        partial.unlink(missing_ok=True)


def _windows(reader: VideoReader, expected: int, most_frames: int) -> Iterator[tuple[Frame, bool]]:
    """The frames to keep; a kept frame that doesn't follow the one before begins a shot."""
    stride = max(1, -(-expected // most_frames))
    taken = 0
    gap = False
    for number, (frame, cut) in enumerate(mark_cuts(reader.frames())):
        if taken >= most_frames:
            return
        gap = gap or cut
        if (number // _WINDOW_FRAMES) % stride == 0:
            assert isinstance(frame, Frame)
            yield frame, gap
            gap = False
            taken += 1
        else:
            gap = True
