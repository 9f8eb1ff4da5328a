"""Upscale chains of segments in the process of a worker, whatever started that process."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vsr.engine.parallel.pool import Chain, Job
from vsr.engine.pipeline import StageTimes
from vsr.engine.resume.journal import FinishedSegment, SegmentStart, describe_mismatch
from vsr.engine.resume.segments import FrameWriter
from vsr.engine.segment_run import PendingFrames, Span, upscale_span
from vsr.engine.session import UpscaleSession
from vsr.errors import Interrupted, MediaError, VsrError
from vsr.media.encode.encoder import CodedVideo

_OWN_KEYS = ("model",)
"""Keys of the identity that may differ: paths may, and the weights have a key of their own."""


class SegmentWorker:
    """Upscales chains of one job with a reader, a network and encoders of its own.

    Segments and states are written into a folder under the names that the journal gives them.
    The receiver of a report removes the files from there.
    """

    def __init__(self, job: Job, device: str, folder: Path) -> None:
        """Open the source and load the model on `device`; files are written into `folder`.

        Raises `VsrError`, also where the output would depend on which worker computes it.
        """
        options = replace(job.options, device=device)
        self._session = UpscaleSession(
            job.source,
            options,
            job.suffix,
            survey=job.survey,
            memory=job.memory,
            decoder_threads=job.decoder_threads,
        )
        self._job, self._folder = job, folder
        self._frames = PendingFrames(self._session, job.warm_up)
        self._has_read = False
        try:
            self._check_identity()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "SegmentWorker":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._session.reader.close()

    def upscale(
        self,
        chain: Chain,
        state: Path | None,
        *,
        stop: threading.Event,
        on_frame: Callable[[], None],
        on_segment: Callable[..., None],
    ) -> None:
        """Upscale the segments of a chain; returns early once `stop` is set and a segment ends.

        `state` is the file of the state at the start of the chain, if that is in mid-shot.
        `on_segment` gets the fields of `SegmentDone` but the worker, by name. Callbacks are called
        in another thread. Raises `VsrError`.
        """
        start = chain.segments[0].start
        numbers = {segment.start.number for segment in chain.segments}
        if self._has_read and not start.marks:
            self._session.reader.resume_after(())
        self._has_read = True
        times = StageTimes()
        store = _Store(self._job.output, self._folder, self._session, times, on_segment)

        def open_writer(start: SegmentStart) -> FrameWriter:
            path = store.segment(start.number)
            return self._job.writers.open(path, start, overwrite=chain.deaths > 0)

        try:
            upscale_span(
                self._session,
                Span(self._frames.read(start), lambda number: number not in numbers),
                start,
                store,
                open_writer,
                state=state,
                stop=stop,
                on_frame=on_frame,
                times=times,
            )
        except Interrupted:
            return

    def _check_identity(self) -> None:
        """Raise `VsrError` unless this session computes what the driver's would."""
        found, wanted = (
            {key: value for key, value in identity.items() if key not in _OWN_KEYS}
            for identity in (self._session.identity(), self._job.identity)
        )
        if found["source"] != wanted["source"]:
            raise MediaError(f"{self._job.source}: has changed since the run started")
        if found != wanted:
            raise VsrError(
                f"{self._job.source}: a worker differs from this process: "
                f"{describe_mismatch(wanted, found)}; give --backend and --precision"
            )


class _Store:
    """Reports finished segments in place of a journal."""

    def __init__(
        self,
        output: Path,
        folder: Path,
        session: UpscaleSession,
        times: StageTimes,
        report: Callable[..., None],
    ) -> None:
        self.output = output
        self._folder, self._session, self._report = folder, session, report
        self._times = times

    def segment(self, index: int) -> Path:
        """Return the path of a segment's file."""
        return self._folder / f"{index:06}.segment"

    def state(self, index: int) -> Path:
        """Return the path of the state at the start of a segment in mid-shot."""
        return self._folder / f"{index:06}.state"

    def add(self, finished: FinishedSegment, video: CodedVideo) -> None:
        """Report a segment whose files are on disk."""
        following = finished.following
        state = None
        if following is not None and not following.begins_shot:
            path = self.state(following.number)
            state = path if path.exists() else None
        self._report(
            segment=finished,
            video=video,
            file=self.segment(finished.number),
            state=state,
            stages=self._times.take(),
            notes=self._session.backend.notes(),
        )
