"""Measured values: TIFF stacks, made by tifffile or Pillow and judged by Pillow or OpenCV."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from tests.helpers.cli import complaint, vsr

_CAMERA = data.camera()[96:128, 208:256].astype(np.float64) / 255


def _planes(*, least: float, most: float, count: int = 6) -> NDArray[np.float64]:
    """Planes of 32x48 of falling brightness, from `most` down to `least`."""
    fading = np.linspace(1, 0.4, count)[:, None, None] * _CAMERA
    return np.asarray(least + (most - least) * (fading - fading.min()) / np.ptp(fading))


def _upscaled(source: Path, *options: object) -> Path:
    output = source.with_name(f"large-{source.name}")
    done = vsr("image", source, output, "--scale", 2, "--device", "cpu", *options)
    assert done.returncode == 0, done.stderr
    return output


def _block_means(planes: NDArray[Any]) -> NDArray[np.float64]:
    """Mean of each 2x2 block of (..., 2H, 2W)."""
    *rest, height, width = planes.shape
    blocks = planes.astype(np.float64).reshape(*rest, height // 2, 2, width // 2, 2)
    return np.asarray(blocks.mean(axis=(-3, -1)))


def _is_close(output: NDArray[Any], values: NDArray[Any]) -> bool:
    """Whether block means are those of the input, and no value is outside its range."""
    error = float(np.abs(_block_means(output) - values).mean() / np.ptp(values))
    return error < 0.02 and bool(values.min() <= output.min() and output.max() <= values.max())


def _pages(path: Path) -> NDArray[Any]:
    found, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    assert found
    return np.stack(pages)


def test_an_imagej_hyperstack_keeps_axes_values_and_calibration(tmp_path: Path) -> None:
    values = _planes(least=300, most=2900).round().astype(np.uint16)
    source = tmp_path / "cells.tif"
    tifffile.imwrite(
        source,
        values.reshape(3, 2, 32, 48),
        imagej=True,
        resolution=(4, 5),
        metadata={"axes": "ZCYX", "spacing": 0.5, "unit": "um", "xorigin": 3, "Info": "stained"},
    )
    output = _upscaled(source)
    assert _is_close(_pages(output), values)
    with Image.open(output) as judged:
        tags: Any = judged.tag_v2  # type: ignore[attr-defined]
        lines = tags[270].splitlines()
        assert (tags[282], tags[283]) == (8, 10)
        assert "stained".encode("utf-16-be") in tags[50839]
        offsets = []
        for page in range(6):
            judged.seek(page)
            offsets.append(judged.tag_v2[273][0])  # type: ignore[attr-defined]
    assert {"images=6", "channels=2", "slices=3", "spacing=0.5", "unit=um", "xorigin=6"} <= {*lines}
    # ImageJ reads the first page's offset, and expects the other planes after it.
    assert np.ptp(np.diff(offsets)) == 0
    assert offsets[1] - offsets[0] == 64 * 96 * 2


def test_an_ome_hyperstack_of_signed_values_keeps_its_description(tmp_path: Path) -> None:
    values = _planes(least=-1500, most=900).round().astype(np.int16)
    source = tmp_path / "cells.ome.tif"
    metadata = {"axes": "TCYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    metadata |= {"PhysicalSizeY": 0.5, "Channel": {"Name": ["green", "red"]}}
    tifffile.imwrite(source, values.reshape(3, 2, 32, 48), ome=True, metadata=metadata)
    output = _upscaled(source)
    assert _is_close(_pages(output), values)
    with Image.open(output) as judged:
        text: str = judged.tag_v2[270]  # type: ignore[attr-defined]
    root = ET.fromstring(text.encode("latin-1"))  # as which Pillow decodes UTF-8
    pixels = root.find("{*}Image/{*}Pixels")
    assert pixels is not None
    expected = {"SizeX": "96", "SizeY": "64", "SizeT": "3", "SizeC": "2", "Type": "int16"}
    expected |= {"PhysicalSizeX": "0.125", "PhysicalSizeY": "0.25", "PhysicalSizeXUnit": "µm"}
    assert expected.items() <= pixels.attrib.items()
    assert [channel.get("Name") for channel in pixels.findall("{*}Channel")] == ["green", "red"]
    with tifffile.TiffFile(output) as tif:
        assert (tif.series[0].axes, tif.series[0].shape) == ("TCYX", (3, 2, 64, 96))


@pytest.mark.parametrize(
    ("dtype", "least", "most"),
    [("uint16", 0, 65535), ("uint32", 1e6, 4e9), ("int32", -2e9, 5), ("float32", -3e8, 7e9)],
)
def test_grey_pages_keep_their_type_and_range(
    tmp_path: Path, dtype: str, least: float, most: float
) -> None:
    values = _planes(least=least, most=most, count=2).astype(dtype)
    source = tmp_path / "pages.tif"
    compression, resolution = "zlib", (100, 100)
    with tifffile.TiffWriter(source) as writer:
        for plane in values:
            writer.write(
                plane,
                photometric="minisblack",
                compression=compression,
                metadata=None,
                resolution=resolution,
                resolutionunit="CENTIMETER",
            )
    output = _upscaled(source)
    with Image.open(output) as judged:
        assert judged.n_frames == 2  # type: ignore[attr-defined]
        assert judged.tag_v2[282] == 200  # type: ignore[attr-defined]
    judged_pages = _pages(output) if dtype != "uint32" else tifffile.imread(output)
    assert judged_pages.dtype == dtype
    assert _is_close(judged_pages, values)


def test_samples_that_are_not_numbers_stay_where_they_are(tmp_path: Path) -> None:
    values = _planes(least=0, most=50, count=2).astype(np.float32)
    values[0, 8:12, 16:20] = np.nan
    source = tmp_path / "masked.tif"
    tifffile.imwrite(source, values, photometric="minisblack", metadata=None)
    pages = _pages(_upscaled(source))
    expected = np.isnan(values).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(np.isnan(pages), expected)
    near = _block_means(pages)[0, 7:13, 15] - values[0, 7:13, 15]
    assert np.abs(near).max() < 5


def test_a_hot_pixel_does_not_disturb_others(tmp_path: Path) -> None:
    values = np.tile(_planes(least=100, most=200, count=2), (1, 2, 2)).astype(np.float32)
    hot = values.copy()
    hot[0, 5, 7] = 1e6
    outputs = []
    for name, planes in (("hot.tif", hot), ("plain.tif", values)):
        tifffile.imwrite(tmp_path / name, planes, photometric="minisblack", metadata=None)
        outputs.append(_pages(_upscaled(tmp_path / name)))
    assert outputs[0][0, 10:12, 14:16].min() > 1e5
    assert np.abs(outputs[0] - outputs[1])[:, 20:, 20:].mean() < 1


def test_invented_detail_is_refused_for_measured_values(tmp_path: Path) -> None:
    source, output = tmp_path / "a.tif", tmp_path / "b.tif"
    tifffile.imwrite(source, np.arange(512, dtype=np.uint16).reshape(2, 16, 16), imagej=True)
    model = ["--scale", 4, "--model", "best"]
    for option in (["--detail", "0.5"], ["--grain", "0.1"]):
        line = complaint("image", source, output, *model, *option)
        assert "holds measured values" in line
        assert "--allow-invented-detail" in line
    allowed = [*model, "--detail", "0.5", "--allow-invented-detail"]
    assert vsr("image", source, output, *allowed).returncode == 0
    invented = tifffile.imread(output)
    assert vsr("image", source, output, *model, "--overwrite").returncode == 0
    assert (tifffile.imread(output) != invented).any()


def test_a_stack_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, np.zeros((2, 16, 16), np.uint16), imagej=True)
    assert "name a .tif" in complaint("image", source, tmp_path / "b.png")
    content = source.read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[: len(content) // 2])
    assert "cut" in complaint("image", tmp_path / "cut.tif", tmp_path / "b.tif")
