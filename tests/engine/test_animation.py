"""Upscaled animations, judged by Pillow or OpenCV."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import vsr
from tests.helpers.cli import complaint
from tests.helpers.cli import vsr as run
from vsr.engine.animation import _LOOP_FRAMES
from vsr.errors import MediaError
from vsr.imaging.tensors import to_float, to_uint8
from vsr.models import Srresnet, SrresnetConfig
from vsr.zoo import default_detail
from vsr.zoo.model_file import save_generator

PICTURE = data.coffee()
MODEL = "tiny-x4"
"""A trained model, whose memory matters."""


@pytest.fixture
def still_model(tmp_path: Path) -> Path:
    """A network of single pictures, x2, with random weights."""
    torch.manual_seed(1)
    config = SrresnetConfig(channels=4, blocks=1, scale=2)
    save_generator(tmp_path / "still.safetensors", Srresnet(config).state_dict(), config)
    return tmp_path / "still.safetensors"


def views(count: int, left: int = 40) -> list[NDArray[np.uint8]]:
    return [PICTURE[60:84, left + 2 * n : left + 2 * n + 32].copy() for n in range(count)]


def save(path: Path, frames: list[NDArray[np.uint8]], **options: Any) -> Path:
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, **options)
    return path


def shown(path: Path) -> NDArray[np.int16]:
    done, animation = cv2.imreadanimation(str(path))
    assert done
    return np.array([frame[..., [2, 1, 0, 3][: frame.shape[2]]] for frame in animation.frames], int)


def network_output(frames: list[NDArray[np.uint8]]) -> NDArray[np.int16]:
    low = to_float(torch.from_numpy(np.stack(frames))).permute(0, 3, 1, 2)[None]
    with torch.inference_mode():
        high = vsr.load(MODEL, detail=default_detail(MODEL))(low)[0]
    return to_uint8(high).permute(0, 2, 3, 1).numpy().astype(int)


def upscale(source: Path, output: Path, model: Path | str = MODEL, **options: Any) -> list[str]:
    lines: list[str] = []
    vsr.upscale_picture(
        source, output, model=str(model), device="cpu", tell=lines.append, **options
    )
    return lines


def test_an_animation_is_upscaled_as_a_film(tmp_path: Path) -> None:
    frames = views(6)
    once = save(tmp_path / "once.png", frames, duration=70, loop=1)
    assert upscale(once, tmp_path / "b.png") == []
    expected = network_output(frames)
    found = shown(tmp_path / "b.png")[..., :3]
    assert np.abs(found - expected).max() <= 1
    alone = network_output(frames[5:])
    assert np.abs(found[5:] - alone).max() > 10


def test_the_first_frame_of_a_loop_follows_the_last(tmp_path: Path) -> None:
    frames = views(6)
    round_trip = frames + frames[-2:0:-1]
    source = save(tmp_path / "a.png", round_trip, duration=70, loop=0)
    upscale(source, tmp_path / "b.png")
    expected = network_output(round_trip[-_LOOP_FRAMES:] + round_trip)
    found = shown(tmp_path / "b.png")[..., :3]
    assert np.abs(found - expected[_LOOP_FRAMES:]).max() <= 1
    assert np.abs(found[0] - network_output(frames)[0]).max() > 10


def test_a_cut_resets_the_memory(tmp_path: Path) -> None:
    shots = views(8), [255 - frame for frame in views(8, left=300)]
    source = save(tmp_path / "a.png", [*shots[0], *shots[1]], loop=1)
    upscale(source, tmp_path / "b.webp")
    expected = np.concatenate([network_output(shot) for shot in shots])
    found = shown(tmp_path / "b.webp")[..., :3]
    assert len(found) == 16
    assert np.abs(found - expected).mean() < 3  # WebP is lossy
    upscale(source, tmp_path / "b.png")
    assert np.abs(shown(tmp_path / "b.png")[..., :3] - expected).max() <= 1


def test_steady_filters_the_output_of_a_model_of_single_pictures(
    tmp_path: Path, still_model: Path
) -> None:
    frames = views(6)
    source = save(tmp_path / "a.png", frames, loop=1)
    upscale(source, tmp_path / "b.png", still_model, steady=1.0)
    low = to_float(torch.from_numpy(np.stack(frames))).permute(0, 3, 1, 2)[None]
    plain, filtered = (
        to_uint8(vsr.load(still_model, steady=steady)(low)[0]).permute(0, 2, 3, 1).numpy()
        for steady in (0, 1)
    )
    found = shown(tmp_path / "b.png")[..., :3]
    assert np.abs(found - filtered.astype(int)).max() <= 1
    assert np.abs(found[5] - plain[5].astype(int)).max() > 10


def test_steady_is_refused_for_models_with_a_memory(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", views(2), loop=1)
    line = complaint("image", source, tmp_path / "b.png", "--model", MODEL, "--steady", 0.5)
    assert "tiny-x4 has a memory: leave it out" in line


def test_steady_of_a_picture_is_reported(tmp_path: Path, still_model: Path) -> None:
    Image.fromarray(views(1)[0]).save(tmp_path / "a.png")
    lines = upscale(tmp_path / "a.png", tmp_path / "b.png", still_model, steady=0.5)
    assert lines == [
        f"{tmp_path / 'a.png'}: isn't written as an animation; steady doesn't change it"
    ]


def test_hidden_colours_leave_no_rim_in_animations(tmp_path: Path, tiny_model: Path) -> None:
    frames = []
    for index in range(3):
        pixels = np.full((24, 32, 4), (0, 255, 0, 0), np.uint8)
        pixels[6:18, 6 + index : 20 + index] = (180, 40, 40, 255)
        frames.append(pixels)
    source = save(tmp_path / "a.png", frames, loop=0)
    upscale(source, tmp_path / "b.png", tiny_model)
    lines = upscale(source, tmp_path / "b.gif", tiny_model)
    assert [line.partition("kept: ")[2][:11] for line in lines] == ["true colour"]
    for name in ("b.png", "b.gif"):
        found = shown(tmp_path / name)
        assert found.shape == (3, 96, 128, 4)
        visible = found[..., 3] > 0
        assert 0.15 < visible.mean() < 0.3
        assert found[visible][:, 1].max() < 100


def test_any_size_is_possible(tmp_path: Path, tiny_model: Path) -> None:
    source = save(tmp_path / "a.png", views(2), loop=1)
    upscale(source, tmp_path / "b.png", tiny_model, width=50)
    assert shown(tmp_path / "b.png").shape[1:3] == (38, 50)


def test_large_frames_are_upscaled_in_bands_without_a_seam(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [np.ascontiguousarray(PICTURE[n : n + 150, 40:72]) for n in (0, 2)]
    source = save(tmp_path / "a.png", frames, loop=1)
    upscale(source, tmp_path / "b.png", tiny_model)
    monkeypatch.setattr("vsr.engine.animation._BAND_PIXELS", 1)
    upscale(source, tmp_path / "c.png", tiny_model)
    difference = np.abs(shown(tmp_path / "b.png") - shown(tmp_path / "c.png"))
    assert difference.max() <= 3
    assert difference.mean() < 0.05


def test_a_folder_keeps_animations_and_turns_other_gifs_into_png(
    tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "moving.gif", views(2), duration=80)
    Image.fromarray(PICTURE[:16, :16]).save(tmp_path / "in" / "still.gif")
    done = run("image", tmp_path / "in", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["moving.gif", "still.png"]
    with Image.open(tmp_path / "out" / "moving.gif") as opened:
        assert (opened.size, opened.info["duration"]) == ((128, 96), 80)
    assert len(shown(tmp_path / "out" / "moving.gif")) == 2


def test_strict_refuses_an_animation_that_would_lose_something(tmp_path: Path) -> None:
    source = save(tmp_path / "a.webp", views(2))
    line = complaint("image", source, tmp_path / "b.gif", "--strict")
    assert "b.gif: would lack true colours: .gif holds 256 in a frame" in line
    assert not (tmp_path / "b.gif").exists()
    line = complaint("image", source, tmp_path / "b.jpg", "--strict")
    assert "1 of 2 frames of an animation; the first is used" in line


def test_a_truncated_animation_is_refused_before_any_work(tmp_path: Path) -> None:
    source = save(tmp_path / "a.png", views(4))
    source.write_bytes(source.read_bytes()[:-400])
    with pytest.raises(MediaError, match=r"a\.png: frame 4 can't be read"):
        vsr.upscale_picture(source, tmp_path / "b.gif")
