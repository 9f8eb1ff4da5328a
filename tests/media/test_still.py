from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from vsr.errors import MediaError, OutputError
from vsr.media.image import read_still
from vsr.media.image_writer import write_still
from vsr.media.still import Still


def test_png_goes_through_untouched(tmp_path: Path) -> None:
    picture = data.astronaut()[:37, :51]
    write_still(tmp_path / "a.png", Still(picture))
    assert np.array_equal(read_still(tmp_path / "a.png").rgb, picture)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".JPG"])
def test_lossy_formats_stay_close(tmp_path: Path, suffix: str) -> None:
    picture = data.coffee()[:64, :64]
    write_still(tmp_path / f"a{suffix}", Still(picture))
    error = read_still(tmp_path / f"a{suffix}").rgb.astype(float) - picture
    assert np.abs(error).mean() < 4


def test_transparency_and_profile_are_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = np.arange(64, dtype=np.uint8).reshape(8, 8)
    write_still(tmp_path / "a.png", Still(np.zeros((8, 8, 3), np.uint8), alpha, profile))
    still = read_still(tmp_path / "a.png")
    assert still.alpha is not None
    assert np.array_equal(still.alpha, alpha)
    assert still.icc_profile == profile


def test_a_turned_photograph_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by a quarter
    exif[0x010F] = "Maker"
    Image.fromarray(data.coffee()[:32, :64]).save(tmp_path / "a.jpg", exif=exif)
    still = read_still(tmp_path / "a.jpg")
    assert still.rgb.shape == (64, 32, 3)
    write_still(tmp_path / "b.jpg", still)
    with Image.open(tmp_path / "b.jpg") as again:
        assert again.size == (32, 64)
        assert again.getexif().get(0x0112, 1) == 1
        assert again.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    Image.fromarray(data.coffee()[:16, :16]).convert(mode).save(tmp_path / name)
    assert read_still(tmp_path / name).rgb.shape == (16, 16, 3)


def test_broken_pictures_are_distinguished(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    cut = tmp_path / "cut.png"
    Image.fromarray(data.coffee()[:64, :64]).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    for path, reason in (
        (tmp_path / "none.png", "no such file"),
        (tmp_path, "is a folder"),
        (text, "not a picture"),
        (cut, "can't be read"),
    ):
        with pytest.raises(MediaError, match=reason):
            read_still(path)


def test_outputs_that_can_not_be_are_refused(tmp_path: Path) -> None:
    still = Still(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))
    with pytest.raises(OutputError, match="can't hold transparency"):
        write_still(tmp_path / "a.jpg", still)
    with pytest.raises(OutputError, match="unknown picture format"):
        write_still(tmp_path / "a.gif", still)
    write_still(tmp_path / "a.png", still)
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        write_still(tmp_path / "a.png", still)
    write_still(tmp_path / "a.png", still, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_sixteen_bit_grey_keeps_its_tones(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    rgb = read_still(tmp_path / "a.png").rgb
    assert np.array_equal(rgb, np.repeat(ramp[..., None], 3, axis=2))


def test_pixels_are_the_readers_own_to_write_to(tmp_path: Path) -> None:
    # What can't be written to makes torch complain to whoever upscales it.
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    assert read_still(tmp_path / "a.png").rgb.flags.writeable
