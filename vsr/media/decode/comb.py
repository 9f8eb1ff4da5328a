"""Measure combing and field order of frames, and decide whether a film is interlaced.

Combing alone may be a fine pattern. A field that fits a neighbouring frame better than its own may
be a cut or a repeated frame. Both together, always in the same field order, mean interlacing. The
second measure is that of FFmpeg's `idet` filter, applied to moving samples.
"""

from typing import Any, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vsr.media.pyav import in_memory, read_plane

_MOTION, _COMB = 12, 10
"""Minimum differences in 8-bit code values: between frames, and of a row from both neighbours."""
_MIN_MOVING = 0.001
"""Share of a frame's samples; with less motion, the field order is unknown."""
_MIN_COMBED = 0.08
"""Share of the moving samples."""
_MIN_ORDER_RATIO = 1.25
"""Of a field's distances to its two neighbouring frames."""
_MIN_FIELD_MOTION = 0.25
"""Motion in one field over that in the other: a pattern may move in half of the rows alone."""
_MIN_FRAMES, _MIN_SHARE, _MAX_OPPOSED = 3, 0.2, 0.2
"""Of frames with the prevailing field order; share of moving frames; share with the other order."""
_MAX_PROGRESSIVE_RATIO, _MAX_PROGRESSIVE_COMBED = 1.05, 0.12
"""Of a progressive frame: the ratio for the field order, and the share of combed moving samples."""
_MIN_PROGRESSIVE, _MIN_PROGRESSIVE_SHARE = 24, 0.95
"""Progressive frames that contradict the flags of a film, and their share of the moving frames."""
_PERIOD, _MIN_RHYTHM, _MIN_PULLDOWN, _MAX_IRREGULAR = 5, 5, 4, 0.2
"""Of 3:2 pulldown: frames of a period, moving frames of a run, combed frames of all runs, and the
share of moving frames that break the rhythm."""
_COLUMNS = 256
"""Fewer than twice as many columns of a frame are compared."""

Luma = NDArray[np.int16]


class FrameCombing(NamedTuple):
    """Measures of a moving frame."""

    order: int
    """1 for combed with the top field first, -1 with the bottom field first, 0 for not combed."""
    is_progressive: bool
    """Whether neither its combing nor its fields' distances from other frames show any order."""


class FieldFinding(NamedTuple):
    """What the fields of a film's frames look like, whatever their flags say."""

    is_interlaced: bool = False
    """Whether enough frames are combed, in the same field order."""
    is_telecined: bool = False
    """Whether two of five frames are combed, in the rhythm of 3:2 pulldown."""
    is_progressive: bool = False
    """Whether many frames move and practically all of them are progressive."""
    order: int = 0
    """The prevailing field order, as `FrameCombing.order`, of an interlaced or telecined film."""

    @property
    def is_bottom_first(self) -> bool:
        """Whether the bottom field comes first."""
        return self.order < 0


class CombFinder:
    """Measures frames in runs of consecutive frames, and decides on all of them."""

    def __init__(self) -> None:
        self._last: list[Luma] = []
        self._runs: list[list[FrameCombing | None]] = [[]]

    def start_run(self) -> None:
        """Start a new run: the next frame has no predecessor."""
        self._last = []
        if self._runs[-1]:
            self._runs.append([])

    def add(self, luma: Luma) -> None:
        """Add the next frame of the run, from `luma_of`."""
        self._last = [*self._last[-2:], luma]
        if len(self._last) == 3:
            self._runs[-1].append(measure(*self._last))

    def finding(self) -> FieldFinding:
        """Decide on all frames so far."""
        moving = [frame for run in self._runs for frame in run if frame is not None]
        count = {order: sum(frame.order == order for frame in moving) for order in (1, -1)}
        order = 1 if count[1] >= count[-1] else -1
        enough = count[order] >= max(_MIN_FRAMES, _MIN_SHARE * len(moving))
        is_one_order = count[-order] <= _MAX_OPPOSED * count[order]
        progressive = sum(frame.is_progressive for frame in moving)
        needed = max(_MIN_PROGRESSIVE, _MIN_PROGRESSIVE_SHARE * len(moving))
        is_telecined = is_one_order and has_pulldown_rhythm(self._runs, order)
        is_interlaced = enough and is_one_order and not is_telecined
        return FieldFinding(
            is_interlaced=is_interlaced,
            is_telecined=is_telecined,
            is_progressive=progressive >= needed and not any(count.values()),
            order=order if is_interlaced or is_telecined else 0,
        )


def has_pulldown_rhythm(runs: list[list[FrameCombing | None]], order: int) -> bool:
    """Whether combed frames of one field order come in pairs, three frames apart.

    Each run of frames may start anywhere in the rhythm.
    """
    combed = seen = irregular = 0
    for run in runs:
        moving = [(index, frame.order) for index, frame in enumerate(run) if frame is not None]
        if len(moving) < _MIN_RHYTHM:
            continue
        breaks = [
            sum((found == order) != ((index - phase) % _PERIOD < 2) for index, found in moving)
            for phase in range(_PERIOD)
        ]
        irregular += min(breaks)
        seen += len(moving)
        combed += sum(found == order for _, found in moving)
    return combed >= _MIN_PULLDOWN and irregular <= _MAX_IRREGULAR * seen


def luma_of(decoded: VideoFrame) -> Luma | None:
    """Return all rows and some columns of a frame's luma, in 8-bit code values.

    None if its first plane is not luma alone.
    """
    if not _has_luma((decoded.sw_format or decoded.format).name):
        return None
    frame = in_memory(decoded)
    bits = frame.format.components[0].bits
    dtype = np.dtype(np.uint8 if bits <= 8 else np.uint16)
    return thin_out(read_plane(frame.planes[0], dtype), max(8, bits))


def thin_out(luma: NDArray[Any], bit_depth: int) -> Luma:
    """Return all rows and some columns of a luma plane, in 8-bit code values."""
    step = max(1, luma.shape[1] // _COLUMNS)
    return (luma[:, ::step] >> (bit_depth - 8)).astype(np.int16)


def measure(before: Luma, frame: Luma, after: Luma) -> FrameCombing | None:
    """Measure a frame between its two neighbours; None if nothing moves.

    Each row is compared with the rows above and below, and these with both neighbouring frames.
    """
    if not before.shape == frame.shape == after.shape or len(frame) < 8:
        return None
    above, below = frame[:-2], frame[2:]
    current, previous, following = (picture[1:-1] for picture in (frame, before, after))
    moving = (np.abs(current - previous) > _MOTION) | (np.abs(current - following) > _MOTION)
    count = int(np.count_nonzero(moving))
    if count < _MIN_MOVING * moving.size:
        return None
    up, down = current - above, current - below
    combed = (np.minimum(np.abs(up), np.abs(down)) > _COMB) & (up * down > 0)
    # The rows above and below belong to one field: they are alike, except in a fine pattern.
    combed &= np.abs(above - below) < np.minimum(np.abs(up), np.abs(down))
    share = int(np.count_nonzero(combed & moving)) / count
    # The rows above and below a row of one field belong to the other field.
    neighbours = above + below
    from_previous = np.abs(neighbours - 2 * previous)
    from_following = np.abs(neighbours - 2 * following)
    from_previous[~moving] = from_following[~moving] = 0
    odd, even = slice(0, None, 2), slice(1, None, 2)  # rows 1, 3, ... of the frame come first
    top_first = float(from_previous[odd].sum()) + float(from_following[even].sum())
    bottom_first = float(from_previous[even].sum()) + float(from_following[odd].sum())
    by_field = sorted(int(np.count_nonzero(moving[rows])) for rows in (odd, even))
    is_combed = share >= _MIN_COMBED and by_field[0] >= _MIN_FIELD_MOTION * by_field[1]
    order = 0
    if is_combed and bottom_first > _MIN_ORDER_RATIO * top_first:
        order = 1
    elif is_combed and top_first > _MIN_ORDER_RATIO * bottom_first:
        order = -1
    distances = sorted((top_first, bottom_first))
    is_progressive = (
        share <= _MAX_PROGRESSIVE_COMBED and distances[1] <= _MAX_PROGRESSIVE_RATIO * distances[0]
    )
    return FrameCombing(order, is_progressive)


def _has_luma(pixel_format: str) -> bool:
    """Whether the first plane of a pixel format is luma alone, one sample per pixel."""
    planar = pixel_format.startswith(("yuv4", "yuvj", "yuva", "gray", "nv"))
    return planar and not pixel_format.endswith("be") and "f" not in pixel_format
