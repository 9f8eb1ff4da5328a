"""Shards of a data set: large files of concatenated clips."""

import os
from pathlib import Path

from vsr.data.clip_codec import Planes420, decode_clip
from vsr.errors import DataError
from vsr.system.files import output_errors


def shard_path(folder: Path, split: str, index: int) -> Path:
    """Path of a shard of clips."""
    return folder / f"{split}-{index:03d}.clips"


def teacher_output_path(folder: Path, index: int) -> Path:
    """Path of a shard of a teacher's outputs."""
    return shard_path(folder, "taught", index)


def append(path: Path, offset: int, coded: bytes) -> None:
    """Write at `offset` and sync to disk, discarding leftovers of an interrupted run behind it.

    Raises `OutputError`.
    """
    with output_errors(path), path.open("ab") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(coded)
        file.flush()
        os.fsync(file.fileno())


def read_planes(path: Path, offset: int, size: int, shape: tuple[int, int, int]) -> Planes420:
    """Decode a clip whose luma has `shape`; raises `DataError` where it is damaged."""
    try:
        with path.open("rb") as shard:
            shard.seek(offset)
            planes = decode_clip(shard.read(size))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read at {offset}: {error}") from error
    if planes[0].shape != shape:
        raise DataError(f"{path}: damaged at {offset}; prepare the data set again")
    return planes
