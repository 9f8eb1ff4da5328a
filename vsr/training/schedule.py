"""Clip schedule: shape and age of the clips of each iteration, from iteration and seed alone."""

from typing import NamedTuple

import numpy as np

from vsr.data.clip_pairs import ClipShape
from vsr.training.config import TrainingConfig

_CARRY = 2
"""Stream of random values that choose which clips continue."""
GROUP = 8
"""Batches that are repeated one after another, so that no clip follows itself."""


class SchedulePoint(NamedTuple):
    """Shape of the clips of an iteration."""

    shape: ClipShape
    first: int
    """First iteration with clips of this shape."""


class RepeatPoint(NamedTuple):
    """Position of an iteration in its group of repeated batches."""

    start: int
    """First iteration of the group."""
    repeat: int
    """Times that the batch was used before."""
    place: int
    """Index of the batch in the group; it was prepared for iteration `start` + `place`."""


class ClipSchedule:
    """Stages, continued clips and repeats of the iterations after the motion phase."""

    def __init__(self, training: TrainingConfig, motion_iterations: int) -> None:
        self.training = training
        self.motion_iterations = motion_iterations

    @property
    def group(self) -> int:
        """Batches in a group that is repeated."""
        return GROUP if self.training.repeats > 1 else 1

    @property
    def span(self) -> int:
        """Iterations of a group, repeats included."""
        return self.group * self.training.repeats

    def point(self, iteration: int) -> SchedulePoint:
        """Return the shape of the clips that are prepared for an iteration."""
        clip_iterations = self.training.iterations - self.motion_iterations
        first = self.motion_iterations
        for stage in self.training.stages:
            end = self.motion_iterations + round(stage.until * clip_iterations)
            if iteration < end or stage.until == 1:
                return SchedulePoint(ClipShape(stage.frames, stage.crop), first)
            first = end
        raise AssertionError("the last stage has no end")

    def repeat_point(self, iteration: int) -> RepeatPoint:
        """Position of an iteration in its group."""
        offset = (iteration - self.motion_iterations) % self.span
        repeat, place = divmod(offset, self.group)
        return RepeatPoint(start=iteration - offset, repeat=repeat, place=place)

    def lineage(self, iteration: int, slot: int) -> int:
        """Iteration at which the clip in a slot started: this one or an earlier one."""
        first = self.point(iteration).first
        while iteration > first and self._continues(iteration, slot):
            iteration -= 1
        return iteration

    def follows(self, earlier: "ClipSchedule", iteration: int) -> bool:
        """Whether clips of `iteration` may continue from states of the one before.

        Those states were computed under the schedule `earlier`, of the same settings but for the
        count of iterations. Another count moves the stages, and with them shapes and lineages.
        """
        _, _, place = point = self.repeat_point(iteration)
        if place == 0 and self.span > 1:
            return True  # all clips start afresh
        prepared = point.start + place
        return self.point(prepared) == earlier.point(prepared - 1)

    def _continues(self, iteration: int, slot: int) -> bool:
        random = np.random.default_rng((self.training.seed, _CARRY, iteration, slot))
        return bool(random.random() < self.training.carry_share)
