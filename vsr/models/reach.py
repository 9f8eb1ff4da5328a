"""Measure the effective receptive field of networks of single pictures, for the overlap of tiles.

The sum over kernels is many times too large for deep networks, and says nothing about attention.
Attention has windows that start at multiples of a grid, and some networks depend on the mean of the
whole picture. So a part of a picture is computed alone and compared with the same area of the
whole, which gives the distance up to which outputs change: the reach.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from threading import Timer
from typing import NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from torch import Tensor, nn

from vsr.imaging.tensors import resize_bicubic
from vsr.system.cache import cache_folder
from vsr.system.files import write_text

Upscale = Callable[[Tensor], Tensor]
"""Maps (1, 3, H, W) to (1, 3, sH, sW), RGB in [0, 1]."""

MAX_REACH = 104
"""Largest reach for which tiles are worth their overlap, in low-resolution pixels."""
_TOLERANCE = 0.5 / 255
"""Largest difference of samples: rounding turns it into a code value at most."""
_SEED = 11
_MARK_SHARE = 8
"""Length of the probe over that of its bright start."""
_FORMAT = 3
"""Part of the name of a remembered reach. Increase it when it is measured differently."""
_MIN_FIXED_SIDE = 4
"""Shortest side of which a quarter is a pixel."""
_SILENT_SECONDS = 1.0
"""Time after which a measurement is announced."""

_MEASURING = (
    "measuring the model's effective receptive field, which decides how far tiles overlap; this is "
    "done once for each model"
)

_REMEMBERED = TypeAdapter(tuple[NonNegativeInt, PositiveInt] | None)
"""A remembered reach: pixels and grid."""

_log = logging.getLogger(__name__)


class Reach(NamedTuple):
    """How tiles must be cut."""

    pixels: int
    """Distance in low-resolution pixels up to which an output depends on the input."""
    grid: int
    """Tiles start at multiples of this."""


class _Trial(NamedTuple):
    """A grid, and the parts of a probe that are computed alone to test it."""

    grid: int
    sides: tuple[int, int]
    """(height, width) of the probe."""
    parts: tuple[tuple[int, int], ...]
    """(start, end) along the width. An end is on no grid, unless it is the end of the probe."""


_LONG = (48, 384)
_TRIALS = (
    # Each part has an end of the probe, so that it is shorter. Most networks need no other trial.
    _Trial(16, (24, 136), ((16, 136), (0, 118))),
    _Trial(48, _LONG, ((48, 330),)),
    _Trial(32, _LONG, ((96, 330),)),
    _Trial(64, _LONG, ((64, 330),)),
    _Trial(112, _LONG, ((112, 330),)),
)
"""Windows of attention have sides of 4 to 64 pixels, or 7. A start is on its own grid, and on none
of those before."""


@torch.inference_mode()
def measure_reach(upscale: Upscale, scale: int) -> Reach | None:
    """Measure the reach of a network for pictures of any size.

    Differences of up to half a code value are ignored. None if there are larger ones farther than
    `MAX_REACH` from where parts were cut.
    """
    pairs: dict[tuple[tuple[int, int], bool], tuple[Tensor, Tensor]] = {}

    def pair(sides: tuple[int, int], is_turned: bool) -> tuple[Tensor, Tensor]:
        """Return a probe and its output."""
        if (sides, is_turned) not in pairs:
            probe = probe_picture(*sides)
            probe = probe.mT.contiguous() if is_turned else probe
            pairs[sides, is_turned] = probe, upscale(probe)
        return pairs[sides, is_turned]

    for trial in _TRIALS:
        found = 0
        for is_turned, (start, end) in product((False, True), trial.parts):
            probe, whole = pair(trial.sides, is_turned)
            axis, length = 2 if is_turned else 3, end - start
            part = upscale(probe.narrow(axis, start, length))
            same = whole.narrow(axis, scale * start, scale * length)
            ends = (start > 0, end < trial.sides[1])
            found = max(found, _farthest_error(part, same, scale, axis, ends))
            if found > MAX_REACH:
                break
        else:
            return Reach(found, trial.grid)
    return None


@torch.inference_mode()
def measure_reach_of_size(upscale: Upscale, scale: int, size: tuple[int, int]) -> Reach | None:
    """Measure the reach of a network for pictures of one size alone, (height, width).

    Two pictures that overlap are compared. None if the reach exceeds a quarter of a side, or if a
    side is too short for that.
    """
    height, width = size
    if min(size) < _MIN_FIXED_SIDE:
        return None
    shifts = (height // 4, width // 4)
    probe = probe_picture(height + shifts[0], width + shifts[1])
    first = upscale(probe[..., :height, :width])
    found = 0
    for axis, shift in ((2, shifts[0]), (3, shifts[1])):
        second = upscale(probe.narrow(axis, shift, size[axis - 2])[..., :height, :width])
        length = size[axis - 2] - shift
        ours = first.narrow(axis, scale * shift, scale * length)
        theirs = second.narrow(axis, 0, scale * length)
        found = max(found, _farthest_error(ours, theirs, scale, axis))
    return Reach(found, 1) if found <= min(size) // 4 else None


def remembered_reach(
    network: nn.Module, measure: Callable[[], Reach | None], purpose: str = ""
) -> Reach | None:
    """Return the reach of a network from the user's cache, or measure it and keep it there.

    `purpose` distinguishes several measurements of a network. A measurement that takes longer than
    a second is logged.
    """
    digest = hashlib.blake2b(f"{_FORMAT} {purpose} {network}".encode(), digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    path = cache_folder("reach") / f"{digest.hexdigest()}.json"
    with suppress(OSError, ValidationError):
        values = _REMEMBERED.validate_json(path.read_bytes())
        return None if values is None else Reach(*values)
    timer = Timer(_SILENT_SECONDS, _log.info, (_MEASURING,))
    timer.start()
    try:
        found = measure()
    finally:
        timer.cancel()
    with suppress(OSError, ValueError):  # a cache that can't be written costs only time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(found))
    return found


def probe_picture(height: int, width: int) -> Tensor:
    """Draw noise of several sizes, (1, 3, H, W), with a bright start along the width.

    It has strong edges, and is the same in every call. A part that lacks the start has a lower mean
    than the picture.
    """
    source = torch.Generator().manual_seed(_SEED)
    picture = torch.full((1, 3, height, width), 0.5)
    for step in (2, 4, 8, 16):
        rows, columns = math.ceil(height / step), math.ceil(width / step)
        noise = torch.rand(1, 3, rows, columns, generator=source) - 0.5
        larger = resize_bicubic(noise, (rows * step, columns * step))
        picture += 0.6 * larger[..., :height, :width]
    mark = width // _MARK_SHARE
    picture[..., :mark] = 0.2 * picture[..., :mark] + 0.8
    return picture.clamp(0, 1)


def _farthest_error(
    first: Tensor, second: Tensor, scale: int, axis: int, ends: tuple[bool, bool] = (True, True)
) -> int:
    """Return the largest distance of an error from the ends of an axis, in low-resolution pixels.

    Pictures are (1, 3, sH, sW). `ends` are those that count: start and end. 0 if there is no error.
    """
    difference = (first - second).abs().nan_to_num(math.inf).amax(dim=(0, 1, 5 - axis))
    is_wrong = (difference > _TOLERANCE).view(-1, scale).any(dim=1)
    positions = is_wrong.nonzero().flatten()
    if not len(positions):
        return 0
    distances = (positions + 1, len(is_wrong) - positions)
    counted = [distance for distance, counts in zip(distances, ends, strict=True) if counts]
    return int(torch.stack(counted).amin(dim=0).max())
