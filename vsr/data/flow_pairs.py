"""Pairs of frames whose motion is known, for the motion network to learn from."""

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
_MOST_PAN = 14.0
_GRID = 4


class MotionPairs:
    """An endless, seeded list of (current, previous, flow), all of low resolution.

    Frames are RGB in [0, 1], (3, h, w); flow, (2, h, w), is in pixels, and
    `warp(previous, flow)` is `current`. The motion is laid on high-resolution
    pictures, before they are shrunk, so that `current` is no blurrier than `previous`.
    """

    def __init__(self, pool: ClipPool, config: DataConfig, scale: int, seed: int) -> None:
        config = config.model_copy(update={"targets": "original", "native_share": 0.0})
        self._pictures = ClipPairs(pool, config, scale, seed, ClipShape(1, config.motion_crop))
        self._scale = scale
        self._seed = seed

    def pair(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same number is the same pair."""
        random = np.random.default_rng((self._seed, number, 1))
        previous = self._pictures.target(number)
        flow = torch.from_numpy(random_motion(previous.shape[-1], self._scale, random))
        current = warp(previous, flow[None])
        low_current, low_previous = degrade(
            torch.cat((current, previous)), self._scale, Degradation.BI
        )
        return low_current, low_previous, F.avg_pool2d(flow, self._scale) / self._scale


def random_motion(side: int, scale: int, random: Random) -> NDArray[np.float32]:
    """Flow (2, side, side) of a pan, an affine change and a smooth wobble, in pixels.

    Sizes are those of film after it is shrunk by `scale`: pans of 3 low-resolution
    pixels on average and 14 at most, a few percent of zoom, turn and shear.
    """
    angle = random.uniform(0, 2 * np.pi)
    pan = scale * min(random.exponential(_MEAN_PAN), _MOST_PAN)
    affine = random.normal(0, 0.02, (2, 2)) * side / 2
    axis = np.linspace(-1, 1, side)
    place = np.stack(np.meshgrid(axis, axis))
    flow = np.einsum("ij,jyx->iyx", affine, place)
    flow += pan * np.array([np.cos(angle), np.sin(angle)])[:, None, None]
    wobble = random.normal(0, random.uniform(0, 1.5) * scale, (_GRID, _GRID, 2))
    smooth = cv2.resize(wobble, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(flow + smooth.transpose(2, 0, 1), dtype=np.float32)
