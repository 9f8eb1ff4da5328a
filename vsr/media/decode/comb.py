"""Find interlaced pictures that no flag declares: by their combs, and by the order of their fields.

A comb alone may be a fine pattern, and a field that fits a neighbouring frame better than its own
may be a cut or a repeated frame. Both together, always in the same field order, are interlace.
The second measure is that of FFmpeg's `idet` filter, where there is motion.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOTION, _COMB = 12, 10
"""Least differences of code values of 8 bits: between frames, and of a row from both beside it."""
_LEAST_MOVING = 0.001
"""Of a frame: with less motion there is nothing to tell by."""
_LEAST_COMBED = 0.08
"""Of the moving samples."""
_LEAST_ORDER = 1.25
"""By how much a field must be nearer to one neighbouring frame than to the other."""
_LEAST_FRAMES, _LEAST_SHARE, _MOST_OPPOSED = 3, 0.2, 0.2
_COLUMNS = 256
"""Fewer than twice as many columns of a frame are compared."""

Luma = NDArray[np.int16]


class CombFinder:
    """Counts frames that show combs, among consecutive ones of some stretches of a film."""

    def __init__(self) -> None:
        self._last: list[Luma] = []
        self._moving = 0
        self._orders = {1: 0, -1: 0}

    def begin_stretch(self) -> None:
        """Compare the next frame with none before."""
        self._last = []

    def add(self, luma: Luma) -> None:
        """Take in the next frame, from `thinned`."""
        self._last = [*self._last[-2:], luma]
        if len(self._last) == 3:
            order = field_order(*self._last)
            self._moving += order is not None
            if order:
                self._orders[order] += 1

    @property
    def interlaced(self) -> bool:
        """Whether frames look interlaced: often enough, and by the same field order."""
        most, least = max(self._orders.values()), min(self._orders.values())
        enough = most >= max(_LEAST_FRAMES, _LEAST_SHARE * self._moving)
        return enough and least <= _MOST_OPPOSED * most


def thinned(luma: NDArray[Any], bit_depth: int) -> Luma:
    """All rows and some columns of a luma plane, by code values of 8 bits."""
    step = max(1, luma.shape[1] // _COLUMNS)
    return (luma[:, ::step] >> (bit_depth - 8)).astype(np.int16)


def field_order(before: Luma, frame: Luma, after: Luma) -> int | None:
    """The field order of a combed frame: 1 for the top field first, -1 for the bottom field.

    Each row is compared with those beside it, and these with both neighbouring frames. 0 if the
    frame isn't combed, None if nothing moves.
    """
    if not before.shape == frame.shape == after.shape or len(frame) < 8:
        return None
    above, below = frame[:-2], frame[2:]
    here, past, coming = (picture[1:-1] for picture in (frame, before, after))
    moving = (np.abs(here - past) > _MOTION) | (np.abs(here - coming) > _MOTION)
    count = np.count_nonzero(moving)
    if count < _LEAST_MOVING * moving.size:
        return None
    up, down = here - above, here - below
    combed = (np.minimum(np.abs(up), np.abs(down)) > _COMB) & (up * down > 0)
    # The rows above and below are of one field: alike, where a picture isn't a fine pattern.
    combed &= np.abs(above - below) < np.minimum(np.abs(up), np.abs(down))
    if np.count_nonzero(combed & moving) < _LEAST_COMBED * count:
        return 0
    # In a row of the top field, both beside it are of the bottom field, and the other way round.
    beside = above + below
    far_past, far_coming = np.abs(beside - 2 * past), np.abs(beside - 2 * coming)
    far_past[~moving] = far_coming[~moving] = 0
    odd, even = slice(0, None, 2), slice(1, None, 2)  # rows 1, 3, ... of the frame come first
    top_first = float(far_past[odd].sum()) + float(far_coming[even].sum())
    bottom_first = float(far_past[even].sum()) + float(far_coming[odd].sum())
    if bottom_first > _LEAST_ORDER * top_first:
        return 1
    if top_first > _LEAST_ORDER * bottom_first:
        return -1
    return 0
