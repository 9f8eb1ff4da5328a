from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.helpers.cli import vsr
from tests.helpers.stills import first_frame
from vsr.engine.image import StillUpscaler
from vsr.engine.image_array import upscale_image
from vsr.engine.image_pairs import pair_images
from vsr.errors import MediaError, OutputError


def test_a_picture_is_a_film_of_one_frame(tiny_model: Path) -> None:
    picture = data.coffee()[:37, :51].copy()
    ours = upscale_image(picture, model=str(tiny_model), device="cpu")
    theirs = (first_frame(tiny_model, picture / 255).clip(0, 1) * 255).round()
    assert ours.shape == (148, 204, 3)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_transparency_goes_along(tmp_path: Path, tiny_model: Path) -> None:
    pixels = np.dstack((data.coffee()[:16, :24], np.full((16, 24), 77, np.uint8)))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    StillUpscaler(str(tiny_model), device="cpu").upscale_file(
        tmp_path / "a.png", tmp_path / "b.webp"
    )
    with Image.open(tmp_path / "b.webp") as result:
        assert result.size == (96, 64)
        assert result.mode == "RGBA"
        assert (np.asarray(result)[..., 3] == 77).all()


def test_grain_leaves_transparency_alone(tmp_path: Path) -> None:
    pixels = np.dstack((data.coffee()[:48, :64], np.full((48, 64), 77, np.uint8)))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for name, grain in (("plain", "0"), ("grained", "0.5")):
        done = vsr("image", tmp_path / "a.png", tmp_path / f"{name}.png", "--grain", grain)
        assert done.returncode == 0, done.stderr
    plain, grained = (
        np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int)
        for name in ("plain", "grained")
    )
    assert (grained[..., 3] == 77).all()
    assert 2 < (grained - plain)[..., 1].std() < 0.5 * 0.05 * 255


def test_samples_of_12_bits_in_16_are_upscaled_as_full_ones() -> None:
    picture = data.coffee()[:32, :48].astype(np.uint16) * 257
    few, full = (
        upscale_image(pixels, model="tiny-x2", scale=2, device="cpu").astype(int)
        for pixels in ((picture // 16).astype(np.uint16), picture // 16 * 16)
    )
    assert np.abs(16 * few - full).mean() < 100  # of 65535


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3)])
def test_arrays_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected uint8, uint16 or float32 \(H, W, 3\)"):
        upscale_image(np.zeros(shape, np.uint8))


def test_the_input_itself_is_never_overwritten(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(data.coffee()[:8, :8]).save(path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="is the input itself"):
        StillUpscaler(str(tiny_model), device="cpu").upscale_file(path, path, overwrite=True)
    assert path.read_bytes() == before


def test_a_missing_picture_is_named_even_where_the_output_exists(
    tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "b.png").touch()
    upscaler = StillUpscaler(str(tiny_model), device="cpu")
    with pytest.raises(MediaError, match=r"none\.png: no such file"):
        upscaler.upscale_file(tmp_path / "none.png", tmp_path / "b.png", overwrite=True)


def test_an_output_folder_within_the_input_is_not_read_again(tmp_path: Path) -> None:
    for name in ("a.png", "large/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    jobs = pair_images([tmp_path], tmp_path / "large")
    assert jobs == [(tmp_path / "a.png", tmp_path / "large" / "a.png")]


def test_a_folder_keeps_its_tree(tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.JPG", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    jobs = pair_images([tmp_path / "in"], tmp_path / "out")
    assert [target.relative_to(tmp_path) for _, target in jobs] == [
        Path("out/a.png"),
        Path("out/sub/b.JPG"),
    ]
    assert (tmp_path / "out" / "sub").is_dir()


def test_folders_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="holds no picture"):
        pair_images([tmp_path], tmp_path / "out")
    (tmp_path / "a.png").touch()
    with pytest.raises(OutputError, match="isn't a folder, but the input is one"):
        pair_images([tmp_path], tmp_path / "a.png")
