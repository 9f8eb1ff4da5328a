"""Times as people write them, and timecodes."""

from fractions import Fraction

import pytest

from vsr.media.decode.part import Part, Timestamp
from vsr.media.mux.timecode import advanced


@pytest.mark.parametrize(
    ("text", "value", "in_frames"),
    [
        ("12.5", Fraction(25, 2), False),
        ("0.1", Fraction(1, 10), False),
        (".5", Fraction(1, 2), False),
        ("5.", Fraction(5), False),
        ("90", Fraction(90), False),
        ("1:30", Fraction(90), False),
        ("90:00", Fraction(5400), False),
        ("01:02:03.004", Fraction(3_723_004, 1000), False),
        (" 7 ", Fraction(7), False),
        ("120f", Fraction(120), True),
    ],
)
def test_times_are_exact(text: str, value: Fraction, in_frames: bool) -> None:
    assert Timestamp.parse(text, "--from") == Timestamp(value, in_frames)


def test_a_duration_counts_from_the_start() -> None:
    assert Part.parse("1:00", None, "2.5") == Part.parse("60", "1:02.5")
    assert Part.parse("10f", None, "5f") == Part.parse("10f", "15f")
    assert str(Part.parse("1:00", None, "2.5")) == "60 s to 62.5 s"


@pytest.mark.parametrize(
    ("start", "frames", "rate", "end"),
    [
        ("01:00:00:00", 30, Fraction(25), "01:00:01:05"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        # Drop-frame timecode skips ;00 and ;01 of each minute but every tenth.
        ("00:00:59;29", 1, Fraction(30_000, 1001), "00:01:00;02"),
        ("00:09:59;29", 1, Fraction(30_000, 1001), "00:10:00;00"),
        ("00:00:00;00", 17_982, Fraction(30_000, 1001), "00:10:00;00"),
        ("00:00:00;00", 107_892, Fraction(30_000, 1001), "01:00:00;00"),
        ("00:01:00;02", 1798, Fraction(30_000, 1001), "00:02:00;02"),
        ("00:00:59;59", 1, Fraction(60_000, 1001), "00:01:00;04"),
    ],
)
def test_timecodes_advance_by_frames(start: str, frames: int, rate: Fraction, end: str) -> None:
    assert advanced(start, frames / rate, rate) == end


def test_a_malformed_timecode_is_none() -> None:
    assert advanced("1:2", Fraction(1), Fraction(25)) is None
    assert advanced("00:00:00:40", Fraction(1), Fraction(25)) is None
