"""A part of a film, as users name it: from a time or frame, to another one or for a duration.

Times count from the film's first frame, as players show them.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from vsr.errors import VsrError

_MAX_DIGITS = 9
_FRAMES = re.compile(r"(\d+)f", re.ASCII)
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_SIXTY = 60


@dataclass(frozen=True)
class Timestamp:
    """A time in seconds, or a count of displayed frames."""

    value: Fraction
    in_frames: bool = False

    @classmethod
    def parse(cls, text: float | str, option: str) -> "Timestamp":
        """Parse `12.5`, `MM:SS.ms`, `HH:MM:SS.ms` or `120f`, exactly; a number is seconds.

        Raises `VsrError`, naming the option.
        """
        text = str(text).strip()
        if text.startswith("-"):
            raise VsrError(f"{option} {text}: is negative; times count from the first frame")
        if any(len(digits) > _MAX_DIGITS for digits in re.findall(r"\d+", text)):
            raise VsrError(f"{option} {text}: has more than {_MAX_DIGITS} digits in a row")
        if frames := _FRAMES.fullmatch(text):
            return cls(Fraction(int(frames[1])), in_frames=True)
        clock = _CLOCK.fullmatch(text)
        if clock is None:
            raise VsrError(
                f"{option} {text!r}: is no time; write seconds (12.5), HH:MM:SS.ms, MM:SS or "
                "frames (120f)"
            )
        hours, minutes, seconds = (Fraction(group or 0) for group in clock.groups())
        if clock[2] and seconds >= _SIXTY:
            raise VsrError(f"{option} {text}: has {float(seconds):g} seconds after the colon")
        if clock[1] and minutes >= _SIXTY:
            raise VsrError(f"{option} {text}: has {minutes} minutes after the colon")
        return cls((hours * _SIXTY + minutes) * _SIXTY + seconds)

    def __str__(self) -> str:
        return f"frame {self.value}" if self.in_frames else f"{_seconds(self.value)} s"


_START = Timestamp(Fraction(0))


@dataclass(frozen=True)
class Part:
    """The frames of a film from `start` on, up to one of three ends or to the film's end."""

    start: Timestamp = _START
    """The part starts with the first frame at or after this time, or with the frame of this index,
    counted from 0."""
    end: Fraction | None = None
    """Time in seconds before which all frames of the part are."""
    seconds: Fraction | None = None
    """Duration in seconds, counted from the part's first frame."""
    frames: int | None = None
    """Count of frames."""

    @classmethod
    def parse(
        cls,
        start: float | str | None = None,
        end: float | str | None = None,
        duration: float | str | None = None,
    ) -> "Part":
        """Parse the values of `--from`, `--to` and `--duration`; see `Timestamp.parse`.

        Raises `VsrError` where they are malformed or contradict each other.
        """
        if end is not None and duration is not None:
            raise VsrError(f"--to {end} and --duration {duration}: name one of them")
        first = _START if start is None else Timestamp.parse(start, "--from")
        if duration is not None:
            length = Timestamp.parse(duration, "--duration")
            if not length.value:
                raise VsrError(f"--duration {duration}: is empty; name a duration above 0")
            if length.in_frames:
                return cls(first, frames=int(length.value))
            if first.in_frames:
                return cls(first, seconds=length.value)
            return cls(first, end=first.value + length.value)
        if end is None:
            return cls(first)
        last = Timestamp.parse(end, "--to")
        if start is not None and last.in_frames and not first.in_frames:
            raise VsrError(f"--from {start} --to {end}: a time and a frame; use --duration {end}")
        if (start is None or first.in_frames == last.in_frames) and last.value <= first.value:
            where = "an empty part" if start is None else f"not after --from {start}"
            raise VsrError(f"--to {end}: is {where}")
        if last.in_frames:
            first = Timestamp(first.value, in_frames=True)
            return cls(first, frames=int(last.value - first.value))
        return cls(first, end=last.value)

    @property
    def uses_seconds(self) -> bool:
        """Whether a bound is a time, other than the start of the film."""
        is_timed = bool(self.start.value) and not self.start.in_frames
        return is_timed or self.end is not None or self.seconds is not None

    def __str__(self) -> str:
        if self.end is not None:
            return f"{self.start} to {_seconds(self.end)} s"
        if self.seconds is not None:
            return f"{self.start}, {_seconds(self.seconds)} s"
        return f"{self.start}, {self.frames} frames" if self.frames else f"{self.start} to the end"


@dataclass(frozen=True)
class PartClock:
    """Compares frames of a film with the bounds of a part.

    All pts are those of `VideoReader`, in ticks of `time_base`.
    """

    part: Part
    origin: int
    """pts of the film's first frame."""
    time_base: Fraction
    """Seconds per tick."""
    frame_rate: Fraction
    """Average frames per second, to convert counts of frames before the part to time."""

    def has_started(self, pts: int, index: int, frames_before: int = 0) -> bool:
        """Whether a frame is in the part, after it, or among the frames before it.

        `index` is that in the film; it matters only if the part starts with an index.
        """
        start = self.part.start
        if start.in_frames:
            return index >= start.value - frames_before
        seconds = (pts - self.origin) * self.time_base
        return seconds >= start.value - frames_before / self.frame_rate

    def has_ended(self, pts: int, index: int, first: int) -> bool:
        """Whether a frame is after the part.

        `index` is that in the part, and `first` the pts of the part's first frame.
        """
        if self.part.frames is not None:
            return index >= self.part.frames
        end = self.end(first)
        return end is not None and pts * self.time_base >= end

    def end(self, first: int) -> Fraction | None:
        """Return the end in seconds on the reader's clock; None if it isn't a time.

        `first` is the pts of the part's first frame.
        """
        if self.part.end is not None:
            return self.origin * self.time_base + self.part.end
        if self.part.seconds is not None:
            return first * self.time_base + self.part.seconds
        return None

    def estimate_frames(self, film_frames: int | None) -> int | None:
        """Estimate the frames of the part by the frame rate; None if that needs the film's length.

        `film_frames` is the estimated count of the whole film.
        """
        part, rate = self.part, self.frame_rate
        before = part.start.value if part.start.in_frames else part.start.value * rate
        counts = [Fraction(film_frames) - before] if film_frames else []
        if part.frames is not None:
            counts.append(Fraction(part.frames))
        elif part.end is not None:
            counts.append(part.end * rate - before)
        elif part.seconds is not None:
            counts.append(part.seconds * rate)
        return max(1, math.ceil(min(counts))) if counts else None


@dataclass(frozen=True)
class PartRange:
    """A part whose first frame is known."""

    clock: PartClock
    first: int
    """pts of the part's first frame."""

    def is_before(self, pts: int) -> bool:
        """Whether a frame is before the part."""
        return pts < self.first

    def has_ended(self, pts: int, index: int) -> bool:
        """Whether a frame is after the part; `index` is that in the part."""
        return self.clock.has_ended(pts, index, self.first)


def _seconds(value: Fraction) -> str:
    """Format seconds exactly, as far as they are a decimal fraction."""
    return f"{(Decimal(value.numerator) / value.denominator).normalize():f}"
