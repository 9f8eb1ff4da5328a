"""Phases of a run: what one training step computes while motion, fidelity or detail is learnt."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from vsr.training.batches import Batch, Batches, MotionBatch
from vsr.training.config import TrainConfig
from vsr.training.discriminator import CollapseWatch
from vsr.training.flat_head import flatten_head
from vsr.training.gan import GanObjective, GeneratorStep
from vsr.training.objectives import FidelityObjective, MotionObjective
from vsr.training.optimiser import descend, learning_rate_share, split_parameters
from vsr.training.perceptual import PerceptualLosses
from vsr.training.state import TrainingState

BatchType = TypeVar("BatchType")


class StepResult(NamedTuple):
    """Outcome of a training step."""

    learning_rate: float
    loss: Tensor
    """Of the generator: a scalar, detached."""
    moved: bool
    """False where loss or gradient was not finite, and no weight changed."""
    message: str = ""
    """A line for the user."""
    parts: Mapping[str, Tensor] = MappingProxyType({})
    """Each term of the losses before it is weighted, and the discriminator's loss and lead."""


class Phase(ABC, Generic[BatchType]):
    """Consecutive iterations with one objective."""

    def __init__(self, config: TrainConfig, state: TrainingState) -> None:
        self._config = config
        self._state = state

    @abstractmethod
    def batches(self, source: Batches) -> Generator[BatchType, None, None]:
        """Yield batches from the state's iteration to the last of the phase."""

    @abstractmethod
    def step(self, batch: BatchType, iteration: int) -> StepResult:
        """Learn from the batch of an iteration, counted from 0."""

    def _learning_rate(self, done: float) -> float:
        """Learning rate at `done`, in [0, 1), of the phase."""
        training = self._config.training
        share = learning_rate_share(done, training.warmup_share)
        return training.learning_rate * share * self._state.rate_factor

    def _descend(self, loss: Tensor, learning_rates: tuple[float, float]) -> bool:
        # The gradient of sampling positions that are NaN can crash the process.
        if self._state.processes.any(not bool(loss.isfinite())):
            return False
        return descend(
            self._state.optimiser, loss, learning_rates, self._config.training.gradient_clip
        )


class MotionPhase(Phase[MotionBatch]):
    """The motion network alone learns, from pairs of frames with known motion."""

    def __init__(self, config: TrainConfig, state: TrainingState) -> None:
        super().__init__(config, state)
        assert state.generator.flow is not None
        # A later phase that was rolled back may have frozen it.
        flow = state.generator.flow.requires_grad_(True)
        self._objective = state.processes.wrap(MotionObjective(flow))

    def batches(self, source: Batches) -> Generator[MotionBatch, None, None]:
        """Yield pairs of known motion."""
        return source.motion(self._state.iteration)

    def step(self, batch: MotionBatch, iteration: int) -> StepResult:
        """Reduce the endpoint error."""
        learning_rate = self._learning_rate(iteration / self._state.motion_iterations)
        loss = self._objective(batch.current, batch.previous, batch.flow)
        moved = self._descend(loss, (0.0, learning_rate))
        return StepResult(learning_rate=learning_rate, loss=loss.detach(), moved=moved)


class _ClipPhase(Phase[Batch]):
    """A phase that learns from clips, some of which continue from those of the last iteration."""

    def __init__(self, config: TrainConfig, state: TrainingState) -> None:
        super().__init__(config, state)
        if config.training.flow_rate == 0 and state.generator.flow is not None:
            for parameter in split_parameters(state.generator)[0]:
                parameter.requires_grad_(False)

    def batches(self, source: Batches) -> Generator[Batch, None, None]:
        """Yield clips."""
        return source.clips(self._state.iteration)

    def _done(self, iteration: int) -> float:
        """Share of the phase that is done."""
        motion = self._state.motion_iterations
        return (iteration - motion) / (self._config.training.iterations - motion)

    def _discard_unused_states(self, batch: Batch) -> None:
        if bool(batch.fresh.all()):
            self._state.carried = []  # their shape may differ from that of the batch

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self._state.processes.device.type,
            torch.bfloat16,
            enabled=self._config.training.precision == "bf16",
        )


class FidelityPhase(_ClipPhase):
    """The generator learns to match targets, and a teacher's outputs if there is one."""

    def __init__(self, config: TrainConfig, state: TrainingState) -> None:
        super().__init__(config, state)
        objective = FidelityObjective(
            state.generator,
            teacher=state.teacher,
            teacher_share=config.training.teacher_share,
            clean_weight=config.training.clean_weight,
        )
        self._objective = state.processes.wrap(objective)

    def step(self, batch: Batch, iteration: int) -> StepResult:
        """Reduce the distance from the targets."""
        training, state = self._config.training, self._state
        done = self._done(iteration)
        self._discard_unused_states(batch)
        with self._autocast():
            loss, states = self._objective(
                low=batch.low,
                target=batch.target,
                clean=batch.clean,
                fresh=batch.fresh,
                carried=state.carried,
                warp_weight=training.warp_weight * (1 - done),
            )
        learning_rate = self._learning_rate(done)
        moved = self._descend(loss, (learning_rate, learning_rate * training.flow_rate))
        # States that are not finite would make all clips that continue from them not finite, too.
        state.carried = states if moved else []
        return StepResult(learning_rate=learning_rate, loss=loss.detach(), moved=moved)


class GanPhase(_ClipPhase):
    """Generator and discriminator learn in alternation; during warm-up the discriminator alone."""

    def __init__(
        self,
        config: TrainConfig,
        state: TrainingState,
        perceptual: PerceptualLosses,
        collapse: CollapseWatch,
    ) -> None:
        super().__init__(config, state)
        assert config.gan is not None
        self._gan = config.gan
        self._collapse = collapse
        self._pending_messages = list(perceptual.left_out)
        objective = GanObjective(
            state.generator,
            state.discriminator,
            config=config.gan,
            seed=config.training.seed,
            perceptual=perceptual,
        )
        self._objective = state.processes.wrap(objective)

    def step(self, batch: Batch, iteration: int) -> StepResult:
        """Train the generator, then the discriminator on the same clips."""
        state, discriminator = self._state, self._state.discriminator
        gan_iteration = iteration - state.motion_iterations
        warming_up = discriminator is not None and gan_iteration < self._gan.adversary.alone
        self._discard_unused_states(batch)
        with torch.set_grad_enabled(not warming_up), self._autocast():
            step: GeneratorStep = self._objective(
                low=batch.low,
                target=batch.target,
                clean=batch.clean,
                fresh=batch.fresh,
                carried=state.carried,
                iteration=gan_iteration,
                footage=batch.footage,
            )
        learning_rate = self._learning_rate(self._done(iteration))
        if warming_up:
            moved = not state.processes.any(not bool(step.loss.isfinite()))
        else:
            moved = self._descend(step.loss, (learning_rate, 0.0))
            if moved and self._gan.flat_head:
                flatten_head(state.generator)
        parts = dict(step.parts)
        if moved and discriminator is not None:
            assert step.sample is not None
            with self._autocast():
                parts["discriminator"] = discriminator.learn(
                    step.sample,
                    gan_iteration,
                    rate_share=learning_rate / self._config.training.learning_rate,
                    processes=state.processes,
                )
            parts["lead"] = discriminator.lead
        state.carried = step.states if moved else []
        if (
            discriminator is not None
            and gan_iteration
            and gan_iteration % self._gan.watch_every == 0
        ):
            self._pending_messages += self._collapse.check(discriminator, step.output, batch.target)
        message = "; ".join(self._pending_messages)
        self._pending_messages = []
        return StepResult(
            learning_rate=learning_rate,
            loss=step.loss.detach(),
            moved=moved,
            message=message,
            parts=parts,
        )


def build_phase(
    config: TrainConfig,
    state: TrainingState,
    perceptual: PerceptualLosses | None,
    collapse: CollapseWatch,
) -> Phase[Any]:
    """The phase to which the state's iteration belongs.

    Under torchrun, the phase before must be out of use: its hooks on the gradients are removed
    with it. Raises `TrainingError` where the generator can't do what `[gan]` asks for.
    """
    if state.iteration < state.motion_iterations:
        return MotionPhase(config, state)
    if config.gan is None:
        return FidelityPhase(config, state)
    assert perceptual is not None
    return GanPhase(config, state, perceptual=perceptual, collapse=collapse)
