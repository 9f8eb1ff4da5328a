"""Pairs of clips to learn from: low and target, cut from footage and degraded on the fly."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.random import Generator as Random
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator
from torch import Tensor
from torch.utils.data import Dataset

from vsr.config import Config
from vsr.data.codec import recompress
from vsr.data.footage import MOST_FRAMES, Film, find_footage, load_film
from vsr.degrade import Degradation, degrade
from vsr.errors import TrainingError
from vsr.media.image import read_still
from vsr.tensors import to_float, to_uint8

_MARGIN = 4
"""Low-resolution pixels around a crop that filters may look at, cut off after degrading."""


class DegradationShares(Config):
    """How often each degradation is used; the shares are relative."""

    bi: NonNegativeFloat = 0.6
    """Antialiased bicubic."""
    bd: NonNegativeFloat = 0.2
    """Gaussian blur and subsampling."""
    codec: NonNegativeFloat = 0.2
    """Bicubic, then H.264 on the low-resolution clip."""
    codec_crf: tuple[int, int] = (16, 26)
    """Lowest and highest constant rate factor of the codec."""


class DataConfig(Config):
    """What to learn from, and how clips are cut from it."""

    footage: tuple[Path, ...]
    """Films, photographs, and folders of them."""
    validation: tuple[Path, ...] = ()
    """Films to validate with, never learnt from. Where none are given, every eighth
    film of the footage, and at least one, is held back."""
    cache: Path | None = None
    """Where decoded films are kept; by default in the user's cache folder."""
    most_frames: PositiveInt = MOST_FRAMES
    """Of a longer film, evenly spread stretches are taken, up to so many frames."""
    frames: PositiveInt = 6
    """Length of a clip."""
    crop: PositiveInt = Field(default=32, multiple_of=2)
    """Side of a clip in low-resolution pixels."""
    motion_crop: PositiveInt = Field(default=64, multiple_of=2)
    """Side, in low-resolution pixels, of the pairs that teach motion: room for the
    motion that films have."""
    stills_share: float = Field(default=0.25, ge=0, le=1)
    """Clips made of a photograph under a moving camera, of all clips."""
    static_share: float = Field(default=0.05, ge=0, le=1)
    """Clips in which nothing moves, of all clips."""
    degradation: DegradationShares = DegradationShares()

    @field_validator("footage", "validation", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value


class Footage(NamedTuple):
    """All that a run learns from and validates with."""

    films: tuple[Film, ...]
    photographs: tuple[NDArray[np.uint8], ...]
    """(H, W, 3) each."""
    validation: tuple[Film, ...]


def load_footage(config: DataConfig) -> Footage:
    """Find and decode the footage; nothing of a validation film is learnt from.

    Raises `TrainingError` where there is none.
    """
    film_paths, photograph_paths = find_footage(config.footage)
    if config.validation:
        validation_paths, _ = find_footage(config.validation)
        held_back = {path.resolve() for path in validation_paths}
        film_paths = [path for path in film_paths if path.resolve() not in held_back]
    else:
        validation_paths = film_paths[::8]
        film_paths = [path for path in film_paths if path not in validation_paths]
    if not validation_paths:
        raise TrainingError("no film to validate with: set data.validation")
    films = [load_film(path, config.cache, config.most_frames) for path in film_paths]
    photographs = [read_still(path).rgb for path in photograph_paths]
    validation = [load_film(path, config.cache, config.most_frames) for path in validation_paths]
    return Footage(tuple(films), tuple(photographs), tuple(validation))


class ClipPairs(Dataset[tuple[Tensor, Tensor]]):
    """An endless, seeded list of (low, target) clips: the same index is the same clip.

    Items are float RGB in [0, 1], (T, 3, crop, crop) and (T, 3, s crop, s crop).
    """

    def __init__(self, footage: Footage, config: DataConfig, scale: int, seed: int) -> None:
        """Raises `TrainingError` where nothing of the footage is long and large enough."""
        self._config = config
        self._scale = scale
        self._seed = seed
        self._side = side = (config.crop + 2 * _MARGIN) * scale
        self._films = [film for film in footage.films if _usable(film, config.frames, side)]
        self._photographs = [
            still for still in footage.photographs if min(still.shape[:2]) >= 2 * side
        ]
        if not self._films and not self._photographs:
            raise TrainingError(
                f"no film has {config.frames} frames of {side}x{side} pixels in one shot, and no "
                f"photograph {2 * side}x{2 * side}; lower data.frames or the crop, or add footage"
            )
        # Film by film in proportion to what each holds, by the square root: a long film
        # has more to show than a short one, but not so much more.
        lengths = [sum(end - first for first, end in film.shots) for film in self._films]
        weights = np.sqrt(np.array(lengths, dtype=np.float64))
        self._film_weights = weights / weights.sum() if lengths else weights

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng((self._seed, index))
        high = self._high(random)
        return self._low(high, random), self._without_margin(high)

    def target(self, index: int) -> Tensor:
        """The target of an item alone, (T, 3, s crop, s crop)."""
        return self._without_margin(self._high(np.random.default_rng((self._seed, index))))

    def _high(self, random: Random) -> Tensor:
        """Footage with a margin, uint8 (T, 3, side, side)."""
        frames = self._config.frames
        from_still = bool(self._photographs) and (
            not self._films or random.random() < self._config.stills_share
        )
        if from_still:
            still = self._photographs[random.integers(len(self._photographs))]
            clip = moving_camera(still, frames, self._side, random)
        else:
            film = self._films[random.choice(len(self._films), p=self._film_weights)]
            clip = self._crop_of(film, random)
        if random.random() < self._config.static_share:
            clip = np.repeat(clip[:1], frames, axis=0)
        if random.random() < 0.5:
            clip = clip[::-1]
        if random.random() < 0.5:
            clip = clip[:, ::-1]
        if random.random() < 0.5:
            clip = clip[:, :, ::-1]
        if random.random() < 0.5:
            clip = clip.transpose(0, 2, 1, 3)
        # A copy, since torch takes no negative strides.
        return torch.from_numpy(clip.copy()).permute(0, 3, 1, 2)

    def _crop_of(self, film: Film, random: Random) -> NDArray[np.uint8]:
        frames, side = self._config.frames, self._side
        starts = [first for first, end in film.shots for first in range(first, end - frames + 1)]
        start = starts[random.integers(len(starts))]
        height, width = film.frames.shape[1:3]
        # Of two places the one with more detail: flat ones teach nothing.
        places = [
            (int(random.integers(height - side + 1)), int(random.integers(width - side + 1)))
            for _ in range(2)
        ]
        top, left = max(places, key=lambda place: _detail(film.frames[start], place, side))
        return film.frames[start : start + frames, top : top + side, left : left + side]

    def _without_margin(self, high: Tensor) -> Tensor:
        margin = _MARGIN * self._scale
        return to_float(high[..., margin:-margin, margin:-margin]).contiguous()

    def _low(self, high: Tensor, random: Random) -> Tensor:
        shares = self._config.degradation
        weights = np.array([shares.bi, shares.bd, shares.codec])
        choice = random.choice(3, p=weights / weights.sum())
        kind = Degradation.BD if choice == 1 else Degradation.BI
        low = degrade(to_float(high), self._scale, kind)
        if choice == 2:
            crf = int(random.integers(shares.codec_crf[0], shares.codec_crf[1] + 1))
            pictures = to_uint8(low).permute(0, 2, 3, 1).contiguous().numpy()
            coded = torch.from_numpy(recompress(pictures, crf))
            low = to_float(coded).permute(0, 3, 1, 2)
        return low[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].contiguous()


def moving_camera(
    picture: NDArray[np.uint8], frames: int, side: int, random: Random
) -> NDArray[np.uint8]:
    """A clip (frames, side, side, 3) of a camera gliding over a picture.

    Sub-pixel pans of up to 8 pixels a frame, slow zoom and rotation. Each frame is
    rendered at twice the size and averaged down, which keeps it sharp and free of
    aliasing. The picture's sides must be at least 2 `side`.
    """
    height, width = picture.shape[:2]
    pixels_per_output = random.uniform(1.1, 1.8)
    zoom_per_frame = random.normal(0, 0.004)
    turn_per_frame = random.normal(0, 0.006)
    direction, speed = random.uniform(0, 2 * np.pi), min(random.exponential(2.5), 8.0)
    pan = speed * pixels_per_output * np.array([np.cos(direction), np.sin(direction)])
    # The middle frame looks at a place from which no frame looks beyond the border.
    reach = side * pixels_per_output * 0.75 + speed * pixels_per_output * frames / 2
    middle = [
        random.uniform(min(reach, length / 2), max(length - reach, length / 2))
        for length in (width, height)
    ]
    first = -(frames - 1) / 2
    clip = []
    for step in range(frames):
        time = first + step
        scale = pixels_per_output * np.exp(zoom_per_frame * time) / 2
        turn = turn_per_frame * time
        matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        centre = np.array([side - 0.5, side - 0.5])
        offset = np.array(middle) + pan * time - matrix @ centre
        large = cv2.warpAffine(
            picture,
            np.column_stack((matrix, offset)),
            (2 * side, 2 * side),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        clip.append(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA))
    return np.stack(clip).astype(np.uint8, copy=False)


def _usable(film: Film, frames: int, side: int) -> bool:
    longest = max(end - first for first, end in film.shots)
    return longest >= frames and min(film.frames.shape[1:3]) >= side


def _detail(picture: NDArray[np.uint8], place: tuple[int, int], side: int) -> float:
    """How much a crop changes from pixel to pixel: the mean step of its green."""
    top, left = place
    green = picture[top : top + side, left : left + side, 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())
