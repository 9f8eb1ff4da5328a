"""TIFF pictures, made by tifffile or Pillow, and judged by Pillow, OpenCV or tifffile."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, IptcImagePlugin
from skimage import data

from tests.helpers.cli import vsr
from tests.helpers.stills import first_frame
from vsr.engine.image import StillUpscaler
from vsr.engine.image_array import upscale_image
from vsr.errors import MediaError, OutputError
from vsr.media.image import read_still
from vsr.media.image_writer import check_still_output, still_losses, write_still
from vsr.media.still import Still


@pytest.fixture(scope="module")
def upscaler(tiny_model: Path) -> StillUpscaler:
    return StillUpscaler(str(tiny_model), device="cpu")


def samples(kind: str, channels: int = 3, height: int = 24, width: int = 33) -> np.ndarray:
    noise = np.random.default_rng(0).random((height, width, channels))
    soft = 0.9 * data.coffee()[:height, :width, :1] / 255 + 0.1 * noise
    if kind == "float32":
        return np.asarray(soft, np.float32)
    highest = np.iinfo(kind).max
    made: np.ndarray = np.rint(soft * highest).astype(kind)
    return made


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_keeps_its_samples(tmp_path: Path, kind: str, channels: int) -> None:
    made = samples(kind, channels)
    more: dict[str, Any] = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
    photometric = "minisblack" if channels < 3 else "rgb"
    shown = made[..., 0] if channels == 1 else made
    tifffile.imwrite(tmp_path / "a.tif", shown, photometric=photometric, **more)
    still = read_still(tmp_path / "a.tif")
    assert still.lost == ()
    assert still.rgb.dtype == kind
    assert still.grey == (channels < 3)
    write_still(tmp_path / "b.tif", still)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        page: Any = tif.pages[0]
        assert np.array_equal(page.asarray(), shown)
        assert (page.photometric.name == "RGB") == (channels > 2)
        assert [use.name for use in page.extrasamples] == ["UNASSALPHA"] * (channels in (2, 4))
    if channels != 2 and (kind, channels) != ("uint8", 4):  # which OpenCV premultiplies
        found = cv2.imread(str(tmp_path / "b.tif"), cv2.IMREAD_UNCHANGED)
        assert found is not None
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
        assert np.array_equal(found.reshape(made.shape), made[..., order])


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_tiff_is_computed_from_its_samples(
    upscaler: StillUpscaler, tiny_model: Path, tmp_path: Path, kind: str
) -> None:
    made = samples(kind)
    tifffile.imwrite(tmp_path / "a.tif", made, photometric="rgb", compression="deflate")
    lines: list[str] = []
    upscaler.upscale_file(tmp_path / "a.tif", tmp_path / "b.tif", tell=lines.append)
    found = tifffile.imread(tmp_path / "b.tif").astype(np.float64)
    full = 65535 if kind == "uint16" else 1
    expected = first_frame(tiny_model, made / full)
    expected = expected.clip(0, 1) if kind == "uint16" else expected
    assert lines == []
    assert np.abs(found / full - expected).max() < 1.1 / 65535


def test_floats_above_white_come_back_at_their_range(tiny_model: Path) -> None:
    pixels = samples("float32") * 5000 - 1000
    found = upscale_image(pixels, str(tiny_model), device="cpu")
    black, white = float(pixels.min()), float(pixels.max())
    expected = first_frame(tiny_model, (pixels - black) / (white - black)) * (white - black) + black
    assert np.abs(found - expected).max() < 0.05
    assert (
        np.abs(upscale_image(pixels, str(tiny_model), 2.5, device="cpu").mean() - pixels.mean())
        < 200
    )


def test_floats_in_other_formats_are_reported(upscaler: StillUpscaler, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", samples("float32"), photometric="rgb")
    still = read_still(tmp_path / "a.tif")
    for name, bits in (("b.png", 16), ("b.jpg", 8)):
        assert still_losses(Path(name), still) == [
            f"floating-point samples: {name[1:]} holds {bits} bits, 0 to 1; .tif all"
        ]
    upscaler.upscale_file(tmp_path / "a.tif", tmp_path / "b.png")
    found = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.dtype == np.uint16
    write_still(tmp_path / "c.png", still)
    written = cv2.imread(str(tmp_path / "c.png"), cv2.IMREAD_UNCHANGED)
    assert written is not None
    assert np.abs(written[..., ::-1] - still.rgb * 65535).max() <= 0.51


def test_layouts_of_tiff_are_read_alike(tmp_path: Path) -> None:
    made = samples("uint16", 4)
    rgb, grey = made[..., :3], made[..., 0]
    layouts: tuple[tuple[np.ndarray, np.ndarray, dict[str, Any]], ...] = (
        (rgb, rgb, {"photometric": "rgb", "byteorder": ">", "bigtiff": True}),
        (rgb, np.moveaxis(rgb, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (rgb, rgb, {"photometric": "rgb", "tile": (16, 16), "compression": "deflate"}),
        (np.dstack([65535 - grey] * 3), grey, {"photometric": "miniswhite"}),
    )
    for number, (expected, stored, options) in enumerate(layouts):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, stored, **options)
        assert np.array_equal(read_still(path).rgb, expected)


def test_premultiplied_colours_are_divided(tmp_path: Path) -> None:
    made = samples("float32", 4)
    made[..., 3] = np.linspace(0.1, 1, made.shape[1])
    stored = np.dstack((made[..., :3] * made[..., 3:], made[..., 3]))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    still = read_still(tmp_path / "a.tif")
    assert still.alpha is not None
    assert np.abs(np.dstack((still.rgb, still.alpha)) - made).max() < 1e-5


def test_sixteen_bit_tiff_keeps_what_the_file_says(tiny_model: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" exif:PixelXDimension="33"/>'
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples("uint16"),
        photometric="rgb",
        iccprofile=profile,
        resolution=(300, 300),
        resolutionunit="inch",
        software=None,
        extratags=[
            (0x010F, "s", 0, "Maker", True),
            (0x0112, "H", 1, 6, True),
            (700, "B", len(xmp), xmp, True),
        ],
    )
    for name in ("b.tif", "b.png"):
        done = vsr("image", tmp_path / "a.tif", tmp_path / name, "--model", tiny_model)
        assert done.returncode == 0, done.stderr
        assert "not kept" not in done.stderr
        with Image.open(tmp_path / name) as made:
            made.load()
            assert made.size == (96, 132)
            assert made.info["icc_profile"] == profile
            assert round(made.info["dpi"][0]) == 300
            assert made.getexif()[0x010F] == "Maker"
            assert made.getexif().get(0x0112, 1) == 1
            kept = made.info["xmp"]
            assert b'exif:PixelXDimension="96"' in kept


def test_exif_of_photographs_is_written_to_tiff(upscaler: StillUpscaler, tmp_path: Path) -> None:
    exif = Image.Exif()
    inner = exif.get_ifd(0x8769)
    inner[0xA002], inner[0xA003], inner[0x9003] = 32, 24, "2001:02:03 04:05:06"
    exif.get_ifd(0x8825)[1] = "N"
    Image.fromarray(samples("uint8")).save(tmp_path / "a.jpg", exif=exif)
    upscaler.upscale_file(tmp_path / "a.jpg", tmp_path / "b.tif")
    with Image.open(tmp_path / "b.tif") as made:
        found = made.getexif()
        assert found.get_ifd(0x8769)[0x9003] == "2001:02:03 04:05:06"
        assert (found.get_ifd(0x8769)[0xA002], made.size[0]) == (132, 132)
        assert found.get_ifd(0x8825)[1] == "N"


def test_sixteen_bit_tiff_is_read_upright(tmp_path: Path) -> None:
    made = samples("uint16")
    for orientation in range(1, 9):
        tag = [(0x0112, "H", 1, orientation, True)]
        tifffile.imwrite(tmp_path / "a.tif", made, photometric="rgb", extratags=tag)
        with Image.open(tmp_path / "a.tif") as opened:
            upright = np.asarray(ImageOps.exif_transpose(opened))
        found = read_still(tmp_path / "a.tif").rgb
        assert np.abs(found // 256 - upright.astype(int)).max() <= 1


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_iptc_data_of_tiff_is_kept(tmp_path: Path, kind: str) -> None:
    resources = b"8BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x05\0\x03abc"
    for tag, content in ((0x8649, resources), (0x83BB, resources[12:])):
        tags = [(tag, "B", len(content), content, True)]
        path = tmp_path / f"{tag}.tif"
        tifffile.imwrite(path, samples(kind), photometric="rgb", extratags=tags)
    for source in ("34377.tif", "33723.tif"):
        still = read_still(tmp_path / source)
        assert still.lost == ()
        for name in ("b.tif", "b.jpg"):
            write_still(tmp_path / name, still, overwrite=True)
        with tifffile.TiffFile(tmp_path / "b.tif") as tif:
            page: Any = tif.pages[0]
            found = page.tags[0x8649].value
            assert (found if isinstance(found, bytes) else bytes(found)) == resources
        with Image.open(tmp_path / "b.jpg") as made:
            assert IptcImagePlugin.getiptcinfo(made) == {(2, 5): b"abc"}


@pytest.mark.parametrize("kind", ["uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_without_a_codec_is_read_by_opencv_or_in_eight_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, channels: int
) -> None:
    made = samples(kind, channels)
    alpha: dict[str, Any] = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
    made = made[..., 0] if channels == 1 else made
    photometric = "rgb" if channels > 2 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", made, photometric=photometric, **alpha)

    def missing(*_: Any, **__: Any) -> None:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", missing)
    if channels == 2:  # neither OpenCV nor Pillow reads it
        with pytest.raises(MediaError, match=r"a\.tif: not a picture that can be read"):
            read_still(tmp_path / "a.tif")
        return
    still = read_still(tmp_path / "a.tif")
    expected = made[..., None].repeat(3, axis=2) if channels == 1 else made[..., :3]
    assert np.array_equal(still.rgb, expected)
    assert (still.alpha is not None) == (channels == 4)
    if channels == 3 and kind == "uint16":
        tag = [(0x0112, "H", 1, 6, True)]
        tifffile.imwrite(tmp_path / "a.tif", made, photometric="rgb", extratags=tag)
        turned = read_still(tmp_path / "a.tif")
        assert turned.rgb.dtype == np.uint8
        assert turned.lost == ("16 bits a channel: 8 are read",)


def test_tiff_that_can_not_be_a_picture_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_finite = samples("float32")
    not_finite[3, 3] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", not_finite, photometric="rgb")
    tifffile.imwrite(tmp_path / "long.tif", np.full((8, 8), 1 << 20, np.uint32))
    tifffile.imwrite(tmp_path / "cut.tif", samples("uint16"), photometric="rgb")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:-500])
    for name, reason in (
        ("nan.tif", "not finite"),
        ("long.tif", "more than 16 bits"),
        ("cut.tif", "cut off"),
    ):
        with pytest.raises(MediaError, match=reason):
            read_still(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(MediaError, match="pictures have at most 200 pixels"):
        read_still(tmp_path / "nan.tif")


def test_floats_of_more_than_four_gigabytes_are_refused(tmp_path: Path) -> None:
    still = Still(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(OutputError, match=r"30000x30000: \.tif holds 4 GB, \.png more"):
        check_still_output(tmp_path / "a.tif", False, False, (30_000, 30_000), still)
