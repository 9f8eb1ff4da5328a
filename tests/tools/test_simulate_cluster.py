from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from simulate_cluster import FILM, Rates, chain_lengths, main, read_shots, simulate

from vsr.engine.resume import segments
from vsr.engine.resume.journal import FIRST_SEGMENT
from vsr.media.frame import Frame


def test_a_hand_computed_schedule() -> None:
    # Found after 1, 3, 4 and 7 s. Two workers, ready after 2 s, compute 10 frames per second:
    # A at 2 to 3; B at 3 to 5; C at 4 to 5, D at 7 to 10. A takes 1 s to arrive, B 2 s, until 7;
    # C until 8; D, the last, from 10 until 13. Joining its 70 frames takes 7 s.
    rates = Rates(worker=10, scan=10, start=2, frame_bytes=1, upload=10, join=10)
    outcome = simulate([10, 20, 10, 30], 2, rates)
    assert outcome.seconds == 13 + 7
    assert outcome.bounds == {"work": 3.5, "longest shot": 3, "scan": 7, "upload": 7}


def test_the_longest_chain_goes_first_once_all_are_found() -> None:
    # From 1 s on, two workers take 40 and 20 frames, then 10 and 10.
    rates = Rates(worker=10, scan=float("inf"), start=1)
    assert simulate([10, 10, 20, 40], 2, rates).seconds == 5


def test_no_schedule_is_faster_than_its_bounds() -> None:
    chains = list(chain_lengths(read_shots(FILM, 25)))
    rates = Rates(worker=5, scan=700, start=10, seek=0.5, frame_bytes=6e4, upload=1e8, join=2e8)
    for workers in (1, 30, 1000):
        outcome = simulate(chains, workers, rates)
        assert outcome.seconds >= max(outcome.bounds.values())


def test_chains_end_where_segments_end_at_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    shots = [30, 20, 47, 1, 240, 50, 241, 10, 300, 700, 5]
    cuts = set(np.cumsum(shots).tolist())

    class Marker:
        def __init__(self, frames: Iterator[Frame], previous: Sequence[Frame]) -> None:
            self._frames = frames

        def __iter__(self) -> Iterator[tuple[Frame, bool]]:
            return ((frame, frame.pts in cuts) for frame in self._frames)

        def restart(self) -> None:
            pass

    monkeypatch.setattr(segments, "CutMarker", Marker)
    plane = np.zeros((2, 2), np.uint8)
    frames = (Frame((plane,) * 3, pts) for pts in range(sum(shots)))
    starts = [
        item.start.frame
        for item in segments.mark_segments(frames, FIRST_SEGMENT)
        if item.start is not None and item.begins_shot
    ]
    ends = [*starts[1:], sum(shots)]
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    assert list(chain_lengths(shots)) == lengths


def test_the_table_has_a_row_for_each_count_of_workers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["simulate_cluster", "--workers", "1", "64"])
    main()
    text = capsys.readouterr().out
    assert "177,053 frames, 844 shots a film" in text
    assert "| 64 | 0:15:5" in text
    assert "longest shot" in text
