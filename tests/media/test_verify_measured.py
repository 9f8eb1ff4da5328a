"""What `vsr verify` reports about DICOM files and TIFF stacks, changed by pydicom and tifffile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from skimage import data

from tests.helpers.cli import complaint, vsr
from tests.helpers.dicom import NAME, write_dicom
from vsr.media.verify import verify_picture, verify_pictures

_CAMERA = data.camera()[96:128, 208:256]


def _lost(source: Path, output: Path) -> list[str]:
    return [finding.what for finding in verify_picture(source, output) if not finding.kept]


def _printed(source: Path, output: Path) -> str:
    """Everything that a comparison prints."""
    done = vsr("verify", source, output)
    assert done.returncode == 1
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `in` of a DICOM file without a suffix and a stack, and their outputs in `out`."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "in").mkdir()
    spacing: dict[str, Any] = {"PixelSpacing": [0.5, 0.5], "PixelPaddingValue": 0}
    values = np.where(np.arange(48) < 10, 0, _CAMERA + np.uint8(1)).astype(np.uint16)
    write_dicom(folder / "in/IM1", values, **spacing)
    stack = np.stack([_CAMERA, _CAMERA // 2]).astype(np.float32)
    stack[0, 5, 5] = np.nan
    tifffile.imwrite(folder / "in/a.tif", stack, imagej=True, resolution=(4, 4))
    assert vsr("image", folder / "in", folder / "out", "--scale", 2).returncode == 0
    return folder


def test_outputs_of_measured_values_are_complete(series: Path) -> None:
    findings = verify_pictures(series / "in", series / "out")
    assert [(finding.what, finding.kept) for finding in findings] == [
        ("IM1", True),
        ("a.tif", True),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda dataset: setattr(dataset, "PixelSpacing", [0.5, 0.5]), ["tag PixelSpacing"]),
        (lambda dataset: delattr(dataset, "PatientName"), ["tag PatientName"]),
        (
            lambda dataset: setattr(dataset, "PixelData", bytes(2 * 64 * 96)),
            ["samples without a value"],
        ),
    ],
)
def test_changed_dicom_files_are_reported(
    series: Path, tmp_path: Path, change: Callable[[Dataset], None], expected: list[str]
) -> None:
    dataset = dcmread(series / "out/IM1")
    change(dataset)
    dataset.save_as(tmp_path / "changed.dcm")
    lost = _lost(series / "in/IM1", tmp_path / "changed.dcm")
    assert [what for what in lost if what != "tags"] == expected
    assert NAME not in _printed(series / "in/IM1", tmp_path / "changed.dcm")


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        (lambda planes: planes + 30, {}, ["content", "range of values"]),
        (
            lambda planes: np.nan_to_num(planes, nan=99).astype(np.uint16),
            {},
            ["samples", "samples without a value"],
        ),
        (lambda planes: planes[:1], {}, ["axes", "description"]),
        (lambda planes: planes, {"resolution": (4, 4)}, ["resolution"]),
    ],
)
def test_changed_stacks_are_reported(
    series: Path,
    tmp_path: Path,
    change: Callable[[NDArray[Any]], NDArray[Any]],
    options: dict[str, Any],
    expected: list[str],
) -> None:
    planes = tifffile.imread(series / "out/a.tif")
    stored: dict[str, Any] = {"imagej": True, "resolution": (8, 8)} | options
    tifffile.imwrite(tmp_path / "a.tif", change(planes), **stored)
    assert _lost(series / "in/a.tif", tmp_path / "a.tif") == expected


def test_an_output_of_another_type_is_refused(series: Path) -> None:
    line = complaint("verify", series / "in/IM1", series / "out/a.tif")
    assert "is no DICOM file" in line
    line = complaint("verify", series / "in/a.tif", series / "out/IM1")
    assert "is no stack of measured values" in line
    assert "not a film" in complaint("verify", series / "in", series / "out/IM1")
    assert "no such file" in complaint("verify", series / "in/IM1", series / "none.dcm")
