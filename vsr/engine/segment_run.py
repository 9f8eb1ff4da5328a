"""Upscale the pending segments of an output of any type."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from vsr.engine.pipeline import SpanObserver, StageTimes, run_stages
from vsr.engine.resume.journal import Journal, SegmentStart
from vsr.engine.resume.segment_file import first_pts
from vsr.engine.resume.segments import (
    FrameWriter,
    SegmentFrame,
    SegmentSink,
    SegmentStore,
    State,
    frames_from,
    frames_of_part,
    load_state,
)
from vsr.engine.resume.writers import SegmentWriters
from vsr.engine.run import FrameCounter, RunOptions
from vsr.engine.session import UpscaleSession
from vsr.engine.warm_up import NO_CUT, WarmUp, find_warm_up
from vsr.errors import Interrupted, OutputError
from vsr.media.decode.part import PartRange


class PendingFrames:
    """Reads the frames of pending segments, from any that can start, up to a finished one."""

    def __init__(self, session: UpscaleSession, warm_up: WarmUp | None = None) -> None:
        """`warm_up` is the start of the session's part, if another process has found it."""
        self._session = session
        self.warm_up = warm_up
        """The start of the part; found before its first segment is read."""

    def use_first(self, first: int) -> None:
        """Tell the pts of the part's first frame, where its first segment is finished."""
        self.warm_up = self.warm_up or WarmUp((), first, is_exact=True)

    def read(self, start: SegmentStart) -> Iterator[SegmentFrame]:
        """Read from `start` on; a part starts with the frames that warm the network up.

        Raises `MediaError` where the source has changed.
        """
        session = self._session
        if session.part is None:
            return frames_from(session.reader, start)
        warm_up = self.find_warm_up()
        part = PartRange(session.part, warm_up.first)
        if start.number > 0:
            return frames_from(session.reader, start, part)
        return frames_of_part(session.reader, warm_up, part)

    def find_warm_up(self) -> WarmUp:
        """Return the start of the session's part."""
        session = self._session
        assert session.part is not None
        if self.warm_up is None:
            with session.another_reader() as reader:
                self.warm_up = find_warm_up(reader, session.part, session.found_part)
            if not self.warm_up.is_exact:
                session.reader.notes.append(NO_CUT)
        return self.warm_up


class Span(Iterator[SegmentFrame]):
    """The frames of consecutive segments; ends before a given segment, or with the film."""

    def __init__(self, frames: Iterator[SegmentFrame], ends_before: Callable[[int], bool]) -> None:
        """`ends_before` returns whether the segment of a number is not in the span."""
        self.following: SegmentFrame | None = None
        """The first frame after the span, once that has ended."""
        self._frames, self._ends_before = frames, ends_before

    def __next__(self) -> SegmentFrame:
        if self.following is not None:
            raise StopIteration
        item = next(self._frames)
        if item.start is not None and self._ends_before(item.start.number):
            self.following = item
            raise StopIteration
        return item


def upscale_span(
    session: UpscaleSession,
    span: Span,
    start: SegmentStart,
    store: SegmentStore,
    open_writer: Callable[[SegmentStart], FrameWriter],
    *,
    state: Path | None,
    stop: threading.Event,
    on_frame: Callable[[], None],
    times: StageTimes,
    on_span: SpanObserver | None = None,
) -> None:
    """Upscale and write a span of segments; each is on disk before the next starts.

    `state` is the file of the state at `start`, if that is in mid-shot. Once `stop` is set,
    `Interrupted` is raised at the end of a segment. `times` grow.
    """
    if state is not None:
        session.backend.set_state(load_state(state))

    def submit(item: SegmentFrame) -> Callable[[], SegmentFrame]:
        """Start to upscale a frame; with a segment that starts in mid-shot comes its state."""
        kept: State | None = None
        if item.start and item.start.number > start.number and not item.begins_shot:
            kept = session.backend.get_state()
        pending = session.submit(item.frame, item.begins_shot)
        return lambda: item._replace(frame=pending(), state=kept)

    sink = SegmentSink(
        store, open_writer, damaged=session.reader.damage.pts, stop=stop, on_frame=on_frame
    )
    try:
        run_stages(
            span,
            submit,
            sink.write,
            queue_size=session.queue_size,
            on_span=on_span,
            times=times,
        )
        sink.finish(span.following)
    finally:
        sink.abandon()


class SegmentRun:
    """Upscales the segments that the journal doesn't list as finished."""

    def __init__(self, session: UpscaleSession, journal: Journal, run_options: RunOptions) -> None:
        self.stages = StageTimes()
        self.counter = FrameCounter(
            session, run_options.on_progress, self.stages, before=journal.frames
        )
        self._session = session
        self._journal = journal
        self._options = run_options

    def upscale_pending(self, writers: SegmentWriters) -> None:
        """Upscale and write all pending segments; each is on disk before the next starts."""
        journal = self._journal
        frames = pending_frames(self._session, journal)
        stop = self._options.stop or threading.Event()
        for start in journal.pending:
            done = {segment.number for segment in journal.finished}
            upscale_span(
                self._session,
                Span(frames.read(start), done.__contains__),
                start,
                journal,
                lambda start: writers.open(journal.segment(start.number), start),
                state=None if start.begins_shot else journal.state(start.number),
                stop=stop,
                on_frame=self.counter.add,
                times=self.stages,
                on_span=self._options.on_span,
            )
            if stop.is_set() and journal.pending:
                raise Interrupted("stopped")


def pending_frames(session: UpscaleSession, journal: Journal) -> PendingFrames:
    """Return the reader of the segments that the journal doesn't list."""
    frames = PendingFrames(session)
    if session.part is not None and journal.finished and journal.finished[0].number == 0:
        frames.use_first(first_pts(journal.segment(0)))
    return frames


def report_resuming(journal: Journal, run_options: RunOptions) -> None:
    """Report the frames that earlier runs finished, if there are any."""
    if journal.frames:
        run_options.on_message(f"resuming after {journal.frames} finished frames")


def resume_hint(journal: Journal) -> str:
    """Describe what an interrupted run keeps."""
    return f"{journal.frames} frames are finished, and the same command resumes"


def check_disk_space(
    needed: int, session: UpscaleSession, journal: Journal, run_options: RunOptions
) -> None:
    """Raise `OutputError` if the disk of the journal has much less than `needed` bytes.

    If the count of frames is an estimate, or the lack is small, it is only a warning.
    """
    free = shutil.disk_usage(journal.folder).free
    line = f"needs about {_format_bytes(needed)} of disk space, {_format_bytes(free)} are free"
    if needed > 4 * free and session.reader.is_indexed:
        raise OutputError(f"{journal.output}: {line}")
    if needed > free:
        run_options.on_message(line)


def _format_bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.0f} kB"
