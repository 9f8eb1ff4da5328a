"""The generator's optimiser: parameter groups, clipped steps and the learning-rate schedule."""

import math
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW

from vsr.models import Generator


def build_optimiser(generator: Generator[Any]) -> AdamW:
    """AdamW with two parameter groups: the motion network's, if there is one, after the rest."""
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


def descend(
    optimiser: AdamW, loss: Tensor, learning_rates: tuple[float, float], gradient_clip: float
) -> bool:
    """Step along the gradient of `loss`; return False and step nowhere if it is not finite.

    `learning_rates` are those of the optimiser's two groups. The gradient of each group is
    clipped separately.
    """
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    # Gradients are the same on all devices, losses are not.
    norms = [
        float(nn.utils.clip_grad_norm_(group["params"], gradient_clip))
        for group in optimiser.param_groups
    ]
    if not all(math.isfinite(norm) for norm in norms):
        optimiser.zero_grad(set_to_none=True)
        return False
    for group, learning_rate in zip(optimiser.param_groups, learning_rates, strict=False):
        group["lr"] = learning_rate
    optimiser.step()
    return True


def learning_rate_share(done: float, warmup_share: float) -> float:
    """Share of the peak learning rate at `done`, in [0, 1), of a phase.

    A linear warm-up, then half a cosine down to zero.
    """
    if done < warmup_share:
        return (done + 1e-3) / (warmup_share + 1e-3)
    rest = (done - warmup_share) / (1 - warmup_share)
    return 0.5 * (1 + math.cos(math.pi * rest))
