"""Degrade clips as real footage: lens, sensor, scaler and codec, drifting along the clip.

Two rounds of blur, resizing, noise and JPEG, as in Real-ESRGAN (Wang et al., 2021), then
a real video codec over the whole clip, as in RealBasicVSR (Chan et al., 2022).
"""

import cv2
import numpy as np
import torch
from numpy.random import Generator as Random
from torch import Tensor
from torch.nn import functional as F

from vsr.data.clip_codec import LossyCodec, recompress
from vsr.imaging.colour import ColourSpec, Matrix, from_rgb, to_rgb
from vsr.imaging.degrade import (
    add_gaussian_noise,
    add_poisson_noise,
    blur_each,
    gaussian_kernels,
    sinc_kernels,
)
from vsr.imaging.tensors import resize_bicubic, to_float, to_uint8

_SINC_SHARE = 0.1
_H264_SHARE = 0.7
_DRIFT = 0.3
"""Largest drift of a parameter along a clip, as a share of its logarithmic range."""
_LOW_SPEC = ColourSpec(Matrix.BT709)


def degrade_as_real(
    high: Tensor, scale: int, strength: float, random: Random, noise_seed: int
) -> Tensor:
    """Shrink a clip (T, 3, sH, sW) in [0, 1] to (T, 3, H, W) as cameras and codecs would.

    At `strength` 1, for x4: Gaussian blur of sigma 0.2 to 3 (or, for a tenth, a sinc filter),
    resizing by 0.15 to 1.5, noise of 1 to 30 code values, JPEG of quality 30 to 95, then the
    same at half the strength, and H.264 or MPEG-4. A lower strength narrows each range towards no
    effect. Equal `random` and `noise_seed` give equal clips. sH / s and sW / s must be even.
    """
    frames, _, height, width = high.shape
    low_size = (height // scale, width // scale)
    noise = torch.Generator().manual_seed(noise_seed)
    clip = high
    for base, round_strength in (((height, width), strength), (low_size, 0.5 * strength)):
        clip = _blur(clip, scale, round_strength, random)
        share = _log_uniform(random, 0.15**round_strength, 1.5**round_strength)
        size = [
            max(round(side * share), low_side // 2)
            for side, low_side in zip(base, low_size, strict=True)
        ]
        clip = _resize(clip, (size[0], size[1]), random)
        clip = _add_noise(clip, round_strength, random, noise)
        clip = _jpeg(clip, _drifting(frames, 95 - 65 * round_strength, 95, random))
    clip = _resize(clip, low_size, random).clamp(0, 1)
    if random.random() < _H264_SHARE:
        return through_codec(clip, "h264", int(random.integers(16, 18 + round(14 * strength))))
    return through_codec(clip, "mpeg4", int(random.integers(2, 4 + round(6 * strength))))


def through_codec(low: Tensor, codec: LossyCodec, level: int) -> Tensor:
    """Convert a clip (T, 3, H, W) to 4:2:0 and apply `vsr.data.clip_codec.recompress`."""
    planes = [plane.cpu().numpy() for plane in from_rgb(low.clamp(0, 1), _LOW_SPEC)]
    coded = recompress((planes[0], planes[1], planes[2]), codec, level)
    return to_rgb([torch.from_numpy(plane).to(low.device) for plane in coded], _LOW_SPEC)


def _log_uniform(random: Random, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _drifting(frames: int, low: float, high: float, random: Random) -> Tensor:
    """Draw a log-uniform parameter (T) that drifts from one value to a nearby one."""
    span = np.log(high / low)
    start = random.uniform(0, 1)
    end = np.clip(start + random.uniform(-_DRIFT, _DRIFT), 0, 1)
    values = low * np.exp(span * np.linspace(start, end, frames))
    return torch.from_numpy(values.astype(np.float32))


def _blur(clip: Tensor, scale: int, strength: float, random: Random) -> Tensor:
    frames = len(clip)
    if random.random() < _SINC_SHARE:
        cutoffs = _drifting(frames, np.pi * 3**-strength, np.pi, random).to(clip.device)
        return blur_each(clip, sinc_kernels(cutoffs, reach=6))
    largest = 0.2 + (0.75 * scale - 0.2) * strength
    one = _drifting(frames, 0.2, largest, random)
    other = one if random.random() < 0.5 else _drifting(frames, 0.2, largest, random)
    angles = torch.full((frames,), random.uniform(0, np.pi))
    kernels = gaussian_kernels(torch.stack((one, other), dim=1), angles, reach=int(2 * largest) + 1)
    return blur_each(clip, kernels.to(clip.device))


def _resize(clip: Tensor, size: tuple[int, int], random: Random) -> Tensor:
    """Resize by bicubic, bilinear or area interpolation."""
    method = random.integers(3)
    if tuple(clip.shape[-2:]) == size:
        return clip
    if method == 0:
        return resize_bicubic(clip, size)
    if method == 1:
        return F.interpolate(clip, size=size, mode="bilinear", antialias=True)
    return F.interpolate(clip, size=size, mode="area")


def _add_noise(clip: Tensor, strength: float, random: Random, noise: torch.Generator) -> Tensor:
    sigmas = _drifting(len(clip), 1, 1 + 29 * strength, random) / 255
    if random.random() < 0.5:
        return add_gaussian_noise(clip, sigmas, random.random() < 0.4, noise)
    return add_poisson_noise(clip, sigmas, noise)


def _jpeg(clip: Tensor, qualities: Tensor) -> Tensor:
    """Compress each frame as JPEG at its own quality."""
    pictures = to_uint8(clip).permute(0, 2, 3, 1).cpu().numpy()
    decoded = []
    for picture, quality in zip(pictures, qualities.tolist(), strict=True):
        _, coded = cv2.imencode(
            ".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, round(quality)]
        )
        restored = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
        decoded.append(restored[..., ::-1])
    result = torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2)
    return to_float(result.to(clip.device))
