"""What a clip's output is compared with: the original, a teacher's output, or a mixture."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.data.agreement import feature_distance
from vsr.data.clip_pool import ClipPool
from vsr.data.config import DataConfig
from vsr.data.sharpening import sharpened
from vsr.data.store import ClipKey, Store, StoredClip, TeacherOutput, TeacherRun
from vsr.errors import DataError
from vsr.imaging.colour import to_rgb
from vsr.imaging.tensors import on_8_bit_levels

_SOFTNESS = 0.25
"""Share of the limit by which agreement fades out below and above it."""


class FrameRange(NamedTuple):
    """Consecutive frames of a clip that scenes are cut from."""

    clip: StoredClip
    first: int
    """Number of the first frame in the clip."""
    frames: int
    height: int
    """Of the target, as the next."""
    width: int
    step: int = 2
    """Corners of crops are multiples of this."""
    taught: tuple[TeacherOutput, ...] = ()
    """Blocks of a teacher's outputs, which follow one another; none for originals alone."""
    native: bool = False
    """The clip's own frames are the input, and the teacher's outputs the only target."""

    @classmethod
    def whole(cls, clip: StoredClip, scale: int) -> "FrameRange":
        """All frames of a clip."""
        step = _step(clip, scale)
        return cls(clip, 0, clip.frames, clip.height, clip.width, step)


class SourceCrop(NamedTuple):
    """Frames cut from a data set, RGB in [0, 1], (T, 3, side, side)."""

    high: Tensor
    """What the input is made of."""
    other: Tensor | None = None
    """The target, unless that is `high`."""
    low: Tensor | None = None
    """The input, if it is not made of `high`; (T, 3, side / s, side / s)."""

    @property
    def target(self) -> Tensor:
        """What the output is compared with."""
        return self.high if self.other is None else self.other

    def changed(self, change: Callable[[Tensor], Tensor]) -> "SourceCrop":
        """The scene with a change of all its tensors."""
        return SourceCrop(*(None if part is None else change(part) for part in self))  # type: ignore[arg-type]

    def spliced(self, place: int, following: "SourceCrop") -> "SourceCrop":
        """The scene up to frame `place`, and another one from there on."""

        def splice(one: Tensor, other: Tensor) -> Tensor:
            return torch.cat((one[:place], other[place:]))

        own = self.other is None and following.other is None
        given = self.low is not None and following.low is not None
        return SourceCrop(
            splice(self.high, following.high),
            None if own else splice(self.target, following.target),
            splice(self.low, following.low) if given else None,  # type: ignore[arg-type]
        )


class Targets:
    """Cuts scenes with the targets that a recipe asks for."""

    def __init__(self, pool: ClipPool, config: DataConfig, scale: int) -> None:
        """Raises `DataError` if the data set lacks those targets."""
        self._pool = pool
        self._config = config
        self._scale = scale
        self.films: list[FrameRange] = []
        """Takes that scenes of films are cut from."""
        self.native: list[FrameRange] = []
        """Takes whose clips are the input as they are, for `native_share` of the scenes."""
        kind, native_share = config.targets, config.native_share
        if kind == "agreeing" and pool.features is None:
            raise DataError('data.targets = "agreeing" needs a network of features')
        if kind in ("original", "sharpened"):
            paired = [clip for clip in pool.pictures if clip.low_scale == scale]
            self.films = [FrameRange.whole(clip, scale) for clip in (*pool.films, *paired)]
        elif native_share < 1:
            self.films = self._taught_takes(native=False)
        if native_share:
            self.native = self._taught_takes(native=True)

    def of_picture(self, high: Tensor) -> SourceCrop:
        """A scene (T, 3, side, side) of a picture under a camera, with its target."""
        if self._config.targets in ("sharpened", "agreeing"):
            return SourceCrop(high, sharpened(high, self._config.sharpening))
        return SourceCrop(high)

    def of_film(
        self, take: FrameRange, places: Tensor, corner: tuple[int, int], side: int
    ) -> SourceCrop:
        """A scene of a take: its frames `places` (T), cut at `corner` (top, left)."""
        taught = (
            _cut(self._pool.teacher_outputs(take.taught), take.clip, places, corner, side)
            if take.taught
            else None
        )
        if take.native:
            assert taught is not None
            return SourceCrop(taught, low=self._native_low(take, places, corner, side))
        own = self._pool.film(take.clip)
        high = _cut(own, take.clip, take.first + places, corner, side)
        low = self._own_low(take, places, corner, side)
        match self._config.targets:
            case "taught":
                return SourceCrop(high, taught, low)
            case "agreeing":
                assert taught is not None
                share = self._agreement(take, places, corner, side)
                plain = sharpened(high, self._config.sharpening)
                return SourceCrop(high, plain.lerp(taught, share), low)
            case "sharpened":
                return SourceCrop(high, sharpened(high, self._config.sharpening), low)
            case _:
                return SourceCrop(high, low=low)

    def luma(self, take: FrameRange, number: int) -> Tensor:
        """The luma (H, W) of a take's frame, in the target's pixels."""
        if take.native:
            return self._pool.teacher_outputs(take.taught)[0][number]
        return self._pool.film(take.clip)[0][take.first + number]

    def _native_low(
        self, take: FrameRange, places: Tensor, corner: tuple[int, int], side: int
    ) -> Tensor:
        scale, block = self._scale, take.taught[0]
        within = (block.top + corner[0] // scale, block.left + corner[1] // scale)
        planes = self._pool.film(take.clip)
        return _cut(planes, take.clip, take.first + places, within, side // scale)

    def _own_low(
        self, take: FrameRange, places: Tensor, corner: tuple[int, int], side: int
    ) -> Tensor | None:
        """The input of a ready pair; None of other clips, and of a pair of another scale."""
        scale = self._scale
        if take.clip.low_scale != scale:
            return None
        within = (corner[0] // scale, corner[1] // scale)
        planes = self._pool.low(take.clip)
        return _cut(planes, take.clip, take.first + places, within, side // scale)

    def _agreement(
        self, take: FrameRange, places: Tensor, corner: tuple[int, int], side: int
    ) -> Tensor:
        """The share of the teacher's output in each pixel, (T, 1, side, side)."""
        shares = torch.stack([self._frame_agreement(take, int(n)) for n in places])
        shares = F.interpolate(shares, size=(take.height, take.width), mode="bilinear")
        top, left = corner
        return shares[..., top : top + side, left : left + side]

    def _frame_agreement(self, take: FrameRange, number: int) -> Tensor:
        """The share of the teacher's output in each cell of a frame, (1, h, w); kept."""

        def load() -> tuple[int, Tensor]:
            features = self._pool.features
            assert features is not None
            own = [p[take.first + number, None] for p in self._pool.film(take.clip)]
            theirs = [plane[number, None] for plane in self._pool.teacher_outputs(take.taught)]
            original, taught = (on_8_bit_levels(to_rgb(p, take.clip.spec)) for p in (own, theirs))
            original = original[..., : take.height, : take.width]
            limit = self._config.agreement
            distance = feature_distance(features, taught, original)
            share = ((limit - distance) / (2 * _SOFTNESS * limit) + 0.5).clamp(0, 1)[0]
            return share.numel() * 4, share

        key = ("agreement", take.taught[0].teaching, *take.clip.key, take.first + number)
        return self._pool.keep(key, load)

    def _taught_takes(self, native: bool) -> list[FrameRange]:
        teaching = _teaching_for(self._pool.store, self._config.taught_by, self._scale, native)
        clips = {clip.key: clip for clip in (*self._pool.films, *self._pool.pictures)}
        blocks: dict[ClipKey, list[TeacherOutput]] = {}
        for line in self._pool.store.teacher_outputs(teaching.teaching):
            if line.clip_key in clips:
                blocks.setdefault(line.clip_key, []).append(line)
        return [_taught_take(clips[key], found, teaching) for key, found in blocks.items()]


def _step(clip: StoredClip, scale: int) -> int:
    """What corners of crops are multiples of: the input's 4:2:0 samples must not be divided."""
    return 2 * scale if clip.low_scale == scale else 2


def _cut(
    planes: Sequence[Tensor], clip: StoredClip, places: Tensor, corner: tuple[int, int], side: int
) -> Tensor:
    """Frames of 4:2:0 planes, cut, as RGB (T, 3, side, side) on the levels of an 8-bit file."""
    top, left = corner
    cut = [
        plane[
            places.to(plane.device),
            top // n : (top + side) // n,
            left // n : (left + side) // n,
        ]
        for plane, n in zip(planes, (1, 2, 2), strict=True)
    ]
    return on_8_bit_levels(to_rgb(cut, clip.spec))


def _taught_take(clip: StoredClip, blocks: list[TeacherOutput], teaching: TeacherRun) -> FrameRange:
    """The longest stretch of a clip's taught frames without a gap."""
    runs: list[list[TeacherOutput]] = []
    for block in sorted(blocks, key=lambda block: block.first):
        if runs and runs[-1][-1].first + runs[-1][-1].frames == block.first:
            runs[-1].append(block)
        else:
            runs.append([block])
    run = max(runs, key=lambda run: sum(block.frames for block in run))
    native = teaching.native_crop is not None
    return FrameRange(
        clip=clip,
        first=run[0].first,
        frames=sum(block.frames for block in run),
        height=run[0].height,
        width=run[0].width,
        step=2 * teaching.scale if native else _step(clip, teaching.scale),
        taught=tuple(run),
        native=native,
    )


def _teaching_for(store: Store, teacher: str | None, scale: int, native: bool) -> TeacherRun:
    """The one teaching of a data set that serves a recipe; raises `DataError`."""
    found = [t for t in store.teacher_runs.values() if teacher in (None, t.teacher, t.teaching)]
    by = f" by {teacher}" if teacher else ""
    command = f"vsr data teach {store.folder} --model FILE" + (" --native" if native else "")
    found = [t for t in found if (t.native_crop is not None) == native]
    what = f"{'native' if native else 'taught'} targets{by}"
    if not found:
        raise DataError(f"{store.folder}: holds no {what}; add them by {command}")
    fitting = [t for t in found if t.scale == scale]
    if not fitting:
        scales = " and ".join(sorted({f"x{t.scale}" for t in found}))
        raise DataError(
            f"{store.folder}: its {what} are for {scales}, not for x{scale}; add some by {command}"
        )
    if len(fitting) > 1:
        known = ", ".join(f"{t.teaching} ({t.teacher})" for t in fitting)
        raise DataError(
            f"{store.folder}: holds several {what}; choose one by data.taught_by: {known}"
        )
    return fitting[0]
