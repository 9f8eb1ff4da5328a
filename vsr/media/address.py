"""Files by their names: as FFmpeg is to open them, and pipes that have a name."""

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

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


def input_of(path: Path) -> BinaryIO | str:
    """What FFmpeg is to read: a file's URL, or standard input.

    Raises `MediaError` where standard input is closed.
    """
    if path != PIPE:
        return address_of(path)
    if sys.stdin is None:
        raise MediaError("standard input: is closed; name a file, or redirect one into it")
    return sys.stdin.buffer
