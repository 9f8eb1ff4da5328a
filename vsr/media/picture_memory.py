"""Refuse pictures that need too much memory, by their size, before they are decoded."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import psutil
from PIL import Image

from vsr.errors import MediaError, VsrError

_BYTES_PER_PIXEL = 12
"""Memory of a picture of 8 bits while it is decoded: Pillow's copies, and the samples."""
_COPIES = 3
"""Copies of RGB of more than 8 bits in memory while it is decoded."""
_SHARE = 0.5
"""Share of the machine's memory that a picture may need by default."""
_GIGABYTE = 1_000_000_000
_PILLOW_LIMIT = Image.MAX_IMAGE_PIXELS
_limit: ContextVar[int | None] = ContextVar("limit", default=None)
_lock = threading.Lock()
_readers = 0


@contextmanager
def memory_limit(gigabytes: float | None) -> Iterator[None]:
    """Set the memory that a picture may need, in this thread; None is half of the machine's."""
    token = _limit.set(None if gigabytes is None else int(gigabytes * _GIGABYTE))
    try:
        yield
    finally:
        _limit.reset(token)


def check_source(path: Path, size: tuple[int, int], bits: int) -> None:
    """Raise `MediaError` where decoding a picture of (width, height) needs too much memory.

    `bits` are those of a sample: 8, 16 or 32. If the process has set Pillow's limit of pixels, that
    applies as well.
    """
    limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    if limit and not _is_ours() and size[0] * size[1] > limit:
        raise MediaError(f"{path}: {size[0]}x{size[1]}: {_most(limit)}")
    bytes_per_pixel = _BYTES_PER_PIXEL if bits <= 8 else _COPIES * 3 * -(-bits // 8)
    check_memory(path, size, bytes_per_pixel, MediaError)


def check_memory(
    path: Path | None, size: tuple[int, int], bytes_per_pixel: int, error: type[VsrError]
) -> None:
    """Raise `error` where a picture of (width, height) needs more memory than is allowed.

    `path` is None for an array.
    """
    needed = size[0] * size[1] * bytes_per_pixel
    if needed > _allowed():
        where, option = ("an array", "max_memory") if path is None else (path, "--max-memory")
        raise error(
            f"{where}: {size[0]}x{size[1]} pixels need {needed / _GIGABYTE:.1f} GB of memory, more "
            f"than {_allowed() / _GIGABYTE:.1f}: allow it with {option}"
        )


@contextmanager
def reading_by_pillow(path: Path) -> Iterator[None]:
    """Silence Pillow's warnings about a file, and replace its limit of pixels by that of memory.

    A limit that the process has set stays. Larger pictures raise `MediaError`.
    """
    global _readers
    with _lock:
        is_ours = _is_ours()
        _readers += is_ours
        if is_ours:  # Pillow warns of so many pixels, and refuses twice as many
            Image.MAX_IMAGE_PIXELS = max(1, _allowed() // _BYTES_PER_PIXEL // 2)
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError as error:
        raise MediaError(f"{path}: is too large: {_most(limit)}; see --max-memory") from error
    finally:
        with _lock:
            _readers -= is_ours
            if is_ours and not _readers:
                Image.MAX_IMAGE_PIXELS = _PILLOW_LIMIT


def _is_ours() -> bool:
    """Whether Pillow's limit of pixels is the one of this module, or its default."""
    return _readers > 0 or Image.MAX_IMAGE_PIXELS == _PILLOW_LIMIT


def _most(limit: int) -> str:
    return f"pictures have at most {limit} pixels"


def _allowed() -> int:
    found = _limit.get()
    return int(_SHARE * psutil.virtual_memory().total) if found is None else found
