from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from tests.helpers.films import gliding_view, scenes, write_film
from vsr.data.sources import SourceType, find_sources, open_source, sample_source, source_frames
from vsr.errors import DataError, MediaError


def write_frames(folder: Path, pictures: list[np.ndarray], pattern: str = "im{:03d}.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / pattern.format(number + 1))


def test_films_frames_and_photographs_are_distinguished(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write_film(tmp_path / "deep" / "a.mp4", scenes(96, 64, [8]))
    write_frames(tmp_path / "clip", scenes(96, 64, [8]))
    pictures = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.cat()]
    write_frames(tmp_path, [p[:300, :400] for p in pictures], "DSC_{:04d}.jpg")
    (tmp_path / "notes.txt").write_text("no footage")
    sources = find_sources([tmp_path])
    kinds = {source.name: source.type for source in sources}
    assert kinds["clip/im*.png"] is SourceType.FRAMES
    assert kinds["deep/a.mp4"] is SourceType.FILM
    assert [kind for name, kind in kinds.items() if name.startswith("DSC")] == [
        SourceType.PHOTOGRAPH
    ] * 5
    assert len(sources) == 7


def test_a_numbered_run_with_a_gap_is_no_film(tmp_path: Path) -> None:
    write_frames(tmp_path, scenes(96, 64, [8]))
    (tmp_path / "im004.png").unlink()
    assert {source.type for source in find_sources([tmp_path])} == {SourceType.PHOTOGRAPH}


def test_a_file_that_is_named_twice_counts_once(small_film: Path) -> None:
    assert len(find_sources([small_film, small_film.parent, small_film])) == 1


def test_identity_is_that_of_the_content(small_film: Path, tmp_path: Path) -> None:
    copy = tmp_path / "renamed.mp4"
    copy.write_bytes(small_film.read_bytes())
    other = write_film(tmp_path / "other.mp4", scenes(96, 64, [11]))
    one, same, another = (find_sources([path])[0].identity() for path in (small_film, copy, other))
    assert one == same != another


def test_numbered_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    frames = gliding_view(data.astronaut(), 96, 64, 11)
    write_frames(tmp_path, frames, "f{}.png")  # f2 comes before f10
    info, decoded = open_source(find_sources([tmp_path])[0])
    luma = [frame.planes[0] for frame in decoded]
    assert (info.width, info.height, info.frame_count) == (96, 64, 11)
    grey = [frame.mean(axis=-1) for frame in frames]
    for number, plane in enumerate(luma):
        assert np.argmin([np.abs(plane.astype(float) - g).mean() for g in grey]) == number


def test_frames_of_another_size_in_between_are_an_error(tmp_path: Path) -> None:
    write_frames(tmp_path, scenes(96, 64, [8]))
    Image.new("RGB", (50, 50)).save(tmp_path / "im007.png")
    source = find_sources([tmp_path])[0]
    with pytest.raises(MediaError, match=r"im007.png: is 50x50, the images before it 96x64"):
        list(open_source(source)[1])


def test_a_sample_comes_from_all_over_the_film(tmp_path: Path) -> None:
    path = write_film(
        tmp_path / "a.mp4", scenes(96, 64, [100]), codec="libx264", options={"g": "10"}
    )
    times = [frame.pts for frame in sample_source(find_sources([path])[0], 10)]
    assert len(times) == 10
    assert times[0] == 0
    assert max(times) >= 85 * 512


def test_source_frames_are_rgb_with_their_cuts(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", scenes(96, 64, [9, 8]))
    frames = list(source_frames(find_sources([path])[0], torch.device("cpu")))
    assert [number for number, (_, cut) in enumerate(frames) if cut] == [0, 9]
    assert frames[0][0].shape == (3, 64, 96)
    assert 0 <= float(frames[0][0].min()) <= float(frames[0][0].max()) <= 1


def test_images_keep_the_colour_of_each_pixel(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = np.kron(random.integers(0, 256, (8, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    frame[::2, ::2] = 255 - frame[::2, ::2]
    write_frames(tmp_path, [frame] * 6)
    (source,) = find_sources([tmp_path])
    assert source.type is SourceType.FRAMES
    for pixels, _ in source_frames(source, torch.device("cpu")):
        assert np.array_equal((pixels.permute(1, 2, 0).numpy() * 255).round(), frame)


def test_cuts_between_images_are_found(tmp_path: Path) -> None:
    write_frames(tmp_path, scenes(96, 64, [9, 8]))
    frames = source_frames(find_sources([tmp_path])[0], torch.device("cpu"))
    assert [index for index, (_, starts_shot) in enumerate(frames) if starts_shot] == [0, 9]


def test_no_footage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        find_sources([tmp_path / "none"])
    with pytest.raises(DataError, match="holds no film and no image"):
        find_sources([tmp_path])
