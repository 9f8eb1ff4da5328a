"""Shifted transforms against those of scipy, and what they do to coded pictures."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn, idctn
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from vsr.errors import ConfigError
from vsr.frames import deblock
from vsr.frames.deblock import Deblocker


def picture() -> NDArray[np.uint8]:
    return np.ascontiguousarray(data.camera()[100:196, 180:310])


def coded(plane: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(plane).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


def smoothed_by_scipy(plane: NDArray[np.uint8], threshold: float) -> NDArray[np.float64]:
    """The mean over the shifts by even offsets of thresholded blocks."""
    padded = np.pad(plane.astype(np.float64), 8, mode="edge")
    total, count = np.zeros_like(padded), np.zeros_like(padded)
    for y in range(0, padded.shape[0] - 7, 2):
        for x in range(0, padded.shape[1] - 7, 2):
            block = dctn(padded[y : y + 8, x : x + 8], norm="ortho")
            mean = block[0, 0]
            block[np.abs(block) < threshold] = 0
            block[0, 0] = mean
            total[y : y + 8, x : x + 8] += idctn(block, norm="ortho")
            count[y : y + 8, x : x + 8] += 1
    inner: NDArray[np.float64] = (total / np.maximum(count, 1))[8:-8, 8:-8]
    return inner.clip(0, 255)


def test_it_equals_shifted_transforms_of_scipy() -> None:
    plane = coded(picture()[:32, :40], 20)
    found = Deblocker(0.51, 8).filter([plane])[0]
    assert found.dtype == np.uint8
    assert np.abs(found - smoothed_by_scipy(plane, 10.2)).max() <= 0.51


def test_coded_pictures_get_closer_to_the_original() -> None:
    for quality in (10, 25):
        plane = coded(picture(), quality)
        found = Deblocker(0.5, 8).filter([plane])[0]
        before, after = (peak_signal_noise_ratio(picture(), one) for one in (plane, found))
        assert after > before + 0.2


def test_strips_of_any_height_give_the_same_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = coded(picture()[:, :33], 20)
    whole = Deblocker(0.5, 8).filter([plane])[0]
    monkeypatch.setattr(deblock, "_STRIP_ROWS", 10)
    assert np.array_equal(Deblocker(0.5, 8).filter([plane])[0], whole)


def test_sizes_of_any_parity_and_depth_are_kept() -> None:
    planes = [np.full(shape, 700, np.uint16) for shape in ((9, 7), (5, 4), (1, 1))]
    for plane, found in zip(planes, Deblocker(1.0, 10).filter(planes), strict=True):
        assert np.array_equal(found, plane)


def test_thresholds_grow_with_the_bit_depth() -> None:
    plane = coded(picture()[:24, :24], 30)
    deep = Deblocker(0.6, 10).filter([plane.astype(np.uint16) * 4])[0]
    assert np.abs(deep / 4 - Deblocker(0.6, 8).filter([plane])[0]).max() <= 0.63


def test_strength_0_changes_nothing_and_others_are_refused() -> None:
    plane = coded(picture(), 30)
    assert np.array_equal(Deblocker(0.0, 8).filter([plane])[0], plane)
    with pytest.raises(ConfigError, match=r"deblock is between 0 and 1, not 1.5"):
        Deblocker(1.5, 8)
