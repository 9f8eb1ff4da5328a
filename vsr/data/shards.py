"""The large files of a data set, in which clips lie one after another."""

import os
from pathlib import Path

from vsr.data.clip_codec import Planes420, decode_clip
from vsr.errors import DataError
from vsr.system.files import writing


def shard_path(folder: Path, split: str, number: int) -> Path:
    """The file that holds the clips of a shard."""
    return folder / f"{split}-{number:03d}.clips"


def teacher_output_path(folder: Path, number: int) -> Path:
    """The file that holds a teacher's outputs."""
    return shard_path(folder, "taught", number)


def append(path: Path, offset: int, coded: bytes) -> None:
    """Write at `offset` for good; discard what an interrupted run left there.

    Raises `OutputError`.
    """
    with writing(path), path.open("ab") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(coded)
        file.flush()
        os.fsync(file.fileno())


def read_planes(path: Path, offset: int, size: int, shape: tuple[int, int, int]) -> Planes420:
    """The planes of a coded clip, whose luma has `shape`; raises `DataError` if it is damaged."""
    try:
        with path.open("rb") as shard:
            shard.seek(offset)
            planes = decode_clip(shard.read(size))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read at {offset}: {error}") from error
    if planes[0].shape != shape:
        raise DataError(f"{path}: damaged at {offset}; prepare the data set anew")
    return planes
