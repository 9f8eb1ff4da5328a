"""Upscale a film into an animated GIF, WebP or PNG; such a run can't resume."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from vsr.engine.part_stream import PartStream
from vsr.engine.pipe_mode import PipeRun
from vsr.engine.result import UpscaleResult
from vsr.engine.run import RunOptions, check_strict, make_result, report_losses, report_start
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import colour_spec, planes_to_rgb
from vsr.imaging.tensors import to_uint8
from vsr.media.animation.frame import AnimationFrame
from vsr.media.animation.writer import (
    FILM_ANIMATION_SUFFIXES,
    GIF_ALPHA,
    GIF_COLOURS,
    AnimationWriter,
    animation_writer,
    check_animation_size,
    timing_losses,
)
from vsr.media.decode.container import AnyPacket
from vsr.media.decode.frame_times import frame_times
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame, StreamInfo
from vsr.media.mux.stream_copy import left_out_of_video
from vsr.system.address import is_pipe
from vsr.system.files import check_output_path

_BT2020, _PQ, _HLG = 9, 16, 18
"""Codes of H.273: primaries and transfer functions that aren't shown as sRGB."""


def upscale_to_animation(
    source: Path, output: Path, options: UpscaleOptions, run_options: RunOptions
) -> UpscaleResult:
    """Upscale the pictures of a film into an animation that repeats. Raises `VsrError`.

    Frames keep their times as far as the format can hold them; rotation is applied.
    """
    suffix = output.suffix.lower()
    check_output_path(
        output,
        "animation",
        suffixes=FILM_ANIMATION_SUFFIXES,
        overwrite=run_options.overwrite,
    )
    options = replace(options, rotate="apply", settings=EncoderSettings("raw"))
    session = UpscaleSession(source, options, suffix)
    with session.reader:
        info = session.info
        check_animation_size(output, (info.width, info.height))
        left_out = session.left_out(None)
        if isinstance(session.reader, VideoReader):
            left_out += left_out_of_video(session.reader, session.selection, suffix, ".mkv")
        left_out += tuple(_losses(suffix, info, _durations(session)))
        check_strict(output, left_out, None, run_options)
        part = None
        if session.part is not None:
            part = PartStream(session, mark_cuts(session.reader), set())
        report_losses(session, left_out, run_options)
        report_start(session, output, left_out, run_options)
        size = info.width, info.height
        with animation_writer(output, size, has_alpha=info.layout.alpha) as writer:
            sink = _Frames(writer, info)
            run = PipeRun(session, sink, run_options)
            stages = run.upscale_all(part)
            sink.finish()
        return make_result(
            session,
            output,
            copy_plan=None,
            left_out=left_out,
            frames=run.counter.frames,
            resumed_frames=0,
            shots=run.shots + (part is not None and not part.begins_shot),
            damaged=part.damaged() if part else list(session.reader.damage.pts),
            first_frame_seconds=run.counter.first_frame_seconds,
            stages=stages,
        )


def _durations(session: UpscaleSession) -> list[Fraction]:
    """Return the durations of frames, exact to the clock of a file; of a pipe, the average."""
    reader, info = session.reader, session.info
    if not isinstance(reader, VideoReader) or is_pipe(reader.path):
        return [1 / info.frame_rate]
    ticks = [round(Fraction(time) / info.time_base) for time in frame_times(reader.path)]
    return [(after - before) * info.time_base for before, after in pairwise(ticks)]


def _losses(suffix: str, info: StreamInfo, seconds: Iterable[Fraction]) -> Iterator[str]:
    """Describe what an animation can't hold of the frames of a film, one line each."""
    if info.bits > 8:
        yield f"{info.bits} bit depth: {suffix} is written with 8"
    if info.colour.primaries == _BT2020 or info.colour.transfer in (_PQ, _HLG):
        yield f"colours of BT.2020 or HDR: {suffix} is shown as sRGB"
    if info.sample_aspect_ratio != 1:
        yield f"pixel aspect {info.sample_aspect_ratio}: use --square-pixels"
    yield from timing_losses(suffix, seconds)
    if suffix == ".gif":
        yield GIF_COLOURS
        if info.layout.alpha:
            yield GIF_ALPHA


class _Frames:
    """Writes frames to an animation; a frame lasts until the time of the next one."""

    def __init__(self, writer: AnimationWriter, info: StreamInfo) -> None:
        self._writer, self._info = writer, info
        self._spec = colour_spec(info)
        self._waiting: Frame | None = None

    def write(self, item: Frame | AnyPacket) -> None:
        """Accept the next frame; packets are discarded."""
        if not isinstance(item, Frame):
            return
        if self._waiting is not None:
            self._add(self._waiting, item.pts - self._waiting.pts)
        self._waiting = item

    def finish(self) -> None:
        """Write the last frame."""
        if self._waiting is not None:
            one = round(1 / (self._info.frame_rate * self._info.time_base))
            self._add(self._waiting, self._waiting.duration or one)

    def _add(self, frame: Frame, ticks: int) -> None:
        rgb = planes_to_rgb(frame.planes, self._spec, torch.device("cpu"))
        pixels = to_uint8(rgb).permute(1, 2, 0).contiguous().numpy()
        alpha = None
        if self._info.layout.alpha:
            highest = (1 << self._info.layout.bit_depth) - 1
            alpha = np.rint(frame.planes[3] * (255 / highest)).astype(np.uint8)
        seconds = Fraction(ticks) * self._info.time_base
        self._writer.add(AnimationFrame(pixels, alpha, seconds))
