"""Distances between the local distributions of detail and of features of pictures."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.colour import Matrix

TEXTURE_WINDOW = 8
"""Side in cells of the windows whose distributions are compared."""
FILTER_SIDE = 17
"""Side of the filters in pixels."""
_FREQUENCIES = (0.125, 0.5)
"""Lowest and highest frequency of the filters, in cycles per pixel."""
_ENVELOPES = (0.35, 0.8)
"""Range of the standard deviation of a filter's envelope, in wavelengths."""
_WIDEST_ENVELOPE = 4.0
"""Upper limit of the standard deviation of a filter's envelope, in pixels."""
_RESPONSE_FLOOR = 2.5 / 255
"""Responses below it hardly count: noise in flat areas."""
FEATURE_WINDOW = 32
"""Side in pixels of the windows in which features are compared."""
_DIRECTIONS = 8
"""Random directions in the space of each layer's features."""
_SPREAD_FLOOR = 0.01
"""Standard deviations of projections below it hardly count."""
_SMOOTHNESS = 0.3
"""Relative differences below it count by their square."""


def random_filters(count: int, random: np.random.Generator) -> Tensor:
    """Gabor filters of random frequency, orientation, phase and width, (count, 1, 17, 17).

    The logarithms of their frequencies are evenly distributed over the two octaves below the
    Nyquist frequency. Each filter has unit L2 norm and no response to a constant.
    """
    shape = (count, 1, 1)
    lowest, highest = (math.log(frequency) for frequency in _FREQUENCIES)
    frequency = np.exp(random.uniform(lowest, highest, shape))
    angle, phase = random.uniform(0, math.pi, shape), random.uniform(0, 2 * math.pi, shape)
    width = np.minimum(random.uniform(*_ENVELOPES, shape) / frequency, _WIDEST_ENVELOPE)
    y, x = np.mgrid[:FILTER_SIDE, :FILTER_SIDE] - FILTER_SIDE // 2
    envelope = np.exp(-(x**2 + y**2) / (2 * width**2))
    along = x * np.cos(angle) + y * np.sin(angle)
    filters = envelope * np.cos(2 * math.pi * frequency * along + phase)
    sums = partial(np.sum, axis=(1, 2), keepdims=True)
    filters -= envelope * sums(filters) / sums(envelope)
    filters /= np.sqrt(sums(filters**2))
    return torch.from_numpy(filters).float().unsqueeze(1)


def texture_distance(
    output: Tensor, target: Tensor, scale: int, filters: Tensor, window: int = TEXTURE_WINDOW
) -> Tensor:
    """Distance between the local distributions of detail of pictures (N, 3, sH, sW), s = `scale`.

    Detail is the responses of the luma of BT.601 to `filters` (K, 1, h, w). The responses of each
    filter are sorted separately in each window of `window` x `window` cells of s x s pixels, and
    for each phase, which is the position of a pixel in its cell. Sorted responses are compared one
    by one: in one dimension, this is the Wasserstein distance. Differences are relative to the
    target's mean absolute response in the window plus 2.5 code values, and their distance is smooth
    at zero. The border that a filter overlaps and incomplete windows at the right and lower border
    are left out. The result is the mean over the pictures and their averages over squares, whose
    sides are the divisors of s: detail of low frequency is missing where the input was blurred. H
    and W are at least `window` plus the side of the filters less one.

    The positions of detail are free inside a window, so that detail of unknown position is learnt,
    which a pixel loss averages away. A loss of spectra is met by a pattern that repeats in each
    cell; its distributions differ between phases. After Heeger and Bergen, "Pyramid-based texture
    analysis/synthesis", 1995, who match histograms of filter responses, and Heitz et al., "A sliced
    Wasserstein loss for neural texture synthesis", 2021, who sort.
    """
    weights = torch.tensor(Matrix.BT601.luma_weights, device=output.device).view(3, 1, 1)
    levels = []
    with torch.autocast(output.device.type, enabled=False):
        ours, theirs = (
            (frames.float() * weights).sum(dim=1, keepdim=True)
            for frames in (output, target.detach())
        )
        for side in (side for side in range(1, scale + 1) if scale % side == 0):
            found, wanted = (
                _responses(F.avg_pool2d(luma, side), scale // side, filters, window)
                for luma in (ours, theirs)
            )
            strength = wanted.abs().mean(dim=(2, 5), keepdim=True) + _RESPONSE_FLOOR
            difference = found.sort(dim=-1).values - wanted.sort(dim=-1).values
            levels.append(_smooth_distance(difference / strength))
    return torch.stack(levels).mean()


def feature_texture_distance(
    output: Sequence[Tensor], target: Sequence[Tensor], height: int, random: np.random.Generator
) -> Tensor:
    """Distance between the local distributions of a network's features, mean over its layers.

    Each layer is (N, C, h, w), of pictures of `height` pixels, after poolings by 2. Feature vectors
    are divided by their L2 norm and projected onto eight random directions. The projections are
    sorted in windows of 32 x 32 pixels and compared one by one, relative to the target's standard
    deviation in the window plus 0.01. No gradient flows into `target`. As in `texture_distance`,
    positions in a window are free. After Delbracio et al., "Projected distribution loss for image
    enhancement", 2021, who compare whole pictures.
    """
    layers = []
    for ours, theirs in zip(output, target, strict=True):
        side = max(FEATURE_WINDOW // _downsampling(height, ours.shape[-2]), 1)
        directions = torch.from_numpy(random.standard_normal((_DIRECTIONS, ours.shape[1], 1, 1)))
        directions = F.normalize(directions, dim=1).to(ours.device, torch.float32)
        with torch.autocast(ours.device.type, enabled=False):
            found, wanted = (
                _windows(F.conv2d(F.normalize(features.float(), dim=1), directions), side)
                for features in (ours, theirs.detach())
            )
            strength = wanted.std(dim=-1, keepdim=True, correction=0) + _SPREAD_FLOOR
            difference = found.sort(dim=-1).values - wanted.sort(dim=-1).values
            layers.append(_smooth_distance(difference / strength))
    return torch.stack(layers).mean()


def _downsampling(height: int, rows: int) -> int:
    """Downsampling of `height` pixels to `rows` by poolings by 2, which ignore an odd last row."""
    factor = 1
    while height > rows:
        height //= 2
        factor *= 2
    return factor


def _smooth_distance(difference: Tensor) -> Tensor:
    return (torch.sqrt(difference.square() + _SMOOTHNESS**2) - _SMOOTHNESS).mean()


def _windows(channels: Tensor, side: int) -> Tensor:
    """Values of (N, C, H, W) by window of side x side: (N, C, rows, columns, side^2)."""
    windows = channels.unfold(-2, side, side).unfold(-2, side, side)
    return windows.reshape(*windows.shape[:4], side**2)


def _responses(luma: Tensor, scale: int, filters: Tensor, window: int) -> Tensor:
    """Responses by filter, phase and window: (N, K, scale^2, rows, columns, window^2)."""
    responses = F.conv2d(luma, filters)
    side = scale * window
    height, width = (length // side * side for length in responses.shape[-2:])
    phases = F.pixel_unshuffle(responses[..., :height, :width], scale)
    windows = _windows(phases, window)
    return windows.view(len(luma), -1, scale**2, *windows.shape[2:])
