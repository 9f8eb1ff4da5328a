from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from vsr.errors import ConfigError, MediaError
from vsr.media.decode.picture_reader import parse_rate
from vsr.media.frame import Frame
from vsr.media.numbered_pictures import NumberPattern, find_pictures
from vsr.media.picture_planes import metadata_of, picture_of_planes, planes_of_picture
from vsr.media.still import Still

BT709 = (0.2126, 0.7152, 0.0722)


def write(folder: Path, *names: str, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new(mode, size).save(folder / name)


def test_8_bits_survive_the_planes_exactly_and_16_within_three_levels() -> None:
    random = np.random.default_rng(0)
    for dtype, tolerance in ((np.uint8, 0), (np.uint16, 3)):
        top = np.iinfo(dtype).max
        rgb: Any = random.integers(0, top + 1, (60, 70, 3)).astype(dtype)
        rgb[0, :3] = [[0, 0, 0], [top, top, top], [top, 0, top]]
        planes = planes_of_picture(Still(rgb, alpha=rgb[..., 0]))
        back = picture_of_planes(Frame(planes, 0), BT709, np.dtype(dtype))
        assert back.alpha is not None
        assert np.abs(back.rgb.astype(int) - rgb).max() <= tolerance
        assert np.abs(back.alpha.astype(int) - rgb[..., 0]).max() <= tolerance


def test_linear_light_has_the_curve_of_srgb_in_planes_and_is_linear_again() -> None:
    linear = np.random.default_rng(2).uniform(0, 1, (40, 50, 3)).astype(np.float32)
    linear[0, 0] = [1.0, 7.5, -0.1]
    still = Still(linear, linear=True, bits=16)
    planes = planes_of_picture(still)
    clipped = linear.clip(0, 1)
    curve = np.where(
        clipped <= 0.0031308,
        12.92 * clipped,
        1.055 * np.maximum(clipped, 1e-9) ** (1 / 2.4) - 0.055,
    )
    assert np.abs(planes[0] / (2**15 - 1) - curve @ np.array(BT709)).max() < 1e-4
    frame = Frame(planes, 0, picture=metadata_of(still))
    back = picture_of_planes(frame, BT709, np.dtype(np.uint16))
    assert back.linear
    assert back.bits == 16
    assert np.abs(back.rgb - clipped).max() < 3e-4


def test_the_first_plane_is_luma_of_bt709() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    expected = rgb @ np.array(BT709) / 255 * (2**15 - 1)
    assert np.abs(planes_of_picture(Still(rgb))[0] - expected).max() <= 0.51


@pytest.mark.parametrize(
    ("name", "path"),
    [("%05d.png", "00042.png"), ("a_%d.tif", "a_42.tif"), ("b.####.jpg", "b.0042.jpg")],
)
def test_patterns_name_pictures(name: str, path: str) -> None:
    pattern = NumberPattern.parse(Path("x") / name)
    assert pattern is not None
    assert pattern.path(42) == Path("x") / path
    assert pattern.number_of(Path("x") / path) == 42
    assert pattern.number_of(Path("x") / f"0{path}") is None


def test_names_without_one_number_are_no_pattern() -> None:
    for name in ("a.png", "%d_%d.png", "%s.png", "%05d.mkv", "%05d"):
        assert NumberPattern.parse(Path(name)) is None


def test_a_folder_is_read_in_the_order_of_numbers_from_any_first_one(tmp_path: Path) -> None:
    write(tmp_path, *(f"f{number}.png" for number in range(8, 13)), ".hidden.png")
    (tmp_path / "notes.txt").touch()
    found = find_pictures(tmp_path)
    assert [path.name for path in found.files] == [
        "f8.png",
        "f9.png",
        *(f"f{n}.png" for n in (10, 11, 12)),
    ]
    assert found.first == 8


def test_the_format_is_that_of_the_file_after_its_rotation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "1.jpg", exif=exif)
    assert str(find_pictures(tmp_path).format) == "4x6 of 8 bits"
    deep = np.zeros((4, 6, 4), np.uint16)
    (tmp_path / "a1.png").write_bytes(imagecodecs.png_encode(deep))
    cv2.imwrite(str(tmp_path / "b1.tif"), deep[..., :3])
    cv2.imwrite(str(tmp_path / "c1.tif"), np.zeros((4, 6, 3), np.float32))
    for name, text in (
        ("a%d.png", "6x4 of 16 bits with transparency"),
        ("b%d.tif", "6x4 of 16 bits"),
        ("c%d.tif", "6x4 of 32 bits"),
    ):
        assert str(find_pictures(tmp_path / name).format) == text


def test_grey_and_palette_frames_between_colours_are_one_film(tmp_path: Path) -> None:
    """As ImageMagick writes a black frame."""
    for number, mode in enumerate(("RGB", "L", "P")):
        write(tmp_path, f"{number}.png", mode=mode)
    assert len(find_pictures(tmp_path).files) == 3


def test_missing_numbers_are_named(tmp_path: Path) -> None:
    write(tmp_path, *(f"{number:03d}.png" for number in range(1, 21) if number not in (4, 7, 8, 9)))
    with pytest.raises(MediaError, match=r"pictures 4 and 7 to 9 are missing between 001\.png and"):
        find_pictures(tmp_path / "%03d.png")
    for number in (7, 8, 9):
        write(tmp_path, f"{number:03d}.png")
    with pytest.raises(MediaError, match=r": picture 4 is missing between"):
        find_pictures(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a1.png", "b1.png"], r"holds pictures of 2 names \(a#\.png, b#\.png\); name those"),
        (["1.png", "1.jpg"], "holds pictures of 2 names"),
        (["1.png", "cover.png"], "holds pictures of 2 names"),
        (["cover.png"], r"cover\.png: has no number"),
        (["08.png", "9.png"], "different counts of leading zeros"),
        ([], "holds no picture"),
    ],
)
def test_folders_that_are_no_film_are_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    write(tmp_path, *names)
    with pytest.raises(MediaError, match=message):
        find_pictures(tmp_path)


def test_a_picture_of_another_format_is_named(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "2.png")
    write(tmp_path, "3.png", size=(8, 8))
    with pytest.raises(MediaError, match=r"3\.png: is 8x8 of 8 bits, but 1\.png is 6x4 of 8 bits"):
        find_pictures(tmp_path)
    write(tmp_path, "3.png", mode="RGBA")
    with pytest.raises(MediaError, match=r"3\.png: is 6x4 of 8 bits with transparency, but"):
        find_pictures(tmp_path)
    (tmp_path / "3.png").write_bytes(b"")
    with pytest.raises(MediaError, match=r"3\.png: is empty"):
        find_pictures(tmp_path)


def test_rates_are_exact_and_ntsc_is_recognised() -> None:
    for text, rate in (
        ("24", Fraction(24)),
        ("12.5", Fraction(25, 2)),
        ("24000/1001", Fraction(24000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
    ):
        assert parse_rate(text) == rate
    for wrong in ("0", "-1", "fast", "nan", "1/0", "1e9", ""):
        with pytest.raises(ConfigError, match="no frame rate; write frames per second, such as 24"):
            parse_rate(wrong)
