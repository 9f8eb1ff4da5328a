"""One training step: what is asked of the weights, and how they are moved."""

import math
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW

from vsr.losses import charbonnier, endpoint_error
from vsr.models import Generator
from vsr.models.flow import PyramidFlow


def build_optimiser(generator: Generator[Any]) -> AdamW:
    """AdamW over two groups: the motion network, if there is one, after all the rest."""
    flow, rest = split_parameters(generator)
    groups = [{"params": rest}, {"params": flow}] if flow else [{"params": rest}]
    return AdamW(groups, lr=0.0, betas=(0.9, 0.99), weight_decay=1e-4)


def split_parameters(generator: Generator[Any]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of the motion network, and all others."""
    flow: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in generator.named_parameters():
        (flow if name.startswith("flow.") else rest).append(parameter)
    return flow, rest


def motion_loss(flow: PyramidFlow, current: Tensor, previous: Tensor, known: Tensor) -> Tensor:
    """How far the motion found between frames (B, 3, H, W) is from what is known, in pixels."""
    return endpoint_error(flow(current, previous), known)


def fidelity_loss(generator: Generator[Any], low: Tensor, target: Tensor) -> Tensor:
    """How far the upscaled (B, T, 3, H, W) is from its target (B, T, 3, sH, sW)."""
    return charbonnier(generator(low), target)


def descend(
    optimiser: AdamW, loss: Tensor, learning_rates: tuple[float, float], gradient_clip: float
) -> float:
    """Move the weights down the gradient of `loss`, and give its value.

    `learning_rates` are those of the optimiser's two groups; each has its gradient
    clipped by itself. A loss that isn't finite moves nothing.
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        return value
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for group, learning_rate in zip(optimiser.param_groups, learning_rates, strict=False):
        group["lr"] = learning_rate
        nn.utils.clip_grad_norm_(group["params"], gradient_clip)
    optimiser.step()
    return value
