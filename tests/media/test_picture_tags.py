"""What pictures say of themselves, judged by Pillow alone."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from vsr.engine.image import StillUpscaler
from vsr.errors import MediaError, OutputError
from vsr.media.image import read_still
from vsr.media.image_writer import still_losses

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:Description exif:PixelXDimension="32" '
    b'tiff:Orientation="1"><tiff:ImageLength>48</tiff:ImageLength></r:Description></x:xmpmeta>'
)


@pytest.fixture(scope="module")
def upscaler(tiny_model: Path) -> StillUpscaler:
    return StillUpscaler(str(tiny_model), device="cpu")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x010F] = "Maker"
    inner = made.get_ifd(0x8769)
    inner[0xA002], inner[0xA003], inner[0x9003] = 32, 48, "2001:02:03 04:05:06"
    return made


def upscaled(
    upscaler: StillUpscaler, source: Path, output: Path, **options: Any
) -> tuple[Image.Image, list[str]]:
    lines: list[str] = []
    upscaler.upscale_file(source, output, tell=lines.append, **options)
    with Image.open(output) as made:
        made.load()
        return made, lines


@pytest.mark.parametrize("source", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif", "avif"])
def test_what_a_picture_says_is_kept_and_true(
    upscaler: StillUpscaler, tmp_path: Path, source: str, target: str
) -> None:
    saved: dict[str, Any] = {"exif": exif(), "dpi": (300, 300), "xmp": XMP}
    others = ("webp", "tif", "avif")
    if source == "jpg":
        saved["comment"] = b"a comment"
    if source == "png":
        saved["pnginfo"] = PngInfo()
        saved["pnginfo"].add_itxt("XML:com.adobe.xmp", saved.pop("xmp").decode())
        saved["pnginfo"].add_text("Comment", "a comment")
    if source == "tif":
        tags = saved["tiffinfo"] = ImageFileDirectory_v2()
        tags[0x010F], tags[700], tags.tagtype[700] = "Maker", saved.pop("xmp"), 1
        tags[0x8769] = dict(saved.pop("exif").get_ifd(0x8769))
    Image.fromarray(noise(48, 32, 3)).save(tmp_path / f"a.{source}", **saved)
    made, lines = upscaled(upscaler, tmp_path / f"a.{source}", tmp_path / f"b.{target}")
    found = made.getexif()
    assert made.size == (128, 192)
    assert found[0x010F] == "Maker"
    inner = found.get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003]) == made.size
    assert inner[0x9003] == "2001:02:03 04:05:06"
    kept = made.info["xmp"]
    assert b'exif:PixelXDimension="128"' in kept
    assert b"<tiff:ImageLength>192</tiff:ImageLength>" in kept
    if source != "webp" and target not in ("webp", "avif"):
        assert [round(value) for value in made.info["dpi"]] == [300, 300]
    if source != "webp" and target in ("webp", "avif"):
        assert (round(found[0x011A]), found[0x0128]) == (300, 2)
    if source in ("jpg", "png"):
        said = made.info.get("comment") or made.info.get("Comment")
        held = f"comment: .{target} can't hold it, .png and .jpg can"
        assert held in lines[0] if target in others else said in ("a comment", b"a comment")
    assert len(lines) == (source in ("jpg", "png") and target in others)


def test_iptc_data_and_png_colours_are_kept_or_reported(
    upscaler: StillUpscaler, tmp_path: Path
) -> None:
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x05\0\x03abc"
    segment = b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "a.jpg", extra=segment)
    made, lines = upscaled(upscaler, tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert iptc in [content for name, content in made.applist if name == "APP13"]  # type: ignore[attr-defined]
    assert lines == []
    _, lines = upscaled(upscaler, tmp_path / "a.jpg", tmp_path / "b.webp")
    assert "IPTC data: .webp can't hold it, .png, .jpg and .tif can" in lines[0]
    info = PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100_000))
    info.add_text("Title", "a title")
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "c.png", pnginfo=info)
    made, lines = upscaled(upscaler, tmp_path / "c.png", tmp_path / "d.png")
    assert made.info["gamma"] == 1
    assert made.info["Title"] == "a title"
    _, lines = upscaled(upscaler, tmp_path / "c.png", tmp_path / "d.jpg")
    assert ["texts Title" in lines[0], "colour chunk gAMA" in lines[1]] == [True, True]


def test_what_a_format_can_not_hold_is_reported_before_the_work(
    upscaler: StillUpscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upscaler, "upscale_array", lambda *_: 1 / 0)
    long = Image.Exif()
    long[0x010E] = "x" * 70_000
    Image.new("RGB", (4200, 8)).save(tmp_path / "wide.png")
    Image.new("RGB", (8, 16_400)).save(tmp_path / "tall.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "exif.png", exif=long)
    Image.new("RGB", (8, 8)).save(tmp_path / "xmp.webp", xmp=b"x" * 66_000)
    for source, target, line in (
        ("wide.png", "a.webp", r"a\.webp: 16800x32: \.webp holds 16383 pixels a side, \.png and"),
        ("tall.png", "a.jpg", r"a\.jpg: 32x65600: \.jpg holds 65500 pixels a side, \.png more"),
        ("exif.png", "a.jpg", r"bytes of Exif data: JPEG holds 65533; \.png holds more"),
        ("xmp.webp", "a.jpg", r"bytes of XMP: JPEG holds 65504; \.png holds more"),
    ):
        with pytest.raises(OutputError, match=line):
            upscaler.upscale_file(tmp_path / source, tmp_path / target)
        assert not (tmp_path / target).exists()


@pytest.mark.parametrize("suffix", ["webp", "png", "gif", "tif"])
def test_further_pictures_of_a_file_are_reported(
    upscaler: StillUpscaler, tmp_path: Path, suffix: str
) -> None:
    frames = [Image.fromarray(noise(16 + n, 16 + n, 3)[:16, :16]) for n in range(4)]
    source = tmp_path / f"a.{suffix}"
    frames[0].save(source, save_all=True, append_images=frames[1:])
    _, lines = upscaled(upscaler, source, tmp_path / "b.png")
    what = "pages" if suffix == "tif" else "frames of an animation"
    assert lines[0] == f"{source}: not kept: 3 of 4 {what}; the first is used"
    assert lines[1:] == [f"{source}: not kept: palette: true colours are written"] * (
        suffix == "gif"
    )
    with pytest.raises(OutputError, match="would lack 3 of 4"):
        upscaled(upscaler, source, tmp_path / "c.png", strict=True)


def test_bits_that_are_lost_are_reported(upscaler: StillUpscaler, tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "a.png")
    (tmp_path / "a.ppm").write_bytes(b"P6 8 8 65535 " + bytes(8 * 8 * 6))
    Image.fromarray(noise(16, 16, 3)).save(tmp_path / "flat.png")
    for source, target, line in (
        ("a.png", "a.jpg", "16 bits a channel: .jpg holds 8, .png and .tif 16"),
        ("a.ppm", "b.png", "16 bits a channel: 8 are read"),
    ):
        _, lines = upscaled(upscaler, tmp_path / source, tmp_path / target)
        assert lines == [f"{tmp_path / source}: not kept: {line}"]
    _, lines = upscaled(upscaler, tmp_path / "flat.png", tmp_path / "flat large.png")
    assert lines == []


def test_samples_that_would_be_clipped_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 1 << 20, np.int32)).save(tmp_path / "long.tif")
    with pytest.raises(MediaError, match="more than 16 bits"):
        read_still(tmp_path / "long.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_grey_stays_grey_with_its_profile(
    upscaler: StillUpscaler, tmp_path: Path, suffix: str
) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"GRAY"
    source = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(16, 16)).save(source, icc_profile=bytes(profile))
    made, lines = upscaled(upscaler, source, tmp_path / f"b.{suffix}")
    assert (made.mode, made.info["icc_profile"]) == ("L", bytes(profile))
    assert lines == []
    made, lines = upscaled(upscaler, source, tmp_path / "b.webp")
    assert "icc_profile" not in made.info
    assert "colour profile of grey: .webp can't hold it" in lines[0]


def test_palettes_of_greys_become_grey(upscaler: StillUpscaler, tmp_path: Path) -> None:
    Image.fromarray(noise(32, 48)).convert("P").save(tmp_path / "a.png")
    Image.fromarray(noise(32, 48)).save(tmp_path / "a.gif")
    Image.fromarray(noise(32, 48, 3)).quantize(16).save(tmp_path / "c.png")
    found = [
        upscaled(upscaler, tmp_path / name, tmp_path / f"{name}-large.png")[0].mode
        for name in ("a.png", "a.gif", "c.png")
    ]
    assert found == ["L", "L", "RGB"]


def test_grey_with_transparency_stays_both(upscaler: StillUpscaler, tmp_path: Path) -> None:
    pixels = np.dstack((noise(16, 16), np.full((16, 16), 99, np.uint8)))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    made, _ = upscaled(upscaler, tmp_path / "a.png", tmp_path / "b.png")
    assert made.mode == "LA"
    assert (np.asarray(made)[..., 1] == 99).all()


def test_colours_that_become_rgb_are_reported(tmp_path: Path) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"CMYK"
    image = Image.fromarray(noise(16, 16, 3)).convert("CMYK")
    image.save(tmp_path / "a.jpg", icc_profile=bytes(profile))
    still = read_still(tmp_path / "a.jpg")
    assert still.icc_profile is None
    assert still.ink_profile == bytes(profile)
    assert still_losses(tmp_path / "b.jpg", still) == []
    assert still_losses(tmp_path / "b.png", still) == [
        "CMYK colours: RGB is written; .jpg and .tif hold CMYK"
    ]


def with_thumbnail(path: Path, more: bytes = b"") -> None:
    """A lying picture, as cameras save it: Exif data of theirs with a thumbnail behind it."""
    small = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(small, "JPEG")
    made = exif()
    made[0x0112] = 6
    if more:
        made[0x010E] = more.decode()
    tiff = bytearray(made.tobytes()[6:])
    first, start = 8, len(tiff)
    (count,) = struct.unpack_from(">H", tiff, first)
    struct.pack_into(">I", tiff, first + 2 + 12 * count, start)
    place = start + 2 + 36 + 4
    tiff += struct.pack(">H2HI2H", 3, 0x0103, 3, 1, 6, 0)
    tiff += struct.pack(">2H2I2H2II", 0x0201, 4, 1, place, 0x0202, 4, 1, len(small.getvalue()), 0)
    data = b"Exif\0\0" + bytes(tiff) + small.getvalue()
    picture = Image.fromarray(noise(6, 8, 3)).resize((40, 30), Image.Resampling.BICUBIC)
    picture.save(path, exif=data)


def thumbnail_of(picture: Image.Image) -> Image.Image | None:
    raw = picture.getexif()
    entry = raw.get_ifd(ExifTags.IFD.IFD1)
    if 0x0201 not in entry:
        return None
    data = picture.info["exif"][6:] if picture.info["exif"][:4] == b"Exif" else picture.info["exif"]
    content = data[entry[0x0201] : entry[0x0201] + entry[0x0202]]
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("target", ["b.jpg", "b.png", "b.webp"])
def test_a_thumbnail_is_made_anew(
    upscaler: StillUpscaler, tmp_path: Path, source: str, target: str
) -> None:
    with_thumbnail(tmp_path / source)
    with Image.open(tmp_path / source) as opened:
        assert thumbnail_of(opened) is not None
    made, lines = upscaled(upscaler, tmp_path / source, tmp_path / target, strict=True)
    assert lines == []
    assert made.size == (120, 160)
    small = thumbnail_of(made)
    assert small is not None
    assert small.size == made.size
    difference = np.asarray(small).astype(float) - np.asarray(made.convert("RGB"))
    assert np.abs(difference).mean() < 8
    assert made.getexif().get_ifd(0x8769)[0x9003] == "2001:02:03 04:05:06"


def test_a_thumbnail_without_room_is_reported_before_the_work(
    upscaler: StillUpscaler, tmp_path: Path
) -> None:
    with_thumbnail(tmp_path / "a.jpg", b"x" * 50_000)
    made, lines = upscaled(upscaler, tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert ["thumbnail: .jpg has no room" in line for line in lines] == [True]
    assert thumbnail_of(made) is None
    made, lines = upscaled(upscaler, tmp_path / "a.jpg", tmp_path / "b.png")
    assert lines == []
    assert thumbnail_of(made) is not None


def test_pictures_without_a_thumbnail_get_none(upscaler: StillUpscaler, tmp_path: Path) -> None:
    pages = [Image.fromarray(noise(32, 48, 3)) for _ in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], exif=exif())
    pages[0].save(tmp_path / "a.jpg", exif=exif())
    for name in ("a.tif", "a.jpg"):
        made, _ = upscaled(upscaler, tmp_path / name, tmp_path / f"{name}.jpg")
        assert thumbnail_of(made) is None


def test_resolution_turns_with_the_picture(upscaler: StillUpscaler, tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(8, 16, 3)).save(tmp_path / "a.jpg", exif=turned, dpi=(72, 150))
    made, _ = upscaled(upscaler, tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert (made.size, made.info["dpi"]) == ((32, 64), (150, 72))


def test_damaged_exif_data_costs_only_itself(tmp_path: Path) -> None:
    Image.fromarray(noise(16, 16, 3)).save(
        tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"
    )
    still = read_still(tmp_path / "a.jpg")
    assert still.rgb.shape == (16, 16, 3)


def test_colours_under_transparency_leave_no_rim(upscaler: StillUpscaler, tmp_path: Path) -> None:
    pixels = np.zeros((48, 48, 4), np.uint8)
    pixels[..., 1] = 255
    y, x = np.mgrid[:48, :48]
    pixels[(y - 24) ** 2 + (x - 24) ** 2 < 250] = 255
    for hidden in ("png", "webp"):
        Image.fromarray(pixels).save(tmp_path / "a.png")
        made, _ = upscaled(upscaler, tmp_path / "a.png", tmp_path / f"b.{hidden}")
        shown = np.asarray(made).astype(float)
        over = shown[..., :3] * shown[..., 3:] / 255 + 255 - shown[..., 3:]
        plain, _ = upscaled(upscaler, _white(tmp_path), tmp_path / "white.png", overwrite=True)
        # As far from white as white itself comes out.
        assert over.min() >= np.asarray(plain).min() - 8


def _white(folder: Path) -> Path:
    Image.new("RGB", (48, 48), (255, 255, 255)).save(folder / "w.png")
    return folder / "w.png"
