"""Remove blocks and ringing of codecs from decoded planes.

The 8x8 DCT of a plane is computed at shifted positions. Its small coefficients, which coding has
made unreliable, are set to zero, and the inverse transforms are averaged (Nosratinia, "Enhancement
of JPEG-Compressed Images by Re-application of JPEG", 2001).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.errors import ConfigError
from vsr.media.frame import Plane

_SIDE = 8
_STRIDE = 2
"""Pixels between two shifts: 16 transforms of each pixel are averaged."""
_MAX_THRESHOLD = 20.0
"""Threshold of coefficients of the orthonormal DCT at strength 1, in 8-bit code values."""
_STRIP_ROWS = 128
"""Rows computed at once; a multiple of `_STRIDE`."""


class Deblocker:
    """Removes blocks and ringing from the planes of frames, each frame independently."""

    def __init__(self, strength: float, bit_depth: int) -> None:
        """`strength` is between 0, which changes nothing, and 1. Raises `ConfigError`."""
        if not 0 <= strength <= 1:
            raise ConfigError(f"deblock is between 0 and 1, not {strength}")
        self._threshold = _MAX_THRESHOLD * strength * 2 ** (bit_depth - 8)
        self._maximum = 2**bit_depth - 1
        self._basis = _dct_basis()

    @torch.inference_mode()
    def filter(self, planes: Sequence[Plane]) -> tuple[Plane, ...]:
        """Filter each plane of a frame, at its own size."""
        if not self._threshold:
            return tuple(planes)
        return tuple(self._filter_plane(plane) for plane in planes)

    def _filter_plane(self, plane: Plane) -> Plane:
        """Filter a plane in strips of rows, to limit memory; the result is that of the whole."""
        height, width = plane.shape
        right, bottom = (_SIDE + -side % _STRIDE for side in (width, height))
        values = torch.from_numpy(plane.astype(np.float32))[None, None]
        padded = F.pad(values, (_SIDE, right, _SIDE, bottom), mode="replicate")
        output = np.empty_like(plane)
        for top in range(0, height, _STRIP_ROWS):
            rows = min(_STRIP_ROWS, height - top)
            strip = self._smooth(padded[..., top : top + rows + rows % _STRIDE + 2 * _SIDE, :])
            codes = strip[0, 0, _SIDE : _SIDE + rows, _SIDE : _SIDE + width]
            output[top : top + rows] = codes.round().clamp(0, self._maximum).numpy()
        return output

    def _smooth(self, values: Tensor) -> Tensor:
        coefficients = F.conv2d(values, self._basis, stride=_STRIDE)
        # The mean of a block is kept, however dark it is.
        changes = coefficients[:, 1:]
        changes *= changes.abs() >= self._threshold
        total = F.conv_transpose2d(coefficients, self._basis, stride=_STRIDE)
        return total / (_SIDE // _STRIDE) ** 2


def _dct_basis() -> Tensor:
    """Return the orthonormal basis of the 8x8 DCT as kernels (64, 1, 8, 8), the mean first."""
    positions = torch.arange(_SIDE, dtype=torch.float64)
    frequencies = positions[:, None]
    waves = torch.cos((2 * positions + 1) * frequencies * math.pi / (2 * _SIDE))
    waves *= math.sqrt(2 / _SIDE)
    waves[0] = math.sqrt(1 / _SIDE)
    basis = torch.einsum("iy,jx->ijyx", waves, waves)
    return basis.reshape(_SIDE**2, 1, _SIDE, _SIDE).float()
