"""Rearrange text subtitles for QuickTime, which shows one cue at a time."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from av.subtitles.subtitle import SubtitleSet

_LATENESS = 5
"""Seconds by which a cue may arrive after packets with later times."""
_FIELDS = 8
"""Comma-separated fields of an ASS line before its text."""


class _Cue(NamedTuple):
    start: int
    """In ticks, like the duration."""
    duration: int
    line: bytes
    """ASS without times."""


class Cues:
    """Sorts cues, and ends each one before the next starts.

    QuickTime's muxer writes a sample with its full duration and delays the next one. Where cues
    overlap, the first one is therefore shortened, and cues with the same start become one of
    several lines. One tick is left between two cues, for the muxer's sample that clears the screen.
    Cues may be out of order by a few seconds.
    """

    def __init__(self, time_base: Fraction) -> None:
        """`time_base` is that of all cues."""
        self._time_base = time_base
        self._waiting: list[_Cue] = []

    def add(self, start: int, duration: int, subtitles: Any) -> None:
        """Add a decoded cue; its times are in ticks."""
        lines = [rect.ass for rect in subtitles if getattr(rect, "ass", b"")]
        if lines:
            self._waiting.append(_Cue(start, duration, _joined(lines)))
            self._waiting.sort(key=lambda cue: cue.start)

    def due(self, now: Fraction | None) -> Iterator[tuple[int, int, SubtitleSet]]:
        """Iterate over (start, duration, text) of the cues that are final at `now` seconds.

        At the end (None), all cues are final.
        """
        while self._waiting:
            first = self._waiting[0]
            count = sum(cue.start == first.start for cue in self._waiting)
            group, rest = self._waiting[:count], self._waiting[count:]
            longest = max(cue.duration for cue in group)
            if now is not None:
                settled = first.start if rest else first.start + longest
                if now < settled * self._time_base + _LATENESS:
                    return
            if rest:
                until = rest[0].start - first.start - 1
                longest = max(1, min(longest or until, until))
            self._waiting = rest
            text = SubtitleSet.create(_joined([cue.line for cue in group]), 0, 0)
            yield first.start, longest, text


def _joined(lines: list[bytes]) -> bytes:
    """Join lines of ASS to one, each with its own styles."""
    if len(lines) == 1:
        return lines[0]
    texts = [line.split(b",", _FIELDS)[-1] for line in lines]
    head = lines[0][: len(lines[0]) - len(texts[0])]
    return head + b"{\\r}\\N".join(texts)
