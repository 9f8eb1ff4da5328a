"""Split a film into segments, and encode them independently of each other.

A segment ends at a cut, or after 240 frames with the state of the network saved. Its end depends on
the frames alone, so a segment's bytes are reproducible.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from safetensors.torch import load_file, save
from torch import Tensor

from vsr.engine.resume.journal import FIRST_SEGMENT, FinishedSegment, SegmentStart
from vsr.engine.resume.segment_file import SegmentFile
from vsr.engine.warm_up import WarmUp
from vsr.errors import Interrupted
from vsr.frames.shots import LOOK_BACK_FRAMES, CutMarker
from vsr.media.decode.part import PartRange
from vsr.media.decode.picture_reader import FilmReader
from vsr.media.encode.encoder import CodedVideo
from vsr.media.fingerprint import fingerprint_of
from vsr.media.frame import Frame
from vsr.system.files import write_failure

SHORTEST_FRAMES = 48
"""An earlier cut doesn't end a segment: encoders are more efficient on long segments."""
LONGEST_FRAMES = 240

State = tuple[Tensor, ...]


class SegmentFrame(NamedTuple):
    """A frame, and the shot or segment that starts with it."""

    frame: Frame
    begins_shot: bool
    start: SegmentStart | None
    """Set if a segment starts with this frame."""
    state: State | None = None
    """State at the start of a segment in mid-shot; set once the frame is upscaled."""
    warms_up: bool = False
    """Whether the frame precedes the part to upscale, and only the network's state matters."""


def mark_segments(
    frames: Iterator[Frame],
    start: SegmentStart,
    previous: Sequence[Frame] = (),
    part: PartRange | None = None,
) -> Iterator[SegmentFrame]:
    """Mark the frames of a film from `start` on; `previous` are the frames just before it.

    Of a `part`, the first segment starts with the first frame of the part. Frames before it warm
    the network up.
    """
    marker: CutMarker[Frame] = CutMarker(frames, previous)
    last: deque[Frame] = deque(previous, maxlen=LOOK_BACK_FRAMES)
    index, length, first_frame = start.number, 0, start.frame
    is_warm = False
    for item, is_cut in marker:
        assert isinstance(item, Frame)
        if part is not None and part.is_before(item.pts):
            is_warm = True
            last.append(item)
            yield SegmentFrame(item, is_cut, None, warms_up=True)
            continue
        if part is not None and part.has_ended(item.pts, first_frame + length):
            return
        is_first = length == 0
        is_given = is_first and index == start.number and not is_warm
        begins_shot = start.begins_shot if is_given else is_cut
        segment_start = start if is_first else None
        if length == LONGEST_FRAMES or (is_cut and length >= SHORTEST_FRAMES):
            marker.restart()
            first_frame += length
            index, length = index + 1, 0
            segment_start = SegmentStart(
                number=index,
                frame=first_frame,
                marks=tuple(fingerprint_of(frame) for frame in last),
                begins_shot=begins_shot,
            )
        length += 1
        last.append(item)
        yield SegmentFrame(item, begins_shot, segment_start)


def frames_from(
    reader: FilmReader, start: SegmentStart, part: PartRange | None = None
) -> Iterator[SegmentFrame]:
    """Read from `start` on; raises `MediaError` if the source has changed."""
    previous = reader.resume_after(start.marks) if start.marks else []
    return mark_segments(reader.frames(), start, previous, part)


def frames_of_part(reader: FilmReader, warm_up: WarmUp, part: PartRange) -> Iterator[SegmentFrame]:
    """Read a part from its start, after the frames that warm the network up."""
    previous = reader.resume_after(warm_up.marks)
    # With one frame before it, a marker is in the state in which it is after a cut.
    return mark_segments(reader.frames(), FIRST_SEGMENT, previous[-1:], part)


class FrameWriter(Protocol):
    """Writes the frames of one segment; see `SegmentWriter`."""

    @property
    def video(self) -> CodedVideo:
        """Parameters of the stream."""

    def write(self, frame: Frame) -> None:
        """Write one frame."""

    def finish(self) -> SegmentFile:
        """Finish the segment; all of it is on disk then."""

    def abandon(self) -> None:
        """Remove what was written of an unfinished segment."""


class SegmentStore(Protocol):
    """Takes finished segments; see `Journal`."""

    output: Path
    """The output, which errors name."""

    def state(self, index: int) -> Path:
        """Return the path of the state at the start of a segment in mid-shot."""

    def add(self, finished: FinishedSegment, video: CodedVideo) -> None:
        """Record a segment whose files are on disk."""


class SegmentSink:
    """Encodes upscaled frames in order; each segment is on disk before the next starts."""

    def __init__(
        self,
        store: SegmentStore,
        open_writer: Callable[[SegmentStart], FrameWriter],
        *,
        damaged: Sequence[int],
        stop: threading.Event,
        on_frame: Callable[[], None],
    ) -> None:
        """`open_writer` starts a segment, which is added to `store` when it is finished.

        `damaged` grows while the source is read; `on_frame` is called after every frame.

        Once `stop` is set, `Interrupted` is raised at the end of the current segment.
        """
        self._store = store
        self._open_writer = open_writer
        self._damaged = damaged
        self._stop = stop
        self._on_frame = on_frame
        self._writer: FrameWriter | None = None
        self._index = self._shots = 0
        self._first_pts = 0

    def write(self, item: SegmentFrame) -> None:
        """Encode a frame, in a new segment if one starts with it. Raises `OutputError`.

        Frames that warm the network up are discarded.
        """
        if item.warms_up:
            return
        if item.start is not None:
            if self._writer is not None:
                self._finish(item)
                if self._stop.is_set():
                    raise Interrupted("stopped")
            self._begin(item.start, item.frame.pts)
        assert self._writer is not None
        is_first = item.start is not None and item.start.number == 0
        self._shots += item.begins_shot or is_first
        self._writer.write(item.frame)
        self._on_frame()

    def finish(self, following: SegmentFrame | None = None) -> None:
        """Finish the last segment; `following` is the first frame of the next one, if any."""
        self._finish(following)

    def abandon(self) -> None:
        """Remove the file of an unfinished segment."""
        if self._writer is not None:
            self._writer.abandon()

    def _begin(self, start: SegmentStart, pts: int) -> None:
        self._index, self._shots, self._first_pts = start.number, 0, pts
        self._writer = self._open_writer(start)

    def _finish(self, following: SegmentFrame | None) -> None:
        """Finish the current segment; `following` is the first frame of the next one."""
        assert self._writer is not None
        file, video = self._writer.finish(), self._writer.video
        self._writer = None  # free the encoder's memory before the next one allocates
        start = following.start if following else None
        if following and start and following.state is not None:
            path = self._store.state(start.number)
            save_state(path, following.state, self._store.output)
        end = following.frame.pts if following else None
        damaged = tuple(
            pts
            for pts in list(self._damaged)
            if pts >= self._first_pts and (end is None or pts < end)
        )
        segment = FinishedSegment(
            number=self._index,
            frames=file.frames,
            shots=self._shots,
            size=file.size,
            digest=file.digest,
            damaged=damaged,
            following=start,
        )
        self._store.add(segment, video)


def save_state(path: Path, state: State, output: Path) -> None:
    """Save a state durably to `path`. Raises `OutputError`, naming `output`."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(save({str(index): part.contiguous() for index, part in enumerate(state)}))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise write_failure(output, error) from error


def load_state(path: Path) -> State:
    """Load a state from `save_state`, on the CPU."""
    parts = load_file(path)
    return tuple(parts[str(index)] for index in range(len(parts)))
