"""Pictures that are cut off or changed at random: a line each, never a traceback."""

import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from tests.helpers.cli import vsr
from tests.media.test_picture_formats import TEN_BITS
from vsr.errors import MediaError
from vsr.media.image import read_still
from vsr.media.image_writer import write_still

PICTURE = data.coffee()[:24, :32]
DEEP = PICTURE.astype(np.uint16) * 257
MUTATIONS = 40


def by_pillow(path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(PICTURE).save(path, exif=exif)


WRITERS: dict[str, Callable[[Path], object]] = {
    **dict.fromkeys(("a.png", "a.jpg", "a.webp", "a.avif", "a.bmp", "a.gif", "a.tif"), by_pillow),
    "deep.png": lambda path: cv2.imwrite(str(path), DEEP),
    "deep.tif": lambda path: tifffile.imwrite(path, DEEP, photometric="rgb"),
    "float.tif": lambda path: tifffile.imwrite(path, DEEP / np.float32(65535), photometric="rgb"),
    "a.heic": lambda path: path.write_bytes(TEN_BITS),
}


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_pictures_are_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    lines = []
    for seed in range(MUTATIONS):
        draw = random.Random(seed)
        content = bytearray(whole)
        if seed % 4 == 0:
            content = content[: draw.randrange(1, len(content))]
        for _ in range(draw.choice((1, 2, 8)) if seed % 4 else 0):
            content[draw.randrange(min(len(content), 400))] = draw.choice((0, 255, 77))
        path.write_bytes(content)
        try:
            still = read_still(path)
        except MediaError as error:
            lines.append(str(error))
        else:
            if still.rgb.size < 1_000_000:
                write_still(tmp_path / "b.png", still, overwrite=True)
    assert lines
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in lines)
    if name == "deep.png":
        assert capfd.readouterr().err == ""  # libpng is silent


def test_a_damaged_picture_does_not_end_a_folder(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, source in (("a.png", "a.png"), ("b.tif", "deep.tif"), ("c.avif", "a.avif")):
        WRITERS[source](tmp_path / "in" / name)
    cut = tmp_path / "in" / "b.tif"
    cut.write_bytes(cut.read_bytes()[:-50])
    done = vsr("image", tmp_path / "in", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    assert f"{cut}: can't be read: it is cut off" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.avif"]


def test_a_picture_of_too_many_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name in ("a.png", "deep.png", "deep.tif", "a.heic"):
        WRITERS[name](tmp_path / name)
        with pytest.raises(MediaError, match=r"have at most 200 pixels"):
            read_still(tmp_path / name)
