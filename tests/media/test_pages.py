"""Files of several pages, created by tifffile or Pillow."""

import struct
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageSequence
from PIL.MpoImagePlugin import MpoImageFile
from skimage import data

import vsr
from tests.helpers.cli import complaint
from tests.helpers.cli import vsr as run
from vsr.media.image import read_still
from vsr.media.pages import find_pages, page_losses, write_pages


def test_any_page_of_a_tiff_file_is_read_with_its_own_depth_and_resolution(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    grey = random.integers(0, 65536, (12, 16), np.uint16)
    colours = random.integers(0, 256, (9, 20, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(colours, photometric="rgb", resolution=(150, 150), resolutionunit="INCH")
        file.write(grey, photometric="minisblack", resolution=(600, 300), resolutionunit="INCH")
    first, second = (read_still(tmp_path / "a.tif", page) for page in (0, 1))
    assert (first.pages, second.pages) == (2, 2)
    assert np.array_equal(first.rgb, colours)
    assert np.array_equal(second.rgb[..., 0], grey)
    assert (first.tags.dpi, second.tags.dpi) == ((150, 150), (600, 300))
    assert (first.grey, second.grey, second.bits) == (False, True, 16)


def pages() -> list[Image.Image]:
    random = np.random.default_rng(1)
    shapes = ((12, 16, 3), (9, 20), (10, 8, 4))
    return [Image.fromarray(random.integers(0, 256, shape, np.uint8)) for shape in shapes]


def test_pages_keep_size_bits_colours_and_resolution(tmp_path: Path, tiny_model: Path) -> None:
    random = np.random.default_rng(0)
    deep = random.integers(0, 65536, (12, 16), np.uint16)
    first, second, third = pages()
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.asarray(first), photometric="rgb", resolution=(150, 150), description="one")
        file.write(deep, photometric="minisblack", resolution=(600, 600))
        file.write(np.asarray(second), photometric="minisblack")
        file.write(np.asarray(third), photometric="rgb", extrasamples=["unassalpha"])
        file.write(np.asarray(second)[:4, :4], photometric="minisblack", subfiletype=1)
    lines: list[str] = []
    vsr.upscale_picture(
        tmp_path / "a.tif", tmp_path / "b.tif", model=str(tiny_model), tell=lines.append
    )
    assert lines == [f"{tmp_path / 'a.tif'}: not kept: 1 reduced copies of pages"]
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        found = [(page.shape, str(page.dtype)) for page in tif.pages]
        dpi = [page.aspage().get_resolution("INCH") for page in tif.pages]
        numbers = [page.aspage().tags["PageNumber"].value for page in tif.pages]
        assert tif.pages[0].aspage().description == "one"
    assert found == [
        ((48, 64, 3), "uint8"),
        ((48, 64), "uint16"),
        ((36, 80), "uint8"),
        ((40, 32, 4), "uint8"),
    ]
    assert dpi[:2] == [(150, 150), (600, 600)]
    assert numbers == [(0, 4), (1, 4), (2, 4), (3, 4)]
    alone = tmp_path / "alone.png"
    deep_file = tmp_path / "deep.png"
    Image.fromarray(deep).save(deep_file)
    vsr.upscale_picture(deep_file, alone, model=str(tiny_model))
    expected = cv2.imread(str(alone), cv2.IMREAD_UNCHANGED)
    assert expected is not None
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif", key=1), expected)


def test_pages_are_written_as_samples_without_loss(tmp_path: Path) -> None:
    first, *others = pages()
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    paged = find_pages(tmp_path / "a.tif")
    assert paged is not None
    write_pages(tmp_path / "b.tif", (paged.read(page) for page in range(3)), paged.types)
    with Image.open(tmp_path / "b.tif") as opened:
        for page, theirs in zip(ImageSequence.Iterator(opened), pages(), strict=True):
            assert np.array_equal(np.asarray(page), np.asarray(theirs))


def test_mpo_keeps_its_pictures_and_their_types(tmp_path: Path, tiny_model: Path) -> None:
    left, right = (Image.fromarray(data.coffee()[:24, 8 * n : 8 * n + 32]) for n in (0, 1))
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    left.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[right], exif=exif)
    content = (tmp_path / "a.mpo").read_bytes()
    at = content.index(b"MPF\0") + 4 + 50
    stereo = struct.pack("<I", 0x020002)
    content = content[:at] + stereo + content[at + 4 : at + 16] + stereo + content[at + 20 :]
    (tmp_path / "a.mpo").write_bytes(content)
    done = run("image", tmp_path / "a.mpo", tmp_path / "b.mpo", "--model", tiny_model)
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "b.mpo") as opened:
        assert isinstance(opened, MpoImageFile)
        assert opened.mpinfo
        types = [entry["Attribute"]["MPType"] for entry in opened.mpinfo[0xB002]]
        assert types == ["Multi-Frame Image: (Disparity)"] * 2
        assert opened.getexif()[0x010F] == "Maker"
        found = [np.asarray(page.convert("RGB")) for page in ImageSequence.Iterator(opened)]
    views = [view.astype(int) for view in found]
    alone = cv2.imread(str(tmp_path / "b.mpo"))
    assert alone is not None
    assert np.abs(alone[..., ::-1].astype(int) - views[0]).max() <= 3
    for view, low in zip(views, (left, right), strict=True):
        assert view.shape == (96, 128, 3)
        assert np.abs(view[2::4, 2::4] - np.asarray(low)).mean() < 25
    vsr.upscale_picture(tmp_path / "a.mpo", tmp_path / "b.tif", model=str(tiny_model))
    assert tifffile.imread(tmp_path / "b.tif", key=1).shape == (96, 128, 3)


def test_losses_name_the_pages_that_have_them(tmp_path: Path) -> None:
    first, second, third = pages()
    first.save(
        tmp_path / "a.tif", save_all=True, append_images=[Image.new("LAB", second.size), third]
    )
    paged = find_pages(tmp_path / "a.tif")
    assert paged is not None
    lines = page_losses(tmp_path / "b.tif", (paged.read(page) for page in range(3)))
    assert lines == ["page 2: LAB colours: RGB is written"]
    line = complaint("image", tmp_path / "a.tif", tmp_path / "b.mpo")
    assert "b.mpo: page 3: MPO can't hold transparency; use .tif" in line
    line = complaint("image", tmp_path / "a.tif", tmp_path / "b.png", "--strict")
    assert "would lack 2 of 3 pages; the first is used" in line


def test_a_damaged_page_is_refused_before_any_work(tmp_path: Path) -> None:
    first, *others = pages()
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:-50])
    assert "a.tif" in complaint("image", tmp_path / "a.tif", tmp_path / "b.tif")
    assert not (tmp_path / "b.tif").exists()


def test_pages_that_only_tifffile_reads_are_counted(tmp_path: Path, tiny_model: Path) -> None:
    colours = np.asarray(pages()[0])
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(colours, photometric="rgb")
        file.write(colours.astype(np.float32) / 255, photometric="rgb")  # unknown to Pillow
    assert read_still(tmp_path / "a.tif").pages == 2
    arguments = (tmp_path / "a.tif", tmp_path / "b.tif", "--model", tiny_model, "--strict")
    assert run("image", *arguments).returncode == 0
    assert run("verify", *arguments[:2]).returncode == 0


def test_an_animation_has_the_first_page_of_a_file(tmp_path: Path, tiny_model: Path) -> None:
    first, *others = [Image.fromarray(np.asarray(pages()[0])) for _ in range(3)]
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    done = run("image", tmp_path / "a.tif", tmp_path / "b.gif", "--model", tiny_model)
    assert "not kept: 2 of 3 pages; the first is used" in done.stderr
    assert done.stderr.count("\n") == done.stderr.count("not kept")
    with Image.open(tmp_path / "b.gif") as opened:
        assert getattr(opened, "n_frames", 1) == 1
