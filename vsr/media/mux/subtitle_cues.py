"""Subtitles of text into QuickTime's kind, which shows one at a time."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from av.subtitles.subtitle import SubtitleSet

_LATENESS = 5
"""Seconds by which a cue may come after what is shown later than it begins."""
_FIELDS = 8
"""Of a line of ASS, before its text."""


class _Cue(NamedTuple):
    begin: int
    """In ticks, as is the duration."""
    duration: int
    line: bytes
    """As ASS, without times."""


class Cues:
    """Takes cues in any order within some seconds, and gives each until the next one begins.

    The muxer gives a sample all of its duration and delays the next. So where cues overlap, the
    end of the first is cut, and those that begin at once become one of several lines. One tick is
    left between two cues, for the muxer's sample that clears the screen.
    """

    def __init__(self, time_base: Fraction) -> None:
        """`time_base` is that of all cues."""
        self._time_base = time_base
        self._waiting: list[_Cue] = []

    def add(self, begin: int, duration: int, words: Any) -> None:
        """Take a cue, decoded; its times are in ticks."""
        lines = [rect.ass for rect in words if getattr(rect, "ass", b"")]
        if lines:
            self._waiting.append(_Cue(begin, duration, _joined(lines)))
            self._waiting.sort(key=lambda cue: cue.begin)

    def due(self, now: Fraction | None) -> Iterator[tuple[int, int, SubtitleSet]]:
        """Begin, duration and text of those that no other cue can change, at `now` seconds.

        None is the end, when all are.
        """
        while self._waiting:
            first = self._waiting[0]
            number = sum(cue.begin == first.begin for cue in self._waiting)
            group, rest = self._waiting[:number], self._waiting[number:]
            longest = max(cue.duration for cue in group)
            if now is not None:
                settled = first.begin if rest else first.begin + longest
                if now < settled * self._time_base + _LATENESS:
                    return
            if rest:
                until = rest[0].begin - first.begin - 1
                longest = max(1, min(longest or until, until))
            self._waiting = rest
            text = SubtitleSet.create(_joined([cue.line for cue in group]), 0, 0)
            yield first.begin, longest, text


def _joined(lines: list[bytes]) -> bytes:
    """Lines of ASS as one, each in its own styles."""
    if len(lines) == 1:
        return lines[0]
    texts = [line.split(b",", _FIELDS)[-1] for line in lines]
    head = lines[0][: len(lines[0]) - len(texts[0])]
    return head + b"{\\r}\\N".join(texts)
