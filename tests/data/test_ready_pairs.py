"""Ready pairs, whose low versions are 20 code values brighter than the shrunk high ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from tests.helpers.films import write_film
from vsr.cli import cli
from vsr.data.clip_pairs import ClipPairs, ClipShape
from vsr.data.clip_pool import ClipPool
from vsr.data.config import DataConfig
from vsr.data.prepare import prepare
from vsr.data.ready_pairs import find_pairs, prepare_pairs
from vsr.data.store import INDEX_FILE, Header, Store
from vsr.errors import DataError
from vsr.imaging.degrade import Degradation, degrade

HEADER = Header(shortest=7, val_share=0)
PLAIN: dict[str, Any] = {
    "stills_share": 0.0,
    "micro_share": 0.0,
    "static_share": 0.0,
    "degradation": {"bi": 1.0, "bd": 0.0, "codec": 0.0, "real": 0.0},
}
Picture = NDArray[np.uint8]


def soft(picture: Picture) -> Picture:
    """Between 30 and 180, so that nothing is clipped."""
    return (30 + picture.astype(float) * 150 / 255).astype(np.uint8)


def moving(picture: Picture, frames: int, side: int = 192) -> list[Picture]:
    return [
        soft(picture[20 + 3 * n : 20 + side + 3 * n, 40 + n : 40 + side + n]) for n in range(frames)
    ]


def brighter_and_smaller(picture: Picture, scale: int = 4) -> Picture:
    height, width = picture.shape[0] // scale, picture.shape[1] // scale
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(small) + np.uint8(20)


def write(path: Path, frames: Sequence[Picture]) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(frames[0]).save(path)
    else:
        write_film(path, frames, codec="libx264", options={"crf": "2"})


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A film of two shots and a photograph, each with its low version."""
    low, high = tmp_path / "low", tmp_path / "high"
    film = moving(data.astronaut(), 12) + moving(data.coffee(), 9)
    photograph = [soft(data.rocket()[:396, :596])]  # the low version has odd sides
    for name, frames in (("film.mp4", film), ("0001.png", photograph)):
        write(high / name, frames)
        name = name.replace("0001", "0001x4")
        write(low / name, [brighter_and_smaller(frame) for frame in frames])
    return low, high


def clips(
    folder: Path, scale: int = 4, shape: ClipShape = ClipShape(4, 12), **changes: Any
) -> ClipPairs:
    config = DataConfig.model_validate({"dataset": folder} | PLAIN | changes)
    return ClipPairs(ClipPool(Store(folder), "train", config), config, scale, 0, shape)


def brightness_added(pairs: ClipPairs, scale: int, numbers: int = 10) -> list[float]:
    """Mean difference of each input from its shrunk target, in code values."""
    added = []
    for number in range(numbers):
        low, target, *_ = pairs.pair(number, 1)
        difference = low - degrade(target, scale, Degradation.BI)
        assert difference.std() < 8 / 255  # aligned, and turned alike
        added.append(float(difference.mean() * 255))
    return added


def test_pairs_enter_with_their_low_versions(folders: tuple[Path, Path], tmp_path: Path) -> None:
    store = prepare_pairs(find_pairs(*folders), tmp_path / "set", HEADER)
    shapes = [(clip.frames, clip.height, clip.width, clip.low_scale) for clip in store.clips()]
    assert shapes == [(1, 392, 592, 4), (12, 192, 192, 4), (9, 192, 192, 4)]
    reread = Store(tmp_path / "set")
    for clip in reread.clips():
        high, low = reread.read(clip)[0], reread.read_low(clip)[0]
        assert low.shape == (clip.frames, clip.height // 4, clip.width // 4)
        means = high.reshape(clip.frames, clip.height // 4, 4, clip.width // 4, 4).mean((2, 4))
        added = low - means
        assert abs(added.mean() - 20 * 219 / 255) < 1
        assert added.std() < 6


def test_the_given_low_version_is_learnt_from(folders: tuple[Path, Path], tmp_path: Path) -> None:
    prepare_pairs(find_pairs(*folders), tmp_path / "set", HEADER)
    for shape in (ClipShape(4, 12), ClipShape(1, 12)):
        added = brightness_added(clips(tmp_path / "set", shape=shape, spliced_share=0.5), 4)
        assert all(abs(value - 20) < 2 for value in added)


def test_at_another_scale_the_low_version_is_made(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    prepare_pairs(find_pairs(*folders), tmp_path / "set", HEADER)
    added = brightness_added(clips(tmp_path / "set", scale=2), 2)
    assert all(abs(value) < 1 for value in added)


def test_ordinary_footage_beside_pairs_is_degraded(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    write(other, moving(data.chelsea()[:, ::-1], 12, side=176))
    prepare([other], tmp_path / "set", HEADER)
    prepare_pairs(find_pairs(*folders), tmp_path / "set", HEADER)
    added = brightness_added(clips(tmp_path / "set", spliced_share=0.0), 4, numbers=24)
    assert {round(value / 20) for value in added} == {0, 1}


def test_the_same_pairs_again_change_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    prepare_pairs(find_pairs(*folders), tmp_path / "set", HEADER)
    index = (tmp_path / "set" / INDEX_FILE).read_bytes()
    prepare_pairs(find_pairs(*folders), tmp_path / "set", HEADER)
    assert (tmp_path / "set" / INDEX_FILE).read_bytes() == index


def test_an_interrupted_run_resumes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    prepare_pairs(find_pairs(*folders), tmp_path / "whole", HEADER)
    prepare_pairs(find_pairs(*folders), tmp_path / "set", HEADER)
    index = tmp_path / "set" / INDEX_FILE
    lines = index.read_text().splitlines(keepends=True)
    second_shot = next(n for n, line in enumerate(lines) if '"shot":1' in line)
    index.write_text("".join(lines[:second_shot]) + lines[second_shot][:40])
    prepare_pairs(find_pairs(*folders), tmp_path / "set", HEADER)
    one, other = Store(tmp_path / "set"), Store(tmp_path / "whole")
    for resumed, undisturbed in zip(one.clips(), other.clips(), strict=True):
        assert all(map(np.array_equal, one.read(resumed), other.read(undisturbed)))
        assert all(map(np.array_equal, one.read_low(resumed), other.read_low(undisturbed)))


def test_names_without_a_counterpart_are_reported(folders: tuple[Path, Path]) -> None:
    low, high = folders
    (low / "film.mp4").rename(low / "another.mp4")
    with pytest.raises(DataError, match=r"high/film\.mp4: has no counterpart in .*low$"):
        find_pairs(low, high)


def test_an_odd_number_of_files_is_reported(folders: tuple[Path, Path]) -> None:
    low, high = folders
    for name in ("2", "3"):
        write(low / f"extra{name}.png", [brighter_and_smaller(soft(data.rocket()))])
    with pytest.raises(
        DataError, match=r"extra2\.png: has no counterpart in .*high \(and 1 more\)"
    ):
        find_pairs(low, high)


def test_sizes_that_do_not_match_are_reported(folders: tuple[Path, Path]) -> None:
    low, high = folders
    write(low / "0001x4.png", [brighter_and_smaller(soft(data.rocket()), 3)])
    with pytest.raises(DataError, match="sides of HIGH must be 2 or 4 times those of LOW"):
        find_pairs(low, high)


def test_a_film_and_a_picture_are_no_pair(folders: tuple[Path, Path]) -> None:
    low, high = folders
    (low / "film.mp4").unlink()
    write(low / "film.png", [moving(data.astronaut(), 1)[0]])
    with pytest.raises(DataError, match="one is photograph, the other film"):
        find_pairs(low, high)


def test_nothing_is_stored_of_films_of_different_lengths(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """The low version lacks the first frame, so that all others are misaligned."""
    low, high = folders
    film = moving(data.astronaut(), 12) + moving(data.coffee(), 9)
    write(low / "film.mp4", [brighter_and_smaller(frame) for frame in film[1:]])
    store = prepare_pairs(find_pairs(low, high), tmp_path / "set", HEADER)
    (error,) = (line.error for line in store.finished.values() if line.error)
    assert error.endswith("high/film.mp4 21")
    assert "low/film.mp4: has 20 frames, " in error
    assert [clip.frames for clip in store.clips()] == [1]


def test_folders_in_the_wrong_order_are_reported(folders: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="LOW is named first"):
        find_pairs(*reversed(folders))


def test_the_command_takes_pairs(folders: tuple[Path, Path], tmp_path: Path) -> None:
    low, high = map(str, folders)
    dataset = str(tmp_path / "set")
    done = CliRunner().invoke(cli, ["data", "prepare", "--pairs", low, high, dataset])
    assert done.exit_code == 0, done.output
    assert "train: 3 clips, 22 frames, of 2 sources" in done.output
    nothing = CliRunner().invoke(cli, ["data", "prepare", dataset])
    assert nothing.exit_code == 2
    assert "--pairs LOW HIGH" in nothing.output
