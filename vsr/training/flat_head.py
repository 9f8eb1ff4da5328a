"""Constraint on a generator's last convolution: even features give an even picture."""

from typing import Any

import torch
from torch import nn

from vsr.errors import TrainingError
from vsr.models import Generator


@torch.no_grad()
def flatten_head(generator: Generator[Any]) -> None:
    """Project the last convolution's weights onto those that map even features to an even picture.

    Its channels are the positions in the cell of a low-resolution pixel, for each colour. For each
    feature, the taps of every position get the same sum: the mean of their sums. Otherwise, even
    features give a pattern with the period of the pixel shuffle (Aitken et al., "Checkerboard
    artifact free sub-pixel convolution", 2017, who constrain the initial weights alone). Raises
    `TrainingError` for a generator that doesn't end with a convolution and a pixel shuffle.
    """
    head = getattr(generator, "head", None)
    if not isinstance(head, nn.Conv2d) or head.out_channels != 3 * generator.scale**2:
        raise TrainingError("gan.flat_head: needs a model that ends with a pixel shuffle")
    weight = head.weight.view(3, -1, *head.weight.shape[1:])
    sums = weight.sum(dim=(-2, -1), keepdim=True)
    weight -= (sums - sums.mean(dim=1, keepdim=True)) / weight[0, 0, 0].numel()
    if head.bias is not None:
        bias = head.bias.view(3, -1)
        bias.copy_(bias.mean(dim=1, keepdim=True).expand_as(bias))
