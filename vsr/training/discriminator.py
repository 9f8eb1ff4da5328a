"""The other player: a discriminator, its optimiser, and the rules by which it learns."""

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

_MEMORY = 0.95
"""Of the moving averages by which the two players are watched."""
_LOOKS_EVERY = 16
"""Iterations between looks at those averages: reading them waits for the device."""


LearningRate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
"""Of AdamW, which moves a weight by about as much in an iteration: above 1, nothing is learnt."""


class DiscriminatorTrainingConfig(Config):
    """How the discriminator is made, and how it learns."""

    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    kind: Adversarial = "relativistic"
    """What both players minimise."""
    learning_rate: LearningRate = 2e-4
    """Peak rate of the discriminator's AdamW; it follows the generator's course."""
    alone: NonNegativeInt = 500
    """Iterations at the start in which it learns by itself, the generator held still."""
    hold_back: PositiveFloat = 2.0
    """Lead at which it stops learning until the generator has caught up: a moving average of
    the mean logit of targets less that of outputs, in units of the logits."""
    r1_weight: NonNegativeFloat = 0.0
    """Weight of the gradient penalty on targets."""
    r2_weight: NonNegativeFloat = 0.0
    """Weight of the gradient penalty on outputs."""
    penalty_every: PositiveInt = 16
    """Iterations between penalties, which count for as many."""
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the discriminator's gradient."""


class GeneratorLosses(NamedTuple):
    """What the generator is told, as scalars to minimise."""

    adversarial: Tensor
    features: Tensor


class Sample(NamedTuple):
    """The same places in outputs and in targets, as the discriminator is shown them."""

    fake: Tensor
    real: Tensor


class DiscriminatorTrainer(nn.Module):
    """Owns a discriminator and its optimiser; judges outputs, and learns from them."""

    lead: Tensor
    """Moving average of how much higher targets are judged than outputs."""

    def __init__(self, config: DiscriminatorTrainingConfig) -> None:
        super().__init__()
        self.config = config
        self.discriminator = build_discriminator(config.discriminator)
        self.register_buffer("lead", torch.zeros(()))
        self.held = False
        """Whether it is held back, as last looked at."""
        self._optimiser: AdamW | None = None

    @property
    def optimiser(self) -> AdamW:
        """AdamW over the discriminator, made when it is first asked for, on the device by then."""
        if self._optimiser is None:
            self._optimiser = AdamW(
                self.discriminator.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=0.0
            )
        return self._optimiser

    def generator_losses(self, sample: Sample) -> GeneratorLosses:
        """What the discriminator makes of outputs; gradients flow into them, not into it."""
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
        """Tell outputs from targets a little better, unless held back; gives the loss.

        `rate_share` is the present share of the peak learning rate; `processes` holds the
        processes that learn together.
        """
        config = self.config
        penalises = bool(config.r1_weight or config.r2_weight) and (
            iteration % config.penalty_every == 0
        )
        fake, real = sample.fake.detach(), sample.real.detach()
        if penalises:
            fake, real = fake.requires_grad_(True), real.requires_grad_(True)
        # One pass, so that both are judged by the same state of the spectral norms.
        logits = self.discriminator(torch.cat((fake, real))).logits
        of_fake, of_real = logits.chunk(2)
        loss = discriminator_loss(config.kind, of_real, of_fake)
        with torch.no_grad():
            self.lead.lerp_((of_real.mean() - of_fake.mean()).to(self.lead.dtype), 1 - _MEMORY)
        if iteration % _LOOKS_EVERY == 0:
            self.held = processes.mean(self.lead) > config.hold_back
        if self.held:
            return loss.detach()
        whole = loss
        if penalises:
            for weight, judged, seen in (
                (config.r1_weight, of_real, real),
                (config.r2_weight, of_fake, fake),
            ):
                if weight:
                    penalty = gradient_penalty(judged, seen)
                    whole = whole + config.penalty_every * weight * penalty
        self.optimiser.zero_grad(set_to_none=True)
        whole.backward()  # type: ignore[no-untyped-call]
        processes.average_gradients(self.discriminator.parameters())
        norm = nn.utils.clip_grad_norm_(self.discriminator.parameters(), config.gradient_clip)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * rate_share
        if bool(norm.isfinite()):
            self.optimiser.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """All that going on exactly needs."""
        return {
            "weights": self.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "held": self.held,
        }

    def take(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.held = state["held"]


CollapseSign = Literal["lead", "variance", "saturation"]


class CollapseWatch:
    """Sees the ways in which such a game goes wrong, and says what to change."""

    def __init__(self) -> None:
        self._told: set[CollapseSign] = set()

    def look(self, adversary: DiscriminatorTrainer, output: Tensor, target: Tensor) -> str:
        """A warning, once for each fault, or nothing; reads numbers, so not every iteration."""
        lead = float(adversary.lead)
        spread = float(_detail(output) / _detail(target).clamp_min(1e-6))
        outside = float(((output < -0.05) | (output > 1.05)).float().mean())
        faults: dict[CollapseSign, str] = {}
        if lead > 3 * adversary.config.hold_back:
            faults["lead"] = (
                f"the discriminator leads by {lead:.1f}: it tells nothing any more; lower "
                "gan.adversary.learning_rate, or set gan.adversary.r1_weight"
            )
        if not 0.3 < spread < 3:
            faults["variance"] = (
                f"outputs have {spread:.2f} times the detail of targets: the generator is "
                "collapsing; lower gan.weights.adversarial, or raise gan.weights.content"
            )
        if outside > 0.02:
            faults["saturation"] = (
                f"{outside:.0%} of output samples lie outside [0, 1]: lower "
                "training.learning_rate or gan.weights.adversarial"
            )
        fresh = [text for fault, text in faults.items() if fault not in self._told]
        self._told |= faults.keys()
        return "; ".join(fresh)


def _detail(pictures: Tensor) -> Tensor:
    """Mean absolute difference of neighbours."""
    return (pictures[..., 1:] - pictures[..., :-1]).abs().mean()
