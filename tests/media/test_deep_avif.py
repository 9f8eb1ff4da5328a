"""AVIF of 10 and 12 bits, made by imagecodecs, judged by imagecodecs, Pillow and FFmpeg."""

from pathlib import Path

import av
import imagecodecs
import numpy as np
import pytest
from PIL import Image
from skimage import data

from vsr.engine.image import StillUpscaler
from vsr.media.image import read_still
from vsr.media.image_writer import still_losses, write_still
from vsr.media.rgb_profile import rgb_profile

P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)


def codes(bits: int, channels: int) -> np.ndarray:
    """A smooth picture, in which more levels than 256 are used."""
    picture = data.coffee()[:32, :48].astype(np.float64) / 255
    alpha = np.linspace(0, 1, 32 * 48).reshape(32, 48, 1)
    joined = np.concatenate([picture, alpha], axis=2)[..., :channels]
    levels: np.ndarray = np.rint(joined * ((1 << bits) - 1)).astype(np.uint16)
    return levels


@pytest.mark.parametrize(("bits", "channels"), [(10, 3), (12, 4)])
def test_deep_avif_is_read_and_written_in_its_depth(
    tmp_path: Path, bits: int, channels: int
) -> None:
    encoded = imagecodecs.avif_encode(
        codes(bits, channels), level=100, bitspersample=bits, pixelformat="444", numthreads=1
    )
    (tmp_path / "a.avif").write_bytes(encoded)
    still = read_still(tmp_path / "a.avif")
    assert (still.bits, still.lost) == (bits, ())
    assert still.rgb.dtype == np.uint16
    steps = still.rgb * (((1 << bits) - 1) / 65535)
    assert np.abs(steps - imagecodecs.avif_decode(encoded)[..., :3]).max() < 0.05
    assert still_losses(tmp_path / "b.avif", still) == []
    write_still(tmp_path / "b.avif", still)
    with av.open(tmp_path / "b.avif") as film:
        assert film.streams.video[0].format.components[0].bits == bits
    found = imagecodecs.avif_decode((tmp_path / "b.avif").read_bytes())
    assert np.abs(found.astype(int) - codes(bits, channels)).mean() < (1 << bits) / 128


def test_metadata_and_the_profile_are_kept(tmp_path: Path, tiny_model: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    encoded = imagecodecs.png_encode(codes(16, 4))
    (tmp_path / "raw.png").write_bytes(encoded)
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    profile = rgb_profile(P3)
    still = read_still(tmp_path / "raw.png")
    tags = type(still.tags)(xmp=xmp, dpi=(300, 300))
    parts = {"icc_profile": profile, "exif": exif.tobytes(), "tags": tags}
    write_still(tmp_path / "a.tif", type(still)(**(vars(still) | parts)))
    lines: list[str] = []
    StillUpscaler(str(tiny_model), device="cpu").upscale_file(
        tmp_path / "a.tif", tmp_path / "b.avif", tell=lines.append
    )
    assert [line.partition("not kept: ")[2] for line in lines] == [
        "16 bits a channel: .avif holds 12, .png and .tif 16"
    ]
    with Image.open(tmp_path / "b.avif") as made:
        assert (made.size, made.mode) == ((192, 128), "RGBA")
        assert (made.info["icc_profile"], made.info["xmp"]) == (profile, xmp)
        assert (made.getexif()[0x010F], made.getexif()[0x011A]) == ("Maker", 300)
    assert imagecodecs.avif_decode((tmp_path / "b.avif").read_bytes()).max() > 1023


def test_deep_grey_is_read_and_written(tmp_path: Path) -> None:
    grey = codes(10, 3)[..., 1].copy()
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(grey, level=100, bitspersample=10))
    still = read_still(tmp_path / "a.avif")
    assert (still.rgb.shape, still.grey, still.bits) == ((32, 48, 3), True, 10)
    assert np.abs(still.rgb[..., 0] * (1023 / 65535) - grey).max() < 2
    write_still(tmp_path / "b.avif", still)
    found = imagecodecs.avif_decode((tmp_path / "b.avif").read_bytes())
    assert found.shape == grey.shape
    assert np.abs(found.astype(int) - grey).mean() < 8
