"""Pairs of frames with known motion, to train the motion network."""

import cv2
import numpy as np
import torch
from numpy.random import Generator as Random
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vsr.data.clip_pairs import ClipPairs, ClipShape
from vsr.data.clip_pool import ClipPool
from vsr.data.config import DataConfig
from vsr.imaging.degrade import Degradation, degrade
from vsr.imaging.tensors import warp

_MEAN_PAN = 3.0
_MAX_PAN = 14.0
_GRID = 4


class MotionPairs:
    """Endless, seeded sequence of (current, previous, flow) at low resolution.

    Frames are RGB in [0, 1], (3, h, w); flow, (2, h, w), is in pixels, and
    `warp(previous, flow)` is `current`. High-resolution pictures are warped before they are shrunk,
    so that `current` is not blurrier than `previous`.
    """

    def __init__(self, pool: ClipPool, config: DataConfig, scale: int, seed: int) -> None:
        config = config.model_copy(update={"targets": "original", "native_share": 0.0})
        self._pictures = ClipPairs(pool, config, scale, seed, ClipShape(1, config.motion_crop))
        self._scale = scale
        self._seed = seed

    def pair(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a pair; equal indices give equal pairs."""
        random = np.random.default_rng((self._seed, index, 1))
        previous = self._pictures.target(index)
        flow = torch.from_numpy(random_motion(previous.shape[-1], self._scale, random))
        current = warp(previous, flow[None])
        low_current, low_previous = degrade(
            torch.cat((current, previous)), self._scale, Degradation.BI
        )
        return low_current, low_previous, F.avg_pool2d(flow, self._scale) / self._scale


def random_motion(side: int, scale: int, random: Random) -> NDArray[np.float32]:
    """Draw a flow (2, side, side) in pixels: a pan, an affine and a smooth local deformation.

    The motion is that of films after shrinking by `scale`: pans of 3 low-resolution pixels on
    average and 14 at most, and a few percent of zoom, rotation and shear.
    """
    angle = random.uniform(0, 2 * np.pi)
    pan = scale * min(random.exponential(_MEAN_PAN), _MAX_PAN)
    affine = random.normal(0, 0.02, (2, 2)) * side / 2
    axis = np.linspace(-1, 1, side)
    grid = np.stack(np.meshgrid(axis, axis))
    flow = np.einsum("ij,jyx->iyx", affine, grid)
    flow += pan * np.array([np.cos(angle), np.sin(angle)])[:, None, None]
    deformation = random.normal(0, random.uniform(0, 1.5) * scale, (_GRID, _GRID, 2))
    smooth = cv2.resize(deformation, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(flow + smooth.transpose(2, 0, 1), dtype=np.float32)
