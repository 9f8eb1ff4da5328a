"""Choose what becomes of the fields of a film's frames."""

from dataclasses import dataclass, replace
from fractions import Fraction

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.errors import ConfigError
from vsr.media.decode import field_rate, pulldown
from vsr.media.decode.deinterlace import Deinterlace, Deinterlacer
from vsr.media.decode.field_frame import FieldFrame
from vsr.media.decode.field_rate import FieldRateDeinterlacer
from vsr.media.decode.inverse_telecine import InverseTelecine
from vsr.media.frame import StreamInfo


@dataclass(frozen=True)
class FieldMode:
    """Options about fields. Raises `ConfigError` where they contradict each other."""

    deinterlace: Deinterlace = "off"
    inverse_telecine: bool = False
    """Whether 3:2 pulldown is removed; frames that stay combed are then deinterlaced, unless
    `deinterlace` is "off"."""
    is_bottom_first: bool = False
    """Field order of frames whose flags don't tell it."""

    def __post_init__(self) -> None:
        if self.inverse_telecine and self.deinterlace in ("on", "double"):
            raise ConfigError(
                f"--inverse-telecine and --deinterlace {self.deinterlace} contradict each other: "
                "omit one; inverse telecine deinterlaces the frames that need it"
            )

    @property
    def ticks(self) -> int:
        """Ticks of the output in a tick of the stream."""
        if self.inverse_telecine:
            return pulldown.TICKS
        return field_rate.TICKS if self.deinterlace == "double" else 1

    @property
    def frames(self) -> Fraction:
        """Frames of the output for a frame of the stream."""
        if self.inverse_telecine:
            return Fraction(pulldown.CYCLE - 1, pulldown.CYCLE)
        return Fraction(2 if self.deinterlace == "double" else 1)

    def output_info(self, info: StreamInfo, name: str) -> StreamInfo:
        """Describe a stream after its fields are processed.

        Raises `MediaError`, with the file's name, where the frame rate doesn't fit.
        """
        if self.ticks == 1:
            return info
        rate = info.frame_rate
        if self.inverse_telecine:
            rate = pulldown.video_rate(rate, name)
        return replace(
            info,
            time_base=info.time_base / self.ticks,
            frame_rate=rate * self.frames,
            frame_count=self.output_count(info.frame_count),
        )

    def output_count(self, frames: int | None) -> int | None:
        """Return the count of output frames; with pulldown, that of film throughout."""
        return None if frames is None else round(frames * self.frames)


class FieldFilter:
    """Applies a `FieldMode` to decoded frames."""

    def __init__(self, mode: FieldMode, stream: VideoStream, info: StreamInfo) -> None:
        """`info` is from `FieldMode.output_info`."""
        self._mode, self._stream, self._info = mode, stream, info
        self._origin: int | None = None
        """pts of the film's first frame."""
        self._filter = self._new()

    def restart(self, stream: VideoStream, is_bottom_first: bool | None = None) -> None:
        """Start again with other frames of the film, and with a field order if one is given."""
        if is_bottom_first is not None:
            self._mode = replace(self._mode, is_bottom_first=is_bottom_first)
        if isinstance(self._filter, InverseTelecine):
            self._origin = self._filter.origin
        self._stream = stream
        self._filter = self._new()

    def process(self, frame: VideoFrame | None, is_repeat: bool = False) -> list[FieldFrame]:
        """Add a frame, or None at the end; return the finished frames.

        A frame that `is_repeat` stands for one that is lost. Repeats are added only where `ticks`
        is above 1; otherwise frames are returned one for one, and repeated after that.
        """
        return self._filter.process(frame, is_repeat)

    @property
    def interlaced(self) -> int:
        """Frames flagged as interlaced so far."""
        return self._filter.found

    def notes(self) -> list[str]:
        """Describe what was done; to be called after the last frame."""
        return self._filter.notes()

    @property
    def mode(self) -> FieldMode:
        """The options."""
        return self._mode

    def _new(self) -> Deinterlacer | FieldRateDeinterlacer | InverseTelecine:
        mode, stream = self._mode, self._stream
        if mode.inverse_telecine:
            return InverseTelecine(
                stream,
                rate=self._info.frame_rate / mode.frames,
                origin=self._origin,
                is_bottom_first=mode.is_bottom_first,
                deinterlaces=mode.deinterlace != "off",
            )
        if mode.deinterlace == "double":
            rate = self._info.frame_rate / mode.frames
            return FieldRateDeinterlacer(stream, rate, mode.is_bottom_first)
        return Deinterlacer(stream, mode.deinterlace)
