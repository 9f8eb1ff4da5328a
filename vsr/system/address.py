"""Open files, standard input and named pipes for FFmpeg."""

import errno
import os
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from weakref import finalize

from vsr.errors import MediaError

PIPE = Path("-")
"""Standard input or output."""


def address_of(path: Path) -> str:
    """Return the URL of a file for FFmpeg, which takes `12:30.mp4` for a protocol named `12`."""
    return f"file:{path}"


def printable(name: Path | str) -> str:
    """Return a name as valid text: bytes that aren't UTF-8 become escapes."""
    return os.fsencode(str(name)).decode("utf-8", errors="backslashreplace")


def is_pipe(path: Path) -> bool:
    """Whether a path can only be read once: `-`, a named pipe, `/dev/fd/63`, a terminal."""
    if path == PIPE:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


class Pipe:
    """A pipe for FFmpeg to read, which passes each block to a callback as well."""

    def __init__(self, read: Callable[[int], bytes], watch: Callable[[bytes], None]) -> None:
        """`read` returns at most the given count of bytes, and none at the end."""
        self._read, self._watch = read, watch

    def read(self, count: int) -> bytes:
        """Read the next bytes, at most `count`; none at the end."""
        data = self._read(count)
        self._watch(data)
        return data


class SeekableInput:
    """A file on standard input for FFmpeg, which expects error codes of failed seeks."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Return the new position, or a negative error code."""
        try:
            return self._seek(position, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


def input_of(
    path: Path, watch: Callable[[bytes], None] = lambda data: None
) -> Pipe | SeekableInput | str:
    """Return the input for FFmpeg: a file's URL, a file on standard input, or a pipe.

    `watch` is called with each block read from a pipe, and with no bytes at its end. Raises
    `MediaError` where standard input is closed, OSError where a pipe can't be opened.
    """
    if path != PIPE:
        if not is_pipe(path):
            return address_of(path)
        descriptor = os.open(path, os.O_RDONLY)
        pipe = Pipe(partial(os.read, descriptor), watch)
        finalize(pipe, os.close, descriptor)
        return pipe
    if (file := seekable_input()) is not None:
        return SeekableInput(file)
    if sys.stdin is None:
        raise MediaError("standard input: is closed; name a file, or redirect one into it")
    buffered: Any = sys.stdin.buffer
    return Pipe(buffered.read1, watch)


def seekable_input() -> BinaryIO | None:
    """Return standard input if it is a file, else None."""
    return sys.stdin.buffer if sys.stdin is not None and sys.stdin.buffer.seekable() else None
