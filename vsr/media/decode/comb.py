"""Detect interlaced frames that aren't flagged, by combing and field order.

Combing alone may be a fine pattern. A field that fits a neighbouring frame better than its own may
be a cut or a repeated frame. Both together, always in the same field order, mean interlacing. The
second measure is that of FFmpeg's `idet` filter, applied to moving samples.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOTION, _COMB = 12, 10
"""Minimum differences in 8-bit code values: between frames, and of a row from both neighbours."""
_MIN_MOVING = 0.001
"""Share of a frame's samples; with less motion, the field order is unknown."""
_MIN_COMBED = 0.08
"""Share of the moving samples."""
_MIN_ORDER_RATIO = 1.25
"""Of a field's distances to its two neighbouring frames."""
_MIN_FRAMES, _MIN_SHARE, _MAX_OPPOSED = 3, 0.2, 0.2
"""Of frames with the prevailing field order; share of moving frames; share with the other order."""
_COLUMNS = 256
"""Fewer than twice as many columns of a frame are compared."""

Luma = NDArray[np.int16]


class CombFinder:
    """Counts combed frames by field order, over runs of consecutive frames."""

    def __init__(self) -> None:
        self._last: list[Luma] = []
        self._moving = 0
        self._orders = {1: 0, -1: 0}

    def start_run(self) -> None:
        """Start a new run: the next frame has no predecessor."""
        self._last = []

    def add(self, luma: Luma) -> None:
        """Add the next frame of the run, from `thin_out`."""
        self._last = [*self._last[-2:], luma]
        if len(self._last) == 3:
            order = field_order(*self._last)
            self._moving += order is not None
            if order:
                self._orders[order] += 1

    @property
    def interlaced(self) -> bool:
        """Whether enough frames are combed, in the same field order."""
        prevailing, opposed = max(self._orders.values()), min(self._orders.values())
        enough = prevailing >= max(_MIN_FRAMES, _MIN_SHARE * self._moving)
        return enough and opposed <= _MAX_OPPOSED * prevailing


def thin_out(luma: NDArray[Any], bit_depth: int) -> Luma:
    """Return all rows and some columns of a luma plane, in 8-bit code values."""
    step = max(1, luma.shape[1] // _COLUMNS)
    return (luma[:, ::step] >> (bit_depth - 8)).astype(np.int16)


def field_order(before: Luma, frame: Luma, after: Luma) -> int | None:
    """Return the field order of a combed frame: 1 for top field first, -1 for bottom field first.

    0 if the frame isn't combed, None if nothing moves. Each row is compared with the rows above and
    below, and these with both neighbouring frames.
    """
    if not before.shape == frame.shape == after.shape or len(frame) < 8:
        return None
    above, below = frame[:-2], frame[2:]
    current, previous, following = (picture[1:-1] for picture in (frame, before, after))
    moving = (np.abs(current - previous) > _MOTION) | (np.abs(current - following) > _MOTION)
    count = np.count_nonzero(moving)
    if count < _MIN_MOVING * moving.size:
        return None
    up, down = current - above, current - below
    combed = (np.minimum(np.abs(up), np.abs(down)) > _COMB) & (up * down > 0)
    # The rows above and below belong to one field: they are alike, except in a fine pattern.
    combed &= np.abs(above - below) < np.minimum(np.abs(up), np.abs(down))
    if np.count_nonzero(combed & moving) < _MIN_COMBED * count:
        return 0
    # The rows above and below a row of one field belong to the other field.
    neighbours = above + below
    from_previous = np.abs(neighbours - 2 * previous)
    from_following = np.abs(neighbours - 2 * following)
    from_previous[~moving] = from_following[~moving] = 0
    odd, even = slice(0, None, 2), slice(1, None, 2)  # rows 1, 3, ... of the frame come first
    top_first = float(from_previous[odd].sum()) + float(from_following[even].sum())
    bottom_first = float(from_previous[even].sum()) + float(from_following[odd].sum())
    if bottom_first > _MIN_ORDER_RATIO * top_first:
        return 1
    if top_first > _MIN_ORDER_RATIO * bottom_first:
        return -1
    return 0
