"""Segments that arrive from other machines."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vsr.engine.parallel.cluster_worker import SegmentSent, digest_of
from vsr.engine.parallel.pool import SegmentDone
from vsr.engine.parallel.segment_store import store_segment
from vsr.engine.resume.segment_file import segment_digest
from vsr.errors import OutputError

OUTPUT = Path("b.mp4")


@pytest.fixture
def sent(tmp_path: Path) -> SegmentSent:
    """A segment that ends in mid-shot, with the state there."""
    file = tmp_path / "sent.segment"
    file.write_bytes(b"frames")
    segment: Any = SimpleNamespace(
        number=0, digest=segment_digest(file), following=SimpleNamespace(number=240)
    )
    other: Any = None
    event = SegmentDone(0, segment, other, Path("/elsewhere/0.segment"), None, other)
    return SegmentSent(event, b"frames", b"state", digest_of(b"state"))


def test_a_segment_is_written_with_its_state(sent: SegmentSent, tmp_path: Path) -> None:
    done = store_segment(sent, tmp_path, OUTPUT, "second")
    assert done.state is not None
    assert (done.file.read_bytes(), done.state.read_bytes()) == (b"frames", b"state")
    assert {done.file.parent, done.state.parent} == {tmp_path}


@pytest.mark.parametrize("damage", [{"data": b"frame5"}, {"state": b"stale"}])
def test_a_segment_that_arrives_damaged_is_an_error(
    sent: SegmentSent, tmp_path: Path, damage: dict[str, bytes]
) -> None:
    with pytest.raises(OutputError, match=r"b\.mp4: a segment of second arrived damaged"):
        store_segment(replace(sent, **damage), tmp_path, OUTPUT, "second")  # type: ignore[arg-type]


def test_a_segment_that_can_not_be_written_is_an_error_of_the_output(sent: SegmentSent) -> None:
    with pytest.raises(OutputError, match=r"b\.mp4: can't be written"):
        store_segment(sent, Path("/nowhere"), OUTPUT, "second")
