"""HEIC, AVIF, GIF and BMP pictures, judged by Pillow or OpenCV."""

import base64
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, features
from skimage import data

from tests.helpers.cli import vsr
from vsr.engine.image import StillUpscaler
from vsr.errors import MediaError, OutputError
from vsr.media import picture_formats
from vsr.media.image import read_still
from vsr.media.image_writer import check_still_output, still_losses, write_still
from vsr.media.still import Still

# Four quarters of 48x32: red, green, blue, white. The second file has ten bits.
EIGHT_BITS_ROTATED = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAcltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7QABAAAAAAAAANsAAgAAAAACyAABAAAAAAAAADYAAAA4aWluZgAA"
    "AAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABCGlwcn"
    "AAAADnaXBjbwAAAHdodmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJA"
    "YQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3VyU1zcBDQYEAAADAGQAAAMABCBiAAEACEQBwXMYMAiQAAAAE2NvbH"
    "JuY2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNsYXAAAAAwAAAAAQAAACAAAAAB////8AAAAAL////g"
    "AAAAAgAAABBwaXhpAAAAAAMICAgAAAAJaXJvdAMAAAAZaXBtYQAAAAAAAAABAAEGgQIDBYSGAAAAGmlyZWYAAAAAAA"
    "AADmNkc2MAAgABAAEAAAEZbWRhdAAAANcoAa8J4OOEnCP/65C/+lH0Po7+3uUHmOHH2e//VMf9zmdHF2hYDWk5GU6v"
    "2AFW0Qun/U8iHo7jf5f9P8w1ur0PdbP/m5vRu3LCb0gbaMeWgR+bxBehk/yDIs+jb+7gDVB6ENIchEwhf2j+nplv6/"
    "gux+yyT/C797/AkwJHirdw/WGqw0p7OTCOOw/PrXlKxReHxf5f53zBWH5H8slLJD71sfX0q+ktdOXgLHACDsh8RxFJ"
    "n9iI6/pOvu24ATVZUpAPKPPSNPrGqyQChSSSMqONB0hmnzVzlAAAAAZFeGlmAABNTQAqAAAACAACAQ8AAgAAAAYAAA"
    "AmARIAAwAAAAEABgAAAAAAAE1ha2VyAA=="
)
TEN_BITS = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAAEUAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAAB"
    "AABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQQIAAAAnDgAAAAAHvAA/P/6+gAADw"
    "NgAAEAF0ABDAH//wQIAAADAJw4AAADAAAeugJAYQABAClCAQEECAAAAwCcOAAAAwAAHpAEECCbLdXJTXNwENBgQAAA"
    "BkAAAAMAQmIAAQAIRAHBcxgwCJAAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcA"
    "AAADAAAAABAAAAIAAAAAH////wAAAAAv///+AAAAACAAAAEHBpeGkAAAAAAwoKCgAAABhpcG1hAAAAAAAAAAEAAQWB"
    "AgMFhAAAAE1tZGF0AAAAQSgBrwngIzV5f/tP//+rtyHoj2MuUHmmlx+Kt/96YzfuYcf/Q/5/lsq/4LIaG5Hpzo9u/u"
    "cKm3BzRgJnes+H36XA"
)
QUARTERS = [[(220, 30, 30), (30, 200, 30)], [(30, 30, 210), (230, 230, 230)]]


@pytest.fixture(scope="module")
def upscaler(tiny_model: Path) -> StillUpscaler:
    return StillUpscaler(str(tiny_model), device="cpu")


def corners(pixels: np.ndarray) -> np.ndarray:
    return pixels[[4, -4]][:, [4, -4]].astype(float)


def test_heic_is_read_upright_with_its_exif_data(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(EIGHT_BITS_ROTATED)
    still = read_still(tmp_path / "a.heic")
    assert still.rgb.shape == (48, 32, 3)
    assert np.abs(corners(still.rgb) - np.rot90(QUARTERS, -1)).max() < 6
    write_still(tmp_path / "b.jpg", still)
    with Image.open(tmp_path / "b.jpg") as made:
        assert (made.getexif()[0x010F], made.getexif().get(0x0112, 1)) == ("Maker", 1)


def test_heic_of_ten_bits_becomes_sixteen(upscaler: StillUpscaler, tmp_path: Path) -> None:
    (tmp_path / "a.HEIC").write_bytes(TEN_BITS)
    lines: list[str] = []
    upscaler.upscale_file(tmp_path / "a.HEIC", tmp_path / "b.png", tell=lines.append)
    assert lines == []
    still = read_still(tmp_path / "a.HEIC")
    assert still.bits == 10
    assert still.rgb.dtype == np.uint16
    assert np.abs(corners(still.rgb) / 257 - QUARTERS).max() < 6
    steps = still.rgb.astype(float) * 1023 / 65535
    assert np.abs(steps - steps.round()).max() < 0.01
    found = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.dtype == np.uint16
    assert found.shape == (128, 192, 3)


def test_heic_of_other_primaries_without_a_profile_is_reported(tmp_path: Path) -> None:
    display_p3 = TEN_BITS.replace(b"nclx\0\x01", b"nclx\0\x0c")
    assert display_p3 != TEN_BITS
    (tmp_path / "a.heic").write_bytes(display_p3)
    lost = "colour primaries 12 of HEIC, without a profile"
    assert read_still(tmp_path / "a.heic").lost == (lost,)


def test_heic_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.init()  # which adds to the list that is replaced
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    picture_formats.has_heif.cache_clear()
    (tmp_path / "a.heic").write_bytes(TEN_BITS)
    with pytest.raises(MediaError, match=r"HEIC needs pip install 'vsr\[pictures\]'"):
        read_still(tmp_path / "a.heic")
    assert "HEIC" not in picture_formats.readable_formats()
    picture_formats.has_heif.cache_clear()


def test_the_doctor_lists_picture_formats() -> None:
    lines = vsr("doctor").stdout.splitlines()
    read, written = (line for line in lines if line.startswith("pictures"))
    assert all(name in read for name in ("PNG", "JPEG", "WebP", "TIFF", "AVIF", "HEIC", "GIF"))
    assert (
        written
        == "pictures written PNG, JPEG, WebP, TIFF, AVIF, JPEG XL, OpenEXR, AVIF of 10 and 12 bits"
    )


def test_the_doctor_says_what_the_missing_formats_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_formats, "has_format", lambda name: name == "HEIC")
    names = "JPEG XL, OpenEXR, AVIF of 10 and 12 bits"
    lines = vsr("doctor").stdout.splitlines()
    assert f"pictures {names} need pip install 'vsr[pictures]'" in lines


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_avif_stays_close_and_keeps_transparency(tmp_path: Path, channels: int) -> None:
    colours = data.coffee()[:64, :64]
    picture = colours[..., 1] if channels == 1 else colours
    if channels == 4:
        picture = np.dstack((colours, np.full((64, 64), 99, np.uint8)))
    Image.fromarray(picture).save(tmp_path / "a.png")
    still = read_still(tmp_path / "a.png")
    write_still(tmp_path / "b.avif", still)
    with Image.open(tmp_path / "b.avif") as made:
        found = np.asarray(made).astype(float)
    assert found.shape == picture.shape
    assert np.abs(np.atleast_3d(found)[..., :3] - still.rgb[..., : min(channels, 3)]).mean() < 3
    assert channels < 4 or np.abs(found[..., 3] - 99).max() <= 1


def test_what_avif_can_not_hold_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = Still(np.zeros((4, 4, 3), np.uint16), bits=16)
    line = "16 bits a channel: .avif holds 12, .png and .tif 16"
    assert still_losses(Path("a.avif"), still) == [line]
    monkeypatch.setattr("vsr.media.image_writer.has_format", lambda name: False)
    line = "16 bits a channel: .avif holds 8, .png and .tif 16"
    assert still_losses(Path("a.avif"), still) == [line]
    with pytest.raises(OutputError, match=r"70000x4: \.avif holds 65536 pixels a side"):
        check_still_output(tmp_path / "a.avif", False, False, (70_000, 4), still)
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    with pytest.raises(OutputError, match="can't write AVIF"):
        check_still_output(tmp_path / "a.avif", False, False, (4, 4), still)


def test_bmp_and_gif_are_read(upscaler: StillUpscaler, tmp_path: Path) -> None:
    picture = data.coffee()[:16, :24]
    cv2.imwrite(str(tmp_path / "a.bmp"), picture[..., ::-1])
    Image.fromarray(picture).save(tmp_path / "a.gif")
    assert np.array_equal(read_still(tmp_path / "a.bmp").rgb, picture)
    with Image.open(tmp_path / "a.gif") as opened:
        assert np.array_equal(read_still(tmp_path / "a.gif").rgb, np.asarray(opened.convert("RGB")))
