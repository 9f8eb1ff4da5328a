"""Upscale from or into a pipe, frame by frame; such a run can't resume."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

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
from vsr.engine.session import UpscaleOptions, UpscaleSession
from vsr.frames.shots import mark_cuts
from vsr.media.decode.container import AnyPacket
from vsr.media.frame import Frame
from vsr.media.mux.stream_copy import left_out_of_y4m
from vsr.media.mux.writer import VideoWriter, check_output
from vsr.media.mux.y4m import Y4mWriter
from vsr.media.side_data_support import pipe_losses
from vsr.system.address import PIPE


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
            left_out += left_out_of_y4m(session.reader, session.selection)
        if output == PIPE:
            left_out += tuple(pipe_losses(session.reader.info, run_options.pipe_format))
        check_strict(output, left_out, copy_plan, run_options)
        writer: VideoWriter | Y4mWriter
        if is_y4m:
            layout = replace(session.info.layout, alpha=False)
            writer = Y4mWriter(replace(session.info, layout=layout))
        else:
            writer = VideoWriter(
                output,
                session.info,
                session.reader,
                session.options.settings,
                run_options.overwrite,
                plan=copy_plan,
            )
        report_losses(session, left_out, run_options)
        report_start(session, output, left_out, run_options)
        with writer:
            run = _Run(session, writer, run_options)
            stages = run.upscale_all()
        if isinstance(writer, VideoWriter):
            session.dropped = writer.dropped
        return make_result(
            session,
            output,
            copy_plan=copy_plan,
            left_out=left_out,
            frames=run.counter.frames,
            resumed_frames=0,
            shots=run.shots,
            damaged=list(session.reader.damage.pts),
            first_frame_seconds=run.counter.first_frame_seconds,
            stages=stages,
        )


class _Run:
    """Upscales all frames into a writer, and passes other packets through in order."""

    def __init__(
        self,
        session: UpscaleSession,
        writer: VideoWriter | Y4mWriter,
        run_options: RunOptions,
    ) -> None:
        self.counter = FrameCounter(session, run_options.on_progress)
        self.shots = 0
        self._session = session
        self._writer = writer
        self._options = run_options

    def upscale_all(self) -> StageTimes:
        """Upscale every frame of the source."""
        return run_stages(
            mark_cuts(self._session.reader),
            self._submit,
            self._write,
            queue_size=self._session.queue_size,
            on_span=self._options.on_span,
        )

    def _submit(self, marked: tuple[Frame | AnyPacket, bool]) -> Callable[[], Frame | AnyPacket]:
        item, begins_shot = marked
        if not isinstance(item, Frame):
            return lambda: item
        self.shots += begins_shot
        return self._session.submit(item, begins_shot)

    def _write(self, item: Frame | AnyPacket) -> None:
        self._writer.write(item)
        if isinstance(item, Frame):
            self.counter.add()
