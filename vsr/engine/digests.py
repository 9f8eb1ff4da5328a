"""Digests of a film and of a network's weights, which identify a run."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from vsr.errors import MediaError

_HASHED_BYTES = 1 << 20
_HASHED_BLOCKS = 16


def film_digest(path: Path) -> str:
    """Hash a file's size and sixteen blocks of 1 MiB in it. Raises `MediaError`."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for offset in _block_offsets(size):
                file.seek(offset)
                digest.update(file.read(_HASHED_BYTES))
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {error.strerror}") from error
    return digest.hexdigest()


def pictures_digest(files: Sequence[Path]) -> str:
    """Hash the names and sizes of pictures, and the content of sixteen. Raises `MediaError`."""
    digest = hashlib.blake2b(digest_size=16)
    step = max(1, len(files) // _HASHED_BLOCKS)
    for index, path in enumerate(files):
        try:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode(errors="surrogateescape"))
        except OSError as error:
            raise MediaError(f"{path}: can't be read: {error.strerror}") from error
        if index % step == 0:
            digest.update(film_digest(path).encode())
    return digest.hexdigest()


def _block_offsets(size: int) -> Iterator[int]:
    last = max(0, size - _HASHED_BYTES)
    for index in range(_HASHED_BLOCKS):
        yield last * index // (_HASHED_BLOCKS - 1)


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """Hash the names and values of a network's tensors."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
