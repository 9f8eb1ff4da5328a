"""Upscale into a file, segment by segment, so that an interrupted run can resume."""

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vsr.engine.pipeline import StageTimes, run_stages
from vsr.engine.result import UpscaleResult
from vsr.engine.resume.journal import Journal, SegmentStart, is_published
from vsr.engine.resume.segment_file import concat_segments, first_pts, last_frame
from vsr.engine.resume.segments import (
    SegmentFrame,
    SegmentSink,
    State,
    frames_from,
    frames_of_part,
    load_state,
)
from vsr.engine.run import (
    FrameCounter,
    RunOptions,
    check_strict,
    make_result,
    report_losses,
    report_start,
)
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.engine.warm_up import NO_CUT, find_warm_up
from vsr.errors import OutputError, VsrError
from vsr.media.decode.part import PartRange
from vsr.media.encode.settings import estimate_bytes
from vsr.media.mux.copy_plan import CopyPlan
from vsr.media.mux.muxer import Dropped, mux
from vsr.media.mux.writer import check_output


def upscale_to_file(
    source: Path, output: Path, options: UpscaleOptions, run_options: RunOptions
) -> UpscaleResult:
    """Upscale `source` into `output`, or resume an interrupted run. Raises `VsrError`."""
    published = run_options.resume and is_published(output)
    check_output(output, options.settings, run_options.overwrite or published)
    session = UpscaleSession(source, options, output.suffix.lower())
    with session.reader:
        copy_plan = session.plan_streams(output.suffix.lower())
        left_out = session.left_out(copy_plan)
        check_strict(output, left_out, copy_plan, run_options)
        journal = Journal(output, session.identity(), run_options.resume)
        run = _Run(session, journal, run_options)
        try:
            if not published:
                _report_resuming(journal, run_options)
                _check_disk(session, journal, run_options)
            report_losses(session, left_out, run_options)
            report_start(session, output, left_out, run_options, journal.frames)
            if not published:
                run.upscale_pending()
                session.dropped = _join(session, journal, copy_plan, run_options.overwrite)
        except VsrError as error:
            if journal.release():
                raise type(error)(f"{error}; {_resume_hint(journal)}") from error
            raise
        except BaseException:
            if journal.release():
                run_options.on_message(_resume_hint(journal))
            raise
        first = _first_pts(session, journal)
        journal.remove()
        return make_result(
            session,
            output,
            copy_plan=copy_plan,
            left_out=left_out,
            frames=journal.frames,
            resumed_frames=journal.resumed_frames,
            shots=sum(segment.shots for segment in journal.finished),
            damaged=[pts - first for segment in journal.finished for pts in segment.damaged],
            first_frame_seconds=run.counter.first_frame_seconds,
            stages=run.stages,
        )


class _Run:
    """Upscales the segments that the journal doesn't list as finished."""

    def __init__(self, session: UpscaleSession, journal: Journal, run_options: RunOptions) -> None:
        self.stages = StageTimes()
        self.counter = FrameCounter(
            session, run_options.on_progress, self.stages, before=journal.frames
        )
        self._session = session
        self._journal = journal
        self._options = run_options

    def upscale_pending(self) -> None:
        """Upscale and encode all pending segments; each is on disk before the next starts."""
        start = self._journal.next_start
        if start is None:
            return
        session = self._session
        frames = self._frames(start)
        if not start.begins_shot:
            session.backend.set_state(load_state(self._journal.state(start.number)))
        sink = SegmentSink(
            self._journal,
            session.info,
            settings=session.options.settings,
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


def _join(
    session: UpscaleSession, journal: Journal, copy_plan: CopyPlan, overwrite: bool
) -> Dropped:
    """Mux the segments and the copied streams into a file, and rename it to the output.

    Returns what is missing from the copied streams.
    """
    assert journal.video is not None
    output = journal.output
    whole = journal.folder / f"whole{output.suffix}"
    packets = concat_segments([journal.segment(done.number) for done in journal.finished])
    first = _first_pts(session, journal)
    if session.part is not None:
        copy_plan = replace(copy_plan, window=session.window(first, _end(session, journal)))
        packets = (
            packet._replace(pts=packet.pts - first, dts=packet.dts - first) for packet in packets
        )
    dropped = mux(output, whole, journal.video, session.info, packets, copy_plan)
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: was created by another program meanwhile; left unchanged")
    journal.publish(whole)
    return dropped


def _first_pts(session: UpscaleSession, journal: Journal) -> int:
    """Return the pts of the output's time zero: that of the part's first frame, if there is one."""
    if session.part is None or not journal.finished:  # removed after the output was complete
        return 0
    return first_pts(journal.segment(0))


def _end(session: UpscaleSession, journal: Journal) -> Fraction | None:
    """Return the end in seconds of a part with a count of frames; None if the film ended before."""
    assert session.part is not None
    if journal.frames != session.part.part.frames:
        return None
    info = session.info
    if session.found_part is not None and session.found_part.following is not None:
        return session.found_part.following * info.time_base
    pts, duration = last_frame(journal.segment(journal.finished[-1].number))
    return pts * info.time_base + (duration * info.time_base or 1 / info.frame_rate)


def _report_resuming(journal: Journal, run_options: RunOptions) -> None:
    if journal.frames:
        run_options.on_message(f"resuming after {journal.frames} finished frames")


def _check_disk(session: UpscaleSession, journal: Journal, run_options: RunOptions) -> None:
    """Raise `OutputError` if the disk can't hold the output.

    If the count of frames is an estimate, a full disk is only a warning.
    """
    info = session.info
    if not info.frame_count:
        return
    frames = max(0, info.frame_count - journal.frames)
    # Segments, and the file that they are joined into.
    needed = 2 * estimate_bytes(info, session.options.settings, frames)
    share = info.frame_count / (session.reader.info.frame_count or info.frame_count)
    needed += round(min(1, share) * session.reader.path.stat().st_size)
    free = shutil.disk_usage(journal.folder).free
    line = f"needs about {_format_bytes(needed)} of disk space, {_format_bytes(free)} are free"
    if needed > 4 * free and session.reader.is_indexed:
        raise OutputError(f"{journal.output}: {line}")
    if needed > free:
        run_options.on_message(line)


def _resume_hint(journal: Journal) -> str:
    return f"{journal.frames} frames are finished, and the same command resumes"


def _format_bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.0f} kB"
