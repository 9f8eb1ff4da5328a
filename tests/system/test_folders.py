from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.films import scenes, write_film
from vsr.data.prepare import prepare
from vsr.data.sources import find_sources
from vsr.data.store import Header
from vsr.engine.batch import pair_films
from vsr.engine.image_pairs import pair_images
from vsr.errors import MediaError, OutputError
from vsr.evaluation.frame_sequence import find_clips
from vsr.media.image_sequence import numbered_images
from vsr.system.folders import FILM_SUFFIXES, files_in, skipped

HIDDEN = ("._a.mp4", ".hidden/b.mp4", "deep/.c.mp4", "deep/.d.mp4.vsr/000000.mp4")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_hidden_files_and_outputs_within_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "deep/b.MKV", "notes.txt", "out/a.mp4", *HIDDEN)
    (tmp_path / "folder.mp4").mkdir()
    walk = files_in(tmp_path, FILM_SUFFIXES, without=tmp_path / "deep" / ".." / "out")
    assert walk.matching == [tmp_path / "a.mp4", tmp_path / "deep" / "b.MKV"]
    assert walk.others == [tmp_path / "notes.txt"]


def test_what_is_skipped_is_counted_by_suffix(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("a.txt", "b.TXT", "c.gif", "Makefile")]
    (line,) = skipped(tmp_path, others, "films")
    assert line == f"{tmp_path}: skipped 4 files (2 .txt, 1 .gif, 1 Makefile): no films"
    assert list(skipped(tmp_path, [], "films")) == []


def test_footage_to_learn_from_is_found_by_the_same_rule(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.gif", "set/contact-sheet.png", *HIDDEN)
    lines: list[str] = []
    sources = find_sources([tmp_path], tmp_path / "set", lines.append)
    assert [source.name for source in sources] == ["a.mp4"]
    assert lines == [f"{tmp_path}: skipped 1 file (1 .gif): no films or photographs"]


def test_a_data_set_among_its_footage_is_no_footage(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", scenes(240, 192, [8]))
    header = Header(shortest=7, val_share=0)
    for _ in range(2):
        store = prepare([tmp_path], tmp_path / "set", header)
        (tmp_path / "set" / "contact-sheet.png").touch()
    assert [source.name for source in store.sources.values()] == ["a.mp4"]


def test_names_that_are_no_utf_8_are_listed_with_escapes(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(240, 192, [8]))
    film.rename(tmp_path / "caf\udce9.mp4")
    store = prepare([tmp_path], tmp_path / "set", Header(shortest=7, val_share=0))
    assert [source.name for source in store.sources.values()] == ["caf\\xe9.mp4"]
    assert not any(line.error for line in store.finished.values())


def test_films_are_paired_by_the_same_rule(tmp_path: Path) -> None:
    for folder in ("out", "ref"):
        touch(tmp_path / folder, "a.mp4", "._a.mp4", ".b.mkv")
    (tmp_path / "out" / "c.mp4").mkdir()
    pairs = find_clips(tmp_path / "out", tmp_path / "ref")
    assert [name for name, _, _ in pairs] == ["a"]


def test_numbered_frames_are_distinguished_from_what_macos_leaves(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"f{number}.tif")
        (tmp_path / f"._f{number}.tif").touch()
    assert [path.name for path in numbered_images(tmp_path)] == ["f0.tif", "f1.tif", "f2.tif"]


def test_pictures_in_place_of_films_are_directed_to_vsr_image(tmp_path: Path) -> None:
    touch(tmp_path, "frames/0001.png", "frames/0002.png")
    with pytest.raises(MediaError, match=r"holds no film, but 2 pictures; `vsr image .*out/%05d"):
        pair_films([tmp_path / "frames"], tmp_path / "out")
    with pytest.raises(MediaError, match=r"no such file; `vsr image .*out/%05d\.png"):
        pair_films([tmp_path / "frames" / "*.png"], tmp_path / "out.mp4")


def test_a_folder_of_films_names_what_it_skips(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.mp4", "in/cover.jpg", *(f"in/{name}" for name in HIDDEN))
    lines: list[str] = []
    jobs = pair_films([tmp_path / "in"], tmp_path / "out", lines.append)
    assert [target.name for _, target in jobs] == ["a.mp4"]
    assert lines == [f"{tmp_path}/in: skipped 1 file (1 .jpg): no films"]


def test_a_file_into_a_folder_gets_a_suffix_that_is_written(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi", "a.tif", "a.jfif", "a.webp")
    (tmp_path / "out").mkdir()
    names = [pair_films([tmp_path / "a.avi"], tmp_path / "out")[0][1].name]
    for suffix in ("tif", "jfif", "webp"):
        names.append(pair_images([tmp_path / f"a.{suffix}"], tmp_path / "out")[0][1].name)
    assert names == ["a.mkv", "a.tif", "a.jpg", "a.webp"]


def test_a_folder_of_pictures_takes_all_that_can_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.tif", "in/b.GIF", "in/c.avif", "in/._d.jpg", "in/.x/e.png", "in/f.xcf")
    (tmp_path / "in" / "g.png").mkdir()
    lines: list[str] = []
    jobs = pair_images([tmp_path / "in"], tmp_path / "out", lines.append)
    assert [target.name for _, target in jobs] == ["a.tif", "b.png", "c.avif"]
    assert lines == [f"{tmp_path}/in: skipped 1 file (1 .xcf): no pictures"]
    touch(tmp_path, "in/b.bmp")
    with pytest.raises(OutputError, match="would both become"):
        pair_images([tmp_path / "in"], tmp_path / "out")


@pytest.mark.parametrize("jobs", [pair_films, pair_images])
def test_a_folder_is_not_its_own_output(
    tmp_path: Path, jobs: Callable[[list[Path], Path], list[tuple[Path, Path]]]
) -> None:
    """Its files were called done already."""
    touch(tmp_path, "in/a.mp4", "in/b.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for output in (tmp_path / "in", tmp_path / "in" / ".." / "in", tmp_path / "link"):
        with pytest.raises(OutputError, match="is the input itself"):
            jobs([tmp_path / "in"], output)
