"""Upscale the pending segments of an output of any type."""

import shutil
import threading
from collections.abc import Callable, Iterator

from vsr.engine.pipeline import StageTimes, run_stages
from vsr.engine.resume.journal import Journal, SegmentStart
from vsr.engine.resume.segment_file import first_pts
from vsr.engine.resume.segments import (
    FrameWriter,
    SegmentFrame,
    SegmentSink,
    State,
    frames_from,
    frames_of_part,
    load_state,
)
from vsr.engine.run import FrameCounter, RunOptions
from vsr.engine.session import UpscaleSession
from vsr.engine.warm_up import NO_CUT, find_warm_up
from vsr.errors import OutputError
from vsr.media.decode.part import PartRange


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

    def upscale_pending(self, open_writer: Callable[[SegmentStart], FrameWriter]) -> None:
        """Upscale and write all pending segments; each is on disk before the next starts.

        `open_writer` starts a segment.
        """
        start = self._journal.next_start
        if start is None:
            return
        session = self._session
        frames = self._frames(start)
        if not start.begins_shot:
            session.backend.set_state(load_state(self._journal.state(start.number)))
        sink = SegmentSink(
            self._journal,
            open_writer,
            damaged=session.reader.damage.pts,
            stop=self._options.stop or threading.Event(),
            on_frame=self.counter.add,
        )
        try:
            run_stages(
                frames,
                lambda item: self._submit(item, start),
                sink.write,
                queue_size=session.queue_size,
                on_span=self._options.on_span,
                times=self.stages,
            )
            sink.finish()
        finally:
            sink.abandon()

    def _frames(self, start: SegmentStart) -> Iterator[SegmentFrame]:
        """Read from `start` on; a part starts with the frames that warm the network up."""
        session = self._session
        if session.part is None:
            return frames_from(session.reader, start)
        if start.number > 0:
            first = first_pts(self._journal.segment(0))
            return frames_from(session.reader, start, PartRange(session.part, first))
        with session.another_reader() as reader:
            warm_up = find_warm_up(reader, session.part, session.found_part)
        if not warm_up.is_exact:
            session.reader.notes.append(NO_CUT)
        return frames_of_part(session.reader, warm_up, PartRange(session.part, warm_up.first))

    def _submit(self, item: SegmentFrame, start: SegmentStart) -> Callable[[], SegmentFrame]:
        """Start to upscale a frame; with a segment that starts in mid-shot comes its state."""
        state: State | None = None
        if item.start and item.start.number > start.number and not item.begins_shot:
            state = self._session.backend.get_state()
        pending = self._session.submit(item.frame, item.begins_shot)
        return lambda: item._replace(frame=pending(), state=state)


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
