"""OpenEXR pictures, made by OpenEXR or FFmpeg, judged by FFmpeg, OpenEXR or LittleCMS."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenEXR
import pytest
from PIL import Image, ImageCms
from skimage import data

from vsr.engine.image import StillUpscaler
from vsr.errors import MediaError, OutputError
from vsr.media import picture_formats
from vsr.media.image import read_still
from vsr.media.image_writer import check_still_output, still_losses, write_still
from vsr.media.linear_light import from_network, to_network
from vsr.media.rgb_profile import BT709, rgb_profile
from vsr.media.still import Still

P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)


def light(height: int, width: int) -> np.ndarray:
    """Linear light of a photograph, of which some is brighter than white."""
    values = (data.coffee()[:height, :width] / 255.0) ** 2.2
    values[: height // 2] *= 6
    linear: np.ndarray = values.astype(np.float16)
    return linear


def write_exr(path: Path, channels: dict[str, np.ndarray], **header: Any) -> None:
    storage = {"compression": OpenEXR.ZIPS_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(storage | header, channels) as made:
        made.write(str(path))


def by_ffmpeg(path: Path) -> np.ndarray:
    """Linear RGB (H, W, 3) as FFmpeg decodes it."""
    with av.open(path) as film:
        frame = next(film.decode(video=0))
        # Planes are green, blue, red.
        planes = [
            np.frombuffer(bytes(plane), np.float32 if "f32" in frame.format.name else np.float16)
            .reshape(plane.height, -1)[:, : plane.width]
            .astype(np.float32)
            for plane in list(frame.planes)[:3]
        ]
    return np.dstack(planes if len(planes) < 3 else [planes[2], planes[0], planes[1]])


def of_exr(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with OpenEXR.File(str(path), separate_channels=True) as opened:
        channels = {name: channel.pixels for name, channel in opened.channels().items()}
        return dict(opened.header()), channels


def test_half_floats_above_white_are_kept_to_the_bit(tmp_path: Path) -> None:
    picture = light(12, 16)
    write_exr(
        tmp_path / "a.exr",
        {"RGB": picture},
        chromaticities=P3,
        pixelAspectRatio=2.0,
        owner="me",
        exposure=1.5,
        comments="a note",
    )
    still = read_still(tmp_path / "a.exr")
    assert (still.bits, still.linear, still.grey, still.lost) == (16, True, False, ())
    assert still_losses(tmp_path / "b.exr", still) == []
    write_still(tmp_path / "b.exr", still)
    header, channels = of_exr(tmp_path / "b.exr")
    assert {channel.dtype for channel in channels.values()} == {np.dtype(np.float16)}
    assert np.array_equal(by_ffmpeg(tmp_path / "b.exr"), picture.astype(np.float32))
    assert header["chromaticities"] == pytest.approx(P3)
    kept = ("owner", "exposure", "comments", "pixelAspectRatio", "compression")
    expected = ("me", 1.5, "a note", 2.0, OpenEXR.ZIPS_COMPRESSION)
    assert tuple(header[key] for key in kept) == expected


@pytest.mark.parametrize("names", ["Y", "YA", "RGBA"])
def test_grey_and_transparency_are_kept_in_full_floats(tmp_path: Path, names: str) -> None:
    picture = light(9, 11).astype(np.float32)
    alpha = np.linspace(0, 1, 99, dtype=np.float32).reshape(9, 11)
    picture *= alpha[..., None] if "A" in names else 1
    channels = {name: picture[..., "RGB".find(name)].copy() for name in names if name != "A"}
    write_exr(tmp_path / "a.exr", channels | ({"A": alpha} if "A" in names else {}))
    still = read_still(tmp_path / "a.exr")
    assert (still.grey, still.bits, still.lost) == ("Y" in names, 32, ())
    write_still(tmp_path / "b.exr", still)
    found = of_exr(tmp_path / "b.exr")[1]
    assert sorted(found) == sorted(names)
    assert all(np.allclose(found[name], channels.get(name, alpha), atol=1e-6) for name in names)


def test_upscaled_light_keeps_its_range_and_windows(tmp_path: Path, tiny_model: Path) -> None:
    write_exr(
        tmp_path / "a.exr",
        {"RGB": np.full((12, 16, 3), 5, np.float16)},
        dataWindow=(np.array([2, 3], np.int32), np.array([17, 14], np.int32)),
        displayWindow=(np.array([0, 0], np.int32), np.array([19, 19], np.int32)),
    )
    StillUpscaler(str(tiny_model), device="cpu").upscale_file(
        tmp_path / "a.exr", tmp_path / "b.exr", strict=True
    )
    header, channels = of_exr(tmp_path / "b.exr")
    assert channels["R"].shape == (48, 64)
    assert 4 < channels["R"][8:-8, 8:-8].mean() < 6
    assert np.concatenate(header["dataWindow"]).tolist() == [8, 12, 71, 59]
    assert np.concatenate(header["displayWindow"]).tolist() == [0, 0, 79, 79]


def test_an_integer_format_gets_the_curve_of_srgb_and_a_profile(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", {"RGB": light(8, 8)}, chromaticities=P3, exposure=2.0)
    still = read_still(tmp_path / "a.exr")
    assert still_losses(tmp_path / "b.png", still) == [
        "attributes exposure: .png can't hold them, .exr can",
        "linear light: converted to the curve of sRGB; .exr and float .tif keep it",
        "floating-point samples: .png holds 16 bits, 0 to 1; .tif all",
    ]
    write_still(tmp_path / "b.png", still)
    made = read_still(tmp_path / "b.png")
    linear = light(8, 8).astype(np.float64)[4:]
    curve = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(made.rgb[4:] / 65535 - curve).max() < 1e-4
    assert made.icc_profile
    profile = ImageCms.ImageCmsProfile(io.BytesIO(made.icc_profile)).profile
    # The primaries of a profile are adapted to D50.
    assert profile.red_primary is not None
    assert profile.red_primary[1][:2] == pytest.approx((0.6820, 0.3194), abs=1e-3)


def test_pictures_for_displays_become_linear_light_by_their_profile(tmp_path: Path) -> None:
    pixels = data.coffee()[:8, :8]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "b.png", icc_profile=rgb_profile(P3))
    for name in "ab":
        write_still(tmp_path / f"{name}.exr", read_still(tmp_path / f"{name}.png"))
    unit = pixels / 255.0
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    assert np.abs(by_ffmpeg(tmp_path / "a.exr") - linear).max() < 1e-3
    to_bt709 = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
    assert np.abs(by_ffmpeg(tmp_path / "b.exr") - linear @ to_bt709.T).max() < 3e-3


def test_the_profile_of_srgb_equals_that_of_littlecms() -> None:
    ours = ImageCms.ImageCmsProfile(io.BytesIO(rgb_profile(BT709)))
    pixels = Image.fromarray(data.coffee()[:64, :64])
    there = ImageCms.profileToProfile(pixels, ours, ImageCms.createProfile("sRGB"))
    assert there is not None
    assert np.abs(np.asarray(there).astype(int) - np.asarray(pixels)).max() <= 1


def test_the_curve_around_the_network_is_reversible() -> None:
    values = np.array([-8, -0.5, 0, 1e-4, 0.0031, 0.2, 1, 1.5, 60_000], np.float32)
    assert np.allclose(from_network(to_network(values)), values, rtol=1e-4, atol=1e-7)
    steps = np.diff(to_network(np.linspace(-2, 4, 10_000, dtype=np.float32)))
    assert (steps > 0).all()


def test_what_can_not_be_upscaled_is_refused_or_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = np.full((4, 4), 0.5, np.float16)
    write_exr(tmp_path / "a.exr", {"Y": plane, "RY": plane, "BY": plane})
    write_exr(tmp_path / "b.exr", {"Y": plane * np.float16(np.inf)})
    write_exr(tmp_path / "c.exr", {"RGB": np.dstack([plane] * 3), "Z": plane})
    (tmp_path / "d.exr").write_bytes((tmp_path / "c.exr").read_bytes()[:300])
    for name, line in (("a", "luminance and chroma"), ("b", "not finite"), ("d", "can't be read")):
        with pytest.raises(MediaError, match=line):
            read_still(tmp_path / f"{name}.exr")
    content = bytearray((tmp_path / "c.exr").read_bytes())
    content[-40:-30] = bytes(range(10))
    (tmp_path / "d.exr").write_bytes(content)
    with pytest.raises(MediaError, match="its pixels are damaged"):
        read_still(tmp_path / "d.exr")
    assert read_still(tmp_path / "c.exr").lost == ("channels Z",)
    monkeypatch.setattr(picture_formats, "has_format", lambda name: False)
    monkeypatch.setattr("vsr.media.exr.has_format", lambda name: False)
    needed = r"OpenEXR needs pip install 'vsr\[pictures\]'"
    with pytest.raises(MediaError, match=needed):
        read_still(tmp_path / "c.exr")
    with pytest.raises(OutputError, match=needed):
        check_still_output(tmp_path / "e.exr", False, False)


def test_exif_data_and_xmp_are_reported() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    still = Still(np.zeros((4, 4, 3), np.uint8), exif=exif.tobytes())
    assert still_losses(Path("a.exr"), still) == [
        "Exif data: .exr can't hold it, .png and .jpg can"
    ]
