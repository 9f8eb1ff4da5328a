"""JPEG XL pictures, made and judged by pillow-jxl-plugin and imagecodecs."""

import io
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pillow_jxl.JpegXLImagePlugin import JXLImageFile
from skimage import data

from vsr.engine.image import StillUpscaler
from vsr.errors import MediaError, OutputError
from vsr.media import picture_formats
from vsr.media.image import read_still
from vsr.media.image_writer import check_still_output, still_losses, write_still
from vsr.media.jxl_header import with_colours
from vsr.media.rgb_profile import BT709, rgb_profile
from vsr.media.still import Still

P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)


def samples(dtype: Any, channels: int) -> np.ndarray:
    picture = data.coffee()[:24, :32].astype(np.float64) / 255
    alpha = np.linspace(0, 1, 24 * 32).reshape(24, 32, 1)
    parts = [
        picture[..., 1:2] if channels < 3 else picture,
        *([alpha] if channels in (2, 4) else []),
    ]
    joined = np.concatenate(parts, axis=2)
    if dtype == np.float32:
        return (joined * 3 - 0.5 if channels == 3 else joined).astype(np.float32)
    return (joined * np.iinfo(dtype).max).astype(dtype)


def by_the_plugin(path: Path) -> Image.Image:
    """Open by the plug-in, which returns 8 bits per sample and the profile."""
    return JXLImageFile(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_samples_are_kept_to_the_bit(tmp_path: Path, dtype: Any, channels: int) -> None:
    expected = samples(dtype, channels)
    pixels = expected[..., 0] if channels == 1 else expected
    encoded = imagecodecs.jpegxl_encode(np.ascontiguousarray(pixels), lossless=True)
    (tmp_path / "a.jxl").write_bytes(encoded)
    still = read_still(tmp_path / "a.jxl")
    assert (still.grey, still.lost) == (channels < 3, ())
    assert still_losses(tmp_path / "b.jxl", still) == []
    write_still(tmp_path / "b.jxl", still)
    found = imagecodecs.jpegxl_decode((tmp_path / "b.jxl").read_bytes())
    assert found.dtype == dtype
    assert np.array_equal(found, pixels)


def test_metadata_and_the_profile_are_kept(tmp_path: Path, tiny_model: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x011A], exif[0x011B], exif[0x0128] = "Maker", 300, 300, 2
    profile = rgb_profile(P3)
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    picture = Image.fromarray(data.coffee()[:12, :16])
    picture.save(tmp_path / "a.png", exif=exif, icc_profile=profile, dpi=(300, 300))
    still = read_still(tmp_path / "a.png")
    write_still(tmp_path / "a.jxl", Still(**(vars(still) | {"tags": type(still.tags)(xmp=xmp)})))
    StillUpscaler(str(tiny_model), device="cpu").upscale_file(
        tmp_path / "a.jxl", tmp_path / "b.jxl", strict=True
    )
    with by_the_plugin(tmp_path / "b.jxl") as made:
        assert (made.size, made.info["icc_profile"]) == ((64, 48), profile)
        found = Image.Exif()
        found.load(made.info["exif"])
        assert (found[0x010F], found[0x011A]) == ("Maker", 300)
    assert xmp in (tmp_path / "b.jxl").read_bytes()
    assert read_still(tmp_path / "b.jxl").tags.xmp == xmp


def test_a_profile_of_grey_is_embedded_as_it_is(tmp_path: Path) -> None:
    profile = bytearray(rgb_profile(P3, gamma=2.2))
    profile[16:20], profile[40:44] = b"GRAY", b"SUNW"
    still = Still(np.zeros((4, 4, 3), np.uint8), grey=True, icc_profile=bytes(profile))
    write_still(tmp_path / "a.jxl", still)
    with by_the_plugin(tmp_path / "a.jxl") as made:
        assert (made.mode, made.info["icc_profile"]) == ("L", bytes(profile))


def test_lossy_files_of_other_writers_are_read(tmp_path: Path) -> None:
    picture = data.coffee()[:37, :51]
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    buffer = io.BytesIO()
    Image.fromarray(picture).save(
        buffer, "JXL", quality=95, exif=exif.tobytes(), use_container=True, compress_metadata=True
    )
    (tmp_path / "a.jxl").write_bytes(buffer.getvalue())
    still = read_still(tmp_path / "a.jxl")
    assert np.abs(still.rgb.astype(int) - picture).mean() < 2
    assert (still.lost, still.icc_profile, still.bits) == ((), None, 8)
    assert still.exif
    assert b"Maker" in still.exif


def test_ten_bits_become_sixteen(tmp_path: Path) -> None:
    codes = (samples(np.uint16, 3) >> 6).astype(np.uint16)
    encoded = imagecodecs.jpegxl_encode(codes, lossless=True, bitspersample=10)
    (tmp_path / "a.jxl").write_bytes(encoded)
    still = read_still(tmp_path / "a.jxl")
    assert still.bits == 10
    assert np.abs(still.rgb * (1023 / 65535) - codes).max() < 0.01


def test_the_transfer_of_light_is_read(tmp_path: Path) -> None:
    """imagecodecs marks 16 bits and floats as linear light."""
    for name, dtype in (("a", np.float32), ("b", np.uint16)):
        encoded = imagecodecs.jpegxl_encode(samples(dtype, 3), lossless=True)
        (tmp_path / f"{name}.jxl").write_bytes(encoded)
    assert read_still(tmp_path / "a.jxl").linear
    assert read_still(tmp_path / "b.jxl").icc_profile == rgb_profile(BT709, gamma=1)


def test_what_can_not_be_read_is_refused_or_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = imagecodecs.jpegxl_encode(samples(np.uint8, 3), lossless=True)
    (tmp_path / "a.jxl").write_bytes(with_colours(bytes(encoded), rgb_profile(P3)))
    (tmp_path / "b.jxl").write_bytes(encoded[:200])
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    lost = "colour profile: reading it needs pip install pillow-jxl-plugin"
    assert read_still(tmp_path / "a.jxl").lost == (lost,)
    with pytest.raises(MediaError, match="can't be read"):
        read_still(tmp_path / "b.jxl")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(MediaError, match="32x24: pictures have at most 200 pixels"):
        read_still(tmp_path / "a.jxl")
    monkeypatch.setattr(picture_formats, "has_format", lambda name: False)
    monkeypatch.setattr("vsr.media.jxl.has_format", lambda name: False)
    needed = r"JPEG XL needs pip install 'vsr\[pictures\]'"
    with pytest.raises(MediaError, match=needed):
        read_still(tmp_path / "a.jxl")
    with pytest.raises(OutputError, match=needed):
        check_still_output(tmp_path / "c.jxl", False, False)
