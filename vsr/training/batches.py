"""Which clips make up iteration n: a function of n and the seed alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from vsr.data.clip_pairs import ClipPairs, ClipShape
from vsr.data.clip_pool import ClipPool
from vsr.data.config import DataConfig
from vsr.data.flow_pairs import MotionPairs
from vsr.training.config import TrainingConfig
from vsr.training.prefetch import by_processes

_SLOTS = 1 << 16
"""Clip numbers are iteration times this, plus the place in the batch."""
_CARRY = 2
"""Marks the random numbers that choose which clips go on."""
_TURN = 4
"""Marks the random numbers that choose how repeated clips are turned."""
_GROUP = 8
"""Batches that are repeated one after another, so that a clip does not follow itself."""

Item = TypeVar("Item")


class SchedulePoint(NamedTuple):
    """Where an iteration lies in the schedule."""

    shape: ClipShape
    first: int
    """Iteration at which clips of this shape begin."""


class Batch(NamedTuple):
    """Clips to learn from."""

    low: Tensor
    """(B, T, 3, H, W)."""
    target: Tensor
    """(B, T, 3, sH, sW)."""
    clean: Tensor
    """(B, T, 3, H, W): the input without noise and compression."""
    fresh: Tensor
    """(B), bool, on the CPU: which clips start here; the others continue from the iteration
    before."""


class Batches:
    """Makes batches, this process's share of each: `slots` of all the places in a batch."""

    def __init__(
        self,
        pool: ClipPool,
        data: DataConfig,
        training: TrainingConfig,
        scale: int,
        motion_iterations: int,
        slots: range,
        device: torch.device,
    ) -> None:
        """Clips are prepared on the CPU; batches are given on `device`.

        Raises `DataError` where the data set is too small for any stage's clips.
        """
        self._training = training
        self._slots = slots
        self._pool = pool
        self._device = device
        self._motion = MotionPairs(pool, data, scale, training.seed) if motion_iterations else None
        self._motion_iterations = motion_iterations
        shapes = {ClipShape(stage.frames, stage.crop) for stage in training.stages}
        self._pairs = {
            shape: ClipPairs(pool, data, scale, training.seed, shape) for shape in shapes
        }

    def motion(self, first: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Pairs of known motion, from iteration `first` to the last of that phase."""
        for pairs in self._ahead(self._motion_batch, range(first, self._motion_iterations)):
            current, previous, known = (self._placed(part) for part in pairs)
            yield current, previous, known

    def clips(self, first: int) -> Iterator[Batch]:
        """Clips, from iteration `first` to the last."""
        end, repeats = self._training.iterations, self._training.repeats
        size = _GROUP if repeats > 1 else 1
        span = size * repeats
        start = first - (first - self._motion_iterations) % span
        starts = range(start, end, span)
        prepared = self._ahead(
            self._clip_batch,
            [n for start in starts for n in range(start, min(start + size, end))],
        )
        for start in starts:
            group: list[Batch] = []
            for iteration in range(start, min(start + span, end)):
                repeat, place = divmod(iteration - start, size)
                if repeat == 0:
                    group.append(self._on_device(next(prepared)))
                if iteration >= first:
                    yield self._repeated(group[place], repeat, place, start)

    def place(self, iteration: int) -> SchedulePoint:
        """The shape of the clips of an iteration."""
        begun = self._motion_iterations
        whole = self._training.iterations - begun
        first = begun
        for stage in self._training.stages:
            end = begun + round(stage.until * whole)
            if iteration < end or stage.until == 1:
                return SchedulePoint(ClipShape(stage.frames, stage.crop), first)
            first = end
        raise AssertionError("the last stage has no end")

    def lineage(self, iteration: int, slot: int) -> int:
        """The iteration at which the clip in a slot began: this one, or one before it."""
        first = self.place(iteration).first
        while iteration > first and self._carried(iteration, slot):
            iteration -= 1
        return iteration

    def _carried(self, iteration: int, slot: int) -> bool:
        random = np.random.default_rng((self._training.seed, _CARRY, iteration, slot))
        return bool(random.random() < self._training.carry_share)

    def _motion_batch(self, iteration: int) -> tuple[Tensor, Tensor, Tensor]:
        assert self._motion is not None
        pairs = [self._motion.pair(iteration * _SLOTS + slot) for slot in self._slots]
        current, previous, known = (torch.stack(part) for part in zip(*pairs, strict=True))
        return current, previous, known

    def _clip_batch(self, iteration: int) -> Batch:
        pairs = self._pairs[self.place(iteration).shape]
        begun = [self.lineage(iteration, slot) for slot in self._slots]
        clips = [
            pairs.pair(first * _SLOTS + slot, iteration - first)
            for first, slot in zip(begun, self._slots, strict=True)
        ]
        low, target, clean = (torch.stack(part) for part in zip(*clips, strict=True))
        fresh = torch.tensor([first == iteration for first in begun])
        return Batch(low=low, target=target, clean=clean, fresh=fresh)

    def _repeated(self, batch: Batch, repeat: int, place: int, start: int) -> Batch:
        """Turn the batch at a place in the group that begins at iteration `start`."""
        if self._training.repeats == 1:
            return batch
        if place == 0:
            # What came before was turned otherwise, or is of another group.
            batch = batch._replace(fresh=torch.ones_like(batch.fresh))
        if repeat == 0:
            return batch
        random = np.random.default_rng((self._training.seed, _TURN, start))
        turn = 1 + int(random.permutation(7)[repeat - 1])
        return batch._replace(
            low=_turned(batch.low, turn),
            target=_turned(batch.target, turn),
            clean=_turned(batch.clean, turn),
        )

    def _on_device(self, batch: Batch) -> Batch:
        return batch._replace(
            low=self._placed(batch.low),
            target=self._placed(batch.target),
            clean=self._placed(batch.clean),
        )

    def _placed(self, part: Tensor) -> Tensor:
        return part.to(self._device, non_blocking=True)

    def _ahead(self, prepare: Callable[[int], Item], iterations: Sequence[int]) -> Iterator[Item]:
        """Yield batches in order, prepared beside the training if there are workers."""
        workers = self._training.workers
        if not workers:
            return map(prepare, iterations)
        self._pool.share(workers)
        return by_processes(
            prepare, iterations, workers=workers, pin_memory=self._device.type == "cuda"
        )


def _turned(clips: Tensor, turn: int) -> Tensor:
    """One of the 8 symmetries of a square, of clips (..., H, W) with H = W; 0 changes nothing."""
    if turn & 1:
        clips = clips.flip(-1)
    if turn & 2:
        clips = clips.flip(-2)
    if turn & 4:
        clips = clips.transpose(-1, -2)
    return clips.contiguous()
