"""The degradation `web`: simulate footage from uploads, DVDs and camcorders.

The stages are blur of a lens or scaler, downscaling, sharpening and noise of a camera, and encoding
as 4:2:0 at constant quality by a real encoder. Some films are encoded a second time, some of them
at another size. Parameters are drawn once per film and drift slightly over its length.
"""

import math
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from numpy.random import Generator as Random
from torch import Tensor

from vsr.errors import DataError
from vsr.imaging.colour import ColourSpec, Matrix, from_rgb, to_rgb
from vsr.imaging.degrade import (
    Scaler,
    blur_each,
    filter_and_subsample,
    gaussian_kernels,
    shrinking_kernels,
)
from vsr.imaging.tensors import on_8_bit_levels, resize_bicubic
from vsr.media.frame import Plane
from vsr.media.transcode import Coding, Transcoder

EVALUATION_SEED = 14
"""Seed of the parameters in evaluation, together with the name of the film."""

_SPEC = ColourSpec(Matrix.BT709)
_LONGEST_LEAD_IN = 11
"""Maximum count of frames that are encoded before a training clip."""
_DRIFT = 0.2
"""Logarithm of the largest change of blur and noise over a film."""
_GRAIN_REACH = 2
_SMALLEST_FIRST = 0.75
"""Minimum ratio of the sides of the first generation to those of the second."""
_SMALLEST_HEVC, _LARGEST_MPEG = 16, 4094


class Profile(StrEnum):
    """The origin of footage."""

    UPLOAD = "upload"
    """Encoded for streaming: H.264 or HEVC, long GOPs with B frames."""
    DVD = "dvd"
    """MPEG-2 with GOPs of 12 or 15 frames and B frames; edges are often sharpened."""
    CAMCORDER = "camcorder"
    """A small sensor and a simple encoder: MPEG-4, H.264 without B frames, or I frames only."""


_SHARES = {Profile.UPLOAD: 0.5, Profile.DVD: 0.2, Profile.CAMCORDER: 0.3}


@dataclass(frozen=True)
class _Ranges:
    """The ranges of a profile's parameters."""

    blur: tuple[float, float]
    """Sigma in low-resolution pixels."""
    sharp_share: float
    """Probability that edges are sharpened."""
    clean_share: float
    """Probability that there is no noise."""
    noise: tuple[float, float]
    """Standard deviation in code values."""
    reencoded_share: float
    """Probability that the film is encoded a second time."""


_RANGES = {
    Profile.UPLOAD: _Ranges(
        blur=(0.1, 0.45),
        sharp_share=0.2,
        clean_share=0.4,
        noise=(0.3, 3.0),
        reencoded_share=0.2,
    ),
    Profile.DVD: _Ranges(
        blur=(0.1, 0.4),
        sharp_share=0.4,
        clean_share=0.25,
        noise=(0.3, 2.5),
        reencoded_share=0.25,
    ),
    Profile.CAMCORDER: _Ranges(
        blur=(0.1, 0.55),
        sharp_share=0.5,
        clean_share=0.0,
        noise=(1.5, 6.0),
        reencoded_share=0.3,
    ),
}
_SOFT_SHARE = 0.7
"""Probability of blur before the scaler."""
_FIXED_SHARE = 0.15
"""Probability that a part of the noise is the same in all frames."""


@dataclass(frozen=True)
class Style:
    """The parameters drawn for one film."""

    profile: Profile
    scaler: Scaler
    blur: float
    """Sigma before downscaling, in low-resolution pixels."""
    halo: float
    """Sigma of the unsharp mask, in low-resolution pixels."""
    sharpening: float
    """Amount of the unsharp mask; 0 is none."""
    noise: float
    """Standard deviation in code values; of shot noise, at white."""
    shot_noise: bool
    """Whether noise grows with the square root of brightness."""
    grey: bool
    """Whether noise is the same in all channels."""
    grain: float
    """Sigma in pixels of the blur of the noise; 0 is white noise."""
    fixed: float
    """Share of the noise's standard deviation that is the same in all frames."""
    fixed_seed: int
    phase: float
    """Of the drift, in radians."""
    period: float
    """Of the drift, in frames."""
    codings: tuple[Coding, ...]
    """One or two generations."""
    first_size: float
    """Ratio of the sides of the first generation to those of the last."""

    def drift(self, times: Tensor) -> Tensor:
        """Return the factor of blur and noise at frame indices (T)."""
        angle = 2 * math.pi / self.period * times + self.phase
        return torch.exp(_DRIFT * torch.sin(angle))


def draw_style(random: Random, size: tuple[int, int], profile: Profile | None = None) -> Style:
    """Draw the parameters of a film of `size` = (height, width) low-resolution pixels."""
    drawn = list(_SHARES)[int(random.choice(len(_SHARES), p=list(_SHARES.values())))]
    profile = profile or drawn
    ranges = _RANGES[profile]
    is_soft, is_sharp, is_clean = random.random(3) < (
        _SOFT_SHARE,
        ranges.sharp_share,
        ranges.clean_share,
    )
    is_reencoded = bool(random.random() < ranges.reencoded_share)
    codings = [_draw_coding(profile, random)]
    if is_reencoded:
        codings.append(_draw_second_coding(random))
    return Style(
        profile=profile,
        scaler=list(Scaler)[int(random.integers(len(Scaler)))],
        blur=float(random.uniform(*ranges.blur)) * is_soft,
        halo=float(random.uniform(0.6, 1.2)),
        sharpening=float(random.uniform(0.15, 0.5)) * is_sharp,
        noise=_log_uniform(*ranges.noise, random) * (not is_clean),
        shot_noise=bool(random.random() < 0.5),
        grey=bool(random.random() < 0.4),
        grain=float(random.uniform(0.3, 0.8)) * bool(random.random() < 0.5),
        fixed=float(random.uniform(0.3, 1)) * bool(random.random() < _FIXED_SHARE),
        fixed_seed=int(random.integers(2**62)),
        phase=float(random.uniform(0, 2 * math.pi)),
        period=float(random.uniform(60, 300)),
        codings=tuple(_fitting(coding, size) for coding in codings),
        first_size=float(random.uniform(_SMALLEST_FIRST, 1))
        if is_reencoded and random.random() < 0.5
        else 1.0,
    )


def degrade_clip_as_web(
    high: Tensor, scale: int, random: Random, noise_seed: int, profile: Profile | None = None
) -> Tensor:
    """Degrade a clip (T, 3, sH, sW) in [0, 1] to (T, 3, H, W); H and W must be even.

    Up to 11 of its first frames, mirrored in time, are encoded before it, so that the clip starts
    anywhere between two I frames. The same `random` and `noise_seed` give the same clip.
    """
    frames = len(high)
    size = (high.shape[-2] // scale, high.shape[-1] // scale)
    style = draw_style(random, size, profile)
    lead_in = int(random.integers(_LONGEST_LEAD_IN + 1))
    times = torch.arange(frames)
    low = _shrink(high, scale, style, times)
    distances = torch.arange(-lead_in, frames).abs() % max(2 * frames - 2, 1)
    indices = torch.minimum(distances, 2 * frames - 2 - distances)
    recorder = _Recorder(style, size, noise_seed)
    coded = [*recorder.push(low[indices], times[indices]), *recorder.finish()][lead_in:]
    planes = [torch.from_numpy(np.stack(plane)) for plane in zip(*coded, strict=True)]
    return to_rgb([plane.to(high.device) for plane in planes], _SPEC)


def degrade_film_as_web(
    frames: Iterable[tuple[Tensor, bool]], scale: int, name: str, profile: Profile | None = None
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Degrade a film frame by frame: iterate over (low, target, begins_shot).

    `frames` are (3, H, W) with the flag of `CutMarker`; targets are cropped to multiples of 2
    `scale`. The film is encoded as a whole, across cuts. Its parameters and noise depend on `name`
    alone. About 20 frames are buffered. Raises `DataError` for frames smaller than 2 `scale`.
    """
    seed = zlib.crc32(name.encode())
    recorder: _Recorder | None = None
    waiting: deque[tuple[Tensor, bool]] = deque()

    def finished(planes: tuple[Plane, ...]) -> tuple[Tensor, Tensor, bool]:
        target, begins_shot = waiting.popleft()
        coded = [torch.from_numpy(plane).to(target.device) for plane in planes]
        return on_8_bit_levels(to_rgb(coded, _SPEC)), target, begins_shot

    for index, (frame, begins_shot) in enumerate(frames):
        height, width = (side - side % (2 * scale) for side in frame.shape[-2:])
        if recorder is None:
            if not height or not width:
                sides = f"{frame.shape[-1]}x{frame.shape[-2]}"
                raise DataError(f"{name}: {sides} is too small for the degradation web at x{scale}")
            size = (height // scale, width // scale)
            style = draw_style(np.random.default_rng((EVALUATION_SEED, seed)), size, profile)
            recorder = _Recorder(style, size, seed)
        target = frame[:, :height, :width]
        waiting.append((target, begins_shot))
        times = torch.tensor([index])
        for planes in recorder.push(_shrink(target[None], scale, style, times), times):
            yield finished(planes)
    if recorder is not None:
        for planes in recorder.finish():
            yield finished(planes)


class _Recorder:
    """Adds sensor noise and encodes one film; frames are returned in order, with a delay."""

    def __init__(self, style: Style, size: tuple[int, int], noise_seed: int) -> None:
        self._style = style
        self._size = size
        self._random = torch.Generator().manual_seed(noise_seed)
        fixed = torch.Generator().manual_seed(style.fixed_seed)
        self._pattern = self._noise(1, fixed)
        first = _even(size, style.first_size)
        sizes = (first, size) if len(style.codings) > 1 else (size,)
        self._generations = [
            (side, Transcoder(coding, *side))
            for side, coding in zip(sizes, style.codings, strict=True)
        ]

    def push(self, low: Tensor, times: Tensor) -> Iterator[tuple[Plane, ...]]:
        """Add frames (T, 3, H, W) with their indices in the film; iterate over finished ones."""
        noisy = self._noisy(low, times).clamp(0, 1)
        y, cb, cr = (plane.cpu().numpy() for plane in from_rgb(noisy, _SPEC))
        for planes in zip(y, cb, cr, strict=True):
            yield from self._encode(planes, 0)

    def finish(self) -> Iterator[tuple[Plane, ...]]:
        """Iterate over the remaining frames."""
        for index, (_, transcoder) in enumerate(self._generations):
            for planes in transcoder.finish():
                yield from self._encode(planes, index + 1)

    def _encode(self, planes: tuple[Plane, ...], first: int) -> Iterator[tuple[Plane, ...]]:
        """Encode a frame by the generations from index `first` on."""
        if first == len(self._generations):
            yield planes
            return
        size, transcoder = self._generations[first]
        for coded in transcoder.push(_resized(planes, size)):
            yield from self._encode(coded, first + 1)

    def _noisy(self, low: Tensor, times: Tensor) -> Tensor:
        style = self._style
        if not style.noise:
            return low
        new = math.sqrt(1 - style.fixed**2)
        noise = new * self._noise(len(low), self._random) + style.fixed * self._pattern
        deviation = (style.noise / 255 * style.drift(times))[:, None, None, None].to(low.device)
        if style.shot_noise:
            deviation = deviation * low.clamp(0, 1).sqrt()
        return low + noise.to(low.device) * deviation

    def _noise(self, count: int, random: torch.Generator) -> Tensor:
        """Draw noise (count, 3 or 1, H, W) of standard deviation 1, on the CPU for every device."""
        noise = torch.randn((count, 1 if self._style.grey else 3, *self._size), generator=random)
        if not self._style.grain:
            return noise
        sigmas = torch.full((count, 2), self._style.grain)
        kernels = gaussian_kernels(sigmas, torch.zeros(count), _GRAIN_REACH)
        strength = kernels[0].square().sum().sqrt()
        return blur_each(noise, kernels) / strength


def _shrink(high: Tensor, scale: int, style: Style, times: Tensor) -> Tensor:
    """Blur, downscale and sharpen frames to (T, 3, H, W)."""
    drift = style.drift(times)
    kernels = shrinking_kernels(style.scaler, scale, style.blur * scale * drift)
    low = filter_and_subsample(high, scale, kernels)
    if not style.sharpening:
        return low
    sigmas = torch.full((len(low), 2), style.halo)
    soft = blur_each(low, gaussian_kernels(sigmas, torch.zeros(len(low)), 3).to(low.device))
    return low + style.sharpening * (low - soft)


def _draw_coding(profile: Profile, random: Random) -> Coding:
    chance = random.random()

    def between(low: int, high: int) -> int:
        return int(random.integers(low, high + 1))

    match profile:
        case Profile.UPLOAD if chance < 0.8:
            preset = ("veryfast", "fast", "medium")[between(0, 2)]
            return Coding("h264", between(23, 34), group=250, b_frames=between(2, 3), preset=preset)
        case Profile.UPLOAD:
            return Coding("hevc", between(25, 34), group=250, b_frames=3, preset="superfast")
        case Profile.DVD:
            return Coding("mpeg2", between(2, 8), group=(12, 15)[between(0, 1)], b_frames=2)
        case Profile.CAMCORDER if chance < 0.4:
            return Coding("h264", between(22, 33), between(15, 60), baseline=True)
        case Profile.CAMCORDER if chance < 0.8:
            return Coding("mpeg4", between(2, 8), group=between(12, 250), b_frames=between(0, 1))
        case Profile.CAMCORDER:
            return Coding("mpeg2", between(3, 8), group=1)


def _draw_second_coding(random: Random) -> Coding:
    """Draw the coding of footage that is uploaded after an earlier encoding."""
    return Coding("h264", int(random.integers(22, 30)), group=250, b_frames=2)


def _fitting(coding: Coding, size: tuple[int, int]) -> Coding:
    """Replace a codec by H.264 where it doesn't support the size of the frames."""
    smallest = math.floor(_SMALLEST_FIRST * min(size)) - 1
    if coding.codec == "hevc" and smallest < _SMALLEST_HEVC:
        return replace(coding, codec="h264")
    if coding.codec in ("mpeg2", "mpeg4") and max(size) > _LARGEST_MPEG:
        return replace(coding, codec="h264", quantiser=24 + coding.quantiser)
    return coding


def _log_uniform(low: float, high: float, random: Random) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _even(size: tuple[int, int], share: float) -> tuple[int, int]:
    height, width = (max(2 * round(side * share / 2), 2) for side in size)
    return height, width


def _resized(planes: tuple[Plane, ...], size: tuple[int, int]) -> tuple[Plane, ...]:
    """Resize each plane of a frame."""
    height, width = size
    if planes[0].shape == size:
        return planes
    sizes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    resized = (
        resize_bicubic(torch.from_numpy(plane)[None, None].float(), side)
        for plane, side in zip(planes, sizes, strict=True)
    )
    return tuple(plane[0, 0].round().clamp(0, 255).to(torch.uint8).numpy() for plane in resized)
