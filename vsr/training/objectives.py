"""One training step: what is asked of the weights, and how they are moved."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from vsr.models import Generator
from vsr.models.flow import PyramidFlow
from vsr.training.losses import charbonnier, endpoint_error, photometric

State = tuple[Tensor, ...]


class MotionObjective(nn.Module):
    """How far the motion found between frames is from what is known, in pixels."""

    def __init__(self, flow: PyramidFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, current: Tensor, previous: Tensor, known: Tensor) -> Tensor:
        """Frames (B, 3, H, W) and `known` (B, 2, H, W) to a scalar."""
        return endpoint_error(self.flow(current, previous), known)


class FidelityObjective(nn.Module):
    """How far upscaled clips are from their targets, and from a teacher's, if there is one."""

    def __init__(
        self,
        generator: Generator[Any],
        teacher: Generator[Any] | None = None,
        teacher_share: float = 0.0,
        clean_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.generator = generator
        # In a list, so that the teacher is not registered as a submodule.
        self._teacher = [teacher] if teacher is not None else []
        self._teacher_share = teacher_share
        self._clean_weight = clean_weight

    def forward(
        self,
        low: Tensor,
        target: Tensor,
        clean: Tensor,
        fresh: Tensor,
        carried: Sequence[State],
        warp_weight: float,
    ) -> tuple[Tensor, list[State]]:
        """(B, T, 3, H, W) and (B, T, 3, sH, sW) to a scalar, and the states to continue from.

        `clean` has the shape of `low`. Clips whose `fresh` (B) is false continue from `carried`,
        the states of the generator and of the teacher that the last call returned.
        """
        begun = initial_state(self.generator, low, fresh, carried[0] if carried else None)
        output, cleaned, state = unroll(self.generator, low, begun)
        loss = charbonnier(output.float(), target)
        if self._clean_weight and cleaned is not None:
            loss = loss + self._clean_weight * charbonnier(cleaned.float(), clean)
        states = [detached(state)]
        if self._teacher:
            teacher = self._teacher[0]
            with torch.no_grad():
                begun = initial_state(teacher, low, fresh, carried[1] if carried else None)
                taught, state = teacher.unroll(low, begun)
            share = self._teacher_share
            loss = (1 - share) * loss + share * charbonnier(output.float(), taught.float())
            states.append(detached(state))
        if warp_weight and self.generator.flow is not None:
            loss = loss + warp_weight * warped_difference(self.generator.flow, low)
        return loss, states


def initial_state(
    generator: Generator[Any], low: Tensor, fresh: Tensor, carried: State | None
) -> State:
    """The states to start clips (B, T, 3, H, W) from: anew where `fresh` (B), else `carried`."""
    anew: State = generator.start(low[:, 0])
    if carried is None:
        return anew
    fresh = fresh.to(low.device)
    chosen = [
        torch.where(fresh.view(-1, *[1] * (new.dim() - 1)), new, old)
        for new, old in zip(anew, carried, strict=True)
    ]
    return type(anew)(*chosen)


class Unrolled(NamedTuple):
    """A generator's outputs for consecutive frames of clips."""

    output: Tensor
    """(B, T, 3, sH, sW)."""
    cleaned: Tensor | None
    """(B, T, 3, H, W): the temporal filter's output, if the generator has such a filter."""
    state: State
    """After the last frame."""


def unroll(generator: Generator[Any], low: Tensor, state: State) -> Unrolled:
    """Upscale consecutive frames of clips (B, T, 3, H, W) from a state."""
    outputs, cleaned = [], []
    for frame in low.unbind(1):
        high, state = generator.step(frame, state)
        outputs.append(high)
        if generator.filters_input:
            cleaned.append(state[0])
    return Unrolled(
        output=torch.stack(outputs, dim=1),
        cleaned=torch.stack(cleaned, dim=1) if cleaned else None,
        state=state,
    )


def detached(state: State) -> State:
    """The same state, through which no gradient flows."""
    return type(state)(*(tensor.detach() for tensor in state))


def warped_difference(flow: PyramidFlow, low: Tensor) -> Tensor:
    """Mean difference between frames of clips (B, T, 3, H, W) and those before, warped."""
    current, previous = low[:, 1:].flatten(0, 1), low[:, :-1].flatten(0, 1)
    return photometric(current, previous, flow(current, previous))


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


def descend(
    optimiser: AdamW, loss: Tensor, learning_rates: tuple[float, float], gradient_clip: float
) -> bool:
    """Move the weights down the gradient of `loss`; False if that isn't finite, and nothing moved.

    `learning_rates` are those of the optimiser's two groups; each has its gradient
    clipped by itself.
    """
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    # Not judged by the loss: all devices have the gradients in common, but each its own loss.
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
