"""What training minimises: plain functions of pictures in [0, 1] and of flows."""

import torch
from torch import Tensor


def charbonnier(output: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(difference^2 + epsilon^2): L1, smooth at zero. Any equal shapes.

    Charbonnier et al., "Two deterministic half-quadratic regularization algorithms", 1994.
    """
    return torch.sqrt((output - target) ** 2 + epsilon**2).mean()


def endpoint_error(flow: Tensor, target: Tensor, epsilon: float = 1e-2) -> Tensor:
    """Mean distance between the ends of two flows, (B, 2, H, W), in pixels; smooth at zero.

    Baker et al., "A database and evaluation methodology for optical flow", 2011.
    """
    return torch.sqrt((flow - target).square().sum(dim=1) + epsilon**2).mean()
