"""Training pairs of low-resolution and target clips, cut and degraded on the fly."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator as Random
from numpy.typing import NDArray
from torch import Tensor

from vsr.data.camera_motion import glide
from vsr.data.clip_pool import ClipPool
from vsr.data.config import DataConfig
from vsr.data.real_degradation import degrade_as_real, through_codec
from vsr.data.sensor_noise import add_sensor_noise, as_grey
from vsr.data.targets import CropArea, FrameRange, SourceCrop, Targets
from vsr.errors import DataError
from vsr.frames.web_degradation import degrade_clip_as_web
from vsr.imaging.degrade import Degradation, add_gaussian_noise, degrade
from vsr.imaging.tensors import on_8_bit_levels, to_float

_MARGIN = 4
"""Low-resolution pixels around a crop that filters may read; removed after degrading."""
_LENGTH_POWER = 0.5
"""A source is chosen by its frames to this power: a long one varies more, but not in proportion."""
_SHORTEST_RANGE = 7
"""Frames that a range must have at least, or those of a clip if that is shorter."""


class ClipShape(NamedTuple):
    """Size of the clips of a batch."""

    frames: int
    crop: int
    """Side in low-resolution pixels, even."""


class ClipPair(NamedTuple):
    """A training clip, float RGB in [0, 1]."""

    low: Tensor
    """(T, 3, H, W): the degraded input."""
    target: Tensor
    """(T, 3, sH, sW): the desired output."""
    clean: Tensor
    """(T, 3, H, W): the input without noise and compression, for the temporal filter."""
    footage: Tensor | None = None
    """(T, 3, sH, sW): the target without a teacher's outputs, if those are part of it."""


class ClipPairs:
    """Endless, seeded sequence of (low, target) clips: equal indices give equal clips.

    A clip is endless, too: each segment continues where the previous one stops.
    """

    def __init__(
        self, pool: ClipPool, config: DataConfig, scale: int, seed: int, shape: ClipShape
    ) -> None:
        """Raises `DataError` if no clip of the data set is long and large enough."""
        self._pool = pool
        self._config = config
        self._scale = scale
        self._seed = seed
        self._shape = shape
        self._side = side = (shape.crop + 2 * _MARGIN) * scale
        self._targets = Targets(pool, config, scale)
        self._films = self._large_enough(self._targets.films)
        self._native = self._large_enough(self._targets.native)
        pictures = pool.pictures or pool.films
        self._pictures = [clip for clip in pictures if min(clip.height, clip.width) >= 2 * side]
        if not (self._films or self._native or self._pictures):
            raise DataError(
                f"{pool.store.folder}: no film in it has {side}x{side} pixels, and no photograph "
                f"{2 * side}x{2 * side}; lower the crop ({shape.crop}), or add footage"
            )
        for ranges, usable in (
            (self._targets.films, self._films),
            (self._targets.native, self._native),
        ):
            if any(frame_range.taught for frame_range in ranges) and not usable:
                raise DataError(
                    f"{pool.store.folder}: no taught clip has {self._min_frames} frames of "
                    f"{side}x{side} pixels; teach more, or lower the crop ({shape.crop})"
                )
        self._weights = _weights(self._films)
        self._native_weights = _weights(self._native)

    @property
    def _min_frames(self) -> int:
        return min(self._shape.frames, _SHORTEST_RANGE)

    def _large_enough(self, ranges: list[FrameRange]) -> list[FrameRange]:
        return [
            frame_range
            for frame_range in ranges
            if frame_range.frames >= self._min_frames
            and min(frame_range.height, frame_range.width) >= self._side
        ]

    def pair(self, index: int, segment: int = 0) -> ClipPair:
        """Draw a clip whose sides are `crop` low-resolution pixels."""
        random = np.random.default_rng((self._seed, index))
        source = self._source_crop(random, index, segment)
        if source.low is None:
            low, clean = self._low(source.high, random, segment)
        else:
            # A stored input is used unchanged: its clean version is unknown.
            low = clean = self._low_crop(source.low)
        low = as_grey(low) if self._config.grey else low
        footage = source.separate_footage
        return ClipPair(
            low=low,
            target=self._without_margin(source.target),
            clean=clean,
            footage=None if footage is None else self._without_margin(footage),
        )

    def target(self, index: int) -> Tensor:
        """Draw the target of a pair alone, (T, 3, s crop, s crop)."""
        random = np.random.default_rng((self._seed, index))
        return self._without_margin(self._source_crop(random, index, 0).target)

    def _source_crop(self, random: Random, index: int, segment: int) -> SourceCrop:
        """A segment of a clip with a margin, (T, 3, side, side), flipped and perhaps spliced."""
        frames = self._shape.frames
        source = self._plain_crop(random, segment)
        flips = random.random(3) < 0.5
        if random.random() < self._config.spliced_share:
            # Each segment has its own cut, to another clip.
            cut = int(np.random.default_rng((self._seed, index, segment)).integers(1, frames + 1))
            source = source.spliced(cut, self._plain_crop(random, segment))

        def flipped(clip: Tensor) -> Tensor:
            if flips[0]:
                clip = clip.flip(-2)
            if flips[1]:
                clip = clip.flip(-1)
            if flips[2]:
                clip = clip.transpose(-1, -2)
            return clip.contiguous()

        source = source.mapped(flipped)
        return source.mapped(as_grey) if self._config.grey else source

    def _plain_crop(self, random: Random, segment: int) -> SourceCrop:
        """A segment of a film, or of a picture under a moving camera, (T, 3, side, side)."""
        config, frames = self._config, self._shape.frames
        micro, still = config.micro_share, config.micro_share + config.stills_share
        draw = random.random()
        if self._pictures and (draw < still or not (self._films or self._native)):
            clip = self._pictures[random.integers(len(self._pictures))]
            picture = self._pool.picture(clip, int(random.integers(clip.frames)))
            moved = glide(
                picture,
                side=self._side,
                first=segment * frames,
                frames=frames,
                random=random,
                micro=draw < micro,
            )
            high = to_float(torch.from_numpy(moved)).permute(0, 3, 1, 2)
            return self._targets.of_picture(high)
        return self._film_crop(random, segment)

    def _film_crop(self, random: Random, segment: int) -> SourceCrop:
        frames, side = self._shape.frames, self._side
        ranges, weights = self._films, self._weights
        if self._native and (not ranges or random.random() < self._config.native_share):
            ranges, weights = self._native, self._native_weights
        film = ranges[random.choice(len(ranges), p=weights)]
        is_static = random.random() < self._config.static_share
        start = int(random.integers(max(film.frames - frames, 0) + 1))
        # Films run backwards as often as forwards, and reverse at either end.
        step = 0 if is_static else (1, -1)[int(random.integers(2))]
        start = start if step >= 0 else film.frames - 1 - start
        unfolded = (start + step * np.arange(segment * frames, (segment + 1) * frames)) % max(
            2 * film.frames - 2, 1
        )
        indices = torch.from_numpy(np.minimum(unfolded, 2 * film.frames - 2 - unfolded))
        # Of two random crops, the one with more detail is used.
        corners = [
            (
                film.step * int(random.integers((film.height - side) // film.step + 1)),
                film.step * int(random.integers((film.width - side) // film.step + 1)),
            )
            for _ in range(2)
        ]
        luma = self._targets.luma(film, start)
        areas = [CropArea(top, left, side) for top, left in corners]
        area = max(areas, key=lambda area: _detail(luma, area))
        return self._targets.of_film(film, indices, area)

    def _without_margin(self, high: Tensor) -> Tensor:
        margin = _MARGIN * self._scale
        return high[..., margin:-margin, margin:-margin].contiguous()

    def _low(self, high: Tensor, random: Random, segment: int) -> tuple[Tensor, Tensor]:
        """The degraded input (T, 3, crop, crop), and the same without noise and compression."""
        shares, scale = self._config.degradation, self._scale
        shares_by_kind = (shares.bi, shares.bd, shares.codec, shares.real, shares.web, shares.noisy)
        weights = np.array(shares_by_kind)
        chosen = int(random.choice(len(weights), p=weights / weights.sum()))
        if chosen == 1:
            clean = degrade(high, scale, Degradation.BD, shares.bd_sigma, shares.bd_phase)
        else:
            clean = degrade(high, scale, Degradation.BI)
        low = clean
        if chosen == 2:
            crf = int(random.integers(shares.codec_crf[0], shares.codec_crf[1] + 1))
            low = through_codec(clean, "h264", crf)
        elif chosen in (3, 4):
            noise_seed = int(random.integers(2**62)) + segment
            if chosen == 3:
                low = degrade_as_real(high, scale, shares.real_strength, random, noise_seed)
            else:
                low = degrade_clip_as_web(high, scale, random, noise_seed)
        if chosen == 5:
            noisy = add_sensor_noise(
                clean,
                shares.noisy_sigma / 255,
                grey=self._config.grey,
                random=random,
                noise_seed=int(random.integers(2**62)) + segment,
            )
            return self._low_crop(noisy), self._low_crop(clean)
        if self._config.static_noise and torch.equal(high[0], high[-1]):
            strongest = self._config.static_noise / 255
            sigmas = torch.full((len(low),), random.uniform(0, strongest))
            noise = torch.Generator().manual_seed(int(random.integers(2**62)) + segment)
            low = add_gaussian_noise(low, sigmas, random.random() < 0.4, noise)
        return self._low_crop(on_8_bit_levels(low)), self._low_crop(clean)

    def _low_crop(self, low: Tensor) -> Tensor:
        return low[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].contiguous()


def _weights(films: list[FrameRange]) -> NDArray[np.float64]:
    """Probability of each range: by the root of its source's length, then by its own length."""
    frames: dict[str, int] = {}
    for film in films:
        source = film.clip.source
        frames[source] = frames.get(source, 0) + film.frames
    weights = np.array([f.frames / frames[f.clip.source] ** _LENGTH_POWER for f in films])
    return np.asarray(weights / weights.sum()) if films else weights


def _detail(luma: Tensor, area: CropArea) -> float:
    """Sum of absolute differences of horizontal neighbours in a crop of (H, W)."""
    rows = slice(area.top, area.top + area.side, 2)
    part = luma[rows, area.left : area.left + area.side].to(torch.int16)
    return float((part[:, 1:] - part[:, :-1]).abs().sum())
