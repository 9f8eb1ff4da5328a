"""Upscale into a file, segment by segment, so that an interrupted run can resume."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vsr.engine.parallel.workers import Workers
from vsr.engine.result import UpscaleResult
from vsr.engine.resume.journal import Journal, is_published
from vsr.engine.resume.segment_file import concat_segments, first_pts, last_frame
from vsr.engine.resume.writers import FilmWriters
from vsr.engine.run import RunOptions, check_strict, make_result, report_losses, report_start
from vsr.engine.segment_run import (
    check_disk_space,
    report_resuming,
    resume_hint,
)
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import OutputError, VsrError
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import estimate_bytes
from vsr.media.mux.copy_plan import CopyPlan
from vsr.media.mux.muxer import Dropped, mux
from vsr.media.mux.writer import check_output


def upscale_to_file(
    source: Path,
    output: Path,
    options: UpscaleOptions,
    run_options: RunOptions,
    workers: Workers,
) -> UpscaleResult:
    """Upscale `source` into `output`, or resume an interrupted run. Raises `VsrError`."""
    published = run_options.resume and is_published(output)
    check_output(output, options.settings, run_options.overwrite or published)
    session = UpscaleSession(source, options, output.suffix.lower())
    with session.reader:
        copy_plan = session.plan_streams(output.suffix.lower())
        left_out = session.left_out(copy_plan)
        check_strict(output, left_out, copy_plan, run_options)
        journal = Journal(output, session.identity(), run_options.resume, session.encoder_threads)
        writers = FilmWriters(output, session.info, session.encoding(journal.encoder_threads))
        run = workers.run(session, journal, run_options)
        try:
            if not published:
                report_resuming(journal, run_options)
                _check_disk(session, journal, run_options)
            report_losses(session, left_out, run_options)
            report_start(session, output, left_out, run_options, journal.frames)
            if not published:
                run.upscale_pending(writers)
                session.dropped = _join(
                    session, journal, copy_plan, workers, overwrite=run_options.overwrite
                )
        except VsrError as error:
            if journal.release():
                raise type(error)(f"{error}; {resume_hint(journal)}") from error
            raise
        except BaseException:
            if journal.release():
                run_options.on_message(resume_hint(journal))
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
            workers=workers.names,
        )


def _join(
    session: UpscaleSession,
    journal: Journal,
    copy_plan: CopyPlan | None,
    workers: Workers,
    *,
    overwrite: bool,
) -> Dropped:
    """Mux the segments and the copied streams into a file, and rename it to the output.

    Returns what is missing from the copied streams.
    """
    assert journal.video is not None
    output = journal.output
    whole = journal.folder / f"whole{output.suffix}"
    packets = workers.until_abandoned(
        concat_segments([journal.segment(done.number) for done in journal.finished])
    )
    first = _first_pts(session, journal)
    if session.part is not None:
        if copy_plan is not None:
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


def _check_disk(session: UpscaleSession, journal: Journal, run_options: RunOptions) -> None:
    """Raise `OutputError` if the disk can't hold the output; see `check_disk_space`."""
    info = session.info
    if not info.frame_count:
        return
    frames = max(0, info.frame_count - journal.frames)
    # Segments, and the file that they are joined into.
    needed = 2 * estimate_bytes(info, session.options.settings, frames)
    if isinstance(session.reader, VideoReader):  # pictures have no other streams
        share = info.frame_count / (session.reader.info.frame_count or info.frame_count)
        needed += round(min(1, share) * session.reader.path.stat().st_size)
    check_disk_space(needed, session, journal, run_options)
