"""Upscale from or into a pipe, frame by frame; such a run can't resume."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from vsr.engine.part_stream import PartItem, PartStream
from vsr.engine.pipeline import StageTimes, run_stages
from vsr.engine.result import UpscaleResult
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
from vsr.frames.shots import mark_cuts
from vsr.media.decode.container import AnyPacket
from vsr.media.decode.reader import VideoReader
from vsr.media.frame import Frame
from vsr.media.mux.muxer import Dropped
from vsr.media.mux.stream_copy import left_out_of_video
from vsr.media.mux.window import Window
from vsr.media.mux.writer import VideoWriter, check_output
from vsr.media.mux.y4m import Y4mWriter
from vsr.media.side_data_support import pipe_losses
from vsr.system.address import PIPE

Writer = VideoWriter | Y4mWriter


def upscale_pipe(
    source: Path, output: Path, options: UpscaleOptions, run_options: RunOptions
) -> UpscaleResult:
    """Upscale `source` into `output`, one of which is a pipe. Raises `VsrError`."""
    if output != PIPE:
        check_output(output, options.settings, run_options.overwrite)
    is_y4m = output == PIPE and run_options.pipe_format == "y4m"
    session = UpscaleSession(source, options, output.suffix.lower())
    with session.reader:
        suffix = ".nut" if output == PIPE else output.suffix.lower()
        copy_plan = None if is_y4m else session.plan_streams(suffix)
        left_out = session.left_out(copy_plan)
        if is_y4m:
            left_out += _left_out_of_y4m(session)
        if output == PIPE:
            left_out += tuple(pipe_losses(session.reader.info, run_options.pipe_format))
        check_strict(output, left_out, copy_plan, run_options)

        def open_writer(window: Window | None) -> Writer:
            if is_y4m:
                layout = replace(session.info.layout, alpha=False)
                return Y4mWriter(replace(session.info, layout=layout))
            return VideoWriter(
                output,
                session.info,
                session.reader if isinstance(session.reader, VideoReader) else None,
                session.options.settings,
                run_options.overwrite,
                plan=None if copy_plan is None else replace(copy_plan, window=window),
            )

        part: PartStream | None = None
        writer: Writer | _LateWriter
        if session.part is None:
            writer = open_writer(None)
        else:
            copied = {stream.index for stream in copy_plan.streams} if copy_plan else set()
            part = PartStream(session, mark_cuts(session.reader), copied)
            writer = _LateWriter(part, open_writer)
        report_losses(session, left_out, run_options)
        report_start(session, output, left_out, run_options)
        with writer:
            run = PipeRun(session, writer, run_options)
            stages = run.upscale_all(part)
        if not isinstance(writer, Y4mWriter):
            session.dropped = writer.dropped
        return make_result(
            session,
            output,
            copy_plan=copy_plan,
            left_out=left_out,
            frames=run.counter.frames,
            resumed_frames=0,
            shots=run.shots + (part is not None and not part.begins_shot),
            damaged=part.damaged() if part else list(session.reader.damage.pts),
            first_frame_seconds=run.counter.first_frame_seconds,
            stages=stages,
        )


def _left_out_of_y4m(session: UpscaleSession) -> tuple[str, ...]:
    if not isinstance(session.reader, VideoReader):
        return ()
    return left_out_of_video(session.reader, session.selection, "y4m", "nut")


class _LateWriter:
    """Opens its writer at the first frame of a part, whose time the writer must know."""

    def __init__(self, part: PartStream, open_writer: Callable[[Window | None], Writer]) -> None:
        self._part = part
        self._open = open_writer
        self._writer: Writer | None = None

    @property
    def dropped(self) -> Dropped:
        """Packets of the source that are missing in the output so far."""
        return self._writer.dropped if isinstance(self._writer, VideoWriter) else Dropped()

    def write(self, item: Frame | AnyPacket) -> None:
        """Write a frame of the part, or a packet."""
        if self._writer is None:
            self._writer = self._open(self._part.window)
            self._writer.__enter__()
        self._writer.write(item)

    def __enter__(self) -> "_LateWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._writer is not None:
            self._writer.__exit__(*exc)


class _Sink(Protocol):
    """Receives the frames and packets of the output."""

    def write(self, item: Frame | AnyPacket) -> None:
        """Write an item."""
        ...


class PipeRun:
    """Upscales all frames into a writer, and passes other packets through in order."""

    def __init__(self, session: UpscaleSession, writer: _Sink, run_options: RunOptions) -> None:
        self._stages = StageTimes()
        self.counter = FrameCounter(session, run_options.on_progress, self._stages)
        self.shots = 0
        self._session = session
        self._writer = writer
        self._options = run_options

    def upscale_all(self, part: PartStream | None) -> StageTimes:
        """Upscale every frame of the source, or of its part."""
        marked = mark_cuts(self._session.reader)
        source: Iterable[PartItem] = part or itertools.starmap(PartItem, marked)
        return run_stages(
            source,
            self._submit,
            self._write,
            queue_size=self._session.queue_size,
            on_span=self._options.on_span,
            times=self._stages,
        )

    def _submit(self, marked: PartItem) -> Callable[[], Frame | AnyPacket | None]:
        item, begins_shot, warms_up, origin = marked
        if not isinstance(item, Frame):
            return lambda: item
        pending = self._session.submit(item, begins_shot)
        if warms_up:
            return lambda: _discard(pending())
        self.shots += begins_shot
        return lambda: _shifted(pending(), -origin)

    def _write(self, item: Frame | AnyPacket | None) -> None:
        if item is None:
            return
        self._writer.write(item)
        if isinstance(item, Frame):
            self.counter.add()


def _shifted(frame: Frame, ticks: int) -> Frame:
    return replace(frame, pts=frame.pts + ticks)


def _discard(frame: Frame) -> None:
    """Discard a frame that only warmed the network up."""
