"""Copies of films on machines that can't read the driver's file."""

import os
import socket
import tempfile
from pathlib import Path

from vsr.engine.digests import film_digest
from vsr.engine.parallel.machines import writing
from vsr.errors import MediaError


def has_film(path: Path, digest: str) -> bool:
    """Whether this machine has a film at a path."""
    try:
        return path.is_file() and film_digest(path) == digest
    except MediaError:
        return False


def find_copy(path: Path, digest: str) -> Path | None:
    """Return the copy of a film on this machine, if there is one."""
    copy = _copy(path, digest)
    return copy if has_film(copy, digest) else None


def remove_copy(film: Path) -> None:
    """Remove a film, if it is a copy."""
    if film.parent == _folder():
        film.unlink(missing_ok=True)


class FilmReceiver:
    """Writes the copy of a film, which arrives in pieces."""

    def __init__(self, partial: Path) -> None:
        """Write to the file `partial` until the copy is complete."""
        self._partial = partial

    def receive(
        self, path: Path, digest: str, offset: int, data: bytes, is_last: bool
    ) -> Path | None:
        """Append a piece of the film at `path`. Returns the path of the copy with the last piece.

        Raises `OutputError` with the name of this machine, and `MediaError` if the copy differs.
        """
        copy = _copy(path, digest)
        with writing(copy):
            try:
                with self._partial.open("ab" if offset else "wb") as file:
                    file.write(data)
                if not is_last:
                    return None
                copy.parent.mkdir(exist_ok=True, mode=0o700)
                self._partial.replace(copy)
            except OSError:
                self._partial.unlink(missing_ok=True)
                raise
        if not has_film(copy, digest):
            copy.unlink()
            raise MediaError(f"{path}: has changed while it was copied to {socket.gethostname()}")
        return copy


def _folder() -> Path:
    """Return the folder of the copies on this machine."""
    return Path(tempfile.gettempdir(), f"vsr-films-{os.getuid() if hasattr(os, 'getuid') else 0}")


def _copy(path: Path, digest: str) -> Path:
    return _folder() / f"{digest}{path.suffix}"
