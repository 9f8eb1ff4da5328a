"""Pictures of more than 8 bits per sample, made and judged by OpenCV and Pillow."""

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from skimage import data

from tests.helpers.cli import vsr
from tests.helpers.stills import first_frame
from vsr.engine.image import StillUpscaler
from vsr.engine.image_array import upscale_image
from vsr.engine.output_size import SizeRequest
from vsr.media.image import read_still
from vsr.media.image_writer import still_losses, write_still
from vsr.media.still import Still


def deep(*shape: int) -> np.ndarray:
    """Smooth samples of which the low bytes matter."""
    picture = data.coffee()[: shape[0], : shape[1]].astype(np.uint16) * 251
    picture += np.random.default_rng(0).integers(0, 256, picture.shape, dtype=np.uint16)
    return np.ascontiguousarray(picture if len(shape) == 3 else picture[..., 1])


def network(model: Path, pixels: np.ndarray) -> np.ndarray:
    levels: np.ndarray = first_frame(model, pixels / 65535).clip(0, 1) * 65535
    return levels


def png(samples: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Encode 16-bit samples without filters."""
    rows = b"".join(b"\0" + row.tobytes() for row in samples.astype(">u2"))
    head = struct.pack(">2I5B", samples.shape[1], samples.shape[0], 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_is_read_and_written_to_the_bit(tmp_path: Path, channels: int) -> None:
    colours = deep(37, 51) if channels < 3 else deep(37, 51, 3)
    alpha = np.random.default_rng(1).integers(0, 65536, (37, 51), dtype=np.uint16)
    samples = np.dstack((colours, alpha)[: 2 if channels in (2, 4) else 1])
    (tmp_path / "a.png").write_bytes(png(samples, {1: 0, 2: 4, 3: 2, 4: 6}[channels]))
    still = read_still(tmp_path / "a.png")
    write_still(tmp_path / "b.png", still)
    found = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.dtype == np.uint16
    rgb = colours[..., None].repeat(3, axis=2) if channels < 3 else colours
    assert np.array_equal(still.rgb, rgb)
    expected = {1: colours, 3: rgb[..., ::-1]}.get(channels, np.dstack((rgb[..., ::-1], alpha)))
    assert np.array_equal(found, expected)
    assert (tmp_path / "b.png").read_bytes()[24:26] == bytes(
        [16, {1: 0, 2: 4, 3: 2}.get(channels, 6)]
    )


@pytest.mark.parametrize("grey", [False, True])
def test_sixteen_bits_are_computed_from_the_files_samples(
    tmp_path: Path, tiny_model: Path, grey: bool
) -> None:
    pixels = deep(24, 32) if grey else deep(24, 32, 3)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    lines: list[str] = []
    StillUpscaler(str(tiny_model), device="cpu").upscale_file(
        tmp_path / "a.png", tmp_path / "b.png", tell=lines.append
    )
    found = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert lines == []
    if grey:
        rgb = network(tiny_model, pixels[..., None].repeat(3, axis=2))
        expected = rgb @ [0.299, 0.587, 0.114]
    else:
        expected = network(tiny_model, pixels[..., ::-1])[..., ::-1]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2


def test_eight_bit_outputs_of_sixteen_bits_are_rounded_once(
    tmp_path: Path, tiny_model: Path
) -> None:
    pixels = deep(24, 32, 3)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    upscaler = StillUpscaler(str(tiny_model), device="cpu")
    found = upscaler.upscale_array(read_still(tmp_path / "a.png").rgb, np.dtype(np.uint8))
    assert np.abs(found - network(tiny_model, pixels) / 257).max() < 0.51


def test_sixteen_bits_keep_at_other_sizes(tmp_path: Path, tiny_model: Path) -> None:
    pixels = deep(24, 32, 3)
    found = upscale_image(pixels, str(tiny_model), 2.5, device="cpu")
    assert found.dtype == np.uint16
    assert found.shape == (60, 80, 3)
    upscaler = StillUpscaler(str(tiny_model), SizeRequest(scale=2.5), device="cpu")
    small = upscaler.upscale_array((pixels // 257).astype(np.uint8))
    assert np.abs(found / 257 - small).mean() < 2


def test_grain_of_sixteen_bits_is_that_of_eight(tmp_path: Path, tiny_model: Path) -> None:
    pixels = np.full((24, 32, 3), 30_000, np.uint16)
    plain = upscale_image(pixels, str(tiny_model), device="cpu").astype(int)
    grained = upscale_image(pixels, str(tiny_model), device="cpu", grain=0.5)
    assert grained.dtype == np.uint16
    low = (pixels // 257).astype(np.uint8)
    plain8 = upscale_image(low, str(tiny_model), device="cpu").astype(int)
    grained8 = upscale_image(low, str(tiny_model), device="cpu", grain=0.5)
    assert np.abs((grained - plain) / 257 - (grained8 - plain8)).max() < 1.5


def test_sixteen_bits_keep_what_the_file_says(tmp_path: Path, tiny_model: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), deep(12, 16, 3))
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    info = PngInfo()
    info.add_text("Title", "a title")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    saved: dict[str, Any] = {
        "exif": exif,
        "pnginfo": info,
        "dpi": (300, 300),
        "icc_profile": profile,
    }
    Image.new("RGB", (16, 12)).save(tmp_path / "said.png", **saved)
    shell, samples = ((tmp_path / f"{name}.png").read_bytes() for name in ("said", "deep"))
    before, after = shell.index(b"IDAT") - 4, samples.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(samples[:33] + shell[33:before] + samples[after:])
    done = vsr("image", tmp_path / "a.png", tmp_path / "b.png", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert "not kept" not in done.stderr
    with Image.open(tmp_path / "b.png") as made:
        made.load()
        assert made.size == (48, 64)
        assert made.info["icc_profile"] == profile
        assert made.info["Title"] == "a title"
        assert round(made.info["dpi"][0]) == 300
        assert (made.getexif()[0x010F], made.getexif().get(0x0112, 1)) == ("Maker", 1)


def test_sixteen_bits_are_read_upright(tmp_path: Path) -> None:
    pixels = deep(6, 9, 3)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        chunk = (b"eXIf", exif.tobytes()[6:])
        (tmp_path / "a.png").write_bytes(png(pixels, 2, chunk))
        with Image.open(tmp_path / "a.png") as opened:
            upright = np.asarray(ImageOps.exif_transpose(opened))
        found = read_still(tmp_path / "a.png").rgb
        assert np.array_equal(found // 256, upright), orientation


def test_a_transparent_colour_of_sixteen_bits_is_matched_to_the_bit(tmp_path: Path) -> None:
    colours = np.full((4, 4, 3), 1000, np.uint16)
    colours[0, 0] = (1000, 1000, 1001)
    for samples, kind, content in (
        (colours, 2, struct.pack(">3H", 1000, 1000, 1001)),
        (colours[..., 2], 0, struct.pack(">H", 1001)),
    ):
        (tmp_path / "a.png").write_bytes(png(samples, kind, (b"tRNS", content)))
        alpha = read_still(tmp_path / "a.png").alpha
        assert alpha is not None
        assert (alpha == 0).sum() == 1
        assert (alpha[0, 0], alpha[1, 1]) == (0, 65535)


def test_deep_pixels_without_a_file_are_written(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (300, 900, 3), dtype=np.uint16)
    write_still(tmp_path / "a.png", Still(noise))
    found = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert np.array_equal(found[..., ::-1], noise)


def cmyk_profile() -> bytes:
    """A profile of CMYK by a table of two levels per ink, to Lab: grey by black ink alone."""
    levels = b"".join(
        bytes([255 - 255 * (index & 1), 128, 128]) for index in range(16)
    )  # the last ink, black, varies fastest
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + levels + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    start = 128 + 4 + 2 * 12
    tags = struct.pack(">I4s2I4s2I", 2, b"A2B0", start, len(table), b"wtpt", start + len(table), 20)
    body = tags + table + white
    head = struct.pack(
        ">I4sI4s4s4s12x4s", 128 + len(body), b"", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp"
    )
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + body


def test_cmyk_is_converted_by_its_profile(tmp_path: Path) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0], inks[:8, :, 3] = 200, 255  # this profile has no colour but black
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", icc_profile=cmyk_profile(), quality=100)
    still = read_still(tmp_path / "a.jpg")
    assert still_losses(tmp_path / "b.png", still) == [
        "CMYK colours: sRGB is written, by the colour profile; .jpg and .tif hold CMYK"
    ]
    assert still.icc_profile is None
    assert still.rgb[:8].max() < 12
    assert still.rgb[8:].min() > 243
