"""Objectives of the motion and fidelity phases, and the recurrence that all objectives share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vsr.models import Generator
from vsr.models.flow import PyramidFlow
from vsr.training.losses import charbonnier, endpoint_error, photometric

State = tuple[Tensor, ...]


class MotionObjective(nn.Module):
    """Endpoint error of the motion network on pairs of frames with known motion, in pixels."""

    def __init__(self, flow: PyramidFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, current: Tensor, previous: Tensor, known: Tensor) -> Tensor:
        """Frames (B, 3, H, W) and `known` (B, 2, H, W) to a scalar."""
        return endpoint_error(self.flow(current, previous), known)


class FidelityObjective(nn.Module):
    """Distance of upscaled clips from their targets, and from a teacher's outputs if there is one.

    Optional terms: the clean-input loss, and the photometric loss of the motion network.
    """

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

        `clean` has the shape of `low`. For clips without motion the teacher upscales `clean`, so
        that the noise in its outputs isn't learnt. Clips whose `fresh` (B) is false continue from
        `carried`, the states of the generator and of the teacher that the last call returned.
        """
        start = initial_state(self.generator, low, fresh, carried[0] if carried else None)
        output, cleaned, state = unroll(self.generator, low, start)
        loss = charbonnier(output.float(), target)
        if self._clean_weight and cleaned is not None:
            loss = loss + self._clean_weight * charbonnier(cleaned.float(), clean)
        states = [detached(state)]
        if self._teacher:
            teacher = self._teacher[0]
            with torch.no_grad():
                is_static = (target[:, :1] == target).flatten(1).all(1)
                taught_from = torch.where(is_static.view(-1, 1, 1, 1, 1), clean, low)
                start = initial_state(teacher, taught_from, fresh, carried[1] if carried else None)
                taught, state = teacher.unroll(taught_from, start)
            share = self._teacher_share
            loss = (1 - share) * loss + share * charbonnier(output.float(), taught.float())
            states.append(detached(state))
        if warp_weight and self.generator.flow is not None:
            loss = loss + warp_weight * warped_difference(self.generator.flow, low)
        return loss, states


def initial_state(
    generator: Generator[Any], low: Tensor, fresh: Tensor, carried: State | None
) -> State:
    """States from which clips (B, T, 3, H, W) start: new where `fresh` (B), else `carried`."""
    initial: State = generator.start(low[:, 0])
    if carried is None:
        return initial
    fresh = fresh.to(low.device)
    chosen = [
        torch.where(fresh.view(-1, *[1] * (new.dim() - 1)), new, old)
        for new, old in zip(initial, carried, strict=True)
    ]
    return type(initial)(*chosen)


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
    """The same state without its gradient graph."""
    return type(state)(*(tensor.detach() for tensor in state))


def warped_difference(flow: PyramidFlow, low: Tensor) -> Tensor:
    """Photometric loss of `flow` between consecutive frames of clips (B, T, 3, H, W)."""
    current, previous = low[:, 1:].flatten(0, 1), low[:, :-1].flatten(0, 1)
    return photometric(current, previous, flow(current, previous))
