"""Films that appear in a watched folder."""

import os
from pathlib import Path

import pytest

from vsr.engine.watch import FolderWatcher
from vsr.errors import MediaError, OutputError


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def watcher_of(folder: Path, clock: Clock, lines: list[str] | None = None) -> FolderWatcher:
    tell = (lambda line: None) if lines is None else lines.append
    return FolderWatcher([folder], folder.parent / "out", tell, settle=5, clock=clock)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def test_a_film_waits_until_it_is_unchanged(folder: Path, tmp_path: Path) -> None:
    clock = Clock()
    watcher = watcher_of(folder, clock)
    film = folder / "a.avi"
    film.write_bytes(b"a")
    assert watcher.next() is None
    clock.now += 4
    film.write_bytes(b"ab")
    assert watcher.next() is None
    clock.now += 4
    assert watcher.next() is None
    clock.now += 1
    assert watcher.next() == (film, tmp_path / "out" / "a.mkv")


def test_a_film_is_returned_again_only_after_a_change(folder: Path) -> None:
    clock = Clock()
    watcher = watcher_of(folder, clock)
    film = folder / "a.mp4"
    film.write_bytes(b"a")
    watcher.next()
    clock.now += 5
    assert watcher.next() is not None
    clock.now += 50
    assert watcher.next() is None
    os.utime(film, (1, 1))
    assert watcher.next() is None
    clock.now += 5
    assert watcher.next() is not None


def test_empty_and_hidden_films_wait(folder: Path) -> None:
    clock = Clock()
    watcher = watcher_of(folder, clock)
    (folder / "a.mp4").touch()
    (folder / ".b.mp4").write_bytes(b"b")
    (folder / "notes.txt").write_bytes(b"c")
    watcher.next()
    clock.now += 50
    assert watcher.next() is None


def test_outputs_in_the_watched_folder_are_no_films(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.mp4").write_bytes(b"a")
    watcher = FolderWatcher([tmp_path], tmp_path / "out", settle=5, clock=clock)
    watcher.next()
    clock.now += 5
    assert watcher.next() is None


def test_a_second_film_for_an_output_is_reported_once(folder: Path) -> None:
    clock, lines = Clock(), list[str]()
    watcher = watcher_of(folder, clock, lines)
    for name in ("a.avi", "a.mpg"):
        (folder / name).write_bytes(b"a")
    watcher.next()
    clock.now += 5
    assert watcher.next() == (folder / "a.avi", folder.parent / "out" / "a.mkv")
    assert watcher.next() is None
    assert watcher.next() is None
    target = folder.parent / "out" / "a.mkv"
    line = f"{folder}/a.mpg: would become {target}, as {folder}/a.avi does; rename one of them"
    assert lines == [line]


def test_only_folders_are_watched(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(MediaError, match=r"a.mp4: not a folder; --watch needs one"):
        FolderWatcher([tmp_path / "a.mp4"], tmp_path / "out")
    with pytest.raises(OutputError, match=r"a.mp4: isn't a folder; --watch needs one"):
        FolderWatcher([folder], tmp_path / "a.mp4")
    with pytest.raises(OutputError, match="is the input itself"):
        FolderWatcher([folder], folder)
