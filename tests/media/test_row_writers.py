"""Pictures written line by line, compared with pictures written at once."""

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from vsr.engine.image import StillUpscaler
from vsr.media import row_writers, still_rows
from vsr.media.image import read_still
from vsr.media.picture_tags import PictureTags
from vsr.media.row_writers import PictureShape, regrouped, write_jpeg_rows, write_tiff_rows


def exif(orientation: int = 1) -> Image.Exif:
    made = Image.Exif()
    made[0x010F] = "Maker"
    made[0x0112] = orientation
    made.get_ifd(0x8769)[0xA002] = 48
    made.get_ifd(0x8769)[0x8827] = 400
    return made


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *[(mode, suffix) for mode in ("L", "LA", "RGB", "RGBA") for suffix in (".png", ".tif")],
        *[("L", ".jpg"), ("RGB", ".jpg"), ("deep", ".png"), ("deep", ".tif")],
    ],
)
def test_large_outputs_equal_small_ones(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, mode: str, suffix: str
) -> None:
    """Samples, metadata and modes are those of Pillow's and our other writers."""
    if mode == "deep":
        deep = data.coffee()[:41, :48].astype(np.uint16) * 257 + 3
        cv2.imwrite(str(tmp_path / "a.png"), deep)
    else:
        image = Image.fromarray(data.coffee()[:41, :48]).convert(mode)
        if mode.endswith("A"):
            image.putalpha(Image.fromarray(data.camera()[:41, :48]))
        image.save(tmp_path / "a.png", exif=exif(6), dpi=(300, 300))
    upscaler = StillUpscaler(str(tiny_model), device="cpu")
    upscaler.upscale_file(tmp_path / "a.png", tmp_path / f"whole{suffix}")
    monkeypatch.setattr(still_rows, "_LEAST_BYTES", 0)
    monkeypatch.setattr(row_writers, "STRIP_BYTES", 9000)
    monkeypatch.setattr(row_writers, "_BLOCK_BYTES", 9000)
    monkeypatch.setattr(row_writers, "_SEGMENT_LINES", 24)
    upscaler.upscale_file(tmp_path / "a.png", tmp_path / f"rows{suffix}")
    whole, rows = (read_still(tmp_path / f"{name}{suffix}") for name in ("whole", "rows"))
    limit = 1 if whole.grey or whole.alpha is not None else 0
    assert np.abs(whole.rgb.astype(int) - rows.rgb).max() <= limit
    if whole.alpha is not None:
        assert rows.alpha is not None
        assert np.abs(whole.alpha.astype(int) - rows.alpha).max() <= 1
    with (
        Image.open(tmp_path / f"whole{suffix}") as one,
        Image.open(tmp_path / f"rows{suffix}") as other,
    ):
        assert (one.mode, one.size, dict(one.getexif())) == (
            other.mode,
            other.size,
            {**dict(other.getexif()), **structure(one)},
        )
        assert one.info.get("dpi") == other.info.get("dpi")


def structure(image: Image.Image) -> dict[int, Any]:
    """Tags of the strips of a TIFF file."""
    tags = (0x0111, 0x0116, 0x0117, 0x8769)
    return {tag: value for tag, value in image.getexif().items() if tag in tags}


def test_tiff_beyond_four_gigabytes_is_bigtiff(tmp_path: Path) -> None:
    """Each strip is reduced to a byte, which its position must lead to."""
    shape = PictureShape(height=300, width=5_000_000, channels=3, dtype=np.dtype(np.uint8))
    lines = [np.full((1, 8, 3), n % 256, np.uint8) for n in range(300)]
    wide = (np.broadcast_to(line[:, :1], (1, shape.width, 3)) for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_writers, "compressed", lambda strip: struct.pack("B", strip[0, 0, 0]))
        write_tiff_rows(
            tmp_path / "a.tif",
            shape,
            wide,
            profile=None,
            exif=exif().tobytes(),
            tags=PictureTags(),
            xmp=None,
        )
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        page: Any = tif.pages[0]
        assert tif.is_bigtiff
        assert page.shape == (300, 5_000_000, 3)
        assert page.tags["ExifTag"].value["ISOSpeedRatings"] == 400
        content = (tmp_path / "a.tif").read_bytes()
        found = [content[start] for start in page.dataoffsets]
        assert found == [n % 256 for n in range(300)]
        assert set(page.databytecounts) == {1}


def test_wide_jpegs_have_intervals_that_fit(tmp_path: Path) -> None:
    shape = PictureShape(height=21, width=65_000, channels=3, dtype=np.dtype(np.uint8))
    pixels = np.tile(data.coffee()[:21], (1, 109, 1))[:, :65_000]
    write_jpeg_rows(tmp_path / "a.jpg", shape, [pixels], {"quality": 95, "subsampling": 0})
    with Image.open(tmp_path / "a.jpg") as image:
        found = np.asarray(image)
    assert np.abs(found.astype(int) - pixels).mean() < 2


def test_bands_are_regrouped() -> None:
    lines = np.arange(50)
    bands = [lines[start : start + 7] for start in range(0, 50, 7)]
    for count in (1, 3, 7, 20, 100):
        found = list(regrouped(bands, count))
        assert np.array_equal(np.concatenate(found), lines)
        assert {len(part) for part in found[:-1]} <= {count}
