"""A frame of an animation."""

from collections.abc import Iterable, Iterator
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


def whole_ticks(seconds: Iterable[Fraction], per_second: int) -> Iterator[int]:
    """Round durations to ticks so that no error adds up."""
    end, total = 0, Fraction(0)
    for duration in seconds:
        total += duration
        rounded = round(total * per_second)
        yield rounded - end
        end = rounded
