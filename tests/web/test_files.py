"""References to files, and the listing of folders."""

import os
from pathlib import Path

import pytest

from tests.web.client import Client
from vsr.errors import ConfigError
from vsr.web.names import clean_name
from vsr.web.settings import name_roots


def test_the_roots_are_listed(client: Client) -> None:
    listing = client.get("/api/v1/folders").json()
    assert [folder["path"] for folder in listing["folders"]] == ["uploads", "outputs", "films"]
    assert listing["parent"] is None


def test_a_folder_lists_films_pictures_and_folders(client: Client, films: Path) -> None:
    (films / "tapes" / "old").mkdir(parents=True)
    for name in ("b.mp4", "A.MKV", "c.png", "notes.txt", ".hidden.mp4"):
        (films / "tapes" / name).write_bytes(b"123")
    listing = client.get("/api/v1/folders", params={"path": "films/tapes"}).json()
    assert listing["parent"] == "films"
    assert listing["folders"] == [{"path": "films/tapes/old", "name": "old"}]
    assert [(file["file"], file["kind"]) for file in listing["files"]] == [
        ("films/tapes/A.MKV", "film"),
        ("films/tapes/b.mp4", "film"),
        ("films/tapes/c.png", "picture"),
    ]
    assert listing["files"][0]["bytes"] == 3


@pytest.mark.parametrize(
    "path",
    [
        "films/..",
        "films/../data",
        "films/tapes/../../..",
        "films//etc",
        "films/./tapes",
        "/etc",
        "..",
        "films/..\\data",
        "films/%2e%2e",
        "films/tapes\0",
        "films/.secret",
        "films/none",
        "nothing",
        "films/film.mp4",
        "films/" + "a" * 5000,
        "films/" + "a/" * 5000,
        "films/out",
        "films/loop",
    ],
)
def test_a_path_outside_the_roots_is_not_found(client: Client, films: Path, path: str) -> None:
    (films / "tapes").mkdir()
    (films / ".secret").mkdir()
    (films / "film.mp4").touch()
    (films / "out").symlink_to(films.parent)
    (films / "loop").symlink_to(films / "loop")
    answer = client.get("/api/v1/folders", params={"path": path})
    assert answer.status_code == 404
    assert str(films.parent) not in answer.text


def test_a_link_within_the_root_is_listed(client: Client, films: Path) -> None:
    (films / "tapes").mkdir()
    (films / "link").symlink_to(films / "tapes")
    (films / "outside.mp4").symlink_to("/etc/passwd")
    listing = client.get("/api/v1/folders", params={"path": "films"}).json()
    assert [folder["name"] for folder in listing["folders"]] == ["link", "tapes"]
    assert listing["files"] == []


def test_names_that_are_not_text_are_left_out(client: Client, films: Path) -> None:
    Path(os.fsdecode(os.fsencode(films) + b"/\xff.mp4")).touch()
    (films / "é.mp4").touch()
    listing = client.get("/api/v1/folders", params={"path": "films"}).json()
    assert [file["name"] for file in listing["files"]] == ["é.mp4"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\old.mp4", "old.mp4"),
        (".hidden.mp4", "hidden.mp4"),
        ("a\nb\x00c.mp4", "abc.mp4"),
        ("gpj.\u202e4pm.mp4", "gpj.4pm.mp4"),
        ("con.mp4", "_con.mp4"),
        ("what? <b>.mp4", "what_ _b_.mp4"),
        ("-rf.mp4", "rf.mp4"),
        ("...", ""),
        ("é" * 300 + ".mp4", "é" * 88 + ".mp4"),
        ("\ud800.mp4", "mp4"),
    ],
)
def test_names_are_cleaned(sent: str, kept: str) -> None:
    assert clean_name(sent) == kept


def test_roots_of_one_name_get_numbers(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "films", tmp_path / "b" / "films", tmp_path / "uploads"]
    for folder in folders:
        folder.mkdir(parents=True)
    assert list(name_roots(folders)) == ["films", "films-2", "uploads-2"]


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        name_roots([tmp_path / "none"])
