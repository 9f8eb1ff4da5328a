"""Pairs of clips to learn from: low and target, cut from a data set and degraded on the fly."""

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
from vsr.data.targets import FrameRange, SourceCrop, Targets
from vsr.errors import DataError
from vsr.frames.web_degradation import degrade_as_web
from vsr.imaging.degrade import Degradation, add_gaussian_noise, degrade
from vsr.imaging.tensors import on_8_bit_levels, to_float

_MARGIN = 4
"""Low-resolution pixels around a crop that filters may look at, cut off after degrading."""
_LENGTH_POWER = 0.5
"""A long source has more to show than a short one, but not in proportion."""


class ClipShape(NamedTuple):
    """Of the clips of a batch."""

    frames: int
    crop: int
    """Side in low-resolution pixels, even."""


class ClipPair(NamedTuple):
    """A clip in the versions that a network learns from, float RGB in [0, 1]."""

    low: Tensor
    """(T, 3, H, W): the input, degraded."""
    target: Tensor
    """(T, 3, sH, sW): the output asked for."""
    clean: Tensor
    """(T, 3, H, W): the input without noise and compression, for the temporal filter."""


class ClipPairs:
    """An endless, seeded list of (low, target) clips: the same number is the same clip.

    Clips have no end either: what follows the first frames is their next segment.
    """

    def __init__(
        self, pool: ClipPool, config: DataConfig, scale: int, seed: int, shape: ClipShape
    ) -> None:
        """Raises `DataError` where nothing in the data set is long and large enough."""
        self._pool = pool
        self._config = config
        self._scale = scale
        self._seed = seed
        self._shape = shape
        self._side = side = (shape.crop + 2 * _MARGIN) * scale
        self._targets = Targets(pool, config, scale)
        self._films = self._fitting(self._targets.films)
        self._native = self._fitting(self._targets.native)
        pictures = pool.pictures or pool.films
        self._pictures = [clip for clip in pictures if min(clip.height, clip.width) >= 2 * side]
        if not (self._films or self._native or self._pictures):
            raise DataError(
                f"{pool.store.folder}: no film in it has {side}x{side} pixels, and no photograph "
                f"{2 * side}x{2 * side}; lower the crop ({shape.crop}), or add footage"
            )
        for wanted, fitting in (
            (self._targets.films, self._films),
            (self._targets.native, self._native),
        ):
            if any(take.taught for take in wanted) and not fitting:
                raise DataError(
                    f"{pool.store.folder}: no taught clip has {min(shape.frames, 7)} frames of "
                    f"{side}x{side} pixels; teach more, or lower the crop ({shape.crop})"
                )
        self._weights = _weights(self._films)
        self._native_weights = _weights(self._native)

    def _fitting(self, takes: list[FrameRange]) -> list[FrameRange]:
        """Those that are long and large enough."""
        return [
            take
            for take in takes
            if take.frames >= min(self._shape.frames, 7)
            and min(take.height, take.width) >= self._side
        ]

    def pair(self, number: int, segment: int = 0) -> ClipPair:
        """A clip with sides of `crop` low-resolution pixels."""
        random = np.random.default_rng((self._seed, number))
        scene = self._whole_scene(random, number, segment)
        if scene.low is None:
            low, clean = self._low(scene.high, random, segment)
        else:
            # Taken as it is: what a cleaner one would look like is unknown.
            low = clean = self._low_crop(scene.low)
        return ClipPair(low=low, target=self._without_margin(scene.target), clean=clean)

    def target(self, number: int) -> Tensor:
        """The target of a pair alone, (T, 3, s crop, s crop)."""
        random = np.random.default_rng((self._seed, number))
        return self._without_margin(self._whole_scene(random, number, 0).target)

    def _whole_scene(self, random: Random, number: int, segment: int) -> SourceCrop:
        """A segment of a clip with a margin, (T, 3, side, side)."""
        frames = self._shape.frames
        scene = self._scene(random, segment)
        flips = random.random(3) < 0.5
        if random.random() < self._config.spliced_share:
            # The cut lies elsewhere in each segment, and leads to another clip.
            place = int(
                np.random.default_rng((self._seed, number, segment)).integers(1, frames + 1)
            )
            scene = scene.spliced(place, self._scene(random, segment))

        def turned(clip: Tensor) -> Tensor:
            if flips[0]:
                clip = clip.flip(-2)
            if flips[1]:
                clip = clip.flip(-1)
            if flips[2]:
                clip = clip.transpose(-1, -2)
            return clip.contiguous()

        return scene.changed(turned)

    def _scene(self, random: Random, segment: int) -> SourceCrop:
        """A segment of a film, or of a picture under a camera, (T, 3, side, side)."""
        config, frames = self._config, self._shape.frames
        micro, still = config.micro_share, config.micro_share + config.stills_share
        chance = random.random()
        if self._pictures and (chance < still or not (self._films or self._native)):
            chosen = self._pictures[random.integers(len(self._pictures))]
            picture = self._pool.picture(chosen, int(random.integers(chosen.frames)))
            start = segment * frames
            moved = glide(picture, self._side, start, frames, random, micro=chance < micro)
            high = to_float(torch.from_numpy(moved)).permute(0, 3, 1, 2)
            return self._targets.of_picture(high)
        return self._film_scene(random, segment)

    def _film_scene(self, random: Random, segment: int) -> SourceCrop:
        frames, side = self._shape.frames, self._side
        takes, weights = self._films, self._weights
        if self._native and (not takes or random.random() < self._config.native_share):
            takes, weights = self._native, self._native_weights
        film = takes[random.choice(len(takes), p=weights)]
        static = random.random() < self._config.static_share
        begin = int(random.integers(max(film.frames - frames, 0) + 1))
        # Backwards as often as forwards; at either end the film turns round.
        step = 0 if static else (1, -1)[int(random.integers(2))]
        begin = begin if step >= 0 else film.frames - 1 - begin
        there = (begin + step * np.arange(segment * frames, (segment + 1) * frames)) % max(
            2 * film.frames - 2, 1
        )
        places = torch.from_numpy(np.minimum(there, 2 * film.frames - 2 - there))
        # Of two places the one with more detail: flat ones teach nothing.
        corners = [
            (
                film.step * int(random.integers((film.height - side) // film.step + 1)),
                film.step * int(random.integers((film.width - side) // film.step + 1)),
            )
            for _ in range(2)
        ]
        luma = self._targets.luma(film, begin)
        corner = max(corners, key=lambda corner: _detail(luma, corner, side))
        return self._targets.of_film(film, places, corner, side)

    def _without_margin(self, high: Tensor) -> Tensor:
        margin = _MARGIN * self._scale
        return high[..., margin:-margin, margin:-margin].contiguous()

    def _low(self, high: Tensor, random: Random, segment: int) -> tuple[Tensor, Tensor]:
        """The degraded input (T, 3, crop, crop), and the same without noise and compression."""
        shares, scale = self._config.degradation, self._scale
        weights = np.array([shares.bi, shares.bd, shares.codec, shares.real, shares.web])
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
            noise = int(random.integers(2**62)) + segment
            if chosen == 3:
                low = degrade_as_real(high, scale, shares.real_strength, random, noise)
            else:
                low = degrade_as_web(high, scale, random, noise)
        if self._config.static_noise and torch.equal(high[0], high[-1]):
            strongest = self._config.static_noise / 255
            sigmas = torch.full((len(low),), random.uniform(0, strongest))
            anew = torch.Generator().manual_seed(int(random.integers(2**62)) + segment)
            low = add_gaussian_noise(low, sigmas, random.random() < 0.4, anew)
        return self._low_crop(on_8_bit_levels(low)), self._low_crop(clean)

    def _low_crop(self, low: Tensor) -> Tensor:
        return low[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].contiguous()


def _weights(films: list[FrameRange]) -> NDArray[np.float64]:
    """How often each take is chosen: sources by the root of their length, takes by theirs."""
    frames: dict[str, int] = {}
    for film in films:
        source = film.clip.source
        frames[source] = frames.get(source, 0) + film.frames
    weights = np.array([f.frames / frames[f.clip.source] ** _LENGTH_POWER for f in films])
    return np.asarray(weights / weights.sum()) if films else weights


def _detail(luma: Tensor, corner: tuple[int, int], side: int) -> float:
    """How much a crop of (H, W) changes from pixel to pixel."""
    top, left = corner
    part = luma[top : top + side : 2, left : left + side].to(torch.int16)
    return float((part[:, 1:] - part[:, :-1]).abs().sum())
