"""Advance SMPTE timecodes by a count of frames (SMPTE ST 12-1)."""

import re
from collections.abc import Mapping
from fractions import Fraction

_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", re.ASCII)
_DROPPED_PER_MINUTE = Fraction(1, 15)
"""Of the frames per second: numbers that drop-frame timecode skips each minute but the tenth."""


def advanced(timecode: str, seconds: Fraction, rate: Fraction) -> str | None:
    """Return the timecode of the frame `seconds` later; None if it is malformed.

    A separator `;` or `.` before the frames is that of drop-frame timecode.
    """
    fields = _TIMECODE.fullmatch(timecode.strip())
    if fields is None:
        return None
    hours, minutes, whole, frames = (int(fields[index]) for index in (1, 2, 3, 5))
    nominal = round(rate)
    dropped = int(nominal * _DROPPED_PER_MINUTE) if fields[4] != ":" else 0
    if nominal < 1 or frames >= nominal:
        return None
    total = 60 * hours + minutes
    count = (60 * total + whole) * nominal + frames - dropped * (total - total // 10)
    per_ten = 600 * nominal - 9 * dropped
    count = (count + round(seconds * rate)) % (144 * per_ten)
    tens, rest = divmod(count, per_ten)
    if dropped:
        # Only the first minute of ten has all numbers.
        later = max(0, rest - 60 * nominal) // (60 * nominal - dropped)
        skipped = later + (rest >= 60 * nominal)
        rest += dropped * min(9, skipped)
    whole, frames = divmod(rest, nominal)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(10 * tens + minutes, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{fields[4]}{frames:02}"


def advanced_tags(tags: Mapping[str, str], seconds: Fraction, rate: Fraction) -> dict[str, str]:
    """Advance the timecode among tags; a malformed one is left out."""
    result = {}
    for key, value in tags.items():
        if key.lower() == "timecode":
            if (later := advanced(value, seconds, rate)) is None:
                continue
            value = later
        result[key] = value
    return result
