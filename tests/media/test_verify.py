"""What `vsr verify` says of files that can't be read throughout."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from tests.helpers.cli import vsr
from tests.helpers.films import AudioTrack, scenes, write_film
from vsr.engine.upscale import upscale_video
from vsr.media.decode import demuxer
from vsr.media.decode.container import open_input
from vsr.media.verify import Finding, verify_film


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two seconds with sound."""
    sound = [AudioTrack("aac", 440)]
    return write_film(tmp_path / "a.mkv", scenes(64, 48, [50]), codec="libx264", audio=sound)


class FailingDisk:
    """An open file of which some reads fail, by their number."""

    def __init__(self, container: Any, fails: Callable[[int], bool]) -> None:
        self._container, self._fails, self._reads = container, fails, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *streams: Any) -> Iterator[Any]:
        for packet in self._container.demux(*streams):
            self._reads += 1
            if self._fails(self._reads):
                raise av.error.OSError(errno.EIO, "Input/output error")
            yield packet


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Callable[[int], bool]], None]:
    """Let reads of a file fail."""

    def let_fail(failing: Path, fails: Callable[[int], bool]) -> None:
        def opened(path: Path, *given: Any) -> Any:
            container = open_input(path, *given)
            return FailingDisk(container, fails) if path == failing else container

        monkeypatch.setattr(demuxer, "open_input", opened)

    return let_fail


def readable(source: Path, output: Path) -> list[Finding]:
    return [finding for finding in verify_film(source, output) if finding.what == "readable"]


def test_whole_files_get_no_such_finding(film: Path) -> None:
    assert readable(film, film) == []


def test_an_output_with_read_errors_is_not_ok(film: Path, fail: Any) -> None:
    copy = film.with_name("copy.mkv")
    copy.write_bytes(film.read_bytes())
    fail(copy, lambda number: number in (30, 60))
    assert readable(film, copy) == [Finding("readable", "whole", "but for 2 places", False)]


def test_an_output_that_ends_in_read_errors_is_not_ok(film: Path, fail: Any) -> None:
    copy = film.with_name("copy.mkv")
    copy.write_bytes(film.read_bytes())
    fail(copy, lambda number: number > 60)
    assert readable(film, copy) == [Finding("readable", "whole", "not to its end", False)]


def test_a_source_that_is_cut_short_is_named_and_its_output_is_ok(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    cut, output = tmp_path / "cut.mkv", tmp_path / "out.mkv"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size * 7 // 10])
    upscale_video(cut, output, str(tiny_model), device="cpu")
    done = vsr("verify", cut, output)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if "readable" in line)
    assert row.split() == ["ok", "readable", "not", "to", "its", "end", "whole"]


def test_upscaling_notes_where_the_source_can_not_be_read(
    film: Path, tmp_path: Path, tiny_model: Path, fail: Any
) -> None:
    fail(film, lambda number: number == 60)
    summary = upscale_video(film, tmp_path / "out.mkv", str(tiny_model), device="cpu")
    assert "the source can't be read at 1 position; the rest of it is kept" in summary.notes
