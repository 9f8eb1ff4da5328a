"""Grey clips, and the noise of sensors in little light, for measured values."""

import torch
from numpy.random import Generator as Random
from torch import Tensor

from vsr.imaging.colour import luma_of
from vsr.imaging.degrade import add_gaussian_noise, add_poisson_noise

_WEAKEST = 1 / 50
"""Weakest noise, as a share of the strongest."""


def as_grey(clip: Tensor) -> Tensor:
    """Return the luma of a clip (T, 3, H, W), 0 to 1, in three equal channels."""
    luma = (luma_of(clip) - 16) / 219
    return luma[:, None].expand_as(clip).contiguous()


def add_sensor_noise(
    clip: Tensor, strongest: float, *, grey: bool, random: Random, noise_seed: int
) -> Tensor:
    """Add read noise (Gaussian) and shot noise (Poisson), independent in each frame.

    The standard deviation at white is log-uniform up to `strongest`, with a random share of shot
    noise. `grey` noise is equal in all channels of (T, 3, H, W). Values are not clamped: clipped
    noise would brighten dark areas, and the network would learn to darken them.
    """
    sigma = strongest * _WEAKEST ** random.random()
    shot = random.random()
    noise = torch.Generator().manual_seed(noise_seed)
    noisy = clip[:, :1] if grey else clip
    noisy = add_poisson_noise(noisy, torch.full((len(clip),), sigma * shot**0.5), noise)
    read = torch.full((len(clip),), sigma * (1 - shot) ** 0.5)
    return add_gaussian_noise(noisy, read, grey, noise).expand_as(clip).contiguous()
