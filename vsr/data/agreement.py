"""Agreement of a teacher's output with the original: distance in the features of a network."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Features = Callable[[Tensor], Sequence[Tensor]]
"""A network from RGB (N, 3, H, W) in [0, 1] to feature maps (N, C, h, w) of some of its layers."""

_CELL = 32
"""Side of the cells, in pixels of the target, for which agreement is measured."""


@torch.no_grad()
def feature_distance(features: Features, one: Tensor, other: Tensor) -> Tensor:
    """Compute the distance of pictures (N, 3, H, W) in cells of 32 pixels: (N, 1, h, w).

    The squared distance of unit-normalised features at half the size, where texture counts
    less than structure; from 0 to 2 after ReLU, mean over each cell and over layers.
    """
    count, (height, width) = len(one), one.shape[-2:]
    cells = (-(-height // _CELL), -(-width // _CELL))
    half_size = F.avg_pool2d(torch.cat((one, other)), 2)
    maps = []
    for layer in features(half_size):
        unit = F.normalize(layer.float(), dim=1)
        distance = (unit[:count] - unit[count:]).square().sum(dim=1, keepdim=True)
        maps.append(F.interpolate(distance, size=cells, mode="area"))
    return torch.stack(maps).mean(dim=0)
