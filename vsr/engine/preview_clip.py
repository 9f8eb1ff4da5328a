"""Write a short clip that shows a film upscaled bicubically and by the model, side by side."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from vsr.engine.picture_source import open_source
from vsr.engine.pipeline import run_stages
from vsr.engine.resume.segments import SegmentFrame, frames_of_part
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.engine.warm_up import find_warm_up
from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.imaging.tensors import resize_bicubic
from vsr.media.decode.part import Part, PartRange, Timestamp
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame, Hdr, PixelLayout, StreamInfo
from vsr.media.mux.writer import VideoWriter, check_output
from vsr.system.files import check_distinct

PREVIEW_SECONDS = 2
_SETTINGS = EncoderSettings("h264", crf=16)
_WARM_UP_FRAMES = 24
"""After so many frames, at most single code values depend on earlier ones; see `warm_up`."""
_DIVIDER = 4
"""Pixels between the two sides."""
_LONGEST = 3840, 2160
"""Width and height that most players decode; of larger frames, the middle is shown."""
_CPU = torch.device("cpu")


def check_preview_clip(path: Path, source: Path, overwrite: bool) -> None:
    """Raise `OutputError` where a clip can't be written to `path`."""
    check_output(path, _SETTINGS, overwrite)
    check_distinct([path], [source])


def write_preview_clip(
    path: Path, source: Path, options: UpscaleOptions, suffix: str, overwrite: bool
) -> None:
    """Upscale two seconds of a film, and write an H.264 clip without sound to `path`.

    The left side is upscaled bicubically, the right side by the model. The seconds are the first
    ones of `options.part`, or of the film's middle. `suffix` is that of the planned output. Raises
    `VsrError`.
    """
    if options.part is None:
        options = replace(options, part=_middle(source, options))
    session = UpscaleSession(source, replace(options, rotate="apply"), suffix)
    with session.reader:
        assert session.part is not None
        with session.another_reader() as reader:
            warm_up = find_warm_up(reader, session.part, session.found_part, _WARM_UP_FRAMES)
        part = PartRange(session.part, warm_up.first)
        canvas = _Canvas(session.reader.info, session.info)
        until = warm_up.first + round(PREVIEW_SECONDS / session.info.time_base)

        def submit(item: SegmentFrame) -> Callable[[], Frame | None]:
            low, pending = item.frame, session.submit(item.frame, item.begins_shot)
            if not item.warms_up:
                return lambda: replace(canvas.compose(low, pending()), pts=low.pts - part.first)
            return lambda: _discard(pending())

        frames = frames_of_part(session.reader, warm_up, part)
        with VideoWriter(path, canvas.info, settings=_SETTINGS, overwrite=overwrite) as writer:

            def write(frame: Frame | None) -> None:
                if frame is not None:
                    writer.write(frame)

            shown = itertools.takewhile(lambda item: item.frame.pts < until, frames)
            run_stages(shown, submit, write, queue_size=session.queue_size)


class _Canvas:
    """Puts the middles of two frames side by side."""

    def __init__(self, low: StreamInfo, high: StreamInfo) -> None:
        """Take the properties of frames before and after upscaling."""
        self._low, self._high = low, high
        width = min(high.width, (_LONGEST[0] - _DIVIDER) // 2) // 2 * 2
        height = min(high.height, _LONGEST[1]) // 2 * 2
        self._size = width, height
        self.info = replace(
            high,
            width=2 * width + _DIVIDER,
            height=height,
            layout=PixelLayout(),
            frame_count=None,
            hdr=Hdr(),
            display_matrix=None,
            coded_bits=None,
            stereo_mode=0,
            projection=b"",
            dolby_vision=b"",
        )
        """Properties of the clip."""

    def compose(self, low: Frame, high: Frame) -> Frame:
        """Return the frame of the clip: `low` upscaled bicubically, a white line, and `high`."""
        small = planes_to_rgb(low.planes, colour_spec(self._low), _CPU)
        right = planes_to_rgb(high.planes, colour_spec(self._high), _CPU)
        left = resize_bicubic(small[None], (right.shape[1], right.shape[2]))[0]
        line = torch.ones(3, self._size[1], _DIVIDER)
        both = torch.cat((self._middle(left), line, self._middle(right)), dim=2)
        planes = rgb_to_planes(both, colour_spec(self.info))
        return Frame(planes=planes, pts=low.pts, duration=low.duration)

    def _middle(self, picture: Tensor) -> Tensor:
        width, height = self._size
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        return picture[:, top : top + height, left : left + width]


def _middle(source: Path, options: UpscaleOptions) -> Part:
    """Return the part that starts a second before the film's middle."""
    with open_source(source, options, keep_on_gpu=False) as reader:
        info = reader.info
        seconds = Fraction(info.frame_count or 0) / info.frame_rate
    start = max(Fraction(0), (seconds - PREVIEW_SECONDS) / 2)
    return Part(Timestamp(start))


def _discard(frame: Frame) -> None:
    """Discard a frame that only warmed the network up."""
