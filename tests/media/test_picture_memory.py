"""Limits of memory, and reading without copies."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from skimage import data

import vsr as vsr_api
from tests.helpers.cli import vsr
from vsr.errors import MediaError, OutputError
from vsr.media.animation.reader import is_animated, read_animation
from vsr.media.image import read_still
from vsr.media.image_writer import write_still
from vsr.media.picture_memory import memory_limit
from vsr.media.picture_samples import samples_of, upright_copy
from vsr.media.still import Still
from vsr.media.tiff_stack import open_stack
from vsr.media.verify.picture_contents import read_picture


def test_pictures_beyond_pillows_limit_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr("vsr.media.picture_memory._PILLOW_LIMIT", 1000)
    Image.new("L", (200, 100)).save(tmp_path / "a.png")
    with (
        memory_limit(0.0001),
        pytest.raises(MediaError, match=r"a\.png: is too large.*--max-memory"),
    ):
        read_still(tmp_path / "a.png")
    assert read_still(tmp_path / "a.png").rgb.shape == (100, 200, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_deep_pictures_count_with_their_bytes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((100, 100, 3), np.float32), photometric="rgb")
    with memory_limit(0.00035), pytest.raises(MediaError, match=r"100x100 pixels need 0\.0 GB"):
        read_still(tmp_path / "a.tif")
    with memory_limit(0.00037):
        assert read_still(tmp_path / "a.tif").rgb.dtype == np.float32


def test_a_bomb_is_refused_in_one_line(tmp_path: Path) -> None:
    Image.new("1", (9_000, 9_000)).save(tmp_path / "a.png")
    done = vsr("image", tmp_path / "a.png", tmp_path / "b.png", "--max-memory", "0.5")
    assert done.returncode == 1
    assert "a.png: is too large: pictures have at most 41666666 pixels; see --max-memory" in (
        done.stderr
    )
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_samples_are_those_of_a_whole_conversion(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.media.picture_samples._LINES", 7)
    image = Image.fromarray(data.coffee()[:40, :33]).convert(mode)
    if mode == "P":
        image.info["transparency"] = 3
    rgb, alpha = samples_of(image)
    whole = np.asarray(image.convert("RGBA" if alpha is not None else "RGB"))
    assert np.array_equal(rgb, whole[..., :3])
    assert (alpha is not None) == (mode in ("RGBA", "LA", "P"))
    if alpha is not None:
        assert np.array_equal(alpha, whole[..., 3])


@pytest.mark.parametrize("orientation", [1, 6])
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(data.coffee()[:40, :33]).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        found = np.asarray(upright_copy(image))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(found, np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("suffix", [".exr", ".jxl", ".tif"])
def test_the_memory_of_formats_that_pillow_does_not_read_is_limited(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    write_still(path, Still(np.zeros((100, 100, 3), np.float32)))
    with memory_limit(0.00035), pytest.raises(MediaError, match=r"100x100 pixels need .* memory"):
        read_still(path)
    with memory_limit(0.00037):
        assert read_still(path).rgb.shape == (100, 100, 3)


def test_planes_beyond_pillows_limit_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr("vsr.media.picture_memory._PILLOW_LIMIT", 1000)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 100, 100), np.uint16))
    with open_stack(tmp_path / "a.tif") as stack:
        assert stack is not None
        assert stack.plane(1).shape == (100, 100)
    with (
        memory_limit(0.0001),
        pytest.raises(MediaError, match="--max-memory"),
        open_stack(tmp_path / "a.tif"),
    ):
        pass


def test_pictures_beyond_pillows_limit_are_compared_and_animated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [Image.new("L", (200, 100), shade) for shade in (0, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], comment=b"Two")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr("vsr.media.picture_memory._PILLOW_LIMIT", 1000)
    assert is_animated(tmp_path / "a.gif")
    assert len(list(read_animation(tmp_path / "a.gif").frames())) == 2
    assert read_picture(tmp_path / "a.gif").comment == b"Two"


def test_outputs_that_need_too_much_memory_are_refused_by_name(
    tmp_path: Path, tiny_model: Path
) -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    pages = np.zeros((2, 20, 20), np.uint16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", pages, photometric="minisblack")
    options: dict[str, Any] = {"model": str(tiny_model), "max_memory": 15e-6}
    for source, output in (("a.png", "c.webp"), ("b.tif", "d.tif")):
        with pytest.raises(OutputError, match=rf"{output}: 80x80 pixels need .*--max-memory"):
            vsr_api.upscale_picture(tmp_path / source, tmp_path / output, **options)
    with pytest.raises(OutputError, match=r"an array: 80x80 pixels need .* max_memory"):
        vsr_api.upscale_image(pixels, **options)
    assert vsr_api.upscale_image(pixels, **options | {"max_memory": 20e-6}).shape == (80, 80, 3)
