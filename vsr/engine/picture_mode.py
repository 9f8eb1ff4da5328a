"""Upscale into numbered pictures, segment by segment, so that an interrupted run can resume."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vsr.engine.parallel.workers import Workers
from vsr.engine.picture_source import PICTURES
from vsr.engine.result import UpscaleResult
from vsr.engine.resume.journal import Journal, work_folder
from vsr.engine.resume.picture_segment import discard_changed
from vsr.engine.resume.segment_file import first_pts
from vsr.engine.resume.writers import PictureWriters
from vsr.engine.run import RunOptions, check_strict, make_result, report_losses, report_start
from vsr.engine.segment_run import check_disk_space, report_resuming, resume_hint
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import OutputError, VsrError
from vsr.frames.yuv import colour_spec
from vsr.media.decode.picture_reader import PictureReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.image_writer import IMAGE_SUFFIXES, check_still_output
from vsr.media.numbered_pictures import NumberPattern
from vsr.media.picture_planes import metadata_of
from vsr.media.still import Still
from vsr.system.files import make_folder

_FIRST_NUMBER = 1
"""Number of the first frame of a film, as in FFmpeg; pictures keep their numbers."""
_SHARE_OF_RAW = {".jpg": 0.15, ".jpeg": 0.15, ".webp": 0.1, ".avif": 0.1}
"""Typical size of a picture over that of its samples; 0.6 in other formats."""


def upscale_to_pictures(
    source: Path,
    output: Path,
    options: UpscaleOptions,
    run_options: RunOptions,
    workers: Workers,
) -> UpscaleResult:
    """Upscale `source` into the pictures that the pattern `output` names, or resume that.

    Raises `VsrError`.
    """
    pattern = NumberPattern.parse(output)
    assert pattern is not None
    _check_output(pattern, options.settings)
    options = replace(options, settings=PICTURES, rotate="apply")
    is_resumed = run_options.resume and (work_folder(output) / "journal.jsonl").exists()
    is_free = run_options.overwrite or work_folder(output).exists()
    before = pattern.numbers()
    if before and not is_free:
        raise OutputError(
            f"{pattern.path(before[0])}: exists, and {len(before) - 1} more; use --overwrite to "
            "replace pictures, or another name"
        )
    session = UpscaleSession(source, options, pattern.suffix)
    with session.reader:
        first = _first_number(session)
        _check_not_input(pattern, first, session)
        left_out = session.left_out(None)
        check_strict(output, left_out, None, run_options)
        make_folder(pattern.folder)
        dtype: np.dtype[Any] = _sample_type(session)
        _check_format(pattern, first, session, dtype)
        if is_resumed:
            discard_changed(sorted(work_folder(output).glob("*.segment")), pattern.folder)
        journal = Journal(output, session.identity(), run_options.resume)
        _remove_partial(pattern)

        writers = PictureWriters(
            pattern,
            first,
            matrix=colour_spec(session.info).matrix,
            dtype=dtype,
            overwrite=is_free,
        )
        run = workers.run(session, journal, run_options)
        try:
            report_resuming(journal, run_options)
            _check_disk(pattern, session, dtype, journal, run_options)
            report_losses(session, left_out, run_options)
            report_start(session, output, left_out, run_options, journal.frames)
            run.upscale_pending(writers)
        except VsrError as error:
            if journal.release():
                raise type(error)(f"{error}; {resume_hint(journal)}") from error
            raise
        except BaseException:
            if journal.release():
                run_options.on_message(resume_hint(journal))
            raise
        origin = first_pts(journal.segment(0)) if session.part else 0
        _note_result(pattern, first, session, journal)
        journal.remove()
        return make_result(
            session,
            output,
            copy_plan=None,
            left_out=left_out,
            frames=journal.frames,
            resumed_frames=journal.resumed_frames,
            shots=sum(segment.shots for segment in journal.finished),
            damaged=[pts - origin for segment in journal.finished for pts in segment.damaged],
            first_frame_seconds=run.counter.first_frame_seconds,
            stages=run.stages,
            workers=workers.names,
        )


def _check_output(pattern: NumberPattern, settings: EncoderSettings) -> None:
    if settings != EncoderSettings():
        raise OutputError(
            f"{pattern}: pictures aren't encoded as video; omit --codec, --crf, --preset, "
            "--encoder and --encoder-option"
        )
    if pattern.suffix not in IMAGE_SUFFIXES:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise OutputError(f"{pattern}: unknown picture format; use {known}")


def _first_number(session: UpscaleSession) -> int:
    """Return the number of the first picture to write."""
    if not isinstance(session.reader, PictureReader):
        return _FIRST_NUMBER
    return session.reader.number_of(session.found_part.pts[0] if session.found_part else 0)


def _check_not_input(pattern: NumberPattern, first: int, session: UpscaleSession) -> None:
    """Raise `OutputError` where a picture to write is one to read."""
    if not isinstance(session.reader, PictureReader):
        return
    inputs = {path.resolve() for path in session.reader.pictures.files}
    for index in range(session.info.frame_count or 0):
        if (path := pattern.path(first + index)).resolve() in inputs:
            raise OutputError(f"{path}: is an input itself; name another folder or pattern")
    if session.reader.path.is_dir() and session.reader.path.resolve() == pattern.folder.resolve():
        raise OutputError(f"{pattern}: is inside the input; name another folder")


def _sample_type(session: UpscaleSession) -> np.dtype[Any]:
    """Return the type of samples to write; formats of 8 bits reduce it."""
    return np.dtype(np.uint16 if session.reader.info.bits > 8 else np.uint8)


def _check_format(
    pattern: NumberPattern,
    number: int,
    session: UpscaleSession,
    dtype: np.dtype[Any],
) -> None:
    """Raise `OutputError` where the format can't hold such pictures."""
    size = session.info.width, session.info.height
    still = Still(np.empty((0, 0, 3), dtype))
    if isinstance(session.reader, PictureReader):
        first = metadata_of(session.reader.first)
        still = replace(first, rgb=np.empty((0, 0, 3), np.float32 if first.linear else dtype))
    path, alpha = pattern.path(number), session.info.layout.alpha
    check_still_output(path, alpha, overwrite=True, size=size, still=still)


def _remove_partial(pattern: NumberPattern) -> None:
    """Remove the temporary files of a run that was killed."""
    head, tail = re.escape(pattern.head), re.escape(pattern.tail)
    names = re.compile(rf"\.{head}\d+{tail}\.\d+\.partial\..*")
    for path in pattern.folder.iterdir():
        if names.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _check_disk(
    pattern: NumberPattern,
    session: UpscaleSession,
    dtype: np.dtype[Any],
    journal: Journal,
    run_options: RunOptions,
) -> None:
    """Raise `OutputError` if the disk can't hold the pictures; see `check_disk_space`."""
    info = session.info
    frames = max(0, (info.frame_count or 0) - journal.frames)
    raw = info.width * info.height * (4 if info.layout.alpha else 3) * dtype.itemsize
    needed = round(frames * raw * _SHARE_OF_RAW.get(pattern.suffix, 0.6))
    check_disk_space(needed, session, journal, run_options)


def _note_result(
    pattern: NumberPattern, first: int, session: UpscaleSession, journal: Journal
) -> None:
    """Note the frame rate of a film, and older pictures that the run didn't replace."""
    if not isinstance(session.reader, PictureReader):
        session.reader.notes.append(
            f"the film has {session.info.frame_rate} frames per second: --rate "
            f"{session.info.frame_rate} makes a film of the pictures"
        )
    written = range(first, first + journal.frames)
    if others := [number for number in pattern.numbers() if number not in written]:
        session.reader.notes.append(
            f"{pattern}: {len(others)} older pictures of other numbers, such as "
            f"{pattern.path(others[0]).name}, are left"
        )
