"""NIQE: distance of a picture's statistics from those of natural pictures, without a reference."""

import math
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsr.imaging.colour import luma_of
from vsr.imaging.tensors import resize_bicubic

_BLOCK = 96
NIQE_SMALLEST_SIDE = 2 * _BLOCK
"""Minimal side in pixels: the statistics need several blocks of 96x96."""

_WINDOW, _SIGMA = 7, 7 / 6
_ROUNDING = 1e-9
"""Far above the rounding error of the filter, and below any difference of code values."""
_FEWEST_BLOCKS = 2
"""A covariance needs two."""
_SHAPES = np.arange(200, 10_001) / 1000
"""Candidate shape parameters of the generalised Gaussian."""
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))

Array = NDArray[np.float64]


class _Model(NamedTuple):
    """Multivariate Gaussian of the 36 features of natural pictures."""

    mean: Array
    covariance: Array


class _Table(NamedTuple):
    """Functions of the candidate shapes a, (9801); G is the gamma function."""

    ratio: Array
    """G(2/a)^2 / (G(1/a) G(3/a)), which increases with a."""
    scale: Array
    """sqrt(G(1/a) / G(3/a))."""
    mean: Array
    """G(2/a) / G(1/a)."""


def niqe(picture: Tensor) -> float:
    """Compute NIQE of RGB (3, H, W) in [0, 1]: at least 0, lower is more natural.

    Mittal et al., "Making a 'completely blind' image quality analyzer", 2013: locally normalised
    luma in blocks of 96x96 at two scales, asymmetric generalised Gaussians fitted to it and to the
    products of neighbours, and the distance of the features' mean and covariance from those of the
    authors' 125 natural pictures. Luma is that of BT.601 in code values, rounded; pixels right of
    and below the last whole block are ignored. NaN where fewer than two blocks have a texture.
    Raises ValueError if a side has fewer than 192 pixels.
    """
    height, width = picture.shape[-2:]
    if min(height, width) < NIQE_SMALLEST_SIDE:
        raise ValueError(f"NIQE needs sides of at least {NIQE_SMALLEST_SIDE} pixels")
    whole = picture[:, : height // _BLOCK * _BLOCK, : width // _BLOCK * _BLOCK]
    luma = luma_of(whole.cpu().double()).round().numpy()
    features = np.concatenate(
        [_features(luma, _BLOCK), _features(_halved(luma), _BLOCK // 2)], axis=1
    )
    known = features[~np.isnan(features).any(axis=1)]
    if len(known) < _FEWEST_BLOCKS:
        return math.nan
    model = _model()
    difference = known.mean(axis=0) - model.mean
    covariance = (np.cov(known, rowvar=False) + model.covariance) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(covariance) @ difference))


def _features(luma: Array, side: int) -> Array:
    """18 features of each block of `side` pixels, (N, 18); NaN where a block is flat."""
    blocks = _blocks(_normalised(luma), side)
    shape, _, left, right = _fit(blocks)
    features = [shape, (left + right) / 2]
    for shift in _NEIGHBOURS:
        features += _fit(blocks * np.roll(blocks, shift, axis=(1, 2)))
    return np.stack(features, axis=1)


def _halved(luma: Array) -> Array:
    """Halve both sides as MATLAB's `imresize` does, which mirrors the picture at its border."""
    margin = 4
    mirrored = torch.from_numpy(np.pad(luma, 2 * margin, mode="symmetric"))
    height, width = mirrored.shape
    half = resize_bicubic(mirrored[None, None], (height // 2, width // 2))[0, 0].numpy()
    return half[margin:-margin, margin:-margin]


def _normalised(luma: Array) -> Array:
    """Subtract the local mean, and divide by the local standard deviation plus 1.

    Flat areas become 0, instead of rounding errors, whose sign would count in the features.
    """
    taps = cv2.getGaussianKernel(_WINDOW, _SIGMA, cv2.CV_64F)
    border = cv2.BORDER_REPLICATE
    mean, mean_square = (
        cv2.sepFilter2D(plane, -1, taps, taps, borderType=border) for plane in (luma, luma * luma)
    )
    deviation = np.sqrt(np.abs(mean_square - mean * mean))
    normalised: Array = (luma - mean) / (deviation + 1)
    return np.where(np.abs(normalised) < _ROUNDING, 0.0, normalised)


def _blocks(plane: Array, side: int) -> Array:
    """Cut (H, W) into blocks, (N, side, side)."""
    down, across = plane.shape[0] // side, plane.shape[1] // side
    tiles = plane.reshape(down, side, across, side).swapaxes(1, 2)
    return tiles.reshape(down * across, side, side)


def _fit(blocks: Array) -> tuple[Array, Array, Array, Array]:
    """Fit an asymmetric generalised Gaussian to each block (N, H, W) by its moments.

    Shape, mean, and the scales on the left and on the right of 0, (N) each.
    """
    values = blocks.reshape(len(blocks), -1)
    squares = values * values
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (
            np.sqrt((squares * side).sum(axis=1) / side.sum(axis=1))
            for side in (values < 0, values > 0)
        )
        skew = left / right
        kurtosis = np.abs(values).mean(axis=1) ** 2 / squares.mean(axis=1)
        wanted = kurtosis * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    table = _table()
    above = np.searchsorted(table.ratio, wanted).clip(1, len(_SHAPES) - 1)
    is_below_nearer = wanted - table.ratio[above - 1] <= table.ratio[above] - wanted
    index = np.where(is_below_nearer, above - 1, above)
    left, right = left * table.scale[index], right * table.scale[index]
    shape = np.where(np.isnan(wanted), np.nan, _SHAPES[index])
    return shape, (right - left) * table.mean[index], left, right


@cache
def _table() -> _Table:
    inverse = torch.from_numpy(1 / _SHAPES)
    one, two, three = (torch.lgamma(count * inverse) for count in (1, 2, 3))
    logarithms = (2 * two - one - three, (one - three) / 2, two - one)
    return _Table(*(value.exp().numpy() for value in logarithms))


@cache
def _model() -> _Model:
    """Read the parameters that the authors of the metric published."""
    with (files("vsr.metrics") / "niqe_parameters.npz").open("rb") as file:
        parameters = np.load(file)
        return _Model(parameters["mean"], parameters["covariance"])
