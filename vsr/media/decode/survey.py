"""Look through a film before any work: side data, changes of pixels, undeclared fields."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vsr.media.decode.comb import CombFinder, thinned
from vsr.media.decode.conform import FormatChange, changes, look_of, where_of
from vsr.media.decode.decoder import nearest_layout
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.side_data import (
    CAPTIONS,
    STEREO,
    TIMECODE,
    is_worth_a_line,
    is_zero_timecode,
    side_data_of,
)
from vsr.media.frame import PixelLayout
from vsr.media.pyav import in_memory, read_plane

_PIXELS, _PIXELS_BEFORE = 64_000_000, 100_000_000
"""Luma samples to look at, and those to decode on the way from a keyframe to a place."""
_PLACES, _MOST_AT_FIRST, _MOST_AT_A_PLACE, _LEAST = 8, 48, 24, 4
"""Frames: at the beginning, and at each of so many other places; the least of both."""


class SeenChange(NamedTuple):
    """A change against the first frame, and the first frame seen that shows it."""

    change: FormatChange
    seconds: float | None
    """In the output; None without times."""
    is_exact: bool
    """Whether the frame before it was seen as well."""

    @property
    def where(self) -> str:
        """In words, such as "at 1.80 s"."""
        return where_of(self.seconds, self.is_exact)


@dataclass
class Survey:
    """What some frames of a film hold; in a short film, all of them."""

    side_data: dict[str, float] = field(default_factory=dict)
    """Kinds that are worth a line, and the second at which each was seen first."""
    changes: dict[str, SeenChange] = field(default_factory=dict)
    """By what changes."""
    layouts: set[PixelLayout] = field(default_factory=set)
    captions: dict[Fraction, bytes] = field(default_factory=dict)
    """Captions of the first frames, by their second in the output.

    Where the clock of joined recordings steps back, they end.
    """
    interlaced: bool = False
    """Whether frames look interlaced, though none says so."""


def survey_film(path: Path) -> Survey:
    """Decode frames at the beginning of a film and at some places spread over it.

    Raises `MediaError` where it can't be read.
    """
    found = Survey()
    with VideoReader(path) as reader:
        info, like = reader.info, reader.look
        base = info.time_base
        pixels = info.width * info.height
        fit = _PIXELS // (pixels * (_PLACES + 2))
        at_first = min(_MOST_AT_FIRST, max(_LEAST, 2 * fit))
        at_a_place = min(_MOST_AT_A_PLACE, max(_LEAST, fit))
        combs, seen = CombFinder(), set[Fraction]()
        flagged = starts_at_zero = False
        is_rising = True
        latest: Fraction | None = None
        before = _PIXELS_BEFORE // pixels
        stretches = reader.stretches(_PLACES, at_first, at_a_place, before)
        for number, stretch in enumerate(stretches):
            combs.begin_stretch()
            count = 0
            for decoded, aspect in stretch:
                count += 1
                time = (decoded.pts or 0) * base + reader.lead
                is_rising = is_rising and (latest is None or time > latest)
                latest = time
                flagged |= decoded.interlaced_frame
                look = look_of(decoded, aspect)
                for change in changes(like, look):
                    seconds = None if decoded.pts is None else float(time)
                    found.changes.setdefault(
                        change.what, SeenChange(change, seconds, is_exact=number == 0)
                    )
                pixel_format = decoded.sw_format or decoded.format
                found.layouts.add(nearest_layout(pixel_format))
                for item in side_data_of(decoded):
                    if item.kind == TIMECODE:
                        starts_at_zero |= number == 0 and is_zero_timecode(item)
                        if starts_at_zero:
                            continue
                    if is_worth_a_line(item):
                        found.side_data.setdefault(item.kind, float(time))
                    if item.kind == CAPTIONS and number == 0 and is_rising:
                        found.captions[time] = item.payload
                if time in seen and decoded.pts is not None:
                    combs.begin_stretch()  # places overlap in a short film
                elif look.size == like.size and not flagged and _has_luma(pixel_format.name):
                    frame = in_memory(decoded)
                    bits = frame.format.components[0].bits
                    kind = np.dtype(np.uint8 if bits <= 8 else np.uint16)
                    combs.add(thinned(read_plane(frame.planes[0], kind), max(8, bits)))
                seen.add(time)
            if number == 0 and count < at_first:
                break  # that was all of it
        found.interlaced = not flagged and combs.interlaced
        if info.stereo_mode:
            found.side_data.setdefault(STEREO, 0.0)
    return found


def _has_luma(pixel_format: str) -> bool:
    """Whether the first plane of a pixel format is luma alone, sample by sample."""
    planar = pixel_format.startswith(("yuv4", "yuvj", "yuva", "gray", "nv"))
    return planar and not pixel_format.endswith("be") and "f" not in pixel_format
