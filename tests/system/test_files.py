import os
from pathlib import Path

import pytest

from vsr.errors import OutputError
from vsr.system.files import (
    atomic_path,
    check_distinct,
    check_writable,
    hidden_sibling,
    make_folder,
    partial_path,
    write_text,
)


@pytest.mark.parametrize("letter", ["y", "é", "文"])
def test_names_beside_the_longest_names_fit(tmp_path: Path, letter: str) -> None:
    longest = tmp_path / (letter * (251 // len(letter.encode())) + ".mp4")
    longest.touch()
    for path in (hidden_sibling(longest, ".vsr"), partial_path(longest)):
        path.touch()
        assert path.name.startswith(f".{letter}")
    assert partial_path(longest).suffix == ".mp4"
    other = longest.with_name(longest.stem[:-1] + "q.mp4")
    assert (
        hidden_sibling(longest, ".vsr")
        == hidden_sibling(longest, ".vsr")
        != hidden_sibling(other, ".vsr")
    )


def test_names_beside_short_names_are_plain(tmp_path: Path) -> None:
    assert hidden_sibling(tmp_path / "a.mp4", ".vsr").name == ".a.mp4.vsr"


def test_a_report_may_have_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("z" * 250 + ".html")
    write_text(path, "text")
    assert path.read_text() == "text"
    assert list(tmp_path.iterdir()) == [path]


def test_too_long_a_name_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't be written: file name too long"):
        check_writable(tmp_path / ("z" * 300), overwrite=False)


def test_an_output_is_no_input_by_whatever_name(tmp_path: Path) -> None:
    film, link, twin = tmp_path / "a.mp4", tmp_path / "link.html", tmp_path / "twin.json"
    film.touch()
    link.symlink_to(film)
    os.link(film, twin)
    for output in (film, link, twin, tmp_path / "sub" / ".." / "a.mp4"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        with pytest.raises(OutputError, match="is the input itself"):
            check_distinct([None, output], [None, film])
    with pytest.raises(OutputError, match="is inside the input"):
        check_distinct([film], [tmp_path])
    check_distinct([tmp_path / "new.mp4", None, Path("-")], [film, Path("-")])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="standard output: two outputs"):
        check_distinct([Path("-"), Path("-")], [])
    with pytest.raises(OutputError, match="two outputs can't be one file"):
        check_distinct([tmp_path / "a", tmp_path / "a"], [])


def test_a_device_is_never_replaced() -> None:
    with pytest.raises(OutputError, match="is a device or a pipe"):
        check_writable(Path("/dev/null"), overwrite=True)


def test_a_folder_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file; name a folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="can't be created: not a directory"):
        make_folder(tmp_path / "file" / "below")


def test_a_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail() -> None:
        with atomic_path(path) as partial:
            partial.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"a\.txt: can't be written: no space left"):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_durable_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, events = tmp_path / "a.txt", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(path.exists()))
    with atomic_path(path, durable=True) as partial:
        partial.write_text("whole")
    assert events[0] is False
    assert path.read_text() == "whole"


def test_a_failure_names_the_file_that_the_user_knows(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "000001.segment", name=Path("film.mp4")):
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"^film\.mp4: can't be written: no space left on device"):
        fail()
