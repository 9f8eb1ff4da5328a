from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vsr.errors import DataError, MediaError
from vsr.media.image_sequence import ImageSequence, numbered_images, parse_name


def write_images(folder: Path, names: list[str], size: tuple[int, int] = (20, 12)) -> None:
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for name in names:
        pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def test_images_are_read_as_pillow_reads_them_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"f{number}.png" for number in range(8, 13)]  # f10 comes before f8 by name
    write_images(tmp_path, names)
    sequence = ImageSequence.in_folder(tmp_path)
    assert [path.name for path in sequence.files] == names
    assert sequence.size == (12, 20)
    for still, name in zip(sequence.frames(), names, strict=True):
        assert np.array_equal(still.rgb, np.asarray(Image.open(tmp_path / name)))


def test_the_size_is_that_of_the_rotated_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 12)).save(tmp_path / "1.jpg", exif=exif)
    assert ImageSequence.in_folder(tmp_path).size == (20, 12)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    write_images(tmp_path, ["3.png"], (8, 8))
    with pytest.raises(MediaError, match=r"3\.png: is 8x8, the images before it 20x12$"):
        list(ImageSequence.in_folder(tmp_path).frames())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("im0012.png", ("im", 12, "")),
        ("shot2_0007_left.png", ("shot2_", 7, "_left")),
        ("0001x4.png", ("0001x", 4, "")),
        ("title.png", ("title", None, "")),
    ],
)
def test_a_name_is_split_at_its_last_number(
    name: str, expected: tuple[str, int | None, str]
) -> None:
    assert parse_name(Path(name)) == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["f1.png", "f3.png"], "frame 2 is missing; 1 is followed by 3"),
        (["f1.png", "title.png"], r"title\.png: has no number"),
        (["f1.png", "f01.png"], r"f1\.png: has the same number as f01\.png"),
        ([], r"holds no image \(\.apng"),
    ],
)
def test_a_folder_that_is_no_sequence_is_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    write_images(tmp_path, names)
    with pytest.raises(DataError, match=message):
        numbered_images(tmp_path)


def test_hidden_files_and_other_files_are_ignored(tmp_path: Path) -> None:
    write_images(tmp_path, ["f1.png", "f2.png"])
    (tmp_path / "._f3.png").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "5.png").mkdir()
    assert [path.name for path in numbered_images(tmp_path)] == ["f1.png", "f2.png"]
