"""What upscaling a film would take: seconds of it are upscaled, and the rest is reckoned."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsr.engine.pipeline import run_stages
from vsr.engine.session import UpscaleOptions, UpscaleSession
from vsr.errors import MediaError, OutputError
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb
from vsr.imaging.tensors import resize_bicubic, to_uint8
from vsr.media.decode.reader import VideoReader, count_frames
from vsr.media.encode.encoder import VideoEncoder
from vsr.media.frame import Frame, StreamInfo
from vsr.media.image import Still, check_still_output, write_still
from vsr.media.mux.stream_copy import pack
from vsr.media.mux.writer import SUFFIXES
from vsr.system.address import is_pipe
from vsr.system.files import check_distinct
from vsr.system.machine import peak_memory_bytes

_TRIAL_SECONDS = 2.0
_FEWEST_FRAMES = 3
_COUNT_SECONDS = 1.0
"""The most that counting packets may take."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Plan:
    """What it takes to upscale a film, by a trial of some of its frames."""

    model: str
    backend: str
    width: int
    """Of the output, as is the height."""
    height: int
    frames: int | None
    """Of the whole film."""
    frames_are_counted: bool
    """Whether each frame is listed or was seen; else `frames` is estimated by the duration."""
    tried_frames: int
    frames_per_second: float
    """Of the trial, encoding included."""
    seconds: float | None
    """For the whole film."""
    memory_bytes: int
    """The most that this process held."""
    output_bytes: int | None
    disk_bytes: int | None
    """While it goes on: finished segments, and the file that is made of them."""
    left_out: tuple[str, ...]
    """What can't be kept."""
    notes: tuple[str, ...] = ()
    """What is known of the source before any work."""


def plan_video(
    source: Path,
    suffix: str = ".mp4",
    options: UpscaleOptions = UpscaleOptions(),
    preview: Path | None = None,
    overwrite: bool = False,
) -> Plan:
    """Upscale two seconds' worth of work from the middle of a film, and reckon the rest.

    `suffix` is that of the output to come. `preview` becomes a picture of a frame, upscaled
    bicubically on the left, by the model on the right. Nothing else is written. Raises `VsrError`.
    """
    if is_pipe(source):
        raise MediaError(f"{source}: a pipe can't be tried beforehand; name a file")
    if suffix not in SUFFIXES:
        known = ", ".join(sorted(SUFFIXES))
        raise OutputError(f"{suffix}: not a container that films are written to; use {known}")
    if preview is not None:
        check_still_output(preview, False, overwrite)
        check_distinct([preview], [source])
    session = UpscaleSession(source, options, suffix)
    with session.reader:
        if preview is not None:
            check_still_output(preview, False, overwrite, (session.info.width, session.info.height))
        left_out = session.left_out(pack(session.reader, suffix))
        notes = tuple(session.reader.notes)
        encoder = VideoEncoder(session.info, options.settings)
        made: list[tuple[Frame, Frame]] = []
        coded, began, times = 0, time.perf_counter(), []

        def work(item: tuple[Frame, bool]) -> Callable[[], tuple[Frame, Frame]]:
            begun = session.submit(*item)
            return lambda: (item[0], begun())

        def sink(both: tuple[Frame, Frame]) -> None:
            nonlocal coded
            made[:] = [both]
            coded += sum(len(packet.data) for packet in encoder.encode(both[1]))
            times.append(time.perf_counter())

        run_stages(_some(session, began), work, sink, session.queue_size)
        coded += sum(len(packet.data) for packet in encoder.finish())
        ended = time.perf_counter()
        if preview is not None:
            _write_preview(preview, *made[-1], session, overwrite)
    # The first frame waits for all that is done once.
    per_frame = (ended - times[0]) / (len(times) - 1) if len(times) > 1 else ended - began
    frames, are_counted = _frame_count(session.reader)
    video = None if frames is None else coded * frames // len(times)
    size = source.stat().st_size
    return Plan(
        model=session.model,
        backend=session.backend.name,
        width=session.info.width,
        height=session.info.height,
        frames=frames,
        frames_are_counted=are_counted,
        tried_frames=len(times),
        frames_per_second=1 / per_frame,
        seconds=None if frames is None else per_frame * frames,
        memory_bytes=peak_memory_bytes(),
        output_bytes=video,
        disk_bytes=None if video is None else 2 * video + size,
        left_out=left_out,
        notes=notes,
    )


def _frame_count(reader: VideoReader) -> tuple[int | None, bool]:
    """The frames of a film, and whether they are counted.

    Of interlaced film, packets may be fields.
    """
    estimate = reader.info.frame_count
    if reader.is_indexed:
        return estimate, True
    if reader.interlaced:
        return estimate, False
    counted = count_frames(reader.path, _COUNT_SECONDS)
    return (counted, True) if counted else (estimate, False)


def _some(session: UpscaleSession, began: float) -> Iterator[tuple[Frame, bool]]:
    """Frames from the middle of the film, until the time for the trial is over."""
    upright = session.options.rotate == "apply"
    with VideoReader(session.reader.path, session.options.deinterlace, upright) as reader:
        reader.go_to_middle()
        for number, (frame, cut) in enumerate(mark_cuts(reader.frames())):
            assert isinstance(frame, Frame)
            if number >= _FEWEST_FRAMES and time.perf_counter() - began > _TRIAL_SECONDS:
                return
            yield frame, cut


def _write_preview(
    path: Path, low: Frame, high: Frame, session: UpscaleSession, overwrite: bool
) -> None:
    """The left half of a frame by bicubic interpolation, its right half by the model."""
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
