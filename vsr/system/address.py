"""Files by their names: as FFmpeg is to open them, and pipes that have a name."""

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
    """The URL of a file for FFmpeg, which takes `12:30.mp4` for a protocol called `12`."""
    return f"file:{path}"


def printable(name: Path | str) -> str:
    """A name as text that any file can hold: bytes that are no UTF-8 become escapes."""
    return os.fsencode(str(name)).decode("utf-8", errors="backslashreplace")


def is_pipe(path: Path) -> bool:
    """Whether a path can be read once only: `-`, a named pipe, `/dev/fd/63`, a terminal."""
    if path == PIPE:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


class Pipe:
    """A pipe for FFmpeg to read, each block of which goes to a watcher as well."""

    def __init__(self, read: Callable[[int], bytes], watch: Callable[[bytes], None]) -> None:
        """`read` gives at most so many bytes, and none at the end."""
        self._read, self._watch = read, watch

    def read(self, count: int) -> bytes:
        """The next bytes, at most `count`; none at the end."""
        data = self._read(count)
        self._watch(data)
        return data


class SeekableInput:
    """Standard input that is a file, for FFmpeg: failed seeks return an error number."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Seek, and return the new position, or a negative error number."""
        try:
            return self._seek(place, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


def input_of(
    path: Path, watch: Callable[[bytes], None] = lambda data: None
) -> Pipe | SeekableInput | str:
    """What FFmpeg is to read: a file's URL, a file as standard input, or a pipe.

    `watch` is called with all that is read from a pipe, and without bytes at its end. Raises
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
    """Standard input, where it is a file."""
    return sys.stdin.buffer if sys.stdin is not None and sys.stdin.buffer.seekable() else None
