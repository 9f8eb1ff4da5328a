"""Objective of GAN training: detail that is steady over time."""

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
    phase_imbalance,
    phase_means,
    ping_pong,
    warped_consistency,
)
from vsr.training.objectives import State, detached, initial_state, unroll
from vsr.training.perceptual import PerceptualConfig, PerceptualLosses, share_of_frames
from vsr.training.texture import random_filters, texture_distance

_SAMPLES, _SHIFTS, _TEXTURE = 3, 5, 6
"""Streams of random values: the discriminator's frames, shifts, and the texture loss's filters and
frames."""


class GanWeights(Config):
    """Weights of the generator's losses. A loss of weight 0 is not computed."""

    content: NonNegativeFloat = 1.0
    """Charbonnier distance from the target."""
    means: NonNegativeFloat = 1.0
    """Charbonnier distance of local means over squares of twice the scale: against the tint to
    which adversarial training drifts, and which pixel losses hardly distinguish from detail."""
    phases: NonNegativeFloat = 0.0
    """Charbonnier distance of local means by position in the cell of a low-resolution pixel:
    against a crosshatch with the period of the pixel shuffle."""
    imbalance: NonNegativeFloat = 0.0
    """Excess imbalance of detail over the positions in the cell of a low-resolution pixel: against
    patterns of that period whose local means are even."""
    texture: NonNegativeFloat = 0.0
    """Distance between the local distributions of detail, by position in the cell of a
    low-resolution pixel; see `texture_distance`. It gives crisp detail without a discriminator."""
    ping_pong: NonNegativeFloat = 0.1
    """L1 between the outputs of a frame in a forward and in a backward pass over the clip."""
    consistency: NonNegativeFloat = 1.7
    """Change of outputs along the target's motion, beyond the change of the target."""
    adversarial: NonNegativeFloat = 0.01
    """Adversarial loss, from the discriminator's logits."""
    features: NonNegativeFloat = 0.01
    """L1 between the discriminator's features of outputs and targets."""
    perceptual: NonNegativeFloat = 0.2
    """Distance in the features of `gan.perceptual_network`."""
    feature_texture: NonNegativeFloat = 0.0
    """Distance between the local distributions of the features of `gan.perceptual_network`; see
    `feature_texture_distance`."""
    lpips: NonNegativeFloat = 0.0
    """LPIPS with AlexNet; left out where its file is missing."""
    frequency: NonNegativeFloat = 1.0
    """L1 between the amplitudes of spectra."""
    clean: NonNegativeFloat = 0.0
    """Charbonnier distance of the temporal filter's output from the input without noise and
    compression; needs `model.steadies`."""

    @property
    def uses_discriminator(self) -> bool:
        """Whether any loss needs a discriminator; otherwise none is trained."""
        return bool(self.adversarial or self.features)


class GanConfig(PerceptualConfig):
    """GAN training of a generator that has been trained for fidelity."""

    adversary: DiscriminatorTrainingConfig = DiscriminatorTrainingConfig()
    weights: GanWeights = GanWeights()
    fade_in: NonNegativeInt = 1000
    """Iterations after the warm-up over which the weights of the discriminator's losses rise."""
    shown: PositiveInt = 2
    """Frames, or triples of frames, of each clip that the discriminator sees."""
    blend: float = Field(default=1.0, gt=0, le=1)
    """Share of the trained weights in those that are saved; the rest is the weights from which GAN
    training started. ESRGAN's network interpolation (Wang et al., 2018), which removes noise."""
    texture_filters: PositiveInt = 8
    """Random filters of `weights.texture`, new ones in each iteration."""
    texture_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the batch's frames that `weights.texture` compares, at least one. They are chosen
    by `training.seed` and the iteration."""
    frequency_window: NonNegativeInt = 0
    """Side in pixels of the square windows whose spectra `weights.frequency` compares; 0 takes the
    whole crop. Spectra of small windows can't be matched by a pattern elsewhere in the crop."""
    max_shift: NonNegativeInt = 0
    """Maximum shift in pixels, random in each iteration and in both directions, of the crops that
    the discriminator and the perceptual networks see. Their downsampling then has no fixed
    position relative to the pixel shuffle, whose patterns it would otherwise favour. Discriminators
    whose `cell` is larger than 1 see unshifted crops."""
    flat_head: bool = False
    """Whether the taps of all positions in a cell have the same sum in the generator's last
    convolution, so that even features give an even picture; see `flatten_head`."""
    watch_every: PositiveInt = 100
    """Iterations between checks for collapse."""


def perceptual_losses(config: GanConfig, seed: int, device: torch.device) -> PerceptualLosses:
    """The perceptual losses of non-zero weight.

    Raises `ModelError` for a missing network that the configuration names.
    """
    weights = config.weights
    names = ("perceptual", "feature_texture", "lpips")
    wanted = [name for name in names if getattr(weights, name) > 0]
    return PerceptualLosses(config, wanted, seed, device)


class GeneratorStep(NamedTuple):
    """Outcome of the generator's part of a GAN training step."""

    loss: Tensor
    """The generator's, a scalar; without a gradient during the warm-up."""
    parts: dict[str, Tensor]
    """Each loss before it is weighted, detached."""
    states: list[State]
    """Of the generator after the last frames, detached."""
    sample: Sample | None
    """Input of the discriminator's step; None without a discriminator."""
    output: Tensor
    """(B, T, 3, sH, sW), detached."""


class GanObjective(nn.Module):
    """Weighted sum of pixel, perceptual, temporal and adversarial losses of a generator."""

    def __init__(
        self,
        generator: Generator[Any],
        discriminator: DiscriminatorTrainer | None,
        config: GanConfig,
        seed: int,
        perceptual: PerceptualLosses | None = None,
    ) -> None:
        """Raises `TrainingError` where the generator can't do what the configuration asks for."""
        super().__init__()
        self.generator = generator
        # In a list, so that the discriminator is not registered as a submodule.
        self._discriminator = [discriminator] if discriminator is not None else []
        self._perceptual = perceptual
        self._config = config
        self._seed = seed
        self.flow: PyramidFlow | None = None
        if generator.flow is not None:
            # Frozen, so that the motion that it finds stays that of the input.
            self.flow = generator.flow.requires_grad_(False)
        sight = config.adversary.discriminator.sight
        if discriminator is not None and sight == "spatio_temporal" and self.flow is None:
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
        footage: Tensor | None = None,
    ) -> GeneratorStep:
        """(B, T, 3, H, W) and (B, T, 3, sH, sW) to the generator's loss.

        `clean` has the shape of `low`. `footage` has the shape of `target`; where it is given, it
        takes the target's place in the losses of consistency, texture, features and the
        discriminator, since a teacher's outputs flicker. Clips whose `fresh` (B) is false continue
        from `carried`. `iteration` counts from the start of GAN training. In the first
        `adversary.alone` iterations, the discriminator's warm-up, only the sample and the pixel
        losses are computed.
        """
        config, weights = self._config, self._config.weights
        footage = target if footage is None else footage
        warmup = config.adversary.alone if self._discriminator else 0
        warming_up = iteration < warmup
        # Forward pass over the clip, then backward from its last state.
        start = initial_state(self.generator, low, fresh, carried[0] if carried else None)
        output, cleaned, state = unroll(self.generator, low, start)
        output = output.float()
        parts = {"content": charbonnier(output, target)}
        if weights.clean and cleaned is not None:
            parts["clean"] = charbonnier(cleaned.float(), clean)
        if weights.ping_pong and low.shape[1] > 1 and not warming_up:
            backward, _ = self.generator.unroll(low.flip(1)[:, 1:], state)
            backward = backward.float().flip(1)
            parts["ping_pong"] = ping_pong(output[:, :-1], backward)
            parts["content"] = (parts["content"] + charbonnier(backward, target[:, :-1])) / 2

        # Temporal consistency along the motion of the footage.
        needs_motion = weights.consistency or self._discriminator
        has_motion = self.flow is not None and low.shape[1] > 1
        flow = self._target_flow(low, footage, -1) if needs_motion and has_motion else None
        if weights.consistency and flow is not None and not warming_up:
            parts["consistency"] = warped_consistency(output, footage, flow)

        sample: Sample | None = None
        if self._discriminator:
            sample = self._sample(output, footage, low, flow=flow, iteration=iteration)
            if config.adversary.discriminator.cell == 1:
                sample = Sample(*(self._shifted(part, iteration) for part in sample))
            if not warming_up:
                losses = self._discriminator[0].generator_losses(sample)
                parts["adversarial"], parts["features"] = losses
        if not warming_up:
            parts |= self._frame_losses(
                output.flatten(0, 1),
                target=target.flatten(0, 1),
                footage=footage.flatten(0, 1),
                iteration=iteration,
            )

        fade_in = min(1.0, (iteration - warmup + 1) / max(config.fade_in, 1))
        factors = {key: getattr(weights, key) for key in parts}
        factors |= {
            key: factors[key] * fade_in for key in ("adversarial", "features") if key in parts
        }
        return GeneratorStep(
            loss=torch.stack([factors[key] * part for key, part in parts.items()]).sum(),
            parts={key: part.detach() for key, part in parts.items()},
            states=[detached(state)],
            sample=sample,
            output=output.detach(),
        )

    def _frame_losses(
        self, output: Tensor, target: Tensor, footage: Tensor, iteration: int
    ) -> dict[str, Tensor]:
        """Losses of single frames (N, 3, sH, sW), by name."""
        config, weights = self._config, self._config.weights
        parts: dict[str, Tensor] = {}
        if weights.means:
            side = 2 * self.generator.scale
            parts["means"] = charbonnier(F.avg_pool2d(output, side), F.avg_pool2d(target, side))
        if weights.phases:
            parts["phases"] = phase_means(output, target, self.generator.scale)
        if weights.imbalance:
            parts["imbalance"] = phase_imbalance(output, target, self.generator.scale)
        if weights.texture:
            random = np.random.default_rng((self._seed, iteration, _TEXTURE))
            filters = random_filters(config.texture_filters, random)
            chosen = share_of_frames(len(output), config.texture_share, random)
            parts["texture"] = texture_distance(
                output[chosen],
                footage[chosen],
                scale=self.generator.scale,
                filters=filters.to(output.device),
            )
        if weights.frequency:
            parts["frequency"] = frequency(output, target, config.frequency_window)
        if self._perceptual is not None:
            compared = target if config.perceptual_target == "target" else footage
            ours, wanted = (self._shifted(frames, iteration) for frames in (output, compared))
            parts |= self._perceptual(ours, wanted, iteration)
        return parts

    def _shifted(self, pictures: Tensor, iteration: int) -> Tensor:
        """Cut a crop of pictures (N, C, H, W), `max_shift` smaller, at the iteration's position."""
        limit = self._config.max_shift
        if not limit:
            return pictures
        random = np.random.default_rng((self._seed, iteration, _SHIFTS))
        top, left = random.integers(limit + 1, size=2).tolist()
        height, width = (side - limit for side in pictures.shape[-2:])
        return pictures[..., top : top + height, left : left + width]

    @torch.no_grad()
    def _target_flow(self, low: Tensor, target: Tensor, step: int) -> Tensor:
        """Flow of the target from its frames to those `step` (1 or -1) away, in its pixels.

        (B, T, 3, H, W) and (B, T, 3, sH, sW) to (B, T - 1, 2, sH, sW). The enlarged flow of the
        input errs by a fraction of a low-resolution pixel. Outputs that are consistent along it
        would be unsteady or blurred, so the residual motion of the target is estimated and added.
        """
        assert self.flow is not None
        scale = self.generator.scale
        ahead, behind = slice(1, None), slice(None, -1)
        sources, destinations = (ahead, behind) if step < 0 else (behind, ahead)
        low_flow = self.flow(low[:, sources].flatten(0, 1), low[:, destinations].flatten(0, 1))
        flow: Tensor = scale * F.interpolate(low_flow, scale_factor=float(scale), mode="bilinear")
        frames = target[:, sources].flatten(0, 1)
        others = target[:, destinations].flatten(0, 1)
        residual: Tensor = self.flow(frames, warp(others, flow))
        flow = flow + residual
        return flow.view(low.shape[0], -1, *flow.shape[1:])

    def _sample(
        self,
        output: Tensor,
        target: Tensor,
        low: Tensor,
        *,
        flow: Tensor | None,
        iteration: int,
    ) -> Sample:
        """Choose the same frames, or triples of frames, of outputs and targets."""
        config = self._config
        sight = config.adversary.discriminator.sight
        cell = config.adversary.discriminator.cell
        frames = low.shape[1]
        random = np.random.default_rng((self._seed, iteration, _SAMPLES))
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
            triple = slice(middle - 1, middle + 2)
            pair = slice(middle, middle + 2)
            to_next = self._target_flow(low[:, pair], target[:, pair], 1)
            flows = torch.cat((flow[:, middle - 1 : middle], to_next), dim=1)
            upscaled = resize_bicubic(low[:, triple].flatten(0, 1), size)
            upscaled = upscaled.view(output[:, triple].shape)
            fakes.append(spatio_temporal_input(output[:, triple], upscaled, flows, cell=cell))
            reals.append(spatio_temporal_input(target[:, triple], upscaled, flows, cell=cell))
        return Sample(torch.cat(fakes), torch.cat(reals))
