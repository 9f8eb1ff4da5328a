"""Outputs of jobs: their names, and the work folders beside them.

The functions block: call them in a thread.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from vsr.web.names import clean_name, cut

_LONGEST_STEM = 150
"""Bytes of an output's name without number and suffix."""


class Outputs:
    """The folder of outputs."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists."""
        self._folder = folder

    def path(self, name: str) -> Path:
        """Return the path of an output."""
        return self._folder / name

    def choose_name(self, wanted: str, suffix: str, taken: Collection[str]) -> str:
        """Return a name like `wanted` that no file, work folder or job has."""
        stem = cut(clean_name(wanted + suffix).removesuffix(suffix), _LONGEST_STEM).strip()
        stem = stem or "film"
        name, number = f"{stem}{suffix}", 2
        while name in taken or self.path(name).exists() or self.work(name).exists():
            name, number = f"{stem} ({number}){suffix}", number + 1
        return name

    def work(self, name: str) -> Path:
        """Return the work folder of an output."""
        from vsr.engine.resume.journal import work_folder

        return work_folder(self.path(name))

    def is_complete(self, name: str) -> bool:
        """Whether a run has ended with this output."""
        return self.path(name).is_file() and not self.work(name).exists()

    def finished_frames(self, name: str) -> int:
        """Return the frames of the finished segments of an unfinished output."""
        from vsr.engine.resume.journal import finished_frames

        return finished_frames(self.path(name))

    def remove_work(self, name: str) -> None:
        """Remove the finished segments of an unfinished output."""
        shutil.rmtree(self.work(name), ignore_errors=True)

    def remove(self, name: str) -> None:
        """Remove an output."""
        self.path(name).unlink(missing_ok=True)

    def size(self, name: str) -> int:
        """Return the size of an output; raises OSError."""
        return self.path(name).stat().st_size

    def free_bytes(self) -> int:
        """Return the free disk space."""
        return shutil.disk_usage(self._folder).free
