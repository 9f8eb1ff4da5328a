"""Losses: functions of pictures in [0, 1], of features and of flows."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.tensors import warp

_CONFIDENCE_DECAY = 50.0
"""Decay of the confidence in a flow by its squared warping error (Lai et al., 2018)."""

PHASE_WINDOW, IMBALANCE_WINDOW = 6, 8
"""Sides in cells of the windows of `phase_means` and of `phase_imbalance`."""
_DETAIL_FLOOR = 4 / 255
"""Differences below it hardly count in `phase_imbalance`: noise in flat areas."""

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
    """Charbonnier distance of frames (N, C, H, W) from the warped previous frames.

    `flow` (N, 2, H, W) leads back to the previous frame, in pixels. The unsupervised loss of
    motion networks (Yu et al., "Back to basics", 2016).
    """
    return charbonnier(warp(previous, flow), current)


def ping_pong(forwards: Tensor, backwards: Tensor) -> Tensor:
    """L1 between the outputs of a forward and of a backward pass, any equal shapes.

    Frames are in the same order. Drift makes the two differ (Chu et al., 2020).
    """
    return (forwards - backwards).abs().mean()


def warped_consistency(output: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    """Excess change of clips (B, T, C, H, W) along the target's motion over the target's change.

    `flow` (B, T - 1, 2, H, W) is the target's, from each frame back to the one before, in pixels.
    The L1 distance of each output from the warped output before it, minus that of the target,
    where positive. Each pixel is weighted by exp(-50 d^2), d the colour distance between the
    target and its warped predecessor, so that pixels with a wrong flow hardly count. Mean over all
    pixels. After Lai et al., "Learning blind video temporal consistency", 2018, who penalise any
    change: with a flow that errs by a fraction of a pixel, that favours blur.
    """
    flat = flow.flatten(0, 1)
    current, previous = target[:, 1:].flatten(0, 1), target[:, :-1].flatten(0, 1)
    with torch.no_grad():
        own = current - warp(previous, flat)
        confidence = torch.exp(-_CONFIDENCE_DECAY * own.square().sum(dim=1, keepdim=True))
    change = output[:, 1:].flatten(0, 1) - warp(output[:, :-1].flatten(0, 1), flat)
    return (confidence * F.relu(change.abs() - own.abs())).mean()


def feature_matching(output: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """L1 between a discriminator's features of outputs and of targets, mean over layers.

    No gradient flows into `target`. Wang et al., "High-resolution image
    synthesis and semantic manipulation with conditional GANs", 2018.
    """
    layers = [
        (ours - wanted.detach()).abs().mean() for ours, wanted in zip(output, target, strict=True)
    ]
    return torch.stack(layers).mean()


def perceptual(
    output: Sequence[Tensor], target: Sequence[Tensor], distance: FeatureDistance = "l1"
) -> Tensor:
    """Distance of pictures in a network's features (N, C, h, w), mean over its layers.

    `l1` and `l2` (squared) are means over locations and channels: ESRGAN's (Wang et al., 2018)
    and SRGAN's (Ledig et al., 2017). The others compare directions: at each location the
    feature vector is divided by its L2 norm over the channels. `unit_l1` and `unit_l2`
    (squared) are sums over channels of the difference of the two unit vectors, mean over
    locations; `unit_l2` is the distance of the metric `features`. `cosine`, half of `unit_l2`,
    is TecoGAN's (Chu et al., 2020). Features in bf16 or f16 are compared in f32. No gradient
    flows into `target`.
    """
    layers = [
        _feature_distance(_at_least_f32(ours), _at_least_f32(theirs.detach()), distance)
        for ours, theirs in zip(output, target, strict=True)
    ]
    return torch.stack(layers).mean()


def _feature_distance(output: Tensor, target: Tensor, distance: FeatureDistance) -> Tensor:
    match distance:
        case "l1":
            return (output - target).abs().mean()
        case "l2":
            return (output - target).square().mean()
        case "cosine":
            return (1 - F.cosine_similarity(output, target, dim=1)).mean()
        case "unit_l1":
            return (F.normalize(output, dim=1) - F.normalize(target, dim=1)).abs().sum(dim=1).mean()
        case "unit_l2":
            difference = F.normalize(output, dim=1) - F.normalize(target, dim=1)
            return difference.square().sum(dim=1).mean()


def _at_least_f32(features: Tensor) -> Tensor:
    return features.float() if features.element_size() < 4 else features


def frequency(output: Tensor, target: Tensor, window: int = 0) -> Tensor:
    """L1 between the amplitudes of the spectra of pictures (..., H, W), mean over frequencies.

    With a `window`, the spectra are those of adjacent squares of `window` pixels; the remainder at
    the right and lower border is ignored. The transform is orthonormal. Phases are free: detail
    whose position is unknown is learnt too, where a pixel loss averages it away. The loss is a
    function of single pictures, so the detail that it adds is as steady as the input. After Fuoli
    et al., "Fourier space losses for efficient perceptual image super-resolution", 2021.
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


def phase_means(output: Tensor, target: Tensor, scale: int, window: int = PHASE_WINDOW) -> Tensor:
    """Charbonnier distance of local means by phase, of pictures (N, C, sH, sW) with s = `scale`.

    The phase of a pixel is its position in its s x s cell. The mean of each phase is taken over
    windows of `window` x `window` cells that overlap by half. A pattern with the period of the
    pixel shuffle shifts these means; natural detail averages out. Losses of spectra and of
    features hardly respond to the pattern, which generators produce instead of texture (Odena et
    al., "Deconvolution and checkerboard artifacts", 2016).
    """
    found, wanted = (
        F.avg_pool2d(F.pixel_unshuffle(pictures, scale), window, max(window // 2, 1))
        for pictures in (output, target)
    )
    return charbonnier(found, wanted)


def phase_imbalance(
    output: Tensor, target: Tensor, scale: int, window: int = IMBALANCE_WINDOW
) -> Tensor:
    """Excess imbalance of the detail of pictures (N, C, sH, sW) over the phases of their cells.

    The phase of a pixel is its position in its s x s cell, with s = `scale`. Detail is the absolute
    value of first and second differences to neighbours in four directions. Its mean by phase is
    taken over windows of `window` x `window` cells that overlap by half. The imbalance is the mean
    absolute deviation of these means, divided by their mean, averaged over windows and pictures.
    Natural detail has no preferred phase. Generators repeat one pattern in each cell instead of
    texture, whose local means, which `phase_means` compares, can be even. The imbalance of the
    target, due to its few samples, is subtracted. The loss is the mean, over differences and
    channels, of the positive part.
    """
    with torch.no_grad():
        allowed = _imbalance(target, scale, window)
    return F.relu(_imbalance(output, scale, window) - allowed).mean()


def _imbalance(pictures: Tensor, scale: int, window: int) -> Tensor:
    """Relative deviation of the mean detail of phases: one value per difference and channel."""
    middle = pictures[..., 1:-1, 1:-1]
    parts = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        before, after = (
            pictures[..., 1 + y : pictures.shape[-2] - 1 + y, 1 + x : pictures.shape[-1] - 1 + x]
            for y, x in ((-down, -right), (down, right))
        )
        parts += [middle - before, 2 * middle - before - after]
    detail = torch.cat(parts, dim=1).square().add(_DETAIL_FLOOR**2).sqrt()
    # A border of one pixel has no neighbours; it is filled, to keep the phases.
    detail = F.pad(detail, (1, 1, 1, 1), mode="replicate")
    phases = F.avg_pool2d(F.pixel_unshuffle(detail, scale), window, max(window // 2, 1))
    phases = phases.view(len(phases), -1, scale**2, *phases.shape[-2:])
    mean = phases.mean(dim=2, keepdim=True)
    deviation = (phases - mean).abs().mean(dim=2) / mean.squeeze(2)
    return deviation.mean(dim=(0, 2, 3))


def discriminator_loss(adversarial: Adversarial, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of a discriminator, from its logits of real and of upscaled pictures.

    `vanilla` is the binary cross-entropy of Goodfellow et al. (2014), `least_squares` Mao et
    al.'s (2017), `hinge` Lim and Ye's (2017), `relativistic` Jolicoeur-Martineau's average
    (2019), which compares real pictures with the average of upscaled ones, and vice versa.
    """
    match adversarial:
        case "vanilla":
            return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
        case "least_squares":
            return ((real - 1).square().mean() + fake.square().mean()) / 2
        case "hinge":
            return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
        case "relativistic":
            over, under = real - fake.mean(), fake - real.mean()
            return (F.softplus(-over).mean() + F.softplus(under).mean()) / 2


def generator_loss(adversarial: Adversarial, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of a generator, from a discriminator's logits; see `discriminator_loss`.

    The non-saturating form: `vanilla` is -log D. Only `relativistic` depends on real pictures.
    """
    match adversarial:
        case "vanilla":
            return F.softplus(-fake).mean()
        case "least_squares":
            return (fake - 1).square().mean() / 2
        case "hinge":
            return -fake.mean()
        case "relativistic":
            over, under = real - fake.mean(), fake - real.mean()
            return (F.softplus(over).mean() + F.softplus(-under).mean()) / 2


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Half the squared norm of the gradient of mean logits by `images`, mean over the batch.

    R1 for real pictures, R2 for upscaled ones (Mescheder et al., 2018). `logits` (N, ...) must
    have been computed from `images` (N, ...), which require a gradient.
    """
    (gradient,) = torch.autograd.grad(
        logits.flatten(1).mean(dim=1).sum(), images, create_graph=True
    )
    return gradient.square().flatten(1).sum(dim=1).mean() / 2
