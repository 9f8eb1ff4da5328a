"""Convert linear light, as in OpenEXR, to the curve of sRGB, and to that of networks, and back.

Networks are trained on values for displays, but pixels of linear light are averages of light. In
between, a power of 1.6 was measured to be best, see `docs/research/pictures.md`. Above 4 the curve
continues as a logarithm of the same slope, so that highlights take little of the range. Negative
values are mirrored.
"""

import numpy as np
from numpy.typing import NDArray

_TOE = 0.0031308
_POWER = 1.6
_KNEE = 4.0
_KNEE_CODE = _KNEE ** (1 / _POWER)
_SLOPE = _KNEE_CODE / _POWER
"""Slope of the logarithm."""
_MAX_CODE = _KNEE_CODE + _SLOPE * 85
"""The exponential of more would exceed float32."""


def to_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert linear light to values by the curve of sRGB (IEC 61966-2-1)."""
    light = np.abs(linear)
    curve = 1.055 * np.maximum(light, _TOE) ** np.float32(1 / 2.4) - 0.055
    return np.copysign(np.where(light <= _TOE, 12.92 * light, curve), linear).astype(np.float32)


def from_srgb(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert values by the curve of sRGB to linear light, the inverse of `to_srgb`."""
    value = np.abs(values)
    curve = ((value + 0.055) / 1.055) ** np.float32(2.4)
    return np.copysign(np.where(value <= 12.92 * _TOE, value / 12.92, curve), values).astype(
        np.float32
    )


def to_network(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert linear light to values for a network."""
    light = np.abs(linear)
    curve = np.minimum(light, _KNEE) ** np.float32(1 / _POWER)
    curve += _SLOPE * np.log(np.maximum(light / _KNEE, 1))
    return np.copysign(curve, linear).astype(np.float32)


def from_network(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert values of a network to linear light, the inverse of `to_network`."""
    value = np.minimum(np.abs(values), np.float32(_MAX_CODE))
    curve = np.minimum(value, _KNEE_CODE) ** np.float32(_POWER)
    curve *= np.exp((np.maximum(value, _KNEE_CODE) - _KNEE_CODE) / _SLOPE)
    linear: NDArray[np.float32] = np.copysign(curve, values).astype(np.float32)
    return linear
