"""What upscaling into a file and into a pipe have in common: options, progress, reports."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vsr.config import check_dataclass
from vsr.engine.frame_rate import FrameRate
from vsr.engine.pipeline import SpanObserver, StageTimes
from vsr.engine.result import UpscaleProgress, UpscaleResult, UpscaleStart, WorkerProgress
from vsr.engine.session import UpscaleSession
from vsr.errors import OutputError
from vsr.media.mux.copy_plan import CopyPlan

PipeFormat = Literal["nut", "y4m"]


@dataclass(frozen=True)
class RunOptions:
    """How a run treats files and reports; no option changes an upscaled frame.

    See `upscale.upscale_video`.
    """

    overwrite: bool = False
    resume: bool = True
    strict: bool = False
    pipe_format: PipeFormat = "nut"
    stop: threading.Event | None = None
    on_start: Callable[[UpscaleStart], None] = lambda start: None
    on_progress: Callable[[UpscaleProgress], None] = lambda progress: None
    on_message: Callable[[str], None] = lambda line: None
    workers: tuple[str, ...] = ()
    """Names of the worker processes; empty if there are none."""
    on_span: SpanObserver | None = None
    """Called with each span of each stage's time."""

    def __post_init__(self) -> None:
        """Check the values; raises `ConfigError`."""
        check_dataclass(self)


class FrameCounter:
    """Counts written frames and reports progress."""

    def __init__(
        self,
        session: UpscaleSession,
        on_progress: Callable[[UpscaleProgress], None],
        stages: StageTimes,
        before: int = 0,
        workers: Sequence[str] = (),
    ) -> None:
        """`stages` are the times of this run, which grow.

        `before` is the count of frames that earlier runs finished; `workers` are names.
        """
        self.frames = before
        self._workers = [WorkerProgress(name, 0) for name in workers]
        self.first_frame_seconds = 0.0
        self._session = session
        self._on_progress = on_progress
        self._stages = stages
        self._before = before
        self._rate = FrameRate()

    def add(self, worker: int | None = None) -> None:
        """Count a frame, of one of the workers if there are several."""
        self.frames += 1
        if worker is not None:
            self._count(worker, 1)
        now = time.perf_counter()
        seconds = now - self._session.started
        self.first_frame_seconds = self.first_frame_seconds or seconds
        rate = self._rate.add(worker or 0, now)
        self._on_progress(
            UpscaleProgress(
                frames=self.frames,
                frame_count=self._session.info.frame_count,
                seconds=seconds,
                before=self._before,
                frames_per_second=rate,
                stages=self._stages,
                workers=tuple(self._workers),
            )
        )

    def leave(self, worker: int) -> None:
        """Leave a worker out of the speed until its next frame."""
        self._rate.restart(worker)

    def discard(self, worker: int, frames: int) -> None:
        """Subtract the frames of an unfinished segment, which are upscaled again."""
        self._rate.restart(worker)
        self.frames -= frames
        self._count(worker, -frames)

    def _count(self, worker: int, frames: int) -> None:
        before = self._workers[worker]
        self._workers[worker] = replace(before, frames=before.frames + frames)


def check_strict(
    output: Path, left_out: Sequence[str], copy_plan: CopyPlan | None, options: RunOptions
) -> None:
    """Raise `OutputError` if something can't be kept and the run is strict."""
    lost = [*left_out, *(copy_plan.lossy if copy_plan else ())]
    if options.strict and lost:
        raise OutputError(f"{output}: would lack {'; '.join(lost)}")


def report_losses(session: UpscaleSession, left_out: Sequence[str], options: RunOptions) -> None:
    """Report, before any work, what can't be kept and what is known about the source."""
    for line in left_out:
        options.on_message(f"not kept: {line}")
    for note in session.reader.notes:
        options.on_message(note)


def report_start(
    session: UpscaleSession,
    output: Path,
    left_out: tuple[str, ...],
    options: RunOptions,
    before: int = 0,
) -> None:
    """Report what is known of a run; `before` is the count of frames that earlier runs finished."""
    info = session.info
    options.on_start(
        UpscaleStart(
            output=str(output),
            model=session.model,
            detail=session.detail,
            device=_device(session, options.workers),
            backend=session.backend.name,
            width=info.width,
            height=info.height,
            frames=info.frame_count,
            resumed_frames=before,
            left_out=left_out,
            notes=tuple(session.reader.notes),
            workers=options.workers,
        )
    )


def make_result(
    session: UpscaleSession,
    output: Path,
    *,
    copy_plan: CopyPlan | None,
    left_out: tuple[str, ...],
    frames: int,
    resumed_frames: int,
    shots: int,
    damaged: Sequence[int],
    first_frame_seconds: float,
    stages: StageTimes,
    workers: tuple[str, ...] = (),
) -> UpscaleResult:
    """Describe a finished run; `damaged` are pts of damaged frames."""
    info = session.info
    return UpscaleResult(
        output=str(output),
        model=session.model,
        detail=session.detail,
        device=_device(session, workers),
        backend=session.backend.name,
        width=info.width,
        height=info.height,
        frames=frames,
        resumed_frames=resumed_frames,
        shots=shots,
        audio_tracks=copy_plan.audio_tracks if copy_plan else 0,
        left_out=left_out,
        notes=session.notes(),
        damaged_seconds=tuple(round(float(pts * info.time_base), 3) for pts in damaged),
        seconds=time.perf_counter() - session.started,
        first_frame_seconds=first_frame_seconds,
        stages=stages,
        workers=workers,
    )


def _device(session: UpscaleSession, workers: Sequence[str]) -> str:
    """Name the device of a run, or all of them: workers on GPUs are named by their devices."""
    return ", ".join(workers) if workers and session.device.type == "cuda" else str(session.device)
