"""Analyse frames of a film before upscaling.

Finds side data, changes of format, and fields that the frames' flags don't declare.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from av.video.frame import VideoFrame

from vsr.media.decode.comb import CombFinder, FieldFinding, luma_of
from vsr.media.decode.conform import FormatChange, changes, format_of, where_of
from vsr.media.decode.decoder import nearest_layout
from vsr.media.decode.pulldown import is_soft_telecine
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.sampling import sample_runs
from vsr.media.decode.side_data import (
    CAPTIONS,
    HDR10_PLUS,
    STEREO,
    TIMECODE,
    is_worth_a_line,
    is_zero_timecode,
    side_data_of,
)
from vsr.media.frame import PixelLayout

_PIXELS, _PIXELS_BEFORE = 64_000_000, 100_000_000
"""Luma samples to analyse, and those to decode between a keyframe and a place."""
_PLACES, _MAX_FIRST, _MAX_ELSEWHERE, _MIN_FRAMES = 8, 48, 24, 4
"""Other places than the start; frames at the start, and at each other place; minimum of both."""

_MAX_PULLDOWN_PIXELS, _MIN_PULLDOWN_FRAMES = 1920 * 1088, 17
"""Interlaced formats are no larger; frames at the start that show the rhythm of 3:2 pulldown."""


class SeenChange(NamedTuple):
    """A difference from the first frame, and when it was seen first."""

    change: FormatChange
    seconds: float | None
    """In the output; None without times."""
    is_exact: bool
    """Whether the previous frame was analysed as well."""

    @property
    def where(self) -> str:
        """The time as text, such as "at 1.80 s"."""
        return where_of(self.seconds, self.is_exact)


@dataclass
class Survey:
    """Findings about some frames of a film; in a short film, about all of them."""

    side_data: dict[str, float] = field(default_factory=dict)
    """Types of side data worth reporting, and the time in seconds of the first of each."""
    changes: dict[str, SeenChange] = field(default_factory=dict)
    """By the property that changes."""
    layouts: set[PixelLayout] = field(default_factory=set)
    captions: dict[Fraction, bytes] = field(default_factory=dict)
    """Captions of the first frames, by their time in the output, in seconds.

    They end where the clock of joined recordings steps back.
    """
    hdr10_plus: dict[Fraction, bytes] = field(default_factory=dict)
    """HDR10+ metadata of the first frames, in the same way."""
    fields: FieldFinding = field(default_factory=FieldFinding)
    """What the fields of the frames look like."""
    is_flagged: bool = False
    """Whether a frame is flagged as interlaced."""
    is_soft_telecine: bool = False
    """Whether the first frames are film frames, with times of 3:2 pulldown."""

    @property
    def interlaced(self) -> bool:
        """Whether frames look interlaced without being flagged as such."""
        return self.fields.is_interlaced and not self.is_flagged


def survey_film(path: Path, video: int | None = None) -> Survey:
    """Analyse decoded frames at the start of a film and at some places spread over it.

    `video` chooses one of several video streams. Raises `MediaError` where the film can't be read.
    """
    with VideoReader(path, video=video) as reader:
        pixels = reader.info.width * reader.info.height
        fit = _PIXELS // (pixels * (_PLACES + 2))
        least = _MIN_PULLDOWN_FRAMES if pixels <= _MAX_PULLDOWN_PIXELS else _MIN_FRAMES
        first_length = min(_MAX_FIRST, max(least, 2 * fit))
        length = min(_MAX_ELSEWHERE, max(_MIN_FRAMES, fit))
        runs = sample_runs(
            reader,
            places=_PLACES,
            first_length=first_length,
            length=length,
            max_before=_PIXELS_BEFORE // pixels,
        )
        analysis = _Analysis(reader)
        for index, run in enumerate(runs):
            count = analysis.add_run(run, is_first=index == 0)
            if index == 0 and count < first_length:
                break  # the film is no longer than that
        return analysis.finish()


class _Analysis:
    """Collects the findings of a survey, run by run."""

    def __init__(self, reader: VideoReader) -> None:
        self._reader = reader
        self._found = Survey()
        self._combs, self._seen = CombFinder(), set[Fraction]()
        self._starts_at_zero = False
        self._is_rising = True
        self._latest: Fraction | None = None

    def add_run(self, run: Iterable[VideoFrame], is_first: bool) -> int:
        """Analyse consecutive frames; return their count."""
        self._combs.start_run()
        times: list[Fraction] = []
        for decoded in run:
            time = (decoded.pts or 0) * self._reader.info.time_base + self._reader.lead
            self._is_rising = self._is_rising and (self._latest is None or time > self._latest)
            self._latest = time
            self._found.is_flagged |= decoded.interlaced_frame
            self._add_format(decoded, time, is_first)
            self._add_side_data(decoded, time, is_first)
            self._add_luma(decoded, time)
            self._seen.add(time)
            times.append(time)
        self._found.is_soft_telecine |= is_first and is_soft_telecine(times)
        return len(times)

    def finish(self) -> Survey:
        """Return the findings."""
        self._found.fields = self._combs.finding()
        if self._reader.info.stereo_mode:
            self._found.side_data.setdefault(STEREO, 0.0)
        return self._found

    def _add_format(self, decoded: VideoFrame, time: Fraction, is_first: bool) -> None:
        aspect = self._reader.stream.codec_context.sample_aspect_ratio
        for change in changes(self._reader.frame_format, format_of(decoded, aspect)):
            seconds = None if decoded.pts is None else float(time)
            self._found.changes.setdefault(change.what, SeenChange(change, seconds, is_first))
        self._found.layouts.add(nearest_layout(decoded.sw_format or decoded.format))

    def _add_side_data(self, decoded: VideoFrame, time: Fraction, is_first: bool) -> None:
        for item in side_data_of(decoded):
            if item.type == TIMECODE:
                self._starts_at_zero |= is_first and is_zero_timecode(item)
                if self._starts_at_zero:
                    continue
            if is_worth_a_line(item):
                self._found.side_data.setdefault(item.type, float(time))
            if item.type == CAPTIONS and is_first and self._is_rising:
                self._found.captions[time] = item.payload
            if item.type == HDR10_PLUS and is_first and self._is_rising:
                self._found.hdr10_plus[time] = item.payload

    def _add_luma(self, decoded: VideoFrame, time: Fraction) -> None:
        has_size = (decoded.width, decoded.height) == self._reader.frame_format.size
        if time in self._seen and decoded.pts is not None:
            self._combs.start_run()  # runs overlap in a short film
        elif has_size and (luma := luma_of(decoded)) is not None:
            self._combs.add(luma)
