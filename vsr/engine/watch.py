"""Find new films in folders once they are complete."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from vsr.engine.batch import film_name, is_folder_name, subfolder_of
from vsr.errors import MediaError, OutputError
from vsr.system.files import check_distinct
from vsr.system.folders import FILM_SUFFIXES, files_in

SETTLE_SECONDS = 3.0
"""Time without a change of size or time of modification after which a film is complete."""


class _Stamp(NamedTuple):
    """The state of a file; another one means that it was written meanwhile."""

    size: int
    modified: int
    """Time of modification in nanoseconds."""


class FolderWatcher:
    """Finds the films in folders that are complete, each of them once until it changes.

    A film that is still growing, empty or can't be opened waits.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        output: Path,
        tell: Callable[[str], None] = lambda line: None,
        settle: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch `folders`; their trees are kept in `output`, see `batch.pair_films`.

        A film is complete after `settle` seconds of `clock` without a change, by default
        `SETTLE_SECONDS`. `tell` is called with messages for the user. Raises `MediaError` or
        `OutputError` where the folders can't be watched.
        """
        for folder in folders:
            if not folder.is_dir():
                raise MediaError(f"{folder}: not a folder; --watch needs one to watch")
            check_distinct([output], [folder])
        if not is_folder_name(output, FILM_SUFFIXES):
            raise OutputError(f"{output}: isn't a folder; --watch needs one for its outputs")
        is_single = len(folders) == 1
        self._roots = [
            (folder, output if is_single else subfolder_of(folder, output)) for folder in folders
        ]
        self._output = output
        self._tell = tell
        self._settle = SETTLE_SECONDS if settle is None else settle
        self._clock = clock
        self._seen: dict[Path, tuple[_Stamp, float]] = {}
        """The last state of each film, and since when it is unchanged."""
        self._returned: dict[Path, _Stamp] = {}
        self._owners: dict[Path, Path] = {}
        """The film of each output."""

    def next(self) -> tuple[Path, Path] | None:
        """Return a complete film and its output; None if there is none at present."""
        found: set[Path] = set()
        ready: list[tuple[Path, Path, _Stamp]] = []
        now = self._clock()
        for folder, root in self._roots:
            for film in files_in(folder, FILM_SUFFIXES, without=self._output).matching:
                stamp = _stamp_of(film)
                if stamp is None:
                    continue
                found.add(film)
                if self._seen.get(film, (None, now))[0] != stamp:
                    self._seen[film] = stamp, now
                if self._returned.get(film) == stamp or now - self._seen[film][1] < self._settle:
                    continue
                if stamp.size and _opens(film):
                    ready.append((film, root / film_name(film.relative_to(folder)), stamp))
        self._forget_others(found)
        for film, target, stamp in ready:
            self._returned[film] = stamp
            owner = self._owners.setdefault(target, film)
            if owner == film:
                return film, target
            self._tell(f"{film}: would become {target}, as {owner} does; rename one of them")
        return None

    def _forget_others(self, found: set[Path]) -> None:
        """Forget the films that no longer exist."""
        for film in self._seen.keys() - found:
            del self._seen[film]
            self._returned.pop(film, None)
        self._owners = {target: film for target, film in self._owners.items() if film in found}


def _stamp_of(film: Path) -> _Stamp | None:
    try:
        status = film.stat()
    except OSError:  # removed or renamed since the folder was listed
        return None
    return _Stamp(status.st_size, status.st_mtime_ns)


def _opens(film: Path) -> bool:
    """Whether a film can be opened; some systems refuse that while it is written."""
    try:
        with film.open("rb"):
            return True
    except OSError:
        return False
