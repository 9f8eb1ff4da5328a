"""The films that are compared: opened, paired frame by frame, and never silently shortened."""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vsr.errors import DataError, MediaError
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.imaging.tensors import on_8_bit_levels, to_float
from vsr.media.decode.reader import VideoReader
from vsr.media.frame import Frame, Plane
from vsr.media.image import read_still
from vsr.system.folders import FILM_SUFFIXES, STILL_SUFFIXES, visible_in

Align = Literal["strict", "crop"]

_ANY_SPEC = ColourSpec(Matrix.BT601)
_NO_PLANE = np.zeros((1, 1), np.uint8)
_NO_PLANES: tuple[Plane, Plane, Plane] = (_NO_PLANE, _NO_PLANE, _NO_PLANE)


class Timed(NamedTuple):
    """A frame, and when it is shown."""

    time: Fraction | None
    """Seconds since the film's zero; None in a folder, which has no times."""
    picture: Tensor
    """RGB (3, H, W) in [0, 1]: on 8-bit levels, or as fine as the film is."""
    begins_shot: bool = False


@dataclass(frozen=True)
class FrameSequence:
    """A film, or a folder of numbered pictures, that can be read frame by frame."""

    path: Path
    width: int
    height: int
    tick: Fraction
    """Seconds by which times are told; 0 in a folder."""
    frame_rate: float
    """On average; 25 in a folder."""
    count: int | None
    """Frames, as far as the container tells."""
    read: Callable[[torch.device, bool], Iterator[Timed]]
    """Frames on a device; whether shots are to be told apart."""
    notes: set[str] = field(default_factory=set)
    """What is done to frames to compare them; complete when all are read."""

    @property
    def size(self) -> str:
        """Such as 1920x1080."""
        return f"{self.width}x{self.height}"


def open_clip(path: Path) -> FrameSequence:
    """A film or a folder of pictures; raises `MediaError` or `DataError` where it is neither."""
    if path.is_dir():
        return _open_folder(path)
    with VideoReader(path) as reader:
        info = reader.info

    def frames(device: torch.device, tells_shots: bool) -> Iterator[Timed]:
        with VideoReader(path) as reader:
            spec, base = colour_spec(reader.info), reader.info.time_base
            for frame, begins_shot in _told_apart(reader.frames(), tells_shots):
                rgb = planes_to_rgb(frame.planes, spec, device)
                picture = on_8_bit_levels(rgb) if spec.bit_depth == 8 else rgb.clamp(0, 1)
                yield Timed(frame.pts * base, picture, begins_shot)

    rate = float(info.frame_rate)
    return FrameSequence(
        path, info.width, info.height, info.time_base, rate, info.frame_count, frames
    )


def _open_folder(folder: Path) -> FrameSequence:
    files = numbered_pictures(folder)
    height, width = read_still(files[0]).rgb.shape[:2]
    notes: set[str] = set()

    def frames(device: torch.device, tells_shots: bool) -> Iterator[Timed]:
        pictures: deque[Tensor] = deque()

        def read() -> Iterator[Frame]:
            for number, path in enumerate(files):
                still = read_still(path)
                rgb = still.rgb
                if still.bits > 8:
                    notes.add(f"{folder.name} holds {still.bits} bits a channel, compared as 8")
                if rgb.shape[:2] != (height, width):
                    size = f"{rgb.shape[1]}x{rgb.shape[0]}"
                    raise MediaError(f"{path}: is {size}, the ones before {width}x{height}")
                picture = to_float(torch.from_numpy(rgb).to(device)).permute(2, 0, 1)
                pictures.append(picture)
                planes = rgb_to_planes(picture, _ANY_SPEC) if tells_shots else _NO_PLANES
                yield Frame(planes, number)

        for _, begins_shot in _told_apart(read(), tells_shots):
            yield Timed(None, pictures.popleft(), begins_shot)

    return FrameSequence(folder, width, height, Fraction(0), 25.0, len(files), frames, notes)


def _told_apart(frames: Iterator[Frame], tells_shots: bool) -> Iterator[tuple[Frame, bool]]:
    if not tells_shots:
        yield from ((frame, False) for frame in frames)
        return
    for frame, begins_shot in mark_cuts(frames):
        assert isinstance(frame, Frame)
        yield frame, begins_shot


def numbered_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their numbers.

    Raises `DataError` where there is none, one has no number, or a number is missing.
    """
    found: dict[int, Path] = {}
    for path in visible_in(folder):
        if path.suffix.lower() not in STILL_SUFFIXES or not path.is_file():
            continue
        number = re.search(r"(\d+)\D*$", path.stem)
        if number is None:
            raise DataError(f"{path}: has no number; frames are told apart by theirs")
        if int(number[1]) in found:
            raise DataError(f"{path}: has the number of {found[int(number[1])].name}")
        found[int(number[1])] = path
    if not found:
        raise DataError(f"{folder}: holds no picture ({', '.join(sorted(STILL_SUFFIXES))})")
    for before, after in pairwise(sorted(found)):
        if after != before + 1:
            raise DataError(
                f"{folder}: frame {before + 1} is missing; after {before} comes {after}"
            )
    return [found[number] for number in sorted(found)]


def find_clips(output: Path, reference: Path) -> list[tuple[str, Path, Path]]:
    """What to compare with what: one pair, or one for each clip of two folders.

    Folders of clips hold films, or folders of pictures, of the same names (a film's
    suffix apart). Raises `DataError` where one has a clip that the other lacks.
    """
    for path in (output, reference):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    ours, theirs = _clips_in(output), _clips_in(reference)
    if not ours and not theirs:
        return [(output.stem if output.is_file() else output.name, output, reference)]
    for here, there, place in ((ours, theirs, reference), (theirs, ours, output)):
        lacking = sorted(here.keys() - there.keys())
        if lacking:
            raise DataError(f"{place}: holds no clip {lacking[0]!r}")
    return [(name, ours[name], theirs[name]) for name in sorted(ours)]


def _clips_in(path: Path) -> dict[str, Path]:
    """The clips of a folder of clips, by name; none where it is a clip itself."""
    if not path.is_dir():
        return {}
    clips: dict[str, Path] = {}
    for entry in visible_in(path):
        film = entry.is_file() and entry.suffix.lower() in FILM_SUFFIXES
        if not film and not (entry.is_dir() and _holds_pictures(entry)):
            continue
        name = entry.name if entry.is_dir() else entry.stem
        if name in clips:
            raise DataError(f"{entry}: there is another clip of that name, {clips[name].name}")
        clips[name] = entry
    return clips


def _holds_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in STILL_SUFFIXES for path in visible_in(folder))


class Pairing:
    """Pairs the frames of an output with those of its reference and its source, by time."""

    def __init__(self, clips: Sequence[FrameSequence], align: Align, sizes_agree: bool) -> None:
        """The output first; `sizes_agree` says that the second must be of its size.

        Raises `DataError` where sizes differ and nothing says that they may.
        """
        self._clips = clips
        self._align = align
        self._left_out = [0] * len(clips)
        self._cropped = ""
        self._common: tuple[int, int] | None = None
        # Cropping doesn't go with a source beside or instead of the reference.
        self._may_crop = sizes_agree and len(clips) == 2
        ours, theirs = clips[0], clips[1]
        if sizes_agree and ours.size != theirs.size:
            if align == "strict":
                raise DataError(
                    f"{ours.path}: is {ours.size}, {theirs.path} is {theirs.size}"
                    + self._advice("what they have in common")
                )
            height = min(ours.height, theirs.height)
            width = min(ours.width, theirs.width)
            self._common = (height, width)
            self._cropped = (
                f"compared the upper left {width}x{height} of {ours.size} and {theirs.size}"
            )

    @property
    def notes(self) -> list[str]:
        """What was done to make the clips fit, in words; known when all frames are read."""
        notes = [self._cropped] if self._cropped else []
        notes += sorted({note for clip in self._clips for note in clip.notes})
        for clip, count in zip(self._clips, self._left_out, strict=True):
            if count:
                notes.append(f"left out {count} frames of {clip.path.name} that have no partner")
        return notes

    def frames(self, device: torch.device, tells_shots: bool) -> Iterator[list[Timed]]:
        """A frame of each clip; shots are those of the second.

        Times count from each film's first frame, or, where it is cropped, as they are; a
        folder's frames go by their order. Raises `DataError` at the first frame without a
        partner, unless cropping.
        """
        streams = [
            ahead(clip.read(device, tells_shots and number == 1))
            for number, clip in enumerate(self._clips)
        ]
        pairs = self._strictly if self._align == "strict" else self._where_equal
        for frames in pairs(streams):
            if self._common:
                height, width = self._common
                frames[:2] = [f._replace(picture=f.picture[:, :height, :width]) for f in frames[:2]]
            yield frames

    def _strictly(self, streams: Sequence[Iterator[Timed]]) -> Iterator[list[Timed]]:
        first: list[Timed] = []
        count = 0
        while True:
            found = [next(stream, None) for stream in streams]
            frames = [frame for frame in found if frame is not None]
            if not frames:
                return
            if len(frames) < len(found):
                self._complain_of_counts(found, streams, count)
            first = first or frames
            since = [_since(now, then) for now, then in zip(frames, first, strict=True)]
            for number in range(1, len(frames)):
                if self._apart(0, number, since[0], since[number]):
                    ours, theirs = self._clips[0].path, self._clips[number].path
                    raise DataError(
                        f"{ours}: its frame {count} is shown {_seconds(since[0])} after the first, "
                        f"that of {theirs} {_seconds(since[number])}"
                        + self._advice("those of equal times")
                    )
            yield frames
            count += 1

    def _complain_of_counts(
        self, found: list[Timed | None], streams: Sequence[Iterator[Timed]], count: int
    ) -> None:
        short = next(number for number, frame in enumerate(found) if frame is None)
        long = next(number for number, frame in enumerate(found) if frame is not None)
        more = 1 + sum(1 for _ in streams[long])
        raise DataError(
            f"{self._clips[short].path}: has {count} frames, {self._clips[long].path} has "
            f"{count + more}" + self._advice("those of equal times")
        )

    def _advice(self, what: str) -> str:
        return f"; --align crop compares {what}" if self._may_crop else ""

    def _where_equal(self, streams: Sequence[Iterator[Timed]]) -> Iterator[list[Timed]]:
        ours, theirs = streams
        here, there = next(ours, None), next(theirs, None)
        count = 0
        while here is not None and there is not None:
            if not self._apart(0, 1, here.time, there.time):
                yield [here, there]
                count += 1
                here, there = next(ours, None), next(theirs, None)
            elif here.time is not None and there.time is not None and here.time < there.time:
                self._left_out[0] += 1
                here = next(ours, None)
            else:
                self._left_out[1] += 1
                there = next(theirs, None)
        self._left_out[0] += (here is not None) + sum(1 for _ in ours)
        self._left_out[1] += (there is not None) + sum(1 for _ in theirs)
        if not count:
            first, second = (clip.path for clip in self._clips)
            raise DataError(f"{first}: none of its frames is shown when one of {second} is")

    def _apart(
        self, one: int, other: int, time: Fraction | None, other_time: Fraction | None
    ) -> bool:
        """Whether times of two clips differ by more than rounding to both clocks explains."""
        if time is None or other_time is None:
            return False
        return abs(time - other_time) > (self._clips[one].tick + self._clips[other].tick) / 2


def ahead(frames: Iterator[Timed], most: int = 4) -> Iterator[Timed]:
    """The same, decoded by a thread of its own a few frames ahead."""
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, frames, None) for _ in range(most))
        while (frame := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, frames, None))
            yield frame
    finally:
        pool.shutdown(cancel_futures=True)


def _since(now: Timed, then: Timed) -> Fraction | None:
    return None if now.time is None or then.time is None else now.time - then.time


def _seconds(time: Fraction | None) -> str:
    return "?" if time is None else f"{float(time):.3f} s"
