"""NIQE against an implementation in scipy, and against values of BasicSR's."""

import math

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import gamma
from skimage import data

from tests.helpers.films import as_tensor
from vsr.metrics.niqe import _model, niqe


def moments(values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Shape, mean and scales of an asymmetric generalised Gaussian: equations 4 to 8."""
    left = np.sqrt(np.mean(values[values < 0] ** 2))
    right = np.sqrt(np.mean(values[values > 0] ** 2))
    skew = left / right
    ratio = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    wanted = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes = np.arange(0.2, 10.001, 0.001)
    found = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))
    shape = shapes[np.argmin((found - wanted) ** 2)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    mean = (right - left) * scale * gamma(2 / shape) / gamma(1 / shape)
    return shape, mean, left * scale, right * scale


def by_scipy(luma: NDArray[np.float64]) -> float:
    """NIQE of luma whose sides are multiples of 96, without flat areas."""
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    taps /= taps.sum()

    def local(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        across = correlate1d(plane, taps, axis=1, mode="nearest")
        return np.asarray(correlate1d(across, taps, axis=0, mode="nearest"))

    cubic = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256  # Keys' kernel, a = -0.5, at 1/2
    half = luma
    for axis in (0, 1):
        half = correlate1d(half, cubic, axis=axis, mode="reflect", origin=-1)
        half = half.take(range(0, half.shape[axis], 2), axis)
    columns = []
    for plane, side in ((luma, 96), (half, 48)):
        mean = local(plane)
        normalised = (plane - mean) / (np.sqrt(np.abs(local(plane**2) - mean**2)) + 1)
        rows = []
        for top in range(0, plane.shape[0], side):
            for first in range(0, plane.shape[1], side):
                block = normalised[top : top + side, first : first + side]
                shape, _, left, right = moments(block)
                row = [shape, (left + right) / 2]
                for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    row += moments(block * np.roll(block, shift, axis=(0, 1)))
                rows.append(row)
        columns.append(rows)
    features = np.concatenate([np.array(rows) for rows in columns], axis=1)
    difference = features.mean(axis=0) - _model().mean
    covariance = (np.cov(features.T) + _model().covariance) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(covariance) @ difference))


@pytest.mark.parametrize("sigma", [0, 0.8])
def test_niqe_is_that_of_the_papers_equations_by_scipy(sigma: float) -> None:
    picture = data.chelsea()[:192, 20:308]
    if sigma:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    luma = (picture @ np.array([65.481, 128.553, 24.966]) / 255 + 16).round()
    assert niqe(as_tensor(picture)) == pytest.approx(by_scipy(luma), rel=1e-6)


def test_niqe_is_that_of_basicsr() -> None:
    picture = data.chelsea()
    noise = np.random.default_rng(0).normal(0, 10, picture.shape)
    noisy = (picture + noise).clip(0, 255).astype(np.uint8)
    # calculate_niqe(picture, 0) of BasicSR 1.4.2, which computes in float32.
    found = [niqe(as_tensor(p)) for p in (picture, cv2.GaussianBlur(picture, (0, 0), 1.5), noisy)]
    assert found == pytest.approx([2.6255244, 7.1214345, 5.7556265], abs=2e-4)


def test_flat_blocks_do_not_count() -> None:
    picture = as_tensor(data.chelsea()[:288, :384])
    letterbox = picture.clone()
    letterbox[:, :96] = 16 / 255
    assert niqe(letterbox) == pytest.approx(niqe(picture[:, 96:]), abs=0.1)
    assert math.isnan(niqe(torch.full((3, 192, 192), 0.5)))


def test_pixels_beyond_the_last_block_do_not_count() -> None:
    picture = as_tensor(data.chelsea()[:288, :384])
    assert niqe(picture[:, :287, :383]) == niqe(picture[:, :192, :288])


def test_small_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 192 pixels"):
        niqe(torch.rand(3, 191, 400))
