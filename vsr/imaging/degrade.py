"""Degrade high-resolution frames by blur, downscaling and noise."""

import math
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.tensors import on_8_bit_levels, resize_bicubic


class Degradation(StrEnum):
    """A deterministic degradation."""

    BI = "bi"
    """Antialiased bicubic downscaling: MATLAB's `imresize`, Pillow's `BICUBIC`."""
    BD = "bd"
    """Gaussian blur, then every s-th pixel."""


class Phase(StrEnum):
    """The position in each s x s cell that `bd` samples."""

    MIDDLE = "middle"
    """Low and high frames are aligned, as in `bi`."""
    FIRST = "first"
    """Pixel 0, as in the literature's `frames[::s, ::s]`: low frames are shifted by
    (s - 1) / 2 high-resolution pixels."""


BD_SIGMA_PER_SCALE = 0.4
"""Sigma of `bd` in high-resolution pixels, divided by the scale: 1.6 at x4, as in BasicVSR
(Chan et al., 2021); TecoGAN (Chu et al., 2020) uses 1.5."""


def degrade(
    high: Tensor,
    scale: int,
    degradation: Degradation,
    sigma: float | None = None,
    phase: Phase = Phase.MIDDLE,
) -> Tensor:
    """Downscale (N, 3, sH, sW) in [0, 1] to (N, 3, H, W), rounded to the levels of an 8-bit file.

    `sigma`, by default 0.4 s pixels, and `phase` apply to `bd`. Raises ValueError where the sides
    aren't divisible by `scale`.
    """
    height, width = high.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"{width}x{height} doesn't divide by {scale}")
    match degradation:
        case Degradation.BI:
            low = resize_bicubic(high, (height // scale, width // scale))
        case Degradation.BD:
            low = blur_and_subsample(high, scale, sigma or BD_SIGMA_PER_SCALE * scale, phase)
    return on_8_bit_levels(low)


def blur_and_subsample(
    high: Tensor, scale: int, sigma: float, phase: Phase = Phase.MIDDLE
) -> Tensor:
    """Compute the Gaussian-weighted mean at one position of each s x s cell of (N, 3, sH, sW).

    The middle of a cell with even sides is between pixels, where the kernel is centred. Borders are
    repeated.
    """
    reach = math.ceil(3 * sigma)
    # Taps at integer pixels around the centre, at (s - 1) / 2 or at 0.
    centre = (scale - 1) / 2 if phase is Phase.MIDDLE else 0.0
    first, last = math.floor(centre - reach), math.ceil(centre + reach)
    taps = torch.arange(first, last + 1, dtype=high.dtype, device=high.device) - centre
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    channels = high.shape[1]
    pad = (-first, last + 1 - scale, -first, last + 1 - scale)
    padded = F.pad(high, pad, mode="replicate")
    across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    down = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    blurred = F.conv2d(padded, across, stride=(1, scale), groups=channels)
    return F.conv2d(blurred, down, stride=(scale, 1), groups=channels)


class Scaler(StrEnum):
    """A downscaling filter of video scalers."""

    BICUBIC = "bicubic"
    """Keys' kernel with a = -0.5."""
    BILINEAR = "bilinear"
    """A triangular kernel."""
    AREA = "area"
    """The mean of each cell."""
    LANCZOS = "lanczos"
    """A windowed sinc with three lobes."""


def shrinking_kernels(scaler: Scaler, scale: int, sigmas: Tensor) -> Tensor:
    """Return 1D kernels (N, k) that combine a Gaussian blur with downscaling by `scale`.

    `sigmas` (N) are in high-resolution pixels; 0 is no blur. Kernels are centred on a cell of
    `scale` pixels, between pixels for an even `scale`. Each kernel has sum 1.
    """
    reach = 3 * scale
    taps = torch.arange(-reach, reach + scale, dtype=torch.float32) - (scale - 1) / 2
    x = (taps / scale).abs()
    match scaler:
        case Scaler.BICUBIC:
            near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
            shape = torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
        case Scaler.BILINEAR:
            shape = (1 - x).clamp_min(0)
        case Scaler.AREA:
            shape = (x < 0.5).float()
        case Scaler.LANCZOS:
            shape = torch.where(x < 3, torch.sinc(x) * torch.sinc(x / 3), 0.0)
    shape = shape[x < 3]
    spread = math.ceil(3 * float(sigmas.max()))
    offsets = torch.arange(-spread, spread + 1, dtype=torch.float32)
    blurs = torch.exp(-0.5 * (offsets / sigmas.clamp_min(1e-2)[:, None]) ** 2)
    padded = F.pad(shape, (2 * spread, 2 * spread)).unfold(0, 2 * spread + 1, 1)
    kernels = blurs @ padded.T
    unit: Tensor = kernels / kernels.sum(dim=1, keepdim=True)
    return unit


def filter_and_subsample(high: Tensor, scale: int, kernels: Tensor) -> Tensor:
    """Downscale (N, C, sH, sW) to (N, C, H, W) by a separable kernel (N, k) per frame.

    Kernels are those of `shrinking_kernels`; k - `scale` is even. Borders are repeated.
    """
    count, channels, height, width = high.shape
    reach = (kernels.shape[1] - scale) // 2
    padded = F.pad(high, (reach,) * 4, mode="replicate").flatten(0, 1)[None]
    weights = kernels.to(high).repeat_interleave(channels, dim=0)[:, None]
    groups = count * channels
    down = F.conv2d(padded, weights[..., None], stride=(scale, 1), groups=groups)
    across = F.conv2d(down, weights[:, :, None], stride=(1, scale), groups=groups)
    return across.view(count, channels, height // scale, width // scale)


def gaussian_kernels(sigmas: Tensor, angles: Tensor, reach: int) -> Tensor:
    """Return Gaussian kernels (N, 2r + 1, 2r + 1), each with sum 1.

    `sigmas` (N, 2) are in pixels, along axes rotated by `angles` (N) radians.
    """
    offsets = torch.arange(-reach, reach + 1, dtype=sigmas.dtype, device=sigmas.device)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    cosine, sine = torch.cos(angles)[:, None, None], torch.sin(angles)[:, None, None]
    along, across = cosine * x + sine * y, cosine * y - sine * x
    wide = sigmas.clamp_min(1e-2)[:, :, None, None]
    kernels = torch.exp(-0.5 * ((along / wide[:, 0]) ** 2 + (across / wide[:, 1]) ** 2))
    unit: Tensor = kernels / kernels.sum(dim=(-2, -1), keepdim=True)
    return unit


def sinc_kernels(cutoffs: Tensor, reach: int) -> Tensor:
    """Return circular ideal low-pass kernels (N, 2r + 1, 2r + 1), each with sum 1.

    `cutoffs` (N) are in radians per pixel. The kernels ring, like sharpening and coding.
    """
    offsets = torch.arange(-reach, reach + 1, dtype=cutoffs.dtype, device=cutoffs.device)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    distance = torch.sqrt(x**2 + y**2).clamp_min(1e-6)
    cutoff = cutoffs[:, None, None]
    kernels = cutoff * torch.special.bessel_j1(cutoff * distance) / (2 * math.pi * distance)
    unit: Tensor = kernels / kernels.sum(dim=(-2, -1), keepdim=True)
    return unit


def blur_each(frames: Tensor, kernels: Tensor) -> Tensor:
    """Filter each frame of (T, 3, H, W) by its own kernel of (T, k, k); borders are repeated."""
    count, channels = frames.shape[:2]
    reach = kernels.shape[-1] // 2
    padded = F.pad(frames, (reach,) * 4, mode="replicate").flatten(0, 1)[None]
    weight = kernels.repeat_interleave(channels, dim=0)[:, None]
    return F.conv2d(padded, weight, groups=count * channels).view(frames.shape)


def add_gaussian_noise(
    frames: Tensor, sigmas: Tensor, grey: bool, random: torch.Generator
) -> Tensor:
    """Add Gaussian noise of standard deviation `sigmas` (T), in [0, 1], to (T, 3, H, W).

    `grey` noise is equal in all channels. Noise is drawn on the CPU, for the same result on every
    device.
    """
    shape = (frames.shape[0], 1 if grey else 3, *frames.shape[2:])
    noise = torch.randn(shape, generator=random).to(frames.device)
    return frames + noise * sigmas.to(frames.device)[:, None, None, None]


def add_poisson_noise(frames: Tensor, strengths: Tensor, random: torch.Generator) -> Tensor:
    """Add shot noise: its variance is `strengths` (T) squared at white, and falls with brightness.

    The Poisson distribution is approximated by a Gaussian of the same variance, which is close at
    such counts.
    """
    noise = torch.randn(frames.shape, generator=random).to(frames.device)
    deviation = strengths.to(frames.device)[:, None, None, None] * frames.clamp(0, 1).sqrt()
    return frames + noise * deviation
