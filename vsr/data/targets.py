"""Targets of training clips: originals, a teacher's outputs, or a mixture."""

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
    """Consecutive frames of a clip that training clips are cut from."""

    clip: StoredClip
    first: int
    """Index of the first frame in the clip."""
    frames: int
    height: int
    """Height of the target in pixels."""
    width: int
    step: int = 2
    """Corners of crops are multiples of this."""
    taught: tuple[TeacherOutput, ...] = ()
    """Consecutive blocks of a teacher's outputs; empty if only originals are used."""
    native: bool = False
    """Whether the stored frames are the input, and the teacher's outputs the only target."""

    @classmethod
    def whole(cls, clip: StoredClip, scale: int) -> "FrameRange":
        """Select all frames of a clip."""
        return cls(
            clip=clip,
            first=0,
            frames=clip.frames,
            height=clip.height,
            width=clip.width,
            step=_step(clip, scale),
        )


class CropArea(NamedTuple):
    """A square of a frame, in pixels of the target."""

    top: int
    left: int
    side: int


class SourceCrop(NamedTuple):
    """Frames cut from a data set before degradation, RGB in [0, 1], (T, 3, side, side)."""

    high: Tensor
    """The frames that the input is derived from."""
    separate_target: Tensor | None = None
    """The target, if it differs from `high`."""
    low: Tensor | None = None
    """The input, if it is not derived from `high`; (T, 3, side / s, side / s)."""
    separate_footage: Tensor | None = None
    """Frames of footage, if they differ from the target."""

    @property
    def target(self) -> Tensor:
        """The frames that the output is compared with."""
        return self.high if self.separate_target is None else self.separate_target

    @property
    def footage(self) -> Tensor:
        """The target without a teacher's outputs: its detail is natural, and moves naturally."""
        return self.target if self.separate_footage is None else self.separate_footage

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "SourceCrop":
        """Apply a function to each tensor."""
        return SourceCrop(*(None if part is None else function(part) for part in self))  # type: ignore[arg-type]

    def spliced(self, index: int, following: "SourceCrop") -> "SourceCrop":
        """Replace the frames from `index` on by those of another crop."""

        def splice(one: Tensor, other: Tensor) -> Tensor:
            return torch.cat((one[:index], other[index:]))

        is_plain = self.separate_target is None and following.separate_target is None
        is_footage = self.separate_footage is None and following.separate_footage is None
        has_low = self.low is not None and following.low is not None
        return SourceCrop(
            splice(self.high, following.high),
            None if is_plain else splice(self.target, following.target),
            splice(self.low, following.low) if has_low else None,  # type: ignore[arg-type]
            None if is_footage else splice(self.footage, following.footage),
        )


class Targets:
    """Cuts source crops with the targets that a recipe selects."""

    def __init__(self, pool: ClipPool, config: DataConfig, scale: int) -> None:
        """Raises `DataError` if the data set lacks those targets."""
        self._pool = pool
        self._config = config
        self._scale = scale
        self.films: list[FrameRange] = []
        """Ranges that crops of films are cut from."""
        self.native: list[FrameRange] = []
        """Ranges whose stored frames are the input, for `native_share` of the crops of films."""
        native_share = config.native_share
        if config.targets == "agreeing" and pool.features is None:
            raise DataError('data.targets = "agreeing" needs a network of features')
        if config.targets in ("original", "sharpened"):
            paired = [clip for clip in pool.pictures if clip.low_scale == scale]
            self.films = [FrameRange.whole(clip, scale) for clip in (*pool.films, *paired)]
        elif native_share < 1:
            self.films = self._taught_ranges(native=False)
        if native_share:
            self.native = self._taught_ranges(native=True)

    def of_picture(self, high: Tensor) -> SourceCrop:
        """Add the target to frames (T, 3, side, side) of a picture under a moving camera."""
        if self._config.targets in ("sharpened", "agreeing"):
            return SourceCrop(high, sharpened(high, self._config.sharpening))
        return SourceCrop(high)

    def of_film(self, source: FrameRange, indices: Tensor, area: CropArea) -> SourceCrop:
        """Cut the frames `indices` (T) of a range."""
        taught = None
        if source.taught:
            taught = _cut(self._pool.teacher_outputs(source.taught), source.clip, indices, area)
        if source.native:
            assert taught is not None
            return SourceCrop(taught, low=self._native_low(source, indices, area))
        original = self._pool.film(source.clip)
        high = _cut(original, source.clip, source.first + indices, area)
        low = self._stored_low(source, indices, area)
        match self._config.targets:
            case "taught":
                return SourceCrop(high, taught, low, separate_footage=high)
            case "agreeing":
                assert taught is not None
                share = self._agreement(source, indices, area)
                fallback = sharpened(high, self._config.sharpening)
                mixture = fallback.lerp(taught, share)
                return SourceCrop(high, mixture, low, separate_footage=fallback)
            case "sharpened":
                return SourceCrop(high, sharpened(high, self._config.sharpening), low)
            case _:
                return SourceCrop(high, low=low)

    def luma(self, source: FrameRange, index: int) -> Tensor:
        """The luma (H, W) of a frame of a range, in pixels of the target."""
        if source.native:
            return self._pool.teacher_outputs(source.taught)[0][index]
        return self._pool.film(source.clip)[0][source.first + index]

    def _native_low(self, source: FrameRange, indices: Tensor, area: CropArea) -> Tensor:
        """The stored frames where the teacher's outputs show them."""
        low, block = self._low_area(area), source.taught[0]
        low = low._replace(top=block.top + low.top, left=block.left + low.left)
        planes = self._pool.film(source.clip)
        return _cut(planes, source.clip, source.first + indices, low)

    def _stored_low(self, source: FrameRange, indices: Tensor, area: CropArea) -> Tensor | None:
        """The input of a ready pair; None for other clips, and for a pair of another scale."""
        if source.clip.low_scale != self._scale:
            return None
        planes = self._pool.low(source.clip)
        return _cut(planes, source.clip, source.first + indices, self._low_area(area))

    def _low_area(self, area: CropArea) -> CropArea:
        return CropArea(*(value // self._scale for value in area))

    def _agreement(self, source: FrameRange, indices: Tensor, area: CropArea) -> Tensor:
        """The share of the teacher's output in each pixel, (T, 1, side, side)."""
        shares = torch.stack([self._frame_agreement(source, int(n)) for n in indices])
        shares = F.interpolate(shares, size=(source.height, source.width), mode="bilinear")
        rows = slice(area.top, area.top + area.side)
        return shares[..., rows, area.left : area.left + area.side]

    def _frame_agreement(self, source: FrameRange, index: int) -> Tensor:
        """The share of the teacher's output in each cell of a frame, (1, h, w); cached."""

        def load() -> tuple[int, Tensor]:
            features = self._pool.features
            assert features is not None
            stored = [p[source.first + index, None] for p in self._pool.film(source.clip)]
            output = [p[index, None] for p in self._pool.teacher_outputs(source.taught)]
            original, taught = (
                on_8_bit_levels(to_rgb(planes, source.clip.spec)) for planes in (stored, output)
            )
            original = original[..., : source.height, : source.width]
            limit = self._config.agreement
            distance = feature_distance(features, taught, original)
            share = ((limit - distance) / (2 * _SOFTNESS * limit) + 0.5).clamp(0, 1)[0]
            return share.numel() * 4, share

        key = ("agreement", source.taught[0].teaching, *source.clip.key, source.first + index)
        return self._pool.cached(key, load)

    def _taught_ranges(self, native: bool) -> list[FrameRange]:
        run = _find_run(self._pool.store, self._config.taught_by, self._scale, native)
        self._pool.store.check_teacher_outputs(run)
        clips = {clip.key: clip for clip in (*self._pool.films, *self._pool.pictures)}
        blocks: dict[ClipKey, list[TeacherOutput]] = {}
        for output in self._pool.store.teacher_outputs(run.teaching):
            if output.clip_key in clips:
                blocks.setdefault(output.clip_key, []).append(output)
        return [_taught_range(clips[key], found, run) for key, found in blocks.items()]


def _step(clip: StoredClip, scale: int) -> int:
    """Multiple for the corners of crops that keeps the input's 4:2:0 samples whole."""
    return 2 * scale if clip.low_scale == scale else 2


def _cut(planes: Sequence[Tensor], clip: StoredClip, indices: Tensor, area: CropArea) -> Tensor:
    """Cut frames of 4:2:0 planes, as RGB (T, 3, side, side) on 8-bit levels."""
    cut = [
        plane[
            indices.to(plane.device),
            area.top // n : (area.top + area.side) // n,
            area.left // n : (area.left + area.side) // n,
        ]
        for plane, n in zip(planes, (1, 2, 2), strict=True)
    ]
    return on_8_bit_levels(to_rgb(cut, clip.spec))


def _taught_range(clip: StoredClip, blocks: list[TeacherOutput], run: TeacherRun) -> FrameRange:
    """The longest range of a clip whose frames all have a teacher's output."""
    ranges: list[list[TeacherOutput]] = []
    for block in sorted(blocks, key=lambda block: block.first):
        if ranges and ranges[-1][-1].first + ranges[-1][-1].frames == block.first:
            ranges[-1].append(block)
        else:
            ranges.append([block])
    longest = max(ranges, key=lambda found: sum(block.frames for block in found))
    native = run.native_crop is not None
    return FrameRange(
        clip=clip,
        first=longest[0].first,
        frames=sum(block.frames for block in longest),
        height=longest[0].height,
        width=longest[0].width,
        step=2 * run.scale if native else _step(clip, run.scale),
        taught=tuple(longest),
        native=native,
    )


def _find_run(store: Store, teacher: str | None, scale: int, native: bool) -> TeacherRun:
    """The only teacher run of a data set that fits a recipe; raises `DataError`."""
    found = [t for t in store.teacher_runs.values() if teacher in (None, t.teacher, t.teaching)]
    by = f" by {teacher}" if teacher else ""
    command = f"vsr data teach {store.folder} --model FILE" + (" --native" if native else "")
    found = [t for t in found if (t.native_crop is not None) == native]
    targets = f"{'native' if native else 'taught'} targets{by}"
    if not found:
        raise DataError(f"{store.folder}: holds no {targets}; add them by {command}")
    fitting = [t for t in found if t.scale == scale]
    if not fitting:
        scales = " and ".join(sorted({f"x{t.scale}" for t in found}))
        raise DataError(
            f"{store.folder}: its {targets} are for {scales}, not for x{scale}; "
            f"add some by {command}"
        )
    if len(fitting) > 1:
        known = ", ".join(f"{t.teaching} ({t.teacher})" for t in fitting)
        raise DataError(
            f"{store.folder}: holds several {targets}; choose one by data.taught_by: {known}"
        )
    return fitting[0]
