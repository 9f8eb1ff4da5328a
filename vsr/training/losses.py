"""What training minimises: plain functions of pictures in [0, 1], of features and of flows."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.tensors import warp

_DISTRUST = 50.0
"""How fast trust in a motion falls with the squared difference it leaves (Lai et al., 2018)."""

Adversarial = Literal["vanilla", "least_squares", "hinge", "relativistic"]
FeatureDistance = Literal["l1", "l2", "cosine", "unit_l1", "unit_l2"]


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


def photometric(current: Tensor, previous: Tensor, flow: Tensor) -> Tensor:
    """Charbonnier distance of frames (N, C, H, W) from those before, warped onto them.

    `flow` (N, 2, H, W) leads back to the frame before, in pixels: what motion is learnt by where
    it isn't known (Yu et al., "Back to basics", 2016).
    """
    return charbonnier(warp(previous, flow), current)


def ping_pong(forwards: Tensor, backwards: Tensor) -> Tensor:
    """L1 between two outputs of each frame, any equal shapes, frames in the same order.

    One was come by with the clip running forwards, the other on its way back: what drifts
    differs (Chu et al., 2020).
    """
    return (forwards - backwards).abs().mean()


def warped_consistency(output: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    """How much more clips (B, T, C, H, W) change along the target's motion than the target does.

    `flow` (B, T - 1, 2, H, W) is the target's, from each frame back to the one before, in pixels.
    The L1 distance of each output from the one before, warped onto it, less that of the
    target, where it is more; weighted by exp(-50 d^2) with d the colour distance that the
    same motion leaves in the target, mean over all pixels: where the target disagrees with
    itself, nothing is asked. After Lai et al., "Learning blind video temporal consistency",
    2018, who ask for no change at all: with flow that errs by a fraction of a pixel, that
    asks for blur.
    """
    flat = flow.flatten(0, 1)
    here, there = target[:, 1:].flatten(0, 1), target[:, :-1].flatten(0, 1)
    with torch.no_grad():
        own = here - warp(there, flat)
        trust = torch.exp(-_DISTRUST * own.square().sum(dim=1, keepdim=True))
    change = output[:, 1:].flatten(0, 1) - warp(output[:, :-1].flatten(0, 1), flat)
    return (trust * F.relu(change.abs() - own.abs())).mean()


def feature_matching(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """L1 between a discriminator's features of outputs and of targets, mean over layers.

    `wanted` is taken as it is: no gradient flows into it. Wang et al., "High-resolution image
    synthesis and semantic manipulation with conditional GANs", 2018.
    """
    layers = [
        (here - there.detach()).abs().mean() for here, there in zip(found, wanted, strict=True)
    ]
    return torch.stack(layers).mean()


def perceptual(
    network: Callable[[Tensor], Sequence[Tensor]],
    output: Tensor,
    target: Tensor,
    kind: FeatureDistance = "l1",
) -> Tensor:
    """Distance of pictures (N, 3, H, W) in a network's features, mean over its layers.

    `l1` and `l2` (squared) are means over locations and channels: ESRGAN's (Wang et al., 2018)
    and SRGAN's (Ledig et al., 2017). The others compare directions: at each location the
    feature vector is divided by its L2 norm over the channels. `unit_l1` and `unit_l2`
    (squared) are sums over channels of the difference of the two unit vectors, mean over
    locations; `unit_l2` is the distance of the metric `features`. `cosine`, half of `unit_l2`,
    is TecoGAN's (Chu et al., 2020). Features in bf16 or f16 are compared in f32.
    """
    with torch.no_grad():
        wanted = network(target)
    layers = [
        _feature_distance(_at_least_f32(here), _at_least_f32(there), kind)
        for here, there in zip(network(output), wanted, strict=True)
    ]
    return torch.stack(layers).mean()


def _feature_distance(here: Tensor, there: Tensor, kind: FeatureDistance) -> Tensor:
    match kind:
        case "l1":
            return (here - there).abs().mean()
        case "l2":
            return (here - there).square().mean()
        case "cosine":
            return (1 - F.cosine_similarity(here, there, dim=1)).mean()
        case "unit_l1":
            return (F.normalize(here, dim=1) - F.normalize(there, dim=1)).abs().sum(dim=1).mean()
        case "unit_l2":
            difference = F.normalize(here, dim=1) - F.normalize(there, dim=1)
            return difference.square().sum(dim=1).mean()


def _at_least_f32(features: Tensor) -> Tensor:
    return features.float() if features.element_size() < 4 else features


def frequency(output: Tensor, target: Tensor, window: int = 0) -> Tensor:
    """L1 between the amplitudes of the spectra of pictures (..., H, W), mean over frequencies.

    With a `window`, the spectra are those of squares of so many pixels, side by side; what is left
    over at the right and lower border is ignored. Orthonormal. Phases are free, so that detail
    whose position can't be known is asked for as well, and not averaged away as by a distance of
    pixels. The loss is a function of single pictures, so the detail that it adds is as steady as
    the input. After Fuoli et al., "Fourier space losses for efficient perceptual image
    super-resolution", 2021.
    """
    if window:
        output, target = (
            picture.unfold(-2, window, window).unfold(-2, window, window)
            for picture in (output, target)
        )
    amplitudes = [
        torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-12)
        for spectrum in (torch.fft.rfft2(picture, norm="ortho") for picture in (output, target))
    ]
    return (amplitudes[0] - amplitudes[1]).abs().mean()


def phase_means(output: Tensor, target: Tensor, scale: int, window: int = 6) -> Tensor:
    """Charbonnier distance of local means by phase, of pictures (N, C, sH, sW) with s = `scale`.

    A pixel's phase is its place in its s x s cell. The mean of each phase is taken over windows of
    `window` x `window` cells that overlap by half. A pattern with the period of the pixel shuffle
    shifts these means; natural detail averages out. Spectra and features hardly see the pattern:
    checkerboards are what generators make instead of texture (Odena et al., "Deconvolution and
    checkerboard artifacts", 2016).
    """
    found, wanted = (
        F.avg_pool2d(F.pixel_unshuffle(pictures, scale), window, max(window // 2, 1))
        for pictures in (output, target)
    )
    return charbonnier(found, wanted)


def discriminator_loss(kind: Adversarial, real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises, of its logits for real and for upscaled pictures.

    `vanilla` is the binary cross-entropy of Goodfellow et al. (2014), `least_squares` Mao et
    al.'s (2017), `hinge` Lim and Ye's (2017), `relativistic` Jolicoeur-Martineau's average
    (2019), which asks whether real ones are more real than upscaled ones are on average.
    """
    match kind:
        case "vanilla":
            return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
        case "least_squares":
            return ((real - 1).square().mean() + fake.square().mean()) / 2
        case "hinge":
            return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
        case "relativistic":
            over, under = real - fake.mean(), fake - real.mean()
            return (F.softplus(-over).mean() + F.softplus(under).mean()) / 2


def generator_loss(kind: Adversarial, real: Tensor, fake: Tensor) -> Tensor:
    """What a generator minimises, of a discriminator's logits; see `discriminator_loss`.

    Not saturating: `vanilla` is -log D. Real pictures matter to `relativistic` alone.
    """
    match kind:
        case "vanilla":
            return F.softplus(-fake).mean()
        case "least_squares":
            return (fake - 1).square().mean() / 2
        case "hinge":
            return -fake.mean()
        case "relativistic":
            over, under = real - fake.mean(), fake - real.mean()
            return (F.softplus(over).mean() + F.softplus(-under).mean()) / 2


def gradient_penalty(logits: Tensor, seen: Tensor) -> Tensor:
    """Half the squared norm of the gradient of mean logits by what was seen, mean over the batch.

    R1 for real pictures, R2 for upscaled ones (Mescheder et al., 2018). `logits` (N, ...) must
    have been computed of `seen` (N, ...), which requires a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.flatten(1).mean(dim=1).sum(), seen, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2
