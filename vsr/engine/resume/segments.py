"""Which segments a film has, and doing one: pieces that don't depend on each other.

A segment ends at a cut, or after some hundred frames with the state of the network saved.
Where it ends follows from the frames alone, so whoever does a segment, and whenever, gets the
same bytes.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file, save
from torch import Tensor

from vsr.engine.resume.journal import FinishedSegment, Journal, SegmentStart
from vsr.engine.resume.segment_file import SegmentWriter
from vsr.errors import Interrupted
from vsr.frames.shots import LOOK_BACK_FRAMES, CutMarker
from vsr.media.decode.reader import VideoReader, mark_of
from vsr.media.encode.encoder import EncoderSettings
from vsr.media.frame import Frame, StreamInfo
from vsr.media.mux.muxer import write_failure

SHORTEST_FRAMES = 48
"""A cut before so many frames doesn't end a segment: encoders work best at length."""
LONGEST_FRAMES = 240

State = tuple[Tensor, ...]


class SegmentFrame(NamedTuple):
    """A frame, and what begins with it."""

    frame: Frame
    begins_shot: bool
    place: SegmentStart | None
    """Of the segment that begins here, if one does."""
    state: State | None = None
    """With which that segment begins, in mid-shot; known once the frame is upscaled."""


def mark_segments(
    frames: Iterator[Frame], place: SegmentStart, before: Sequence[Frame] = ()
) -> Iterator[SegmentFrame]:
    """Mark the frames of a film from `place` on; `before` are those that it remembers."""
    marker: CutMarker[Frame] = CutMarker(frames, before)
    last: deque[Frame] = deque(before, maxlen=LOOK_BACK_FRAMES)
    number, length, begun = place.number, 0, place.frame
    for item, is_cut in marker:
        assert isinstance(item, Frame)
        first = length == 0
        begins_shot = place.begins_shot if first and number == place.number else is_cut
        here = place if first else None
        if length == LONGEST_FRAMES or (is_cut and length >= SHORTEST_FRAMES):
            marker.start_anew()
            begun += length
            number, length = number + 1, 0
            here = SegmentStart(number, begun, tuple(mark_of(frame) for frame in last), begins_shot)
        length += 1
        last.append(item)
        yield SegmentFrame(item, begins_shot, here)


def frames_from(reader: VideoReader, place: SegmentStart) -> Iterator[SegmentFrame]:
    """Read on at `place`; raises `MediaError` where the source isn't what it was."""
    before = reader.go_on_after(place.marks) if place.marks else []
    return mark_segments(reader.frames(), place, before)


class SegmentSink:
    """Takes upscaled frames in order, and has each segment on the disk when the next begins."""

    def __init__(
        self,
        journal: Journal,
        info: StreamInfo,
        settings: EncoderSettings,
        damaged: Sequence[int],
        stop: threading.Event,
        done: Callable[[], None],
    ) -> None:
        """`damaged` grows while the source is read; `done` is called after every frame.

        Once `stop` is set, `Interrupted` is raised at the end of the segment in hand.
        """
        self._journal = journal
        self._info = info
        self._settings = settings
        self._damaged = damaged
        self._stop = stop
        self._done = done
        self._writer: SegmentWriter | None = None
        self._number = self._shots = 0
        self._first_pts = 0

    def write(self, item: SegmentFrame) -> None:
        """Encode a frame, in a new segment if one begins with it. Raises `OutputError`."""
        if item.place is not None:
            if self._writer is not None:
                self._finish(item)
                if self._stop.is_set():
                    raise Interrupted("stopped")
            self._begin(item.place, item.frame.pts)
        assert self._writer is not None
        self._shots += item.begins_shot
        self._writer.write(item.frame)
        self._done()

    def finish(self) -> None:
        """End the last segment."""
        self._finish(None)

    def abandon(self) -> None:
        """Leave nothing of a segment that isn't finished."""
        if self._writer is not None:
            self._writer.__exit__(None, None, None)

    def _begin(self, place: SegmentStart, pts: int) -> None:
        self._number, self._shots, self._first_pts = place.number, 0, pts
        path = self._journal.segment(place.number)
        self._writer = SegmentWriter(path, self._journal.output, self._info, self._settings)

    def _finish(self, following: SegmentFrame | None) -> None:
        assert self._writer is not None
        done, video = self._writer.finish(), self._writer.video
        self._writer = None  # its encoder's memory is free before the next one asks for its own
        place = following.place if following else None
        if following and place and following.state is not None:
            path = self._journal.state(place.number)
            save_state(path, following.state, self._journal.output)
        end = following.frame.pts if following else None
        damaged = tuple(
            pts
            for pts in list(self._damaged)
            if pts >= self._first_pts and (end is None or pts < end)
        )
        self._journal.add(
            FinishedSegment(
                self._number, done.frames, self._shots, done.size, done.digest, damaged, place
            ),
            video,
        )


def save_state(path: Path, state: State, name: Path) -> None:
    """Have a state on the disk, on the way to `name`. Raises `OutputError`."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(save({str(number): part.contiguous() for number, part in enumerate(state)}))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise write_failure(name, error) from error


def load_state(path: Path) -> State:
    """A state that was saved, on the CPU."""
    parts = load_file(path)
    return tuple(parts[str(number)] for number in range(len(parts)))
