"""Estimate the time, memory and disk space of upscaling a film from a trial of two seconds."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vsr.engine.parallel.shot_plan import FoundShots, ShotPlan, find_shots, plan_shots
from vsr.engine.parallel.workers import Workers
from vsr.engine.picture_source import reopen_source
from vsr.engine.pipeline import run_stages
from vsr.engine.preview_clip import check_preview_clip, write_preview_clip
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import MediaError, OutputError
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb
from vsr.imaging.tensors import resize_bicubic, to_uint8
from vsr.media.decode.frame_times import count_frames
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.encoder import VideoEncoder
from vsr.media.encode.settings import check_values
from vsr.media.frame import Frame, StreamInfo
from vsr.media.image_writer import check_still_output, write_still
from vsr.media.mux.writer import VIDEO_SUFFIXES
from vsr.media.numbered_pictures import holds_pictures
from vsr.media.still import Still
from vsr.system.address import is_pipe
from vsr.system.files import check_distinct
from vsr.system.machine import peak_memory_bytes
from vsr.zoo import QUALITIES, choose_model, own_file

_TRIAL_SECONDS = 2.0
_MIN_FRAMES = 3
_COUNT_SECONDS = 1.0
"""Time limit for counting packets."""
_READ_SECONDS = 10.0
"""Time limit for reading a film to find its shots."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Alternative:
    """Estimated speed of the other quality."""

    quality: str
    """Value of `--model`."""
    model: str
    frames_per_second: float
    seconds: float | None
    """Time for the whole film."""


@dataclass(frozen=True)
class Plan:
    """Estimated cost of upscaling a film, from a trial of some of its frames."""

    model: str
    detail: float
    """Share of the twin's weights, see `zoo.load`."""
    backend: str
    width: int
    """Width of the output."""
    height: int
    """Height of the output."""
    frames: int | None
    """Frames of the whole film."""
    frames_are_counted: bool
    """Whether `frames` is exact; otherwise it is estimated from the duration."""
    tried_frames: int
    frames_per_second: float
    """Speed of the trial, encoding included; with several workers, the mean of a whole run."""
    seconds: float | None
    """Time for the whole film."""
    memory_bytes: int
    """Peak memory of this process, or of all worker processes."""
    output_bytes: int | None
    disk_bytes: int | None
    """Peak disk space: finished segments, and the file that they are joined into."""
    left_out: tuple[str, ...]
    """Contents of the source that can't be kept."""
    notes: tuple[str, ...] = ()
    """Findings about the source."""
    alternatives: tuple[Alternative, ...] = ()
    """Other models that `--model` offers by quality, unless one was named, or there are workers."""
    workers: tuple[str, ...] = ()
    """Names of the worker processes."""
    shots: ShotPlan | None = None
    """How the shots spread over several workers; None if there is one, or no frame was read."""


def plan_video(
    source: Path,
    suffix: str = ".mp4",
    options: UpscaleOptions = UpscaleOptions(),
    preview: Path | None = None,
    overwrite: bool = False,
    workers: Workers | None = None,
) -> Plan:
    """Upscale frames from the middle of a film for two seconds, and extrapolate.

    `suffix` is that of the planned output. `preview` is a picture or a clip to write: a frame
    upscaled bicubically on the left half and by the model on the right, or two seconds upscaled in
    both ways, side by side. Nothing else is written. With `workers`, all of them upscale the same
    frames at the same time. With several, the film is read ahead for up to ten seconds, and the
    shots found are scheduled. Raises `VsrError`.
    """
    workers = workers or Workers(options.device)
    options = replace(options, device=workers.device)
    clip = preview if preview and preview.suffix.lower() in VIDEO_SUFFIXES else None
    preview = None if clip else preview
    if is_pipe(source):
        raise MediaError(f"{source}: a pipe can't be read twice; name a file")
    if source.is_dir() and not holds_pictures(source):
        raise MediaError(f"{source}: is a folder; name a film in it")
    if suffix not in VIDEO_SUFFIXES:
        known = ", ".join(sorted(VIDEO_SUFFIXES))
        raise OutputError(f"{suffix}: not a supported container for films; use {known}")
    check_values(options.settings)
    if preview is not None:
        check_still_output(preview, False, overwrite)
        check_distinct([preview], [source])
    if clip is not None:
        check_preview_clip(clip, source, overwrite)
    session = UpscaleSession(source, options, suffix)
    with session.reader:
        if preview is not None:
            check_still_output(preview, False, overwrite, (session.info.width, session.info.height))
        left_out = session.left_out(session.plan_streams(suffix))
        notes = (*session.reader.notes, *workers.take_left_out())
        trial = _Trial(session)
        trial.run()
        if preview is not None:
            _write_preview(preview, *trial.last, session, overwrite)
        several = len(workers.names) > 1
        found = find_shots(session, _READ_SECONDS) if several else None
    if clip is not None:
        write_preview_clip(clip, source, options, suffix, overwrite)
    rates, memory = [1 / trial.seconds_per_frame], peak_memory_bytes()
    if workers.names:
        session.backend.release()  # workers may need the memory of its GPU
        if (model := own_file(options.model)) is not None:
            options = replace(options, model=str(model.absolute()))
        tried = workers.call_each(_try_alone, source, suffix, options, workers.memory)
        rates = [1 / one.seconds_per_frame for one in tried]
        memory = sum(one.memory_bytes for one in tried)
    frames, are_counted = _frame_count(session, found)
    rate, shots = sum(rates), None
    if found is not None and found.shots:
        shots, rate = plan_shots(found, frames, rates)
    video = None if frames is None else trial.coded_bytes * frames // trial.frames
    copied = source.stat().st_size if isinstance(session.reader, VideoReader) else 0
    size = round(copied * _share(session))
    return Plan(
        model=session.model,
        detail=session.detail,
        backend=session.backend.name,
        width=session.info.width,
        height=session.info.height,
        frames=frames,
        frames_are_counted=are_counted,
        tried_frames=trial.frames,
        frames_per_second=rate,
        seconds=None if frames is None else frames / rate,
        memory_bytes=memory,
        output_bytes=video,
        disk_bytes=None if video is None else 2 * video + size,
        left_out=left_out,
        notes=notes,
        workers=workers.names,
        shots=shots,
        alternatives=()
        if workers.names
        else tuple(
            _alternatives(
                source,
                suffix,
                options,
                model=session.model,
                scale=session.scale,
                frames=frames,
            )
        ),
    )


class _Cost(NamedTuple):
    """Cost of upscaling in one of several processes."""

    seconds_per_frame: float
    memory_bytes: int


def _try_alone(
    device: str, source: Path, suffix: str, options: UpscaleOptions, memory: int
) -> _Cost:
    """Run a trial in a worker process, with the tiles of a run, while the others run theirs."""
    session = UpscaleSession(source, replace(options, device=device), suffix, memory=memory)
    with session.reader:
        trial = _Trial(session)
        trial.run()
    return _Cost(trial.seconds_per_frame, peak_memory_bytes())


def _alternatives(
    source: Path, suffix: str, options: UpscaleOptions, model: str, scale: int, frames: int | None
) -> Iterator[Alternative]:
    """Try the models of the other qualities that are included at the same scale."""
    if options.model is not None and options.model not in QUALITIES:
        return
    for quality in QUALITIES:
        if choose_model(quality, scale, height=0, detail=options.detail) == model:
            continue
        session = UpscaleSession(source, replace(options, model=quality), suffix)
        with session.reader:
            trial = _Trial(session)
            trial.run()
        yield Alternative(
            quality=quality,
            model=session.model,
            frames_per_second=1 / trial.seconds_per_frame,
            seconds=None if frames is None else trial.seconds_per_frame * frames,
        )


class _Trial:
    """Upscales and encodes some frames from the middle of a film."""

    last: tuple[Frame, Frame]
    """The last frame, before and after upscaling."""

    def __init__(self, session: UpscaleSession) -> None:
        self.coded_bytes = 0
        self._session = session
        self._encoder = VideoEncoder(session.info, session.options.settings)
        self._times: list[float] = []
        self._started = self._ended = 0.0

    @property
    def frames(self) -> int:
        """Count of upscaled frames."""
        return len(self._times)

    @property
    def seconds_per_frame(self) -> float:
        """Mean time of a frame without the first, which includes one-time work."""
        if len(self._times) > 1:
            return (self._ended - self._times[0]) / (len(self._times) - 1)
        return self._ended - self._started

    def run(self) -> None:
        """Run all stages until the time limit."""
        self._started = time.perf_counter()
        run_stages(self._source(), self._submit, self._encode, queue_size=self._session.queue_size)
        self.coded_bytes += sum(len(packet.data) for packet in self._encoder.finish())
        self._ended = time.perf_counter()

    def _source(self) -> Iterator[tuple[Frame, bool]]:
        session, options = self._session, self._session.options
        with reopen_source(session.reader, replace(options, decoder="cpu")) as reader:
            if found := session.found_part:
                reader.seek_before(found.pts[len(found.pts) // 2])
            else:
                reader.seek_to_middle()
            for index, (frame, is_cut) in enumerate(mark_cuts(reader.frames())):
                assert isinstance(frame, Frame)
                is_late = time.perf_counter() - self._started > _TRIAL_SECONDS
                if index >= _MIN_FRAMES and is_late:
                    return
                yield frame, is_cut

    def _submit(self, item: tuple[Frame, bool]) -> Callable[[], tuple[Frame, Frame]]:
        pending = self._session.submit(*item)
        return lambda: (item[0], pending())

    def _encode(self, frames: tuple[Frame, Frame]) -> None:
        self.last = frames
        self.coded_bytes += sum(len(packet.data) for packet in self._encoder.encode(frames[1]))
        self._times.append(time.perf_counter())


def _share(session: UpscaleSession) -> float:
    """Return the share of the film that is upscaled."""
    part, whole = session.info.frame_count, session.reader.info.frame_count
    return 1.0 if session.part is None or not (part and whole) else min(1.0, part / whole)


def _frame_count(session: UpscaleSession, found: FoundShots | None) -> tuple[int | None, bool]:
    """Return the frames to upscale, and whether the count is exact, as it is if all were read.

    Packets of interlaced film are not counted, since they may be fields. With inverse telecine,
    the count depends on the frames.
    """
    if found is not None and found.is_complete:
        return found.frames, True
    reader = session.reader
    is_exact = not reader.field_mode.inverse_telecine
    if session.part is not None:
        is_counted = session.found_part is not None and not reader.interlaced
        return session.info.frame_count, is_exact and is_counted
    estimate = reader.info.frame_count
    if reader.is_indexed:
        return estimate, is_exact
    if reader.interlaced:
        return estimate, False
    counted = count_frames(reader.path, _COUNT_SECONDS, session.options.video)
    counted = reader.field_mode.output_count(counted)
    return (counted, is_exact) if counted else (estimate, False)


def _write_preview(
    path: Path, low: Frame, high: Frame, session: UpscaleSession, overwrite: bool
) -> None:
    """Write a frame whose left half is upscaled bicubically and right half by the model."""
    small = _rgb(low, session.reader.info)
    large = _rgb(high, session.info)
    bicubic = resize_bicubic(small[None], (large.shape[1], large.shape[2]))[0]
    middle = large.shape[2] // 2
    both = torch.cat((bicubic[..., :middle], large[..., middle:]), dim=2)
    both[..., middle - 1 : middle + 1] = 1.0
    pixels = to_uint8(both).permute(1, 2, 0).numpy()
    write_still(path, Still(np.ascontiguousarray(pixels), None, None, None), overwrite)


def _rgb(frame: Frame, info: StreamInfo) -> Tensor:
    return planes_to_rgb(frame.planes, colour_spec(info), _CPU)
