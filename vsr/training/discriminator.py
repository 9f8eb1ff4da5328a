"""Discriminator of GAN training: its optimiser, its lead limit, and signs of collapse."""

from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import AdamW

from vsr.config import Config
from vsr.models.discriminators import DiscriminatorConfig, DiscriminatorOutput, build_discriminator
from vsr.training.distributed import ProcessGroup
from vsr.training.losses import (
    Adversarial,
    discriminator_loss,
    feature_matching,
    generator_loss,
    gradient_penalty,
)

_LEAD_DECAY = 0.95
"""Decay per iteration of the moving average of the lead."""
_LEAD_READ_EVERY = 16
"""Iterations between reads of that average, each of which waits for the device."""


LearningRate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
"""Of AdamW, which changes a weight by about as much in an iteration. Above 1 training diverges."""


class DiscriminatorTrainingConfig(Config):
    """Architecture and training of the discriminator."""

    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    kind: Adversarial = "relativistic"
    """Loss of generator and discriminator."""
    learning_rate: LearningRate = 2e-4
    """Peak rate of the discriminator's AdamW. Its schedule is the generator's."""
    alone: NonNegativeInt = 500
    """Iterations of warm-up, in which the discriminator alone learns."""
    hold_back: PositiveFloat = 2.0
    """Lead limit: the discriminator skips its steps while its lead is higher. The lead is a moving
    average of the mean logit of targets minus that of outputs, in units of the logits."""
    r1_weight: NonNegativeFloat = 0.0
    """Weight of the gradient penalty on targets."""
    r2_weight: NonNegativeFloat = 0.0
    """Weight of the gradient penalty on outputs."""
    penalty_every: PositiveInt = 16
    """Iterations between gradient penalties. Each is weighted by this interval."""
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the discriminator's gradient."""


class GeneratorLosses(NamedTuple):
    """The generator's losses by the discriminator: scalars to minimise."""

    adversarial: Tensor
    features: Tensor


class Sample(NamedTuple):
    """Discriminator inputs (N, C, H, W) of the same frames: outputs (fake) and targets (real)."""

    fake: Tensor
    real: Tensor


class DiscriminatorTrainer(nn.Module):
    """A discriminator with its optimiser: computes the generator's losses, and learns."""

    lead: Tensor
    """Moving average of the mean logit of targets minus that of outputs."""

    def __init__(self, config: DiscriminatorTrainingConfig) -> None:
        super().__init__()
        self.config = config
        self.discriminator = build_discriminator(config.discriminator)
        self.register_buffer("lead", torch.zeros(()))
        self.held = False
        """Whether the lead was above its limit when last read; no step is taken until then."""
        self._optimiser: AdamW | None = None

    @property
    def optimiser(self) -> AdamW:
        """AdamW of the discriminator, created on first use, after the move to the device."""
        if self._optimiser is None:
            self._optimiser = AdamW(
                self.discriminator.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=0.0
            )
        return self._optimiser

    def generator_losses(self, sample: Sample) -> GeneratorLosses:
        """Adversarial and feature-matching loss; no gradient reaches the discriminator."""
        self.discriminator.requires_grad_(False)
        try:
            fake: DiscriminatorOutput = self.discriminator(sample.fake)
            with torch.no_grad():
                real: DiscriminatorOutput = self.discriminator(sample.real)
        finally:
            self.discriminator.requires_grad_(True)
        return GeneratorLosses(
            generator_loss(self.config.kind, real.logits, fake.logits),
            feature_matching(fake.features, real.features),
        )

    def learn(
        self, sample: Sample, iteration: int, rate_share: float, processes: ProcessGroup
    ) -> Tensor:
        """Take a step, unless the lead is above its limit; return the loss.

        `iteration` counts from the start of GAN training. `rate_share` is the present share of the
        peak learning rate. Gradients are averaged over `processes`.
        """
        config = self.config
        penalises = bool(config.r1_weight or config.r2_weight) and (
            iteration % config.penalty_every == 0
        )
        fake, real = sample.fake.detach(), sample.real.detach()
        if penalises:
            fake, real = fake.requires_grad_(True), real.requires_grad_(True)
        # One pass, so that both use the same estimates of the spectral norms.
        logits = self.discriminator(torch.cat((fake, real))).logits
        fake_logits, real_logits = logits.chunk(2)
        loss = discriminator_loss(config.kind, real_logits, fake_logits)
        with torch.no_grad():
            self.lead.lerp_(
                (real_logits.mean() - fake_logits.mean()).to(self.lead.dtype), 1 - _LEAD_DECAY
            )
        if iteration % _LEAD_READ_EVERY == 0:
            self.held = processes.mean(self.lead) > config.hold_back
        if self.held:
            return loss.detach()
        total = loss
        if penalises:
            for weight, logits, images in (
                (config.r1_weight, real_logits, real),
                (config.r2_weight, fake_logits, fake),
            ):
                if weight:
                    penalty = gradient_penalty(logits, images)
                    total = total + config.penalty_every * weight * penalty
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        processes.average_gradients(self.discriminator.parameters())
        norm = nn.utils.clip_grad_norm_(self.discriminator.parameters(), config.gradient_clip)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * rate_share
        if bool(norm.isfinite()):
            self.optimiser.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Return what an exact resume needs."""
        return {
            "weights": self.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "held": self.held,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.held = state["held"]


CollapseSign = Literal["lead", "variance", "saturation"]


class CollapseWatch:
    """Detects collapse of GAN training, and says which setting to change."""

    def __init__(self) -> None:
        self._reported: set[CollapseSign] = set()

    def check(
        self, discriminator: DiscriminatorTrainer, output: Tensor, target: Tensor
    ) -> list[str]:
        """Return a line for each new sign in clips of equal shape (..., H, W) in [0, 1].

        Reads values from the device, so it is not for every iteration.
        """
        lead = float(discriminator.lead)
        detail = float(_detail(output) / _detail(target).clamp_min(1e-6))
        outside = float(((output < -0.05) | (output > 1.05)).float().mean())
        faults: dict[CollapseSign, str] = {}
        if lead > 3 * discriminator.config.hold_back:
            faults["lead"] = (
                f"the discriminator leads by {lead:.1f}: the generator learns nothing from it any "
                "more; lower gan.adversary.learning_rate, or set gan.adversary.r1_weight"
            )
        if not 0.3 < detail < 3:
            faults["variance"] = (
                f"outputs have {detail:.2f} times the detail of targets: the generator is "
                "collapsing; lower gan.weights.adversarial, or raise gan.weights.content"
            )
        if outside > 0.02:
            faults["saturation"] = (
                f"{outside:.0%} of output samples are outside [0, 1]: lower "
                "training.learning_rate or gan.weights.adversarial"
            )
        lines = [line for sign, line in faults.items() if sign not in self._reported]
        self._reported |= faults.keys()
        return lines


def _detail(pictures: Tensor) -> Tensor:
    """Mean absolute difference of horizontal neighbours."""
    return (pictures[..., 1:] - pictures[..., :-1]).abs().mean()
