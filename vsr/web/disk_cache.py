"""A folder of results, of which the least recently used are removed above a limit of bytes."""

import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

_PARTIAL = ".partial"


class DiskCache:
    """Folders of files by key; each appears complete, or not at all."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Keep up to `most_bytes` in `folder`, which is created."""
        self._folder, self._most_bytes = folder, most_bytes
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name.endswith(_PARTIAL):  # of a process that was killed
                shutil.rmtree(path, ignore_errors=True)

    def find(self, key: str) -> Path | None:
        """Return the folder of an entry, which is now the newest; None without one."""
        entry = self._folder / key
        try:
            _touch(entry)
        except OSError:
            return None
        return entry

    def begin(self, key: str) -> Path:
        """Return a new folder for the files of an entry, to be passed to `finish`.

        Raises OSError.
        """
        partial = self._folder / f"{key}{_PARTIAL}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)  # a user may have removed the whole cache
        return partial

    def finish(self, key: str, partial: Path) -> Path:
        """Add an entry from its folder; the oldest entries are removed above the limit."""
        entry = self._folder / key
        with self._lock:
            if entry.exists():
                shutil.rmtree(entry, ignore_errors=True)
            partial.replace(entry)
            _touch(entry)
            self._trim(entry)
        return entry

    def discard(self, partial: Path) -> None:
        """Remove the folder of an entry that failed."""
        shutil.rmtree(partial, ignore_errors=True)

    def _trim(self, newest: Path) -> None:
        found = []
        for path in self._folder.iterdir():
            with suppress(OSError):
                size = sum(file.stat().st_size for file in path.iterdir())
                found.append((path.stat().st_mtime_ns, size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._most_bytes:
                return
            if path != newest and not path.name.endswith(_PARTIAL):
                shutil.rmtree(path, ignore_errors=True)
                total -= size


def _touch(path: Path) -> None:
    """Set the time of change to now, to the nanosecond: the system's own clock is coarser."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))
