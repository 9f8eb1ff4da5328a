"""Film grain: seeded noise for the luma of finished frames and pictures.

The noise of a frame depends on the frame's time alone, so a resumed run computes the same frame.
Random numbers come from bit generators, whose streams numpy guarantees, and all arithmetic is
elementwise, so that every processor computes the same bits.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRONGEST = 0.05
"""Standard deviation of the strongest grain in mid-grey, as a share of the range of luma."""

_Samples = NDArray[np.uint8] | NDArray[np.uint16]
_STRIP_LINES = 32
"""Height of a strip, whose samples fit into a processor's cache."""
_OFFSETS = 1024
"""Possible positions of a strip in the bank, in each direction."""
_GRAIN_SIGMA, _GRAIN_LINES = 0.6, 1080
"""Standard deviation of the Gaussian filter in pixels, for frames of up to so many lines."""
_LUMA = (0.299, 0.587, 0.114)
"""Luma's shares of red, green and blue (ITU-R BT.601), as in JPEG."""
_SEED = 0x6772_6169


class Grain:
    """Adds grain to luma planes of one size and depth.

    The standard deviation is proportional to 4 y (1 - y) of luma y from black to white. So samples
    are not clipped, and the mean is preserved. The noise is white noise after a Gaussian filter,
    which is wider for frames of more than 1080 lines. It is computed once, as a bank that is wider
    than a frame; each strip of a frame adds a part of the bank at a random position.
    """

    def __init__(
        self, strength: float, *, height: int, width: int, bit_depth: int, full_range: bool
    ) -> None:
        """`strength` is between 0 and 1, see `STRONGEST`."""
        self._bank = _noise_bank(_STRIP_LINES + _OFFSETS, width + _OFFSETS, _sigma(height))
        self._gain = _gains(strength, bit_depth, full_range)
        self._highest = (1 << bit_depth) - 1

    def apply(self, luma: _Samples, pts: int, first: int = 0) -> _Samples:
        """Add the grain of the frame at `pts` to a copy of a plane (height, width).

        `first` is the line of the frame at which the plane starts.
        """
        height, width = luma.shape
        strips = -(-(first + height) // _STRIP_LINES)
        bits = np.random.PCG64([_SEED, pts % (1 << 64)]).random_raw(strips)
        output = np.empty_like(luma)
        for index in range(first // _STRIP_LINES, strips):
            word = int(bits[index])
            start = max(first, index * _STRIP_LINES)
            lines = slice(start - first, min(height, (index + 1) * _STRIP_LINES - first))
            top, left = word % _OFFSETS + start % _STRIP_LINES, word // _OFFSETS % _OFFSETS
            samples = luma[lines]
            noise = self._bank[top : top + samples.shape[0], left : left + width]
            grain = self._gain.take(samples, mode="clip")
            grain *= noise
            grain += samples
            np.rint(grain, out=grain)
            np.clip(grain, 0, self._highest, out=grain)
            output[lines] = grain
        return output

    def apply_to_rgb(self, pixels: NDArray[Any], pts: int = 0, first: int = 0) -> NDArray[Any]:
        """Add grain to a copy of a picture (height, width, 3): the same to all channels.

        `pts` is the time of a frame of an animation. `first` is the line of the picture at which
        `pixels` start.
        """
        red, green, blue = (np.float32(share) * pixels[..., i] for i, share in enumerate(_LUMA))
        luma = np.rint(red + green + blue).astype(pixels.dtype)
        added = self.apply(luma, pts=pts, first=first).astype(np.int32) - luma
        output = np.empty_like(pixels)
        for channel in range(3):
            output[..., channel] = (pixels[..., channel] + added).clip(0, self._highest)
        return output


def _sigma(height: int) -> float:
    return _GRAIN_SIGMA * max(1.0, height / _GRAIN_LINES)


def _gains(strength: float, bit_depth: int, full_range: bool) -> NDArray[np.float32]:
    """Return the standard deviation of the grain for each code value of luma."""
    codes = np.arange(1 << bit_depth, dtype=np.float64)
    unit = 1 << (bit_depth - 8)
    black, white = (0, (1 << bit_depth) - 1) if full_range else (16 * unit, 235 * unit)
    level = ((codes - black) / (white - black)).clip(0, 1)
    strongest = strength * STRONGEST * (white - black)
    gains: NDArray[np.float32] = (strongest * 4 * level * (1 - level)).astype(np.float32)
    return gains


def _noise_bank(height: int, width: int, sigma: float) -> NDArray[np.float32]:
    """Draw correlated noise of mean 0 and variance 1."""
    reach = math.ceil(3 * sigma)
    size = (height + 2 * reach, width + 2 * reach)
    words = np.random.PCG64(_SEED).random_raw(size[0] * size[1])
    # The sum of four uniform samples is approximately normal.
    noise = words.view(np.uint16).reshape(*size, 4).sum(axis=2, dtype=np.int32)
    field = noise.astype(np.float32) - np.float32(int(noise.sum(dtype=np.int64)) / noise.size)
    taps = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-reach, reach + 1)]
    field = _filtered(field, taps, axis=0)
    field = _filtered(field, taps, axis=1)
    variance = (65_536**2 - 1) / 3 * sum(tap**2 for tap in taps) ** 2
    field *= np.float32(1 / math.sqrt(variance))
    return field


def _filtered(field: NDArray[np.float32], taps: list[float], axis: int) -> NDArray[np.float32]:
    """Convolve along an axis, without padding."""
    length = field.shape[axis] - len(taps) + 1
    parts: NDArray[np.float32] = np.swapaxes(field, 0, axis)
    total = parts[:length] * np.float32(taps[0])
    for start, tap in enumerate(taps[1:], start=1):
        total += parts[start : start + length] * np.float32(tap)
    return np.ascontiguousarray(np.swapaxes(total, 0, axis))
