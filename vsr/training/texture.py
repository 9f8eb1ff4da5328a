"""Distance between the local distributions of detail of pictures."""

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

TEXTURE_WINDOW = 8
"""Side in cells of the windows whose distributions are compared."""
FILTER_SIDE = 17
"""Of the filters, in pixels."""
_ENVELOPES = (1.5, 4.0)
"""Smallest and largest standard deviation of a filter's envelope, in pixels."""
_LOWEST_FREQUENCY = 0.8
"""Of the filters, relative to the Nyquist frequency of the low-resolution picture."""
_RESPONSE_FLOOR = 2.5 / 255
"""Responses below it hardly count: noise in flat areas."""
_SMOOTHNESS = 0.3
"""Relative differences below it count by their square."""
_LUMA = (0.299, 0.587, 0.114)


def random_filters(count: int, scale: int, random: np.random.Generator) -> Tensor:
    """Gabor filters of random frequency, orientation, phase and width, (count, 1, 17, 17).

    Their frequencies are evenly distributed over the annulus between 0.8 of the Nyquist frequency
    of the low-resolution picture and the Nyquist frequency: detail that the picture lacks. Each
    filter has unit L2 norm and no response to a constant.
    """
    lowest, highest = _LOWEST_FREQUENCY * 0.5 / scale, 0.5
    shape = (count, 1, 1)
    frequency = np.sqrt(random.uniform(lowest**2, highest**2, shape))
    angle, phase = random.uniform(0, math.pi, shape), random.uniform(0, 2 * math.pi, shape)
    width = random.uniform(*_ENVELOPES, shape)
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

    Detail is the responses of the luma to `filters` (K, 1, h, w). The responses of each filter are
    sorted separately in each window of `window` x `window` cells of s x s pixels, and for each
    phase, which is the position of a pixel in its cell. Sorted responses are compared one by one:
    in one dimension, this is the Wasserstein distance. Differences are relative to the target's
    mean absolute response in the window plus 2.5 code values, and their distance is smooth at zero.
    The border that a filter overlaps and incomplete windows at the right and lower border are
    left out.

    The positions of detail are free inside a window, so that detail of unknown position is learnt,
    which a pixel loss averages away. A loss of spectra is met by a pattern that repeats in each
    cell; its distributions differ between phases. After Heeger and Bergen, "Pyramid-based texture
    analysis/synthesis", 1995, who match histograms of filter responses, and Heitz et al., "A sliced
    Wasserstein loss for neural texture synthesis", 2021, who sort.
    """
    with torch.autocast(output.device.type, enabled=False):
        found = _responses(output.float(), scale, filters, window)
        with torch.no_grad():
            wanted = _responses(target.float(), scale, filters, window)
            strength = wanted.abs().mean(dim=(2, 5), keepdim=True) + _RESPONSE_FLOOR
            wanted = wanted.sort(dim=-1).values
        difference = (found.sort(dim=-1).values - wanted) / strength
        return (torch.sqrt(difference.square() + _SMOOTHNESS**2) - _SMOOTHNESS).mean()


def _responses(pictures: Tensor, scale: int, filters: Tensor, window: int) -> Tensor:
    """Responses by filter, phase and window: (N, K, s^2, rows, columns, window^2)."""
    luma = (pictures * pictures.new_tensor(_LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)
    responses = F.conv2d(luma, filters)
    side = scale * window
    height, width = (length // side * side for length in responses.shape[-2:])
    phases = F.pixel_unshuffle(responses[..., :height, :width], scale)
    windows = phases.unfold(-2, window, window).unfold(-2, window, window)
    rows, columns = windows.shape[2:4]
    return windows.reshape(len(pictures), -1, scale**2, rows, columns, window**2)
