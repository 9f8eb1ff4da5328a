"""CMYK pictures, made by Pillow or tifffile, judged by the other one or by FFmpeg."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from tests.media.test_deep_pictures import cmyk_profile
from vsr.engine.image import StillUpscaler
from vsr.media.image import read_still
from vsr.media.image_writer import still_losses


def inks(height: int, width: int) -> np.ndarray:
    """A photograph with full replacement of grey by black, beside pure black."""
    unit = data.coffee()[:height, :width] / 255.0
    black = 1 - unit.max(axis=2, keepdims=True)
    colours = 1 - unit / np.maximum(1 - black, 1e-6)
    made: np.ndarray = np.rint(255 * np.dstack([colours, black])).astype(np.uint8)
    made[: height // 2, : width // 2] = (0, 0, 0, 255)
    return made


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_stays_cmyk_with_its_profile(tmp_path: Path, tiny_model: Path, suffix: str) -> None:
    picture, profile = inks(24, 32), cmyk_profile()
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    options: Any = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}
    Image.fromarray(picture, "CMYK").save(
        tmp_path / f"a{suffix}", icc_profile=profile, exif=exif, dpi=(300, 300), **options
    )
    StillUpscaler(str(tiny_model), device="cpu").upscale_file(
        tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", strict=True
    )
    with Image.open(tmp_path / f"b{suffix}") as made:
        assert (made.mode, made.size) == ("CMYK", (128, 96))
        assert made.info["icc_profile"] == profile
        assert made.info["dpi"] == (300, 300)
        assert made.getexif()[0x010F] == "Maker"
        found = np.asarray(made).astype(int)
    small = found.reshape(24, 4, 32, 4, 4).mean(axis=(1, 3))
    assert np.abs(small[14:, 18:] - picture[14:, 18:]).mean() < 12
    # Pure black needs no other ink.
    assert np.abs(found[4:40, 4:56] - (0, 0, 0, 255)).max() < 12
    if suffix == ".jpg":
        shown = cv2.imread(str(tmp_path / "b.jpg"))
        assert shown is not None
        assert shown[4:40, 4:56].max() < 12
        assert shown[60:, 72:].mean() == pytest.approx(data.coffee()[15:24, 18:32].mean(), abs=3)
    if suffix == ".tif":
        with tifffile.TiffFile(tmp_path / "b.tif") as tif:
            page = tif.pages.first
            assert page.photometric == tifffile.PHOTOMETRIC.SEPARATED
            assert np.array_equal(page.asarray(), found)


def test_cmyk_of_another_library_becomes_rgb_where_a_format_holds_none(
    tmp_path: Path, tiny_model: Path
) -> None:
    picture = inks(16, 24)
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="separated")
    still = read_still(tmp_path / "a.tif")
    assert still.inks is not None
    assert np.array_equal(still.inks, picture)
    line = "CMYK colours: RGB is written; .jpg and .tif hold CMYK"
    assert still_losses(tmp_path / "b.png", still) == [line]
    StillUpscaler(str(tiny_model), device="cpu").upscale_file(
        tmp_path / "a.tif", tmp_path / "b.png"
    )
    found = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.shape == (64, 96, 3)
    assert found[4:24, 4:40].max() < 12
