"""What `vsr verify` reports about pictures, which Pillow writes."""

import json
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from skimage import data

from tests.helpers.cli import complaint, vsr
from vsr.media.image import read_still
from vsr.media.image_writer import write_still
from vsr.media.verify import Finding, verify_picture

PICTURE = data.coffee()[80:176, 200:328]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" exif:PixelXDimension="%d"/>'
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x05\0\x03abc"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def large(pixels: np.ndarray = PICTURE) -> Image.Image:
    image = Image.fromarray(pixels)
    return image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)


def options(image: Image.Image, **changed: Any) -> dict[str, Any]:
    """Metadata of a JPEG file, true of its size; `changed` replaces tags of Exif data."""
    exif = Image.Exif()
    exif[0x010F] = changed.get("maker", "Maker")
    inner = exif.get_ifd(0x8769)
    inner[0xA002], inner[0xA003] = changed.get("width", image.width), image.height
    inner[0x927C] = changed.get("note", b"maker note")
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.25)
    return {
        "quality": 95,
        "exif": exif,
        "xmp": XMP % image.width,
        "icc_profile": PROFILE,
        "dpi": (300, 300),
        "comment": b"a comment",
        "extra": b"\xff\xed" + struct.pack(">H", len(IPTC) + 2) + IPTC,
    }


def lost(source: Path, output: Path) -> list[str]:
    return [finding.what for finding in verify_picture(source, output) if not finding.kept]


def found(findings: list[Finding], what: str) -> Finding:
    return next(finding for finding in findings if finding.what == what)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    image = Image.fromarray(PICTURE)
    image.save(tmp_path / "a.jpg", **options(image))
    return tmp_path / "a.jpg"


def test_a_picture_that_kept_all_is_whole(source: Path, tmp_path: Path) -> None:
    large().save(tmp_path / "b.jpg", **options(large()))
    findings = verify_picture(source, tmp_path / "b.jpg")
    assert [finding for finding in findings if not finding.kept] == []
    assert found(findings, "size").output == "256x192 (x2)"
    assert found(findings, "Exif data").source == "3 tags"
    names = {finding.what for finding in findings}
    assert names >= {"content", "bits", "colours", "XMP", "IPTC data", "resolution", "comment"}
    assert vsr("verify", source, tmp_path / "b.jpg").returncode == 0


def test_each_loss_of_metadata_is_named(source: Path, tmp_path: Path) -> None:
    whole = options(large())
    for change, expected in (
        ({"exif": options(large(), maker="Other")["exif"]}, ["Exif data", "Exif Make"]),
        ({"exif": options(large(), note=b"other note")["exif"]}, ["Exif data", "Exif MakerNote"]),
        ({"exif": options(large(), width=128)["exif"]}, ["size in Exif data"]),
        ({"xmp": XMP % 128}, ["XMP"]),
        ({"icc_profile": PROFILE[:-1] + b"x"}, ["colour profile"]),
        ({"dpi": (72, 72)}, ["resolution"]),
        ({"comment": b"another"}, ["comment"]),
        ({"extra": b""}, ["IPTC data"]),
    ):
        large().save(tmp_path / "b.jpg", **{**whole, **change})
        assert lost(source, tmp_path / "b.jpg") == expected


def test_other_contents_are_named(source: Path, tmp_path: Path) -> None:
    whole = large(np.asarray(Image.open(source)))
    wide = whole.resize((300, 192))
    for image, expected in (
        (whole, []),
        (whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT), ["content"]),
        (whole.transpose(Image.Transpose.FLIP_TOP_BOTTOM), ["content"]),
        (Image.fromarray(np.asarray(whole)[..., ::-1]), ["content"]),
        (whole.point(lambda value: value * 0.7), ["content"]),
        (whole.convert("L"), ["content", "colours"]),
        (wide, ["size", "content"]),
    ):
        image.save(tmp_path / "b.png", **options(image))
        at = [
            what
            for what in lost(source, tmp_path / "b.png")
            if what in ("size", "content", "colours")
        ]
        assert at == expected


def test_bits_grey_and_transparency_are_compared(tmp_path: Path) -> None:
    deep = PICTURE[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    Image.fromarray(deep / np.float32(65535)).save(tmp_path / "float.tif")
    large(PICTURE[..., 0]).save(tmp_path / "grey.png")
    large(PICTURE[..., 0]).save(tmp_path / "grey.webp")
    large(PICTURE[..., 0]).convert("RGB").save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack((PICTURE, PICTURE[..., 0]))).save(tmp_path / "alpha.png")
    large(np.dstack((PICTURE, PICTURE[..., 0]))).save(tmp_path / "alpha-large.png")
    large(np.dstack((PICTURE, PICTURE[..., 1]))).save(tmp_path / "alpha-other.png")
    large().save(tmp_path / "opaque.png")
    for one, other, expected in (
        ("deep.tif", "grey.png", ["bits"]),
        ("float.tif", "deep.tif", ["bits"]),
        ("deep.tif", "float.tif", []),
        ("grey.png", "grey.webp", []),
        ("grey.png", "rgb.png", ["colours"]),
        ("alpha.png", "alpha-large.png", []),
        ("alpha.png", "alpha-other.png", ["content", "transparency's content"]),
        ("alpha.png", "opaque.png", ["content", "transparency"]),
    ):
        assert lost(tmp_path / one, tmp_path / other) == expected, (one, other)


def test_rotated_pictures_are_compared_upright(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    image = Image.fromarray(PICTURE)
    image.save(tmp_path / "a.jpg", exif=turned, dpi=(72, 150))
    upright = large().transpose(Image.Transpose.ROTATE_270)
    upright.save(tmp_path / "b.png", dpi=(150, 72))
    assert lost(tmp_path / "a.jpg", tmp_path / "b.png") == []
    large().save(tmp_path / "c.png", dpi=(150, 72))
    assert lost(tmp_path / "a.jpg", tmp_path / "c.png") == ["size", "orientation", "content"]
    upright.save(tmp_path / "d.png", dpi=(72, 150))
    assert lost(tmp_path / "a.jpg", tmp_path / "d.png") == ["resolution"]


def test_frames_delays_and_loops_are_compared(tmp_path: Path) -> None:
    def animation(name: str, count: int, **given: Any) -> Path:
        frames = [large(np.roll(PICTURE, 9 * n, axis=0)) for n in range(count)]
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **given)
        return tmp_path / name

    source = animation("a.png", 3, duration=[50, 100, 40], loop=2)
    assert lost(source, animation("b.webp", 3, duration=[50, 100, 40], loop=2)) == []
    assert lost(source, animation("c.png", 3, duration=100, loop=0)) == ["delays", "loops"]
    assert lost(source, animation("d.png", 1)) == ["frames or pages", "delays", "loops"]


def test_texts_and_colour_chunks_are_compared(tmp_path: Path) -> None:
    info = PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100_000))
    info.add(b"cHRM", bytes(32))
    info.add_text("Title", "a title")
    Image.fromarray(PICTURE).save(tmp_path / "a.png", pnginfo=info)
    large().save(tmp_path / "b.png", pnginfo=info)
    assert lost(tmp_path / "a.png", tmp_path / "b.png") == []
    large().save(tmp_path / "c.png")
    assert lost(tmp_path / "a.png", tmp_path / "c.png") == ["text Title", "colour chunk gAMA"]


def test_folders_are_compared_by_name(source: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "sub").mkdir(parents=True)
    for name in ("a.png", "b.ppm", "c.png", "d.png", "sub/e.png"):
        Image.fromarray(PICTURE).save(tmp_path / "in" / name)
    for name in ("a.png", "b.png", "sub/e.png"):
        large().save(tmp_path / "out" / name)
    (tmp_path / "out" / "d.png").write_bytes(b"")
    done = vsr("verify", tmp_path / "in", tmp_path / "out", "--json")
    assert done.returncode == 1
    kept = {finding["what"]: finding["kept"] for finding in json.loads(done.stdout)}
    assert kept == {
        **{"a.png": True, "b.ppm": True, "c.png": False, "d.png: readable": False},
        "sub/e.png": True,
    }
    assert done.stderr.endswith("out: lost or changed: c.png, d.png: readable\n")


def test_a_picture_that_can_not_be_read_is_one_line(source: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"")
    assert complaint("verify", source, tmp_path / "b.png").startswith(f"vsr: {tmp_path / 'b.png'}:")
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    assert "holds no picture" in complaint("verify", tmp_path / "in", tmp_path / "out")


def test_linear_light_is_compared_by_what_it_shows(tmp_path: Path) -> None:
    for name, pixels in (("a.png", PICTURE), ("b.png", np.asarray(large())), ("c.png", PICTURE)):
        Image.fromarray(pixels).save(tmp_path / name)
    write_still(tmp_path / "b.exr", read_still(tmp_path / "b.png"))
    write_still(tmp_path / "c.exr", read_still(tmp_path / "c.png"))
    assert lost(tmp_path / "a.png", tmp_path / "b.exr") == []
    assert lost(tmp_path / "c.exr", tmp_path / "b.png") == ["bits"]
    Image.fromarray(255 - np.asarray(large())).save(tmp_path / "d.png")
    assert lost(tmp_path / "c.exr", tmp_path / "d.png") == ["content", "bits"]


def test_a_profile_that_a_plug_in_adds_to_jpeg_xl_is_no_loss(tmp_path: Path) -> None:
    import pillow_jxl  # noqa: F401, which registers itself with Pillow

    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(PICTURE, lossless=True))
    large().save(tmp_path / "b.png")
    assert lost(tmp_path / "a.jxl", tmp_path / "b.png") == []


def test_channels_that_are_not_read_are_named_as_lost(tmp_path: Path) -> None:
    small = np.dstack((PICTURE, PICTURE))[..., :5].astype(np.uint16) * 257
    given: Any = {"photometric": "rgb", "metadata": None, "software": False}
    for name, samples in (("a.tif", small), ("b.tif", small.repeat(2, 0).repeat(2, 1))):
        extra = ["unspecified", "unspecified"]
        tifffile.imwrite(tmp_path / name, samples, extrasamples=extra, **given)
    tifffile.imwrite(tmp_path / "c.tif", small[..., :3].repeat(2, 0).repeat(2, 1), **given)
    assert lost(tmp_path / "a.tif", tmp_path / "b.tif") == []
    assert lost(tmp_path / "a.tif", tmp_path / "c.tif") == ["2 extra channels"]


def test_loops_are_compared_by_how_often_they_play(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(PICTURE, 9 * n, axis=0)) for n in range(3)]

    def animation(name: str, **given: Any) -> Path:
        path = tmp_path / name
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, **given)
        return path

    once, thrice = animation("a.gif"), animation("b.gif", loop=2)  # repetitions
    assert lost(once, animation("c.png", loop=1)) == []
    assert lost(thrice, animation("d.webp", loop=3)) == []
    assert lost(thrice, animation("e.png", loop=2)) == ["loops"]


def test_the_picture_beside_an_animation_is_not_one_of_its_frames(tmp_path: Path) -> None:
    first, *frames = [large(np.roll(PICTURE, 40 * n, axis=0)) for n in range(4)]
    given: Any = {"save_all": True, "duration": 50, "loop": 0}
    first.save(tmp_path / "a.png", append_images=frames, default_image=True, **given)
    frames[0].save(tmp_path / "b.png", append_images=frames[1:], **given)
    assert lost(tmp_path / "a.png", tmp_path / "a.png") == []
    assert lost(tmp_path / "a.png", tmp_path / "b.png") == ["picture beside the animation"]


def test_either_resolution_of_a_file_with_two_is_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 300, 300, 2
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=exif, dpi=(72, 72), quality=95)
    for name, dpi, expected in (("b", 72, []), ("c", 300, []), ("d", 96, ["resolution"])):
        large().save(tmp_path / f"{name}.png", dpi=(dpi, dpi))
        assert lost(tmp_path / "a.jpg", tmp_path / f"{name}.png") == expected
