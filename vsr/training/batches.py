"""Batches of clips: those of an iteration follow from the iteration and the seed alone."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from vsr.data.clip_pairs import ClipPairs, ClipShape
from vsr.data.clip_pool import ClipPool
from vsr.data.config import DataConfig
from vsr.data.flow_pairs import MotionPairs
from vsr.training.prefetch import by_processes
from vsr.training.schedule import ClipSchedule, RepeatPoint

_SLOTS = 1 << 16
"""Index of a clip: its first iteration times this, plus its slot in the batch."""
_ORIENTATION = 4
"""Stream of random values that choose the orientation of repeated clips."""

Item = TypeVar("Item")


class MotionBatch(NamedTuple):
    """Pairs of frames with known motion."""

    current: Tensor
    """(B, 3, H, W)."""
    previous: Tensor
    """(B, 3, H, W)."""
    flow: Tensor
    """(B, 2, H, W): from the current frame back to the previous one, in pixels."""


class Batch(NamedTuple):
    """Clips to learn from."""

    low: Tensor
    """(B, T, 3, H, W)."""
    target: Tensor
    """(B, T, 3, sH, sW)."""
    clean: Tensor
    """(B, T, 3, H, W): the input without noise and compression."""
    fresh: Tensor
    """(B), bool, on the CPU: clips that start in this iteration. The others continue from the
    iteration before."""
    footage: Tensor | None = None
    """(B, T, 3, sH, sW): the target without a teacher's outputs, if those are part of it."""


class Batches:
    """Prepares batches: this process's share of each, which is `slots` of the whole batch."""

    def __init__(
        self,
        pool: ClipPool,
        data: DataConfig,
        scale: int,
        schedule: ClipSchedule,
        slots: range,
        device: torch.device,
    ) -> None:
        """Clips are prepared on the CPU, and batches are moved to `device`.

        Raises `DataError` where the data set is too small for any stage's clips.
        """
        training = schedule.training
        self._schedule = schedule
        self._training = training
        self._slots = slots
        self._pool = pool
        self._device = device
        self._motion = (
            MotionPairs(pool, data, scale, training.seed) if schedule.motion_iterations else None
        )
        shapes = {ClipShape(stage.frames, stage.crop) for stage in training.stages}
        self._pairs = {
            shape: ClipPairs(pool, data, scale, training.seed, shape) for shape in shapes
        }

    def motion(self, first: int) -> Generator[MotionBatch, None, None]:
        """Yield pairs of known motion, from iteration `first` to the last of that phase."""
        iterations = range(first, self._schedule.motion_iterations)
        with closing(self._ahead(self._motion_batch, iterations)) as prepared:
            for batch in prepared:
                yield MotionBatch(*(self._placed(part) for part in batch))

    def clips(self, first: int) -> Generator[Batch, None, None]:
        """Yield clips, from iteration `first` to the last."""
        schedule, end = self._schedule, self._training.iterations
        starts = range(schedule.repeat_point(first).start, end, schedule.span)
        iterations = [
            iteration
            for start in starts
            for iteration in range(start, min(start + schedule.group, end))
        ]
        with closing(self._ahead(self._clip_batch, iterations)) as prepared:
            group: list[Batch] = []
            for iteration in range(starts.start, end):
                point = schedule.repeat_point(iteration)
                if point.repeat == 0:
                    group = [*group[: point.place], self._on_device(next(prepared))]
                if iteration >= first:
                    yield self._repeated(group[point.place], point)

    def _motion_batch(self, iteration: int) -> MotionBatch:
        assert self._motion is not None
        pairs = [self._motion.pair(iteration * _SLOTS + slot) for slot in self._slots]
        return MotionBatch(*(torch.stack(part) for part in zip(*pairs, strict=True)))

    def _clip_batch(self, iteration: int) -> Batch:
        pairs = self._pairs[self._schedule.point(iteration).shape]
        starts = [self._schedule.lineage(iteration, slot) for slot in self._slots]
        clips = [
            pairs.pair(start * _SLOTS + slot, iteration - start)
            for start, slot in zip(starts, self._slots, strict=True)
        ]
        footage = None
        if any(clip.footage is not None for clip in clips):
            footage = [clip.target if clip.footage is None else clip.footage for clip in clips]
        return Batch(
            low=torch.stack([clip.low for clip in clips]),
            target=torch.stack([clip.target for clip in clips]),
            clean=torch.stack([clip.clean for clip in clips]),
            fresh=torch.tensor([start == iteration for start in starts]),
            footage=None if footage is None else torch.stack(footage),
        )

    def _repeated(self, batch: Batch, point: RepeatPoint) -> Batch:
        """Mirror or rotate a batch of a group, differently for each repeat."""
        if self._training.repeats == 1:
            return batch
        if point.place == 0:
            # The iteration before used another orientation or another group.
            batch = batch._replace(fresh=torch.ones_like(batch.fresh))
        if point.repeat == 0:
            return batch
        random = np.random.default_rng((self._training.seed, _ORIENTATION, point.start))
        symmetry = 1 + int(random.permutation(7)[point.repeat - 1])
        return batch._replace(
            low=_reoriented(batch.low, symmetry),
            target=_reoriented(batch.target, symmetry),
            clean=_reoriented(batch.clean, symmetry),
            footage=None if batch.footage is None else _reoriented(batch.footage, symmetry),
        )

    def _on_device(self, batch: Batch) -> Batch:
        return batch._replace(
            low=self._placed(batch.low),
            target=self._placed(batch.target),
            clean=self._placed(batch.clean),
            footage=None if batch.footage is None else self._placed(batch.footage),
        )

    def _placed(self, part: Tensor) -> Tensor:
        return part.to(self._device, non_blocking=True)

    def _ahead(
        self, prepare: Callable[[int], Item], iterations: Sequence[int]
    ) -> Generator[Item, None, None]:
        """Yield batches in order, prepared in worker processes if the recipe asks for them."""
        workers = self._training.workers
        if workers:
            self._pool.share(workers)
            yield from by_processes(
                prepare, iterations, workers=workers, pin_memory=self._device.type == "cuda"
            )
        else:
            yield from map(prepare, iterations)


def _reoriented(clips: Tensor, symmetry: int) -> Tensor:
    """One of the 8 symmetries of a square, of clips (..., H, W) with H = W; 0 is the identity."""
    if symmetry & 1:
        clips = clips.flip(-1)
    if symmetry & 2:
        clips = clips.flip(-2)
    if symmetry & 4:
        clips = clips.transpose(-1, -2)
    return clips.contiguous()
