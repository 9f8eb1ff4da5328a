"""Films that are copied to machines which can't read them, piece by piece."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vsr.engine.digests import film_digest
from vsr.engine.parallel import film_sender
from vsr.engine.parallel.cluster_worker import FilmMissing
from vsr.engine.parallel.film_copy import FilmReceiver, find_copy, has_film, remove_copy
from vsr.engine.parallel.film_sender import FilmSender
from vsr.errors import MediaError, OutputError

ELSEWHERE = Path("/nowhere/a.mp4")


class Call:
    """A method of a worker on another machine; its result is computed when it is asked for."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def remote(self, *given: Any, **more: Any) -> Callable[[], Any]:
        return lambda: self._method(*given, **more)


class Machine:
    """The calls of a worker, and the films that it was given."""

    def __init__(self, folder: Path) -> None:
        self.films: list[tuple[int, Any]] = []
        self.find_copy = Call(find_copy)
        self.receive = Call(FilmReceiver(folder / "film.partial").receive)
        self.use_film = self

    def remote(self, task: int, film: Path | None) -> None:
        self.films.append((task, film))


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A film of ten pieces, the last of which is shorter."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(film_sender, "PIECE_BYTES", 100)
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(range(247)) * 4)
    return path


@pytest.fixture
def sender() -> FilmSender:
    return FilmSender()


def missing(worker: int, film: Path) -> FilmMissing:
    return FilmMissing(worker, 1, film, film_digest(film))


def advance(sender: FilmSender, results: int = 100) -> None:
    """Pass so many results on, or fewer if no more are pending."""
    for _ in range(results):
        if not sender.pending:
            return
        call = sender.pending[0]
        sender.advance(call, call())


def test_a_film_at_the_same_path_is_not_missing(film: Path) -> None:
    assert has_film(film, film_digest(film))
    assert not has_film(film, "0" * 32)
    assert not has_film(ELSEWHERE, film_digest(film))


def test_a_film_is_copied_in_pieces_and_the_copy_removed(film: Path, tmp_path: Path) -> None:
    data, digest = film.read_bytes(), film_digest(film)
    receiver = FilmReceiver(tmp_path / "film.partial")
    assert find_copy(ELSEWHERE, digest) is None
    assert receiver.receive(ELSEWHERE, digest, 0, b"of an earlier film", is_last=False) is None
    assert receiver.receive(ELSEWHERE, digest, 0, data[:500], is_last=False) is None
    copy = receiver.receive(ELSEWHERE, digest, 500, data[500:], is_last=True)
    assert copy is not None
    assert copy.read_bytes() == data
    assert find_copy(ELSEWHERE, digest) == copy
    remove_copy(copy)
    remove_copy(film)  # no copy
    assert (copy.exists(), film.exists()) == (False, True)


def test_a_film_that_changes_while_it_is_copied_is_an_error(film: Path, tmp_path: Path) -> None:
    receiver = FilmReceiver(tmp_path / "film.partial")
    with pytest.raises(MediaError, match=r"/nowhere/a\.mp4: has changed while it was copied"):
        receiver.receive(ELSEWHERE, "0" * 32, 0, b"other", is_last=True)


def test_a_full_disk_of_a_machine_is_named_and_the_partial_copy_removed(tmp_path: Path) -> None:
    partial = tmp_path / "film.partial"
    partial.symlink_to("/dev/full")
    receiver = FilmReceiver(partial)
    with pytest.raises(OutputError, match=rf"{socket.gethostname()}:/.*can't be written: no space"):
        receiver.receive(ELSEWHERE, "0" * 32, 0, b"piece", is_last=False)
    assert not partial.is_symlink()


def test_all_workers_of_a_machine_use_one_copy(
    film: Path, tmp_path: Path, sender: FilmSender
) -> None:
    first, second = Machine(tmp_path), Machine(tmp_path)
    sender.request("node", first, missing(0, film))
    sender.request("node", second, missing(1, film))
    assert len(sender.pending) == 1
    advance(sender, 11)  # looks for a copy, and sends ten pieces
    assert sender.pending == []
    ((task, copy),) = first.films
    assert (task, copy.read_bytes()) == (1, film.read_bytes())
    assert second.films == first.films
    assert sender.take_copies(film_digest(film)) == {"node": {copy}}
    assert sender.take_copies(film_digest(film)) == {}


def test_the_copy_of_an_earlier_run_is_used(film: Path, tmp_path: Path, sender: FilmSender) -> None:
    sender.request("node", Machine(tmp_path), missing(0, film))
    advance(sender)
    sender.request("node", Machine(tmp_path), missing(1, film))
    advance(sender, 1)
    assert sender.pending == []


def test_another_worker_receives_the_film_if_the_receiver_dies(
    film: Path, tmp_path: Path, sender: FilmSender
) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for worker, folder in enumerate(folders):
        folder.mkdir()
        sender.request("node", machine := Machine(folder), missing(worker, film))
    advance(sender, 4)
    assert sender.receiver(sender.pending[0]) == 0
    sender.forget(0)
    advance(sender, 11)
    assert [copy.read_bytes() for _, copy in machine.films] == [film.read_bytes()]
    sender.request("other", machine, missing(1, film))
    sender.forget(1)
    assert sender.pending == []


def test_few_machines_receive_the_film_at_the_same_time(
    film: Path, tmp_path: Path, sender: FilmSender
) -> None:
    machines = [Machine(tmp_path) for _ in range(6)]
    for number, machine in enumerate(machines):
        sender.request(f"node {number}", machine, missing(number, film))
    assert len(sender.pending) == 4
    assert sender.fail(sender.pending[0]) == [0]
    assert len(sender.pending) == 4
    advance(sender)
    copy = machines[1].films[0][1]
    assert [machine.films for machine in machines] == [[(1, None)], *[[(1, copy)]] * 5]


def test_a_film_that_can_not_be_read_any_more_is_an_error(
    film: Path, tmp_path: Path, sender: FilmSender
) -> None:
    sender.request("node", Machine(tmp_path), missing(0, film))
    film.unlink()
    with pytest.raises(MediaError, match=r"a\.mp4: can't be read: No such file"):
        advance(sender)
    sender.forget(0)
    assert sender.pending == []
