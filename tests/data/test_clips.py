from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from tests.conftest import scenes, write_film
from vsr.data.clips import (
    ClipPairs,
    DataConfig,
    DegradationShares,
    Footage,
    load_footage,
    moving_camera,
)
from vsr.data.codec import recompress
from vsr.data.footage import find_footage, load_film
from vsr.data.motion import MotionPairs
from vsr.degrade import Degradation, degrade
from vsr.errors import TrainingError
from vsr.tensors import warp


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    for name, frames in (("a", scenes(160, 120, [12, 9])), ("b", scenes(120, 160, [10])[:10])):
        write_film(folder / f"{name}.mp4", frames, codec="libx264", options={"crf": "8"})
    Image.fromarray(data.coffee()).save(folder / "coffee.png")
    return folder


def settings(footage: Path, tmp_path: Path, **changes: object) -> DataConfig:
    values = {
        "footage": (footage,),
        "validation": (footage / "b.mp4",),
        "cache": tmp_path / "cache",
        "frames": 4,
        "crop": 12,
        "motion_crop": 12,
    }
    return DataConfig.model_validate(values | changes)


def test_a_film_is_decoded_once_with_its_shots(footage: Path, tmp_path: Path) -> None:
    film = load_film(footage / "a.mp4", tmp_path)
    assert film.frames.shape == (21, 120, 160, 3)
    assert film.shots == ((0, 12), (12, 21))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = load_film(footage / "a.mp4", tmp_path)
    assert np.array_equal(again.frames, film.frames)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept


def test_decoded_colours_are_those_that_were_encoded(footage: Path, tmp_path: Path) -> None:
    film = load_film(footage / "a.mp4", tmp_path)
    original = scenes(160, 120, [12])[3].astype(float)
    # swscale made the file by BT.601 while the stream says BT.709: luma is what to compare.
    assert np.abs(film.frames[3].mean(axis=-1) - original.mean(axis=-1)).mean() < 8


def test_of_a_long_film_spread_stretches_are_taken_as_shots(tmp_path: Path) -> None:
    path = write_film(tmp_path / "long.mp4", scenes(48, 32, [300]))
    film = load_film(path, tmp_path / "cache", most_frames=120)
    assert film.shots == ((0, 60), (60, 120))
    whole = load_film(path, tmp_path / "cache", most_frames=300)
    assert np.array_equal(film.frames[:60], whole.frames[:60])
    assert np.array_equal(film.frames[60:], whole.frames[180:240])


def test_validation_films_are_not_learnt_from(footage: Path, tmp_path: Path) -> None:
    loaded = load_footage(settings(footage, tmp_path))
    assert [film.name for film in loaded.films] == ["a.mp4"]
    assert [film.name for film in loaded.validation] == ["b.mp4"]
    assert [still.shape for still in loaded.photographs] == [(400, 600, 3)]


def test_without_validation_films_some_are_held_back(footage: Path, tmp_path: Path) -> None:
    loaded = load_footage(settings(footage, tmp_path, validation=()))
    names = {film.name for film in loaded.films}, {film.name for film in loaded.validation}
    assert names == ({"b.mp4"}, {"a.mp4"})


@pytest.mark.parametrize("scale", [2, 4])
def test_the_same_index_is_the_same_clip(footage: Path, tmp_path: Path, scale: int) -> None:
    config = settings(footage, tmp_path)
    loaded = load_footage(config)
    clips = ClipPairs(loaded, config, scale, seed=1)
    again = ClipPairs(loaded, config, scale, seed=1)
    other = ClipPairs(loaded, config, scale, seed=2)
    for index in range(12):
        low, target = clips[index]
        assert low.shape == (4, 3, 12, 12)
        assert target.shape == (4, 3, 12 * scale, 12 * scale)
        assert torch.equal(low, again[index][0])
        assert torch.equal(target, again[index][1])
        assert torch.equal(target, clips.target(index))
    assert not all(torch.equal(clips[i][1], other[i][1]) for i in range(12))


@pytest.mark.parametrize(("share", "kind"), [("bi", Degradation.BI), ("bd", Degradation.BD)])
def test_low_clips_are_their_targets_degraded(
    footage: Path, tmp_path: Path, share: str, kind: Degradation
) -> None:
    """Away from the border, where the low clip has seen beyond its target."""
    shares = {"bi": 0.0, "bd": 0.0, "codec": 0.0} | {share: 1.0}
    config = settings(footage, tmp_path, crop=24, degradation=shares)
    clips = ClipPairs(load_footage(config), config, 4, seed=0)
    for index in range(6):
        low, target = clips[index]
        expected = degrade(target, 4, kind)
        assert torch.allclose(low[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3], atol=1.01 / 255)


def test_the_codec_leaves_marks_but_the_picture_too(footage: Path, tmp_path: Path) -> None:
    shares = DegradationShares(bi=0, bd=0, codec=1, codec_crf=(28, 28))
    config = settings(footage, tmp_path, crop=24, degradation=shares)
    clips = ClipPairs(load_footage(config), config, 4, seed=0)
    low, target = clips[0]
    difference = (low - degrade(target, 4, Degradation.BI)).abs().mean() * 255
    assert 0.5 < difference < 12


def test_compressing_harder_loses_more() -> None:
    clip = np.stack(scenes(64, 48, [4]))
    losses = [np.abs(recompress(clip, crf).astype(float) - clip).mean() for crf in (10, 25, 40)]
    assert losses == sorted(losses)
    assert np.array_equal(recompress(clip, 25), recompress(clip, 25))


def test_no_clip_crosses_a_cut(tmp_path: Path) -> None:
    """In a film of two pictures that stand still, nothing moves in any clip."""
    one, other = scenes(128, 128, [1, 1])
    write_film(tmp_path / "a.mp4", [one] * 12 + [other] * 9)
    config = settings(tmp_path, tmp_path, validation=(tmp_path / "a.mp4",), frames=9)
    film = load_film(tmp_path / "a.mp4", tmp_path / "cache")
    clips = ClipPairs(Footage((film,), (), (film,)), config, 2, seed=0)
    seen = set()
    for index in range(20):
        target = clips[index][1]
        assert target.diff(dim=0).abs().mean() < 0.01
        seen.add(round(float(target.mean()), 1))
    assert len(seen) > 1


def test_a_static_clip_stands_still(footage: Path, tmp_path: Path) -> None:
    config = settings(footage, tmp_path, static_share=1.0, degradation=DegradationShares(codec=0))
    low, target = ClipPairs(load_footage(config), config, 4, seed=0)[0]
    assert not low.diff(dim=0).any()
    assert not target.diff(dim=0).any()


def test_a_moving_camera_moves_a_sharp_picture() -> None:
    clip = moving_camera(data.astronaut(), 6, 64, np.random.default_rng(0))
    assert clip.shape == (6, 64, 64, 3)
    assert clip.dtype == np.uint8
    assert (np.abs(np.diff(clip.astype(int), axis=0)).mean(axis=(1, 2, 3)) > 0.2).all()
    assert np.abs(np.diff(clip.astype(int), axis=2)).mean() > 3


def test_known_motion_is_what_lies_between_the_frames(footage: Path, tmp_path: Path) -> None:
    config = settings(footage, tmp_path, motion_crop=20)
    pairs = MotionPairs(load_footage(config), config, 4, seed=0)
    still = moved = 0.0
    for index in range(12):
        current, previous, flow = pairs[index]
        assert flow.shape == (2, 20, 20)
        inner = (slice(None), slice(6, -6), slice(6, -6))
        moved += float((warp(previous[None], flow[None])[0] - current)[inner].abs().mean())
        still += float((previous - current)[inner].abs().mean())
    assert moved < still / 2


def test_footage_without_films_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such file or folder"):
        find_footage([tmp_path / "none"])
    with pytest.raises(TrainingError, match="holds no film and no photograph"):
        find_footage([tmp_path])


def test_footage_too_small_for_its_clips_is_refused(footage: Path, tmp_path: Path) -> None:
    config = settings(footage, tmp_path, crop=200)
    with pytest.raises(TrainingError, match=r"no film has 4 frames of 832x832 pixels"):
        ClipPairs(load_footage(config), config, 4, seed=0)
