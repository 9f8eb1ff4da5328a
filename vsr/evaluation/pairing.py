"""Pair the frames of films that are compared, never shortening one silently."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Literal

import torch

from vsr.errors import DataError
from vsr.evaluation.frame_sequence import FrameSequence, TimedFrame

Align = Literal["strict", "crop"]


class Pairing:
    """Pairs the frames of an output with those of its reference and its source, by time."""

    def __init__(self, clips: Sequence[FrameSequence], align: Align, sizes_agree: bool) -> None:
        """Pair `clips`, the output first; `sizes_agree` requires the second to have its size.

        A single clip is read as it is.
        Raises `DataError` where the sizes must agree and differ, unless `align` is "crop".
        """
        self._clips = clips
        self._align = align
        self._unpaired = [0] * len(clips)
        self._crop_note = ""
        self._common_size: tuple[int, int] | None = None
        # Cropping is not available with a source beside or instead of the reference.
        self._may_crop = sizes_agree and len(clips) == 2
        output, reference = clips[0], clips[-1 if len(clips) == 1 else 1]
        if sizes_agree and output.size != reference.size:
            if align == "strict":
                raise DataError(
                    f"{output.path}: is {output.size}, {reference.path} is {reference.size}"
                    + self._advice("the area they have in common")
                )
            height = min(output.height, reference.height)
            width = min(output.width, reference.width)
            self._common_size = (height, width)
            self._crop_note = (
                f"compared the upper left {width}x{height} of {output.size} and {reference.size}"
            )

    @property
    def notes(self) -> list[str]:
        """Everything that was done to make the clips fit; complete once all frames are read."""
        notes = [self._crop_note] if self._crop_note else []
        notes += sorted({note for clip in self._clips for note in clip.notes})
        for clip, count in zip(self._clips, self._unpaired, strict=True):
            if count:
                notes.append(f"left out {count} frames of {clip.path.name} that have no partner")
        return notes

    def frames(self, device: torch.device, detect_cuts: bool) -> Iterator[list[TimedFrame]]:
        """Read one frame of each clip at a time; `starts_shot` is set in the second clip only.

        Times count from each film's first frame with `align="strict"`, and are absolute with
        "crop". The images of a folder have no times and are paired by their order. Raises
        `DataError` at the first frame without a partner, unless `align` is "crop".
        """
        streams = [
            read_ahead(clip.read(device, detect_cuts and index == 1))
            for index, clip in enumerate(self._clips)
        ]
        pairs = self._strictly if self._align == "strict" else self._where_equal
        for frames in pairs(streams):
            if self._common_size:
                frames[:2] = [frame.cropped(*self._common_size) for frame in frames[:2]]
            yield frames

    def _strictly(self, streams: Sequence[Iterator[TimedFrame]]) -> Iterator[list[TimedFrame]]:
        first: list[TimedFrame] = []
        count = 0
        while True:
            found = [next(stream, None) for stream in streams]
            frames = [frame for frame in found if frame is not None]
            if not frames:
                return
            if len(frames) < len(found):
                self._raise_unequal_counts(found, streams, count)
            first = first or frames
            since = [_since(current, start) for current, start in zip(frames, first, strict=True)]
            for index in range(1, len(frames)):
                if self._differ(0, index, since[0], since[index]):
                    output, other = self._clips[0].path, self._clips[index].path
                    raise DataError(
                        f"{output}: its frame {count} is shown {_seconds(since[0])} after the "
                        f"first, that of {other} {_seconds(since[index])}"
                        + self._advice("frames of equal times")
                    )
            yield frames
            count += 1

    def _raise_unequal_counts(
        self,
        found: list[TimedFrame | None],
        streams: Sequence[Iterator[TimedFrame]],
        count: int,
    ) -> None:
        short = next(index for index, frame in enumerate(found) if frame is None)
        long = next(index for index, frame in enumerate(found) if frame is not None)
        more = 1 + sum(1 for _ in streams[long])
        raise DataError(
            f"{self._clips[short].path}: has {count} frames, {self._clips[long].path} has "
            f"{count + more}" + self._advice("frames of equal times")
        )

    def _advice(self, compared: str) -> str:
        return f"; --align crop compares {compared}" if self._may_crop else ""

    def _where_equal(self, streams: Sequence[Iterator[TimedFrame]]) -> Iterator[list[TimedFrame]]:
        outputs, references = streams
        output, reference = next(outputs, None), next(references, None)
        count = 0
        while output is not None and reference is not None:
            if not self._differ(0, 1, output.time, reference.time):
                yield [output, reference]
                count += 1
                output, reference = next(outputs, None), next(references, None)
            elif (
                output.time is not None
                and reference.time is not None
                and output.time < reference.time
            ):
                self._unpaired[0] += 1
                output = next(outputs, None)
            else:
                self._unpaired[1] += 1
                reference = next(references, None)
        self._unpaired[0] += (output is not None) + sum(1 for _ in outputs)
        self._unpaired[1] += (reference is not None) + sum(1 for _ in references)
        if not count:
            first, second = (clip.path for clip in self._clips)
            raise DataError(f"{first}: has no frame that is shown at the time of one of {second}")

    def _differ(
        self, one: int, other: int, time: Fraction | None, other_time: Fraction | None
    ) -> bool:
        """Whether times of two clips differ by more than rounding to both time bases explains."""
        if time is None or other_time is None:
            return False
        tolerance = (self._clips[one].time_base + self._clips[other].time_base) / 2
        return abs(time - other_time) > tolerance


def read_ahead(frames: Iterator[TimedFrame], count: int = 4) -> Iterator[TimedFrame]:
    """Read an iterator in a separate thread, at most `count` frames ahead."""
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, frames, None) for _ in range(count))
        while (frame := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, frames, None))
            yield frame
    finally:
        pool.shutdown(cancel_futures=True)


def _since(current: TimedFrame, start: TimedFrame) -> Fraction | None:
    if current.time is None or start.time is None:
        return None
    return current.time - start.time


def _seconds(time: Fraction | None) -> str:
    return "?" if time is None else f"{float(time):.3f} s"
