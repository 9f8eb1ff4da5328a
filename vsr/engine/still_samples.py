"""Samples of still pictures before and after the network."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vsr.imaging.grain import Grain
from vsr.imaging.tensors import bleed, resize_bicubic, to_float
from vsr.media.still import Samples, full_scale, to_levels

_LEVELS = 2**16 - 1
_SENSOR_LEVELS = 2**12 - 1


def without_rim(rgb: Samples, alpha: Samples) -> Samples:
    """Replace hidden colours (H, W, 3) by visible ones nearby, by transparency (H, W)."""
    highest = full_scale(rgb.dtype)
    if (alpha == highest).all():
        return rgb
    colours = torch.from_numpy(rgb).permute(2, 0, 1).float()
    bled = bleed(colours, torch.from_numpy(alpha).float() / highest)
    bled = bled.permute(1, 2, 0).contiguous()
    if rgb.dtype == np.float32:
        return bled.numpy()
    rounded = bled.round_().clamp_(0, highest).numpy()
    return rounded.astype(np.uint8) if rgb.dtype == np.uint8 else rounded.astype(np.uint16)


def resize_plane(plane: Samples, size: tuple[int, int], dtype: np.dtype[Any]) -> Samples:
    """Resize a plane to (height, width) bicubically, with samples of `dtype`."""
    values = to_float(torch.from_numpy(plane))[None, None]
    return quantised(resize_bicubic(values, size).clamp_(0, 1)[0, 0].numpy(), dtype)


def with_grain(
    grain: Grain, samples: Samples, first: int, *, limits: tuple[float, float], pts: int = 0
) -> Samples:
    """Add film grain to a band that starts at line `first`."""
    grained: Samples
    if samples.dtype != np.float32:
        grained = grain.apply_to_rgb(samples, pts, first)
        return grained
    black, white = limits
    codes = to_levels((samples - black) / (white - black), np.dtype(np.uint16))
    added = grain.apply_to_rgb(codes, pts, first).astype(np.float32) - codes
    return (samples + added * (white - black) / _LEVELS).astype(np.float32)


def black_and_white(pixels: Samples) -> tuple[float, float]:
    """Return the values of black and white for the network: 0 and 1, or those of the samples.

    White is less for 16-bit samples that use no more levels than 12 bits have, as sensors do.
    """
    highest = int(pixels.max()) if pixels.dtype == np.uint16 else _LEVELS
    if 0 < highest <= _SENSOR_LEVELS:
        return 0, highest / _LEVELS
    if pixels.dtype != np.float32:
        return 0, 1
    return min(0, float(pixels.min())), max(1, float(pixels.max()))


def quantised(samples: NDArray[Any], dtype: np.dtype[Any]) -> Samples:
    """Convert float32 in [0, 1] to the levels of a type, rounded to nearest and clamped.

    Samples that are of the type are returned as they are.
    """
    if samples.dtype == dtype:
        return samples
    highest = full_scale(dtype)
    values = samples * np.float32(highest)
    np.rint(values, out=values)
    np.clip(values, 0, highest, out=values)
    levels: Samples = values.astype(dtype)
    return levels
