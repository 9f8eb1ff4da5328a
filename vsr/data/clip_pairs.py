"""Pairs of clips to learn from: low and target, cut from a data set and degraded on the fly."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.random import Generator as Random
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from vsr.config import Config
from vsr.data.camera_motion import glide
from vsr.data.real_degradation import degrade_as_real, through_codec
from vsr.data.shared_arrays import Entry, SharedArrays
from vsr.data.store import Split, Store, StoredClip
from vsr.data.targets import Features, Scene, SharpeningConfig, Take, TargetKind, Targets
from vsr.errors import DataError
from vsr.frames.web_degradation import degrade_clip_as_web
from vsr.imaging.colour import to_rgb
from vsr.imaging.degrade import Degradation, Phase, add_gaussian_noise, degrade
from vsr.imaging.tensors import on_8_bit_levels, to_float, to_uint8

_MARGIN = 4
"""Low-resolution pixels around a crop that filters may look at, cut off after degrading."""
_SHARED_PART = 0.8
"""Of the memory for decoded clips, what workers share if not all clips fit."""
_LENGTH_POWER = 0.5
"""A long source has more to show than a short one, but not in proportion."""


class DegradationShares(Config):
    """How often each degradation is used, and with what; the shares are relative."""

    bi: NonNegativeFloat = 0.5
    """Antialiased bicubic."""
    bd: NonNegativeFloat = 0.15
    """Gaussian blur and subsampling."""
    codec: NonNegativeFloat = 0.2
    """Bicubic, then H.264 on the low-resolution clip, with the chroma of video."""
    real: NonNegativeFloat = 0.15
    """Blur, resizing, noise and JPEG, twice, then a codec."""
    web: NonNegativeFloat = 0.0
    """What uploads, DVDs and camcorders do: blur, noise and a real codec, sometimes twice."""
    bd_sigma: PositiveFloat | None = None
    """Blur of `bd` in high-resolution pixels; 0.4 times the scale if not given."""
    bd_phase: Phase = Phase.MIDDLE
    """Where `bd` samples: "middle" of each cell, or its "first" pixel as in benchmarks."""
    codec_crf: tuple[int, int] = (16, 26)
    """Lowest and highest constant rate factor of `codec`."""
    real_strength: float = Field(default=0.5, gt=0, le=1)
    """How far `real` goes; 1 is what Real-ESRGAN trains on."""


class DataConfig(Config):
    """What to learn from, and how clips are cut from it."""

    dataset: Path
    """A folder made by `vsr data prepare`."""
    memory_gb: PositiveFloat = 8.0
    """Decoded clips that are kept in memory, over all worker processes; the others are decoded
    again."""
    motion_crop: PositiveInt = Field(default=64, multiple_of=2)
    """Side, in low-resolution pixels, of the pairs that teach motion: room for the
    motion that films have."""
    stills_share: float = Field(default=0.25, ge=0, le=1)
    """Clips made of a photograph under a moving camera, of all clips."""
    micro_share: float = Field(default=0.05, ge=0, le=1)
    """Clips made of a photograph under a camera that moves by hundredths of a pixel."""
    static_share: float = Field(default=0.05, ge=0, le=1)
    """Clips in which nothing moves."""
    static_noise: NonNegativeFloat = 0.0
    """Of clips in which nothing moves, the largest standard deviation of noise, in code values,
    that is added to each low frame anew: so that memory learns to average it away."""
    spliced_share: float = Field(default=0.03, ge=0, le=1)
    """Clips with a cut in their midst that nobody tells the network of."""
    degradation: DegradationShares = DegradationShares()
    targets: TargetKind = "original"
    """What outputs are compared with: the "original"; what a teacher made of it ("taught", by `vsr
    data teach`); the "sharpened" original; or taught where that agrees with the original by
    features, else sharpened ("agreeing"). Photographs under a camera are never taught."""
    taught_by: str | None = None
    """Name or identity of the teacher, if the data set holds targets of several."""
    native_share: float = Field(default=0.0, ge=0, le=1)
    """Of scenes of films, the share that `vsr data teach --native` taught: their input is the
    stored frame as it is."""
    agreement: PositiveFloat = 0.15
    """Distance by features up to which a taught target counts as agreeing, see
    `data.targets.feature_distance`."""
    sharpening: SharpeningConfig = SharpeningConfig()
    """How originals are sharpened."""


class Shape(NamedTuple):
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


Held = TypeVar("Held", tuple[Tensor, Tensor, Tensor], NDArray[np.uint8], Tensor)


class ClipPool:
    """The clips of a split, decoded when first asked for and kept while there is room."""

    def __init__(
        self,
        store: Store,
        split: Split,
        config: DataConfig,
        features: Features | None = None,
    ) -> None:
        """`features` is what `targets = "agreeing"` compares by."""
        self.features = features
        self.store = store
        clips = store.clips(split)
        self.films = [clip for clip in clips if clip.frames > 1]
        self.pictures = [clip for clip in clips if clip.frames == 1]
        self._memory_bytes = self._room = int(config.memory_gb * 1e9)
        self._shared: SharedArrays | None = None
        self._empty()

    def _empty(self) -> None:
        self._held: OrderedDict[Hashable, tuple[int, object]] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the decoded clips: a worker process decodes its own."""
        return {key: value for key, value in vars(self).items() if key not in ("_held", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._empty()

    def share(self, processes: int) -> None:
        """Decode clips once into memory that worker processes share, as far as `memory_gb` goes.

        Each of `processes` decodes the remaining clips by itself, and keeps what fits into its
        equal share of the remaining memory.
        """
        entries: dict[Hashable, Entry] = {}
        for clip in self.films:
            chroma = clip.frames, clip.height // 2, clip.width // 2
            shapes = (clip.frames, clip.height, clip.width), chroma, chroma
            entries["film", clip.key] = Entry(shapes, partial(self._decode_film, clip))
        for clip in self.pictures:
            shape = clip.height, clip.width, 3
            entries["picture", clip.key] = Entry((shape,), partial(self._decode_picture, clip))
        wanted = sum(entry.size for entry in entries.values())
        fits = wanted <= self._memory_bytes
        room = self._memory_bytes if fits else int(_SHARED_PART * self._memory_bytes)
        self._shared = SharedArrays(entries, room, threads=processes)
        self._room = (self._memory_bytes - self._shared.size) // processes

    def _decode_film(self, clip: StoredClip) -> tuple[Tensor, Tensor, Tensor]:
        y, cb, cr = (torch.from_numpy(plane) for plane in self.store.read(clip))
        return y, cb, cr

    def _decode_picture(self, clip: StoredClip) -> tuple[Tensor]:
        planes = [torch.from_numpy(plane) for plane in self.store.read(clip)]
        return (torch.from_numpy(_picture(planes, clip)),)

    def film(self, clip: StoredClip) -> tuple[Tensor, Tensor, Tensor]:
        """Its planes, uint8: Y (T, H, W), Cb and Cr (T, H/2, W/2)."""
        if self._shared is not None and ("film", clip.key) in self._shared:
            y, cb, cr = self._shared["film", clip.key]
            return y, cb, cr

        def load() -> tuple[int, tuple[Tensor, Tensor, Tensor]]:
            y, cb, cr = self._decode_film(clip)
            return y.numel() * 3 // 2, (y, cb, cr)

        return self.keep(("film", clip.key), load)

    def taught(self, take: Take) -> tuple[Tensor, Tensor, Tensor]:
        """The planes of a teacher's outputs for all frames of a take, as those of `film`."""

        def load() -> tuple[int, tuple[Tensor, Tensor, Tensor]]:
            blocks = [self.store.read_taught(block) for block in take.taught]
            y, cb, cr = (
                torch.from_numpy(np.concatenate(planes)) for planes in zip(*blocks, strict=True)
            )
            return y.numel() * 3 // 2, (y, cb, cr)

        return self.keep(("taught", take.taught[0].teaching, take.clip.key), load)

    def low(self, clip: StoredClip) -> tuple[Tensor, Tensor, Tensor]:
        """The planes of a clip's own low version, as those of `film`."""

        def load() -> tuple[int, tuple[Tensor, Tensor, Tensor]]:
            y, cb, cr = (torch.from_numpy(p) for p in self.store.read_low(clip))
            return y.numel() * 3 // 2, (y, cb, cr)

        return self.keep(("low", clip.key), load)

    def picture(self, clip: StoredClip, number: int = 0) -> NDArray[np.uint8]:
        """A frame as RGB, (H, W, 3): what a camera may move over."""
        if self._shared is not None and ("picture", clip.key) in self._shared:
            return self._shared["picture", clip.key][0].numpy()

        def load() -> tuple[int, NDArray[np.uint8]]:
            picture = self._decode_picture(clip)[0].numpy()
            return picture.size, picture

        if clip.frames == 1:
            return self.keep(("picture", clip.key), load)
        planes = [plane[number : number + 1] for plane in self.film(clip)]
        return _picture(planes, clip)

    def keep(self, key: Hashable, load: Callable[[], tuple[int, Held]]) -> Held:
        """What `load` gives, with its bytes; kept by `key` while there is room."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][1]  # type: ignore[return-value]
        size, value = load()
        with self._lock:
            self._held[key] = (size, value)
            while sum(size for size, _ in self._held.values()) > self._room and len(self._held) > 1:
                self._held.popitem(last=False)
        return value


class ClipPairs:
    """An endless, seeded list of (low, target) clips: the same number is the same clip.

    Clips have no end either: what follows the first frames is their next segment.
    """

    def __init__(
        self, pool: ClipPool, config: DataConfig, scale: int, seed: int, shape: Shape
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

    def _fitting(self, takes: list[Take]) -> list[Take]:
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

    def _whole_scene(self, random: Random, number: int, segment: int) -> Scene:
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

    def _scene(self, random: Random, segment: int) -> Scene:
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

    def _film_scene(self, random: Random, segment: int) -> Scene:
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
                low = degrade_clip_as_web(high, scale, random, noise)
        if self._config.static_noise and torch.equal(high[0], high[-1]):
            strongest = self._config.static_noise / 255
            sigmas = torch.full((len(low),), random.uniform(0, strongest))
            anew = torch.Generator().manual_seed(int(random.integers(2**62)) + segment)
            low = add_gaussian_noise(low, sigmas, random.random() < 0.4, anew)
        return self._low_crop(on_8_bit_levels(low)), self._low_crop(clean)

    def _low_crop(self, low: Tensor) -> Tensor:
        return low[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].contiguous()


def _picture(planes: list[Tensor], clip: StoredClip) -> NDArray[np.uint8]:
    """The first of some frames as an array (H, W, 3)."""
    rgb = to_uint8(to_rgb(planes, clip.spec)[0]).permute(1, 2, 0)
    return np.ascontiguousarray(rgb.cpu().numpy())


def _weights(films: list[Take]) -> NDArray[np.float64]:
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
