"""Write the segments that arrive from other machines."""

import os
from dataclasses import replace
from pathlib import Path

from vsr.engine.parallel.cluster_worker import SegmentSent, digest_of
from vsr.engine.parallel.pool import SegmentDone
from vsr.engine.resume.segment_file import segment_digest
from vsr.errors import OutputError
from vsr.system.files import write_failure


def store_segment(message: SegmentSent, folder: Path, output: Path, name: str) -> SegmentDone:
    """Write the files of a segment durably into `folder`, and compare their digests.

    Errors name the `output`, and `name`, the worker. Raises `OutputError`.
    """
    segment, state = message.event.segment, None
    file = folder / f"{segment.number:06}.segment"
    try:
        _write_durably(file, message.data)
        if message.state is not None:
            assert segment.following is not None
            state = folder / f"{segment.following.number:06}.state"
            _write_durably(state, message.state)
        is_intact = segment_digest(file) == segment.digest and (
            state is None or digest_of(state.read_bytes()) == message.state_digest
        )
    except OSError as error:
        raise write_failure(output, error) from error
    if not is_intact:
        raise OutputError(f"{output}: a segment of {name} arrived damaged")
    return replace(message.event, file=file, state=state)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
