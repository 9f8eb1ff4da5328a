"""Upscale a film: what `vsr upscale` and `vsr.upscale_video` do."""

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vsr.engine.backends import BackendName, Precision, Tiling
from vsr.engine.pipeline import StageTimes, Watch, run_stages
from vsr.engine.resume.journal import Journal, is_published
from vsr.engine.resume.segment_file import concat_segments
from vsr.engine.resume.segments import SegmentFrame, SegmentSink, State, frames_from, load_state
from vsr.engine.session import Rotate, UpscaleOptions, UpscaleSession
from vsr.engine.trace import Trace
from vsr.errors import OutputError, VsrError
from vsr.frames.shots import mark_cuts
from vsr.media.decode.decoded import Deinterlace
from vsr.media.decode.decoder import Decoder
from vsr.media.decode.reader import AnyPacket
from vsr.media.encode.encoder import (
    EncoderSettings,
    foretold_bytes,
)
from vsr.media.frame import Frame
from vsr.media.mux.muxer import Dropped, mux
from vsr.media.mux.stream_copy import CopyPlan, beside, pack
from vsr.media.mux.writer import VideoWriter, check_output
from vsr.media.mux.y4m import Y4mWriter
from vsr.system.address import PIPE, is_pipe
from vsr.system.files import check_distinct

PipeFormat = Literal["nut", "y4m"]


@dataclass(frozen=True)
class UpscaleProgress:
    """Where an upscaling run is."""

    frames: int
    """Written so far, by earlier runs too."""
    frame_count: int | None
    """As the source tells or lets one estimate."""
    seconds: float
    """Since the run began."""
    before: int = 0
    """Frames that earlier runs had done."""


@dataclass(frozen=True)
class UpscaleResult:
    """What an upscaling run did."""

    output: str
    model: str
    device: str
    backend: str
    """What computed the frames, with its version."""
    width: int
    height: int
    frames: int
    resumed_frames: int
    """Of these, done by earlier runs."""
    shots: int
    audio_tracks: int
    """Of the output."""
    left_out: tuple[str, ...]
    """What the source holds and the output doesn't, and what could hold it."""
    notes: tuple[str, ...]
    """What was done to the film beside upscaling it."""
    damaged_seconds: tuple[float, ...]
    """Where frames of the source were damaged, or missing and filled by the one before."""
    seconds: float
    first_frame_seconds: float
    """From the call to the first frame handed to the encoder."""
    stages: StageTimes

    @property
    def frames_per_second(self) -> float:
        """Of this run, loading included."""
        return (self.frames - self.resumed_frames) / self.seconds


def upscale_video(
    source: Path | str,
    output: Path | str,
    model: str | None = None,
    scale: int | None = None,
    detail: float = 0.0,
    device: str = "auto",
    settings: EncoderSettings = EncoderSettings(),
    *,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    tiling: Tiling = "auto",
    deinterlace: Deinterlace = "auto",
    rotate: Rotate = "keep",
    decoder: Decoder = "cpu",
    overwrite: bool = False,
    resume: bool = True,
    strict: bool = False,
    pipe_format: PipeFormat = "nut",
    profile: Path | None = None,
    stop: threading.Event | None = None,
    watch: Callable[[UpscaleProgress], None] = lambda progress: None,
    tell: Callable[[str], None] = lambda line: None,
) -> UpscaleResult:
    """Upscale the film at `source` into `output`, frame by frame, whatever its length.

    `model` is a name from `vsr.list_models()` or a file; left out, it is the one for `scale`,
    and where that is left out too, x4 up to 576 lines and x2 above. `detail` goes from 0, faithful,
    to 1, where a twin of the model invents texture. `backend` "auto" computes by OpenVINO on a
    CPU where the film is long enough to be worth it, else by torch; `precision` "auto" is "int8"
    there, if the model was measured for it, else "f32". Frames that don't fit into memory are
    done in overlapping tiles (`tiling`: "auto", "off", or their side in low-resolution pixels).
    Interlaced frames are made whole where they say so, always, or never (`deinterlace`); turning
    the picture is left to players, or done (`rotate`). `decoder` "gpu" has an NVIDIA card decode
    where it can.

    Frames keep their times, and all else in the file goes along as it is; what the output
    can't hold is reported to `tell` before any work, or is an error then, if `strict`. Work goes
    in segments that are kept in a folder beside the output: a run that ended before its time goes
    on there, and gives the same bytes, unless not to `resume`. Once `stop` is set, it ends with
    the segment in hand, by `Interrupted`. `-` is standard input or output; there, work can't
    go on. `watch` is called after every frame, in another thread; `tell` when the user should
    know something at once. The output appears under its name when it is whole. Raises `VsrError`.
    """
    source, output = Path(source), Path(output)
    if output == PIPE:
        if settings != EncoderSettings():
            raise OutputError("-: a pipe carries raw video; leave --codec, --crf and --preset out")
        settings = EncoderSettings("raw")
    check_distinct([profile, output], [source, Path(model) if model else None])
    options = UpscaleOptions(
        *(model, scale, detail, device, backend, precision, tiling, settings),
        *(deinterlace, rotate, decoder),
    )
    with Trace(profile, overwrite) if profile else nullcontext() as trace:
        record = trace.add if trace else None
        if output == PIPE or is_pipe(source):
            return _stream(
                source, output, options, overwrite, strict, pipe_format, watch, tell, record
            )
        return _to_file(
            source, output, options, overwrite, resume, strict, stop, watch, tell, record
        )


def _to_file(
    source: Path,
    output: Path,
    options: UpscaleOptions,
    overwrite: bool,
    resume: bool,
    strict: bool,
    stop: threading.Event | None,
    watch: Callable[[UpscaleProgress], None],
    tell: Callable[[str], None],
    trace: Watch | None,
) -> UpscaleResult:
    """Into a file, by way of segments: a run that ended before its time goes on."""
    in_place = resume and is_published(output)
    check_output(output, options.settings, overwrite or in_place)
    session = UpscaleSession(source, options, output.suffix.lower())
    with session.reader:
        baggage = pack(session.reader, output.suffix.lower())
        left_out = session.left_out(baggage)
        _refuse(output, left_out, strict)
        journal = Journal(output, session.identity(), resume)
        stages, first = StageTimes(), 0.0
        try:
            if not in_place:
                _tell_beginning(session, journal, tell)
            _tell_losses(left_out, session, tell)
            if not in_place:
                stages, first = _do_segments(
                    session, journal, stop or threading.Event(), watch, trace
                )
                session.dropped = _join(session, journal, baggage, overwrite)
        except VsrError as error:
            if journal.release():
                raise type(error)(f"{error}; {_to_go_on(journal)}") from error
            raise
        except BaseException:
            if journal.release():
                tell(_to_go_on(journal))
            raise
        journal.remove()
        return _summary(session, output, left_out, baggage, journal, stages, first)


def _do_segments(
    session: UpscaleSession,
    journal: Journal,
    stop: threading.Event,
    watch: Callable[[UpscaleProgress], None],
    trace: Watch | None,
) -> tuple[StageTimes, float]:
    """Do those segments that aren't finished; the stages' times, and the first frame's."""
    place = journal.next_start
    if place is None:
        return StageTimes(), 0.0
    marked = frames_from(session.reader, place)
    if not place.begins_shot:
        session.backend.set_state(load_state(journal.state(place.number)))
    before = count = journal.frames
    first = 0.0

    def work(item: SegmentFrame) -> Callable[[], SegmentFrame]:
        state: State | None = None
        if item.place and item.place.number > place.number and not item.begins_shot:
            state = session.backend.get_state()
        begun = session.submit(item.frame, item.begins_shot)
        return lambda: SegmentFrame(begun(), item.begins_shot, item.place, state)

    def done() -> None:
        nonlocal count, first
        count += 1
        seconds = time.perf_counter() - session.began
        first = first or seconds
        watch(UpscaleProgress(count, session.info.frame_count, seconds, before))

    damaged = session.reader.damage.pts
    sink = SegmentSink(journal, session.info, session.options.settings, damaged, stop, done)
    try:
        stages = run_stages(marked, work, sink.write, session.queue_size, trace)
        sink.finish()
    finally:
        sink.abandon()
    return stages, first


def _join(session: UpscaleSession, journal: Journal, baggage: CopyPlan, overwrite: bool) -> Dropped:
    """Make the output of the segments and of what goes along, and give it its name.

    Gives what of the streams beside the video is missing.
    """
    assert journal.video is not None
    output = journal.output
    whole = journal.folder / f"whole{output.suffix}"
    packets = concat_segments([journal.segment(done.number) for done in journal.finished])
    dropped = mux(output, whole, journal.video, session.info, packets, baggage)
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: appeared while it was being made; left as it is")
    journal.publish(whole)
    return dropped


def _stream(
    source: Path,
    output: Path,
    options: UpscaleOptions,
    overwrite: bool,
    strict: bool,
    pipe_format: PipeFormat,
    watch: Callable[[UpscaleProgress], None],
    tell: Callable[[str], None],
    trace: Watch | None,
) -> UpscaleResult:
    """From or into a pipe: what has gone through is gone, so nothing is kept to go on from."""
    if output != PIPE:
        check_output(output, options.settings, overwrite)
    session = UpscaleSession(source, options, output.suffix.lower())
    info = session.info
    with session.reader:
        baggage = None
        if pipe_format == "nut" or output != PIPE:
            baggage = pack(session.reader, ".nut" if output == PIPE else output.suffix.lower())
        left_out = session.left_out(baggage)
        writer: AbstractContextManager[VideoWriter | Y4mWriter]
        if output == PIPE and pipe_format == "y4m":
            info = replace(info, layout=replace(info.layout, alpha=False))
            left_out += beside(session.reader)
        _refuse(output, left_out, strict)
        if output == PIPE and pipe_format == "y4m":
            writer = Y4mWriter(info)
        else:
            writer = VideoWriter(output, info, session.reader, options.settings, overwrite)
        _tell_losses(left_out, session, tell)
        count = shots = 0
        first = 0.0

        def work(marked: tuple[Frame | AnyPacket, bool]) -> Callable[[], Frame | AnyPacket]:
            nonlocal shots
            item, begins_shot = marked
            if not isinstance(item, Frame):
                return lambda: item
            shots += begins_shot
            return session.submit(item, begins_shot)

        with writer as opened:

            def write(item: Frame | AnyPacket) -> None:
                nonlocal count, first
                opened.write(item)
                if isinstance(item, Frame):
                    count += 1
                    seconds = time.perf_counter() - session.began
                    first = first or seconds
                    watch(UpscaleProgress(count, info.frame_count, seconds))

            stages = run_stages(mark_cuts(session.reader), work, write, session.queue_size, trace)
        if isinstance(opened, VideoWriter):
            session.dropped = opened.dropped
        return _summary(session, output, left_out, baggage, (count, shots), stages, first)


def _summary(
    session: UpscaleSession,
    output: Path,
    left_out: tuple[str, ...],
    baggage: CopyPlan | None,
    work: Journal | tuple[int, int],
    stages: StageTimes,
    first: float,
) -> UpscaleResult:
    if isinstance(work, Journal):
        frames = work.frames
        shots = sum(done.shots for done in work.finished)
        damaged = [pts for done in work.finished for pts in done.damaged]
        resumed = work.resumed_frames
    else:
        (frames, shots), resumed, damaged = work, 0, list(session.reader.damage.pts)
    return UpscaleResult(
        output=str(output),
        model=session.model,
        device=str(session.device),
        backend=session.backend.name,
        width=session.info.width,
        height=session.info.height,
        frames=frames,
        resumed_frames=resumed,
        shots=shots,
        audio_tracks=baggage.audio_tracks if baggage else 0,
        left_out=left_out,
        notes=session.notes(),
        damaged_seconds=tuple(round(float(pts * session.info.time_base), 3) for pts in damaged),
        seconds=time.perf_counter() - session.began,
        first_frame_seconds=first,
        stages=stages,
    )


def _tell_beginning(session: UpscaleSession, journal: Journal, tell: Callable[[str], None]) -> None:
    """Tell where work goes on. Raises `OutputError` where the disk can't hold the output.

    Where the count of frames is an estimate, a full disk is only warned of.
    """
    info = session.info
    if journal.frames:
        tell(f"going on after the {journal.frames} frames that are done")
    if not info.frame_count:
        return
    frames = max(0, info.frame_count - journal.frames)
    # Segments, and the whole that is made of them.
    needed = 2 * foretold_bytes(info, session.options.settings, frames)
    needed += session.reader.path.stat().st_size
    free = shutil.disk_usage(journal.folder).free
    line = f"about {_bytes(needed)} of disk will be needed, {_bytes(free)} are free"
    if needed > 4 * free and session.reader.is_indexed:
        raise OutputError(f"{journal.output}: {line}")
    if needed > free:
        tell(line)


def _tell_losses(
    left_out: tuple[str, ...], session: UpscaleSession, tell: Callable[[str], None]
) -> None:
    """Report, before any work, what can't be kept and what is known of the source."""
    for what in left_out:
        tell(f"not kept: {what}")
    for note in session.reader.notes:
        tell(note)


def _to_go_on(journal: Journal) -> str:
    return f"{journal.frames} frames are done, and the same command goes on"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.0f} kB"


def _refuse(output: Path, left_out: tuple[str, ...], strict: bool) -> None:
    if strict and left_out:
        raise OutputError(f"{output}: would lack {'; '.join(left_out)}")
