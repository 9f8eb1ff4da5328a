"""Send films to machines of a cluster that can't read the driver's file."""

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from vsr.engine.parallel.cluster_worker import FilmMissing
from vsr.errors import MediaError

PIECE_BYTES = 8 << 20
"""A film travels in pieces of this size."""
_MOST_TRANSFERS = 4
"""Machines that receive a film at the same time."""


@dataclass
class _Transfer:
    """The copy of a film to a machine, for all workers there that wait for it."""

    film: FilmMissing
    waiting: dict[int, tuple[FilmMissing, Any]] = field(default_factory=dict)
    """Request and actor of each worker; the first one receives the film."""
    pending: Any = None
    """Result of the last call; None before the first one."""
    sent: int = 0
    file: BinaryIO | None = None

    @property
    def receiver(self) -> int:
        """The worker that receives the film."""
        first, *_ = self.waiting
        return first

    @property
    def actor(self) -> Any:
        """The actor of the receiver."""
        return self.waiting[self.receiver][1]

    def start(self) -> None:
        """Ask the receiver for a copy of an earlier run."""
        self.close()
        self.pending = self.actor.find_copy.remote(self.film.path, self.film.digest)

    def send_piece(self) -> None:
        """Send the next piece of the film. Raises `MediaError`."""
        path = self.film.path
        try:
            if self.file is None:
                self.file, self.sent = path.open("rb"), 0
            data = self.file.read(PIECE_BYTES)
            size = path.stat().st_size
        except OSError as error:
            raise MediaError(f"{path}: can't be read: {error.strerror}") from error
        is_last = not data or self.sent + len(data) >= size
        self.pending = self.actor.receive.remote(
            path, self.film.digest, self.sent, data, is_last=is_last
        )
        self.sent += len(data)

    def close(self) -> None:
        """Close the film."""
        if self.file is not None:
            self.file.close()
        self.file = None


class FilmSender:
    """Sends films piece by piece, between the events of workers.

    A machine gets a piece once it has written the one before, and few machines get one at the same
    time, so that memory doesn't grow with the film or the cluster. Results of calls are `pending`
    until the owner passes them on.
    """

    def __init__(self) -> None:
        self._transfers: dict[tuple[str, str], _Transfer] = {}
        """By machine and digest, in the order of the requests."""
        self._copies: dict[tuple[str, str], set[Path]] = {}
        """By machine and digest."""

    @property
    def pending(self) -> list[Any]:
        """Results that transfers wait for."""
        return [one.pending for one in self._transfers.values() if one.pending is not None]

    def request(self, node: str, actor: Any, film: FilmMissing) -> None:
        """Copy a film to a machine for a worker there, which gets its path by `use_film`."""
        transfer = self._transfers.setdefault((node, film.digest), _Transfer(film))
        transfer.waiting[film.worker] = (film, actor)
        self._start()

    def receiver(self, pending: Any) -> int:
        """Return the worker that a pending result is from."""
        return self._find(pending)[1].receiver

    def advance(self, pending: Any, copy: Path | None) -> None:
        """Continue after a result: send the next piece, or end with the path of the copy.

        Raises `MediaError` if the film can't be read.
        """
        key, transfer = self._find(pending)
        if copy is None:
            transfer.send_piece()
            return
        self._copies.setdefault(key, set()).add(copy)
        for film, actor in transfer.waiting.values():
            actor.use_film.remote(film.task, copy)
        self._remove(key)

    def fail(self, pending: Any) -> list[int]:
        """End a transfer that can't be continued, and the chains that wait for it.

        Returns their workers.
        """
        key, transfer = self._find(pending)
        self._remove(key)
        for film, actor in transfer.waiting.values():
            actor.use_film.remote(film.task, None)
        return list(transfer.waiting)

    def forget(self, worker: int) -> None:
        """Send nothing more to a worker; another one that waits on its machine takes its place."""
        for key, transfer in list(self._transfers.items()):
            if worker not in transfer.waiting:
                continue
            was_receiver = transfer.receiver == worker
            del transfer.waiting[worker]
            if not transfer.waiting:
                self._remove(key)
            elif was_receiver and transfer.pending is not None:
                transfer.start()

    def take_copies(self, digest: str) -> dict[str, set[Path]]:
        """Return the copies of a film on each machine, which the caller removes."""
        keys = [key for key in self._copies if key[1] == digest]
        return {key[0]: self._copies.pop(key) for key in keys}

    def _find(self, pending: Any) -> tuple[tuple[str, str], _Transfer]:
        return next(item for item in self._transfers.items() if item[1].pending == pending)

    def _remove(self, key: tuple[str, str]) -> None:
        self._transfers.pop(key).close()
        self._start()

    def _start(self) -> None:
        for transfer in islice(self._transfers.values(), _MOST_TRANSFERS):
            if transfer.pending is None:
                transfer.start()
