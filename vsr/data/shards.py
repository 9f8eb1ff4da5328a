"""Shards of a data set: large files of concatenated clips."""

import os
from pathlib import Path

from vsr.data.clip_codec import Planes420, decode_clip
from vsr.errors import DataError
from vsr.system.files import output_errors, reason


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


def shard_bytes(path: Path) -> int:
    """Size of a shard; 0 where there is none. Raises `DataError`."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise DataError(f"{path}: can't be read: {reason(error)}") from error


def damaged(path: Path, position: int, remedy: str) -> DataError:
    """Return the error for a shard that is truncated, or damaged, at a position in bytes."""
    return DataError(f"{path}: damaged at byte {position}; {remedy}")


def read_planes(
    path: Path, offset: int, size: int, shape: tuple[int, int, int], remedy: str
) -> Planes420:
    """Decode a clip whose luma has `shape`; raises `DataError`, with `remedy`, if it is damaged."""
    try:
        with path.open("rb") as shard:
            shard.seek(offset)
            planes = decode_clip(shard.read(size))
    except OSError as error:
        raise DataError(f"{path}: can't be read: {reason(error)}") from error
    except ValueError as error:
        raise damaged(path, offset, remedy) from error
    if planes[0].shape != shape:
        raise damaged(path, offset, remedy)
    return planes
