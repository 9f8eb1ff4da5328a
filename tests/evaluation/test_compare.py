import re
from fractions import Fraction
from pathlib import Path

import pytest

from tests.helpers.films import scenes, write_film
from vsr.errors import ConfigError, DataError, MediaError, OutputError
from vsr.evaluation.compare import write_comparison
from vsr.evaluation.comparison_page import ComparedFilm, comparison_page
from vsr.media.decode.frame_times import frame_times
from vsr.media.decode.reader import VideoReader

CODED = {"codec": "libx264", "options": {"crf": "20"}}


def film(path: Path, **options: object) -> Path:
    return write_film(path, scenes(64, 48, [6]), **(CODED | options))  # type: ignore[arg-type]


def test_times_of_frames_are_read_without_decoding(tmp_path: Path) -> None:
    uneven = [0, 512, 1536, 2048, 4096, 4608]
    path = film(tmp_path / "a.mp4", pts=uneven, options={"bf": "2"})
    assert frame_times(path) == pytest.approx([pts / 12_800 for pts in uneven])
    page = tmp_path / "page.html"
    write_comparison([path, path], page)
    assert '"times":[0.0,0.04,0.12' in page.read_text()


def test_what_browsers_do_not_play_is_copied_beside_the_page(tmp_path: Path) -> None:
    fine = film(tmp_path / "fine.mp4")
    deep = film(tmp_path / "deep.mkv", codec="ffv1", pixel_format="yuv422p10le", options={})
    reported: list[str] = []
    write_comparison([fine, deep], tmp_path / "page.html", tell=reported.append)
    copy = tmp_path / "page-deep.mp4"
    assert reported == [f"{deep}: browsers don't play it (ffv1); writing a copy, {copy}"]
    with VideoReader(copy) as reader:
        assert (reader.codec, reader.info.layout.name) == ("h264", "yuv420p")
    assert len(frame_times(copy)) == 6
    # Nothing that exists is overwritten unasked.
    (tmp_path / "page.html").unlink()
    with pytest.raises(OutputError, match=r"page-deep\.mp4: exists"):
        write_comparison([fine, deep], tmp_path / "page.html")


def test_films_of_one_name_are_distinguished_by_their_folders(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        film(tmp_path / folder / "same.mp4", time_base=Fraction(1, 12_800))
    page = tmp_path / "page.html"
    write_comparison([tmp_path / "a" / "same.mp4", tmp_path / "b" / "same.mp4"], page)
    assert '"a/same.mp4"' in page.read_text()


def test_mistakes_are_reported(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    page = tmp_path / "page.html"
    with pytest.raises(ConfigError, match="two films or more"):
        write_comparison([path], page)
    with pytest.raises(MediaError, match="no such file"):
        write_comparison([path, tmp_path / "b.mp4"], page)
    with pytest.raises(DataError, match="is a folder"):
        write_comparison([path, tmp_path], page)
    page.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_comparison([path, path], page)
    assert page.read_text() == "mine"


def test_a_page_with_linked_assets_has_no_inline_code(tmp_path: Path) -> None:
    films = [ComparedFilm(f"/films/{n}?a=1&b=2", f"<{n}>", 64, 48, [0, 0.04]) for n in range(2)]
    page = comparison_page(films, "/assets")
    assert re.findall(r"<script[^>]*>", page) == [
        '<script type="application/json" id="data">',
        '<script src="/assets/compare.js">',
    ]
    assert re.findall(r"(?i)<style|\sstyle=|\son[a-z]+=|javascript:", page) == []
    assert 'src="/films/1?a=1&amp;b=2"' in page
    assert "<0>" not in page
