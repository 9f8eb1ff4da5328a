"""Detail that does not flicker: one step of the temporal GAN, to be read from top to bottom."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.config import Config
from vsr.errors import TrainingError
from vsr.imaging.tensors import resize_bicubic, warp
from vsr.models import Generator
from vsr.models.discriminators import spatial_input, spatio_temporal_input
from vsr.models.flow import PyramidFlow
from vsr.training.discriminator import DiscriminatorTrainer, DiscriminatorTrainingConfig, Sample
from vsr.training.losses import (
    charbonnier,
    frequency,
    phase_means,
    ping_pong,
    warped_consistency,
)
from vsr.training.objectives import State, detached, initial_state, unroll
from vsr.training.perceptual import PerceptualConfig, PerceptualLosses

_TRIPLES = 3
"""Marks the random numbers that choose what the discriminator is shown."""


class GanWeights(Config):
    """What each loss counts for; 0 leaves it out, and saves its time."""

    content: NonNegativeFloat = 1.0
    """Charbonnier distance from the target."""
    means: NonNegativeFloat = 1.0
    """Charbonnier distance of the means of squares of twice the scale: an adversary doesn't
    mind, and drifts towards, a tint that pixels alone would hardly tell from detail."""
    phases: NonNegativeFloat = 0.0
    """Charbonnier distance of local means by place in the cell of a low-resolution pixel: against
    a crosshatch with the period of the pixel shuffle."""
    ping_pong: NonNegativeFloat = 0.1
    """Between two outputs of a frame, come by forwards and on the way back."""
    consistency: NonNegativeFloat = 1.7
    """Between outputs along the target's motion, beyond what the target itself changes."""
    adversarial: NonNegativeFloat = 0.01
    """By the discriminator's logits."""
    features: NonNegativeFloat = 0.01
    """By the discriminator's features."""
    perceptual: NonNegativeFloat = 0.2
    """Distance in the features of `gan.perceptual_network`."""
    lpips: NonNegativeFloat = 0.0
    """By LPIPS with AlexNet; left out where its file is missing."""
    frequency: NonNegativeFloat = 1.0
    """Between the amplitudes of spectra."""
    clean: NonNegativeFloat = 0.0
    """Between the temporal filter's output and the input without noise and compression; needs
    `model.steadies`."""

    @property
    def uses_discriminator(self) -> bool:
        """Whether any loss is computed by the discriminator; without one, none is trained."""
        return bool(self.adversarial or self.features)


class GanConfig(PerceptualConfig):
    """A generator against a discriminator, after it has learnt fidelity."""

    adversary: DiscriminatorTrainingConfig = DiscriminatorTrainingConfig()
    weights: GanWeights = GanWeights()
    fade_in: NonNegativeInt = 1000
    """Iterations over which the discriminator's word comes to count."""
    shown: PositiveInt = 2
    """Triples of frames, or frames, of each clip that the discriminator is shown."""
    blend: float = Field(default=1.0, gt=0, le=1)
    """Share of what was learnt in the weights that are kept; the rest is what the game began
    with. ESRGAN's network interpolation: what is noise in the game's weights goes first."""
    frequency_window: NonNegativeInt = 0
    """Side in pixels of the square windows whose spectra `weights.frequency` compares; 0 takes the
    whole crop. Spectra of small windows can't be matched by a pattern elsewhere in the crop."""
    watch_every: PositiveInt = 100
    """Iterations between looks for collapse."""


def perceptual_losses(config: GanConfig, seed: int, device: torch.device) -> PerceptualLosses:
    """The perceptual losses that the weights ask for.

    Raises `ModelError` for a missing network that the configuration names.
    """
    weights = config.weights
    wanted = {"perceptual": weights.perceptual > 0, "lpips": weights.lpips > 0}
    return PerceptualLosses(config, wanted, seed, device)


class GeneratorStep(NamedTuple):
    """What one step gives."""

    loss: Tensor
    """The generator's, to be minimised; without a gradient where the discriminator is alone."""
    parts: dict[str, Tensor]
    """Each loss, before it is weighted."""
    states: list[State]
    """To carry on."""
    sample: Sample | None
    """What the discriminator is to learn from; None without one."""
    output: Tensor
    """(B, T, 3, sH, sW), detached: to see whether all is well."""


class GanObjective(nn.Module):
    """How outputs are judged by the targets, by time, and by the adversary."""

    def __init__(
        self,
        generator: Generator[Any],
        adversary: DiscriminatorTrainer | None,
        config: GanConfig,
        seed: int,
        perceptual: PerceptualLosses | None = None,
    ) -> None:
        """Raises `TrainingError` where the generator can't do what the configuration asks."""
        super().__init__()
        self.generator = generator
        # In a list, so that the discriminator is not registered as a submodule.
        self._adversary = [adversary] if adversary is not None else []
        self._perceptual = perceptual
        self._config = config
        self._seed = seed
        self.flow: PyramidFlow | None = None
        if generator.flow is not None:
            # It has learnt motion, and is to go on finding that, not what pleases.
            self.flow = generator.flow.requires_grad_(False)
        sight = config.adversary.discriminator.sight
        if adversary is not None and sight == "spatio_temporal" and self.flow is None:
            raise TrainingError(
                "gan.adversary.discriminator.sight: 'spatio_temporal' needs a model with motion"
            )

    def forward(
        self,
        low: Tensor,
        target: Tensor,
        clean: Tensor,
        fresh: Tensor,
        carried: Sequence[State],
        iteration: int,
    ) -> GeneratorStep:
        """(B, T, 3, H, W) and (B, T, 3, sH, sW) to what the generator is to minimise.

        `clean` has the shape of `low`. Clips whose `fresh` (B) is false continue from `carried`.
        `iteration` counts from the start of GAN training; during the discriminator's first
        `adversary.alone` iterations nothing is asked of the generator.
        """
        config, weights = self._config, self._config.weights
        warmup = config.adversary.alone if self._adversary else 0
        alone = iteration < warmup
        # Upscale the clip, then go back over it.
        begun = initial_state(self.generator, low, fresh, carried[0] if carried else None)
        output, cleaned, state = unroll(self.generator, low, begun)
        output = output.float()
        parts = {"content": charbonnier(output, target)}
        if weights.clean and cleaned is not None:
            parts["clean"] = charbonnier(cleaned.float(), clean)
        if weights.ping_pong and low.shape[1] > 1 and not alone:
            back, _ = self.generator.unroll(low.flip(1)[:, 1:], state)
            back = back.float().flip(1)
            parts["ping_pong"] = ping_pong(output[:, :-1], back)
            parts["content"] = (parts["content"] + charbonnier(back, target[:, :-1])) / 2

        # The motion of the target.
        needs_motion = weights.consistency or self._adversary
        moves = self.flow is not None and low.shape[1] > 1
        flow = self._flow(low, target, -1) if needs_motion and moves else None
        if weights.consistency and flow is not None and not alone:
            parts["consistency"] = warped_consistency(output, target, flow)

        sample: Sample | None = None
        if self._adversary:
            sample = self._sample(output, target, low, flow, iteration)
            if not alone:
                parts["adversarial"], parts["features"] = self._adversary[0].generator_losses(
                    sample
                )
        if not alone:
            flat, wanted = output.flatten(0, 1), target.flatten(0, 1)
            if weights.means:
                side = 2 * self.generator.scale
                means, asked = F.avg_pool2d(flat, side), F.avg_pool2d(wanted, side)
                parts["means"] = charbonnier(means, asked)
            if weights.phases:
                parts["phases"] = phase_means(flat, wanted, self.generator.scale)
            if weights.frequency:
                parts["frequency"] = frequency(flat, wanted, config.frequency_window)
            if self._perceptual is not None:
                parts |= self._perceptual(flat, wanted, iteration)

        fade = min(1.0, (iteration - warmup + 1) / max(config.fade_in, 1))
        counts = {key: getattr(weights, key) for key in parts}
        counts |= {key: counts[key] * fade for key in ("adversarial", "features") if key in parts}
        loss = torch.stack([counts[key] * part for key, part in parts.items()]).sum()
        told = {key: part.detach() for key, part in parts.items()}
        return GeneratorStep(loss, told, [detached(state)], sample, output.detach())

    @torch.no_grad()
    def _flow(self, low: Tensor, target: Tensor, step: int) -> Tensor:
        """The target's motion from its frames to those `step` (1 or -1) away, in its pixels.

        (B, T, 3, H, W) and (B, T, 3, sH, sW) to (B, T - 1, 2, sH, sW). That of the input,
        enlarged, is off by a part of a large pixel, and outputs that are steady along it would
        be unsteady or blurred: so what is left of motion in the target is found and added.
        """
        assert self.flow is not None
        scale = self.generator.scale
        ahead, behind = slice(1, None), slice(None, -1)
        here, there = (ahead, behind) if step < 0 else (behind, ahead)
        found = self.flow(low[:, here].flatten(0, 1), low[:, there].flatten(0, 1))
        flow: Tensor = scale * F.interpolate(found, scale_factor=float(scale), mode="bilinear")
        wanted, other = target[:, here].flatten(0, 1), target[:, there].flatten(0, 1)
        rest: Tensor = self.flow(wanted, warp(other, flow))
        flow = flow + rest
        return flow.view(low.shape[0], -1, *flow.shape[1:])

    def _sample(
        self, output: Tensor, target: Tensor, low: Tensor, flow: Tensor | None, iteration: int
    ) -> Sample:
        """What the discriminator is shown: the same places of outputs and targets."""
        config = self._config
        sight = config.adversary.discriminator.sight
        frames = low.shape[1]
        random = np.random.default_rng((self._seed, iteration, _TRIPLES))
        size = (output.shape[-2], output.shape[-1])
        if sight != "spatio_temporal":
            chosen = random.permutation(frames)[: config.shown].tolist()
            if sight == "picture":
                return Sample(output[:, chosen].flatten(0, 1), target[:, chosen].flatten(0, 1))
            upscaled = resize_bicubic(low[:, chosen].flatten(0, 1), size)
            fake, real = (
                spatial_input(clip[:, chosen].flatten(0, 1), upscaled) for clip in (output, target)
            )
            return Sample(fake, real)
        assert flow is not None
        middles = (1 + random.permutation(frames - 2)[: config.shown]).tolist()
        fakes, reals = [], []
        for middle in middles:
            three = slice(middle - 1, middle + 2)
            pair = slice(middle, middle + 2)
            to_next = self._flow(low[:, pair], target[:, pair], 1)
            flows = torch.cat((flow[:, middle - 1 : middle], to_next), dim=1)
            upscaled = resize_bicubic(low[:, three].flatten(0, 1), size)
            upscaled = upscaled.view(output[:, three].shape)
            fakes.append(spatio_temporal_input(output[:, three], upscaled, flows))
            reals.append(spatio_temporal_input(target[:, three], upscaled, flows))
        return Sample(torch.cat(fakes), torch.cat(reals))
