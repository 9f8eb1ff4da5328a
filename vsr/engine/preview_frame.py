"""Upscale single frames of films, and keep what the next frame can use.

A frame is upscaled after the frames before it, as in a run over the whole film. Sessions with their
compiled models, decoded frames and surveys are kept for the next preview, within limits.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions, picture_options
from vsr.errors import MediaError, OutputError
from vsr.frames.shots import CutMarker
from vsr.frames.yuv import colour_spec, planes_to_rgb
from vsr.imaging.tensors import resize_bicubic, to_uint8
from vsr.media.decode.picture_reader import FilmReader
from vsr.media.decode.rotation import rotation_of
from vsr.media.decode.survey import Survey
from vsr.media.frame import Frame, StreamInfo
from vsr.system.files import file_stamp
from vsr.zoo import model_stamp

MAX_PREVIEW_SIDE = 16_383
"""Largest side of a preview in pixels, that of WebP."""
_WARM_UP_FRAMES = 16
"""Frames before the one shown, unless its shot starts later: then, it is exactly that of a run.

Otherwise the recurrent state differs from that of a run. In f32 the difference decays: after 16
frames, one of 10,000 samples differs by more than one code value (by 2), and after 32 none differs.
In int8 it doesn't decay, as rounding renews it: in a meadow of 96x54, 6 % of the samples of
`tiny-x4` differ by more than one code value, by up to 5, after 16 frames as after 32."""
_SEEK_SECONDS = 2
"""Before the first frame that matters, so that the state of decoder and cut detector is right."""
_SUFFIX = ".mkv"
"""Container of the imagined output; it doesn't change frames."""
_SESSIONS, _SURVEYS = 3, 16
"""Kept ones."""
_MOMENT_BYTES = 256_000_000
"""Limit of the decoded frames that are kept."""
_CPU = torch.device("cpu")

Pixels = NDArray[np.uint8]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class FramePreview:
    """A frame of a film before and after upscaling, as players show it."""

    before: Pixels
    """RGB (H, W, 3) at the output's size, upscaled bicubically."""
    after: Pixels
    """RGB (H, W, 3), upscaled by the model."""
    seconds: float
    """Time of the frame since the film's first one."""
    pixel_aspect: float
    """Width of a pixel over its height."""
    model: str
    detail: float
    backend: str


class _Moment(NamedTuple):
    """A frame and those before it, decoded."""

    frames: tuple[tuple[Frame, bool], ...]
    """Frames in order, each with a flag: whether it is the first of a shot."""
    seconds: float
    """Time of the last of them since the film's first frame."""

    @property
    def size(self) -> int:
        """Bytes of all planes."""
        return sum(plane.nbytes for frame, _ in self.frames for plane in frame.planes)


class FramePreviewer:
    """Upscales single frames of films, one at a time."""

    def __init__(self) -> None:
        self._sessions = _Cache[UpscaleSession](_SESSIONS, lambda session: session.reader.close())
        self._moments = _Cache[_Moment](_SESSIONS * _SESSIONS)
        self._surveys = _Cache[Survey](_SURVEYS)

    def preview(self, source: Path, seconds: float, options: UpscaleOptions) -> FramePreview:
        """Upscale the frame that is shown at a time in seconds since the film's first frame.

        Raises `VsrError`, such as where the film ends before, or where the output is too large for
        a preview.
        """
        session = self._session(source, picture_options(options))
        info = session.info
        _check_size(source, info)
        moment = self._moment(session, seconds)
        cuts = [index for index, (_, is_cut) in enumerate(moment.frames) if is_cut]
        first = cuts[-1] if cuts else 0
        for index, (frame, _) in enumerate(moment.frames[first:]):
            low, high = frame, session.submit(frame, index == 0)()
        after = planes_to_rgb(high.planes, colour_spec(info), _CPU)
        small = planes_to_rgb(low.planes, colour_spec(session.reader.info), _CPU)
        before = resize_bicubic(small[None], (info.height, info.width))[0]
        rotation = rotation_of(info.display_matrix)
        aspect = info.sample_aspect_ratio
        return FramePreview(
            before=_pixels(before, info),
            after=_pixels(after, info),
            seconds=moment.seconds,
            pixel_aspect=float(1 / aspect if rotation and rotation.transposed else aspect),
            model=session.model,
            detail=session.detail,
            backend=session.backend.name,
        )

    def close(self) -> None:
        """Close all files."""
        self._sessions.clear()

    def _session(self, source: Path, options: UpscaleOptions) -> UpscaleSession:
        stamp = file_stamp(source)
        key = (*stamp, model_stamp(options.model), repr(options))
        if (session := self._sessions.get(key)) is None:
            survey_key = (*stamp, options.video)
            survey = self._surveys.get(survey_key)
            session = UpscaleSession(source, options, _SUFFIX, survey)
            self._sessions.add(key, session)
            self._surveys.add(survey_key, session.survey)
        return session

    def _moment(self, session: UpscaleSession, seconds: float) -> _Moment:
        """Decode the frame shown at a time and those before it, unless they are kept."""
        options = session.options
        reading = (options.deinterlace, options.inverse_telecine, options.rotate, options.decoder)
        key = (*file_stamp(session.reader.path), options.video, *reading, seconds)
        if (moment := self._moments.get(key)) is None:
            moment = _read_moment(session, seconds)
            while self._moments and moment.size + self._moments.total() > _MOMENT_BYTES:
                self._moments.drop_oldest()
            self._moments.add(key, moment, moment.size)
        return moment


class _Cache(Generic[_Value]):
    """The most recently used values by key."""

    def __init__(self, most: int, close: Callable[[_Value], None] = lambda value: None) -> None:
        """Keep up to `most` values; `close` is called with each that is dropped."""
        self._values: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self._most, self._close = most, close

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> _Value | None:
        """Return a value, which is now the newest; None if it isn't kept."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def add(self, key: Hashable, value: _Value, size: int = 0) -> None:
        """Add a value of `size` bytes; the oldest ones are dropped."""
        if key in self._values:
            return
        self._values[key] = value, size
        while len(self._values) > self._most:
            self.drop_oldest()

    def total(self) -> int:
        """Return the bytes of all values."""
        return sum(size for _, size in self._values.values())

    def drop_oldest(self) -> None:
        """Drop the value that wasn't used for the longest time."""
        self._close(self._values.popitem(last=False)[1][0])

    def clear(self) -> None:
        """Drop all values."""
        while self._values:
            self.drop_oldest()


def _check_size(source: Path, info: StreamInfo) -> None:
    if max(info.width, info.height) > MAX_PREVIEW_SIDE:
        raise OutputError(
            f"{source}: the output is {info.width}x{info.height}, and previews have at most "
            f"{MAX_PREVIEW_SIDE} pixels a side; choose a smaller size"
        )


class _Excerpt(NamedTuple):
    """Frames read up to a time."""

    frames: tuple[tuple[Frame, bool], ...]
    """The last `_WARM_UP_FRAMES` and one more, with flags of cuts."""
    first_pts: int
    """pts of the first frame that was read."""
    is_end: bool
    """Whether the film ends with the last frame."""


def _read_moment(session: UpscaleSession, seconds: float) -> _Moment:
    """Decode the last frame that starts by a time, and up to `_WARM_UP_FRAMES` before it.

    Raises `MediaError` where the film ends before.
    """
    with session.another_reader() as reader:
        tick, rate = reader.info.time_base, reader.info.frame_rate
        target = reader.first_pts + int(Fraction(seconds) / tick + Fraction(1, 2))
        start = max(reader.first_pts, target - round(_WARM_UP_FRAMES / (rate * tick)))
        reader.seek_before(start, _SEEK_SECONDS)
        found = _frames_until(reader, target)
        if found is None or found.first_pts > start:  # sought too far
            reader.reopen()
            found = _frames_until(reader, target)
            assert found is not None  # the reader has probed the first frame
        last = found.frames[-1][0]
        at = float((last.pts - reader.first_pts) * tick)
        if found.is_end and target >= last.pts + (last.duration or 1 / (rate * tick)):
            raise MediaError(
                f"{reader.path}: its last frame is at {at:.3f} s; {seconds:.3f} s is after it"
            )
        return _Moment(found.frames, at)


def _frames_until(reader: FilmReader, target: int) -> _Excerpt | None:
    """Read up to the last frame that starts by `target`; None where no frame can be read."""
    last: deque[tuple[Frame, bool]] = deque(maxlen=_WARM_UP_FRAMES + 1)
    first_pts = None
    is_end = True
    for frame, is_cut in CutMarker(reader.frames()):
        assert isinstance(frame, Frame)
        first_pts = frame.pts if first_pts is None else first_pts
        if last and frame.pts > target:
            is_end = False
            break
        last.append((frame, is_cut))
    return None if first_pts is None else _Excerpt(tuple(last), first_pts, is_end)


def _pixels(rgb: Tensor, info: StreamInfo) -> Pixels:
    """Convert float RGB (3, H, W) to uint8 (H, W, 3), rotated as players do."""
    planes = to_uint8(rgb).numpy()
    if rotation := rotation_of(info.display_matrix):
        planes = np.stack([rotation.apply(plane) for plane in planes])
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
