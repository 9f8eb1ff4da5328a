"""Distance of pictures in the features of VGG-16."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.models.vgg16 import Vgg16Features

FEATURES_SMALLEST_SIDE = 4
"""Minimal side in pixels: two max-poolings must leave one."""

_LAYERS = ("1_2", "2_2", "3_3")
_STRIDES = (1, 2, 4)
_STRIP = 256
"""Rows computed at once, a multiple of the largest stride: 2160 rows of 64 channels would take
gigabytes."""
_MARGIN = 24
"""Rows above and below a strip that its features depend on; the receptive field of 3_3 extends 20
in each direction."""


class FeatureDistance(nn.Module):
    """Squared distance of unit feature vectors of VGG-16 at relu1_2, relu2_2 and relu3_3.

    At each location of a layer the feature vector f is divided by its L2 norm over the
    channels; the distance is ||f/|f| - g/|g|||^2 = 2 - 2 cos(f, g), mean over locations, then
    over the three layers. 0 for equal pictures, at most 2. Zhang et al., "The unreasonable
    effectiveness of deep features as a perceptual metric", 2018, without learned weights.
    """

    def __init__(self) -> None:
        """Raises `ModelError` without the weights; see `vsr.models.vgg16`."""
        super().__init__()
        self._features = Vgg16Features(_LAYERS, what_for="the metric 'features'")

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Compare RGB in [0, 1], (N, 3, H, W) with (3, H, W), to (N); sides of at least 4 pixels.

        Computed in strips of rows, with the same result as for whole pictures, so that memory grows
        with the width only.
        """
        height, width = target.shape[-2:]
        pictures = torch.cat((outputs, target[None]))
        totals = outputs.new_zeros((len(_LAYERS), len(outputs)), dtype=torch.float64)
        for top in range(0, height, _STRIP):
            first, last = max(top - _MARGIN, 0), min(top + _STRIP + _MARGIN, height)
            layers = self._features(pictures[..., first:last, :])
            for layer, (features, stride) in enumerate(zip(layers, _STRIDES, strict=True)):
                rows = slice((top - first) // stride, (top - first + _STRIP) // stride)
                unit = F.normalize(features[..., rows, :], dim=1)
                difference = (unit[:-1] - unit[-1:]).square_().sum(dim=1)
                totals[layer] += difference.sum(dim=(-2, -1), dtype=torch.float64)
        counts = [(height // stride) * (width // stride) for stride in _STRIDES]
        means = totals / totals.new_tensor(counts)[:, None]
        return means.mean(dim=0)
