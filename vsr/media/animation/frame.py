"""A frame of an animation."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, without the last column and line."""


class AnimationFrame(NamedTuple):
    """A whole picture, as shown, and how long it is shown."""

    rgb: NDArray[np.uint8]
    """(H, W, 3)."""
    alpha: NDArray[np.uint8] | None
    """(H, W); None for an animation without transparency."""
    seconds: Fraction

    def has_pixels_of(self, other: "AnimationFrame") -> bool:
        """Whether both frames have the same pixels."""
        return self.changed_box(other) is None

    def changed_box(self, before: "AnimationFrame") -> Box | None:
        """Return the smallest rectangle of all pixels that differ; None if none does."""
        changed = (self.rgb != before.rgb).any(axis=2)
        if self.alpha is not None and before.alpha is not None:
            changed |= self.alpha != before.alpha
        lines, columns = changed.any(axis=1).nonzero()[0], changed.any(axis=0).nonzero()[0]
        if not lines.size:
            return None
        return int(columns[0]), int(lines[0]), int(columns[-1]) + 1, int(lines[-1]) + 1


class TickCounter:
    """Rounds durations to ticks so that no error adds up."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._seconds, self._ticks = Fraction(0), 0

    def ticks(self, seconds: Fraction) -> int:
        """Return the ticks of the next duration."""
        self._seconds += seconds
        before, self._ticks = self._ticks, round(self._seconds * self._per_second)
        return self._ticks - before
