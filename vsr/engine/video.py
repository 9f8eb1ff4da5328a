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
from vsr.engine.job import Job, Options, Rotate
from vsr.engine.journal import Journal, is_in_place
from vsr.engine.pipeline import StageTimes, Watch, run_stages
from vsr.engine.segments import Marked, SegmentSink, State, frames_from, load_state
from vsr.engine.trace import Trace
from vsr.errors import OutputError, VsrError
from vsr.media.address import PIPE, is_pipe
from vsr.media.carry import Baggage, beside, pack
from vsr.media.decoded import Deinterlace
from vsr.media.decoder import Decoder
from vsr.media.encoder import (
    EncoderSettings,
    foretold_bytes,
)
from vsr.media.frame import Frame
from vsr.media.losses import pipe_losses
from vsr.media.muxer import mux
from vsr.media.reader import AnyPacket
from vsr.media.segment import joined
from vsr.media.target import check_distinct
from vsr.media.writer import VideoWriter, check_output
from vsr.media.y4m import Y4mWriter
from vsr.shots import mark_cuts

PipeFormat = Literal["nut", "y4m"]


@dataclass(frozen=True)
class Progress:
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
class Summary:
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
    watch: Callable[[Progress], None] = lambda progress: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Summary:
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
    options = Options(
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
    options: Options,
    overwrite: bool,
    resume: bool,
    strict: bool,
    stop: threading.Event | None,
    watch: Callable[[Progress], None],
    tell: Callable[[str], None],
    trace: Watch | None,
) -> Summary:
    """Into a file, by way of segments: a run that ended before its time goes on."""
    in_place = resume and is_in_place(output)
    check_output(output, options.settings, overwrite or in_place)
    job = Job(source, options, output.suffix.lower())
    with job.reader:
        baggage = pack(job.reader, output.suffix.lower())
        left_out = job.left_out(baggage)
        _refuse(output, left_out, strict)
        journal = Journal(output, job.identity(), resume)
        stages, first = StageTimes(), 0.0
        try:
            if not in_place:
                _tell_beginning(job, journal, tell)
            _tell_losses(left_out, job, tell)
            if not in_place:
                stages, first = _do_segments(job, journal, stop or threading.Event(), watch, trace)
                job.refused = _join(job, journal, baggage, overwrite)
        except VsrError as error:
            if journal.leave():
                raise type(error)(f"{error}; {_to_go_on(journal)}") from error
            raise
        except BaseException:
            if journal.leave():
                tell(_to_go_on(journal))
            raise
        journal.remove()
        return _summary(job, output, left_out, baggage, journal, stages, first)


def _do_segments(
    job: Job,
    journal: Journal,
    stop: threading.Event,
    watch: Callable[[Progress], None],
    trace: Watch | None,
) -> tuple[StageTimes, float]:
    """Do those segments that aren't finished; the stages' times, and the first frame's."""
    place = journal.next_place
    if place is None:
        return StageTimes(), 0.0
    marked = frames_from(job.reader, place)
    if not place.begins_shot:
        job.backend.go_on_from(load_state(journal.state(place.number)))
    before = count = journal.frames
    first = 0.0

    def work(item: Marked) -> Callable[[], Marked]:
        state: State | None = None
        if item.place and item.place.number > place.number and not item.begins_shot:
            state = job.backend.keep_state()
        begun = job.begin(item.frame, item.begins_shot)
        return lambda: Marked(begun(), item.begins_shot, item.place, state)

    def done() -> None:
        nonlocal count, first
        count += 1
        seconds = time.perf_counter() - job.began
        first = first or seconds
        watch(Progress(count, job.info.frame_count, seconds, before))

    damaged = job.reader.damage.pts
    sink = SegmentSink(journal, job.info, job.options.settings, damaged, stop, done)
    try:
        stages = run_stages(marked, work, sink.write, job.most_waiting, trace)
        sink.finish()
    finally:
        sink.abandon()
    return stages, first


def _join(job: Job, journal: Journal, baggage: Baggage, overwrite: bool) -> int:
    """Make the output of the segments and of what goes along, and give it its name.

    Gives the number of packets beside the video that are too broken to go along.
    """
    assert journal.video is not None
    output = journal.output
    whole = journal.folder / f"whole{output.suffix}"
    packets = joined([journal.segment(done.number) for done in journal.finished])
    refused = mux(output, whole, journal.video, job.info, packets, baggage)
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: appeared while it was being made; left as it is")
    journal.put_in_place(whole)
    return refused


def _stream(
    source: Path,
    output: Path,
    options: Options,
    overwrite: bool,
    strict: bool,
    pipe_format: PipeFormat,
    watch: Callable[[Progress], None],
    tell: Callable[[str], None],
    trace: Watch | None,
) -> Summary:
    """From or into a pipe: what has gone through is gone, so nothing is kept to go on from."""
    if output != PIPE:
        check_output(output, options.settings, overwrite)
    job = Job(source, options, output.suffix.lower())
    info = job.info
    with job.reader:
        baggage = None
        if pipe_format == "nut" or output != PIPE:
            baggage = pack(job.reader, ".nut" if output == PIPE else output.suffix.lower())
        left_out = job.left_out(baggage)
        writer: AbstractContextManager[VideoWriter | Y4mWriter]
        if output == PIPE and pipe_format == "y4m":
            info = replace(info, layout=replace(info.layout, alpha=False))
            left_out += beside(job.reader)
        if output == PIPE:
            left_out += tuple(pipe_losses(job.reader.info, pipe_format))
        _refuse(output, left_out, strict)
        if output == PIPE and pipe_format == "y4m":
            writer = Y4mWriter(info)
        else:
            writer = VideoWriter(output, info, job.reader, options.settings, overwrite)
        _tell_losses(left_out, job, tell)
        count = shots = 0
        first = 0.0

        def work(marked: tuple[Frame | AnyPacket, bool]) -> Callable[[], Frame | AnyPacket]:
            nonlocal shots
            item, begins_shot = marked
            if not isinstance(item, Frame):
                return lambda: item
            shots += begins_shot
            return job.begin(item, begins_shot)

        with writer as opened:

            def write(item: Frame | AnyPacket) -> None:
                nonlocal count, first
                opened.write(item)
                if isinstance(item, Frame):
                    count += 1
                    seconds = time.perf_counter() - job.began
                    first = first or seconds
                    watch(Progress(count, info.frame_count, seconds))

            stages = run_stages(mark_cuts(job.reader), work, write, job.most_waiting, trace)
        if isinstance(opened, VideoWriter):
            job.refused = opened.refused
        return _summary(job, output, left_out, baggage, (count, shots), stages, first)


def _summary(
    job: Job,
    output: Path,
    left_out: tuple[str, ...],
    baggage: Baggage | None,
    work: Journal | tuple[int, int],
    stages: StageTimes,
    first: float,
) -> Summary:
    if isinstance(work, Journal):
        frames = work.frames
        shots = sum(done.shots for done in work.finished)
        damaged = [pts for done in work.finished for pts in done.damaged]
        resumed = work.resumed_frames
    else:
        (frames, shots), resumed, damaged = work, 0, list(job.reader.damage.pts)
    return Summary(
        output=str(output),
        model=job.model,
        device=str(job.device),
        backend=job.backend.name,
        width=job.info.width,
        height=job.info.height,
        frames=frames,
        resumed_frames=resumed,
        shots=shots,
        audio_tracks=baggage.audio_tracks if baggage else 0,
        left_out=left_out,
        notes=job.notes(),
        damaged_seconds=tuple(round(float(pts * job.info.time_base), 3) for pts in damaged),
        seconds=time.perf_counter() - job.began,
        first_frame_seconds=first,
        stages=stages,
    )


def _tell_beginning(job: Job, journal: Journal, tell: Callable[[str], None]) -> None:
    """Tell where work goes on. Raises `OutputError` where the disk can't hold the output.

    Where the count of frames is an estimate, a full disk is only warned of.
    """
    info = job.info
    if journal.frames:
        tell(f"going on after the {journal.frames} frames that are done")
    if not info.frame_count:
        return
    frames = max(0, info.frame_count - journal.frames)
    # Segments, and the whole that is made of them.
    needed = 2 * foretold_bytes(info, job.options.settings, frames)
    needed += job.reader.path.stat().st_size
    free = shutil.disk_usage(journal.folder).free
    line = f"about {_bytes(needed)} of disk will be needed, {_bytes(free)} are free"
    if needed > 4 * free and job.reader.is_indexed:
        raise OutputError(f"{journal.output}: {line}")
    if needed > free:
        tell(line)


def _tell_losses(left_out: tuple[str, ...], job: Job, tell: Callable[[str], None]) -> None:
    """Report, before any work, what can't be kept and what is known of the source."""
    for what in left_out:
        tell(f"not kept: {what}")
    for note in job.reader.notes:
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
