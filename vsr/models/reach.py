"""Measure how far a network of single pictures sees, so that tiles equal the whole picture.

The sum over kernels says little about deep networks, and nothing about attention. Attention has
windows that start at multiples of a grid, and some networks depend on the mean of the whole
picture. So a part of a picture is computed alone and compared with the same area of the whole.
"""

import hashlib
import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vsr.imaging.tensors import resize_bicubic
from vsr.system.cache import cache_folder
from vsr.system.files import write_text

Upscale = Callable[[Tensor], Tensor]
"""Maps (1, 3, H, W) to (1, 3, sH, sW), RGB in [0, 1]."""

MAX_REACH = 104
"""Largest reach for which tiles are worth their overlap, in low-resolution pixels."""
_STARTS = {16: 80, 48: 48, 32: 96, 64: 64, 112: 112}
"""Start of the part for each grid that is tried. Windows of attention have sides of 4 to 64 pixels,
or 7. A start is on its own grid, and on none of those before."""
_TOLERANCE = 0.5 / 255
"""Largest difference of samples: rounding turns it into a code value at most."""
_LONG_SIDE, _SHORT_SIDE = 384, 48
_MARK = 48
"""Length of both ends of the probe, which the part lacks: they change the mean of the picture."""
_END = _LONG_SIDE - _MARK - 6
"""End of the part, on no grid."""
_SEED = 11
_FORMAT = 1
"""Part of the name of a remembered reach. Increase it when it is measured differently."""


class Reach(NamedTuple):
    """How tiles must be cut."""

    pixels: int
    """Distance in low-resolution pixels up to which an output depends on the input."""
    grid: int
    """Tiles start at multiples of this."""


@torch.inference_mode()
def measure_reach(upscale: Upscale, scale: int) -> Reach | None:
    """Measure the reach of a network for pictures of any size.

    Differences of up to half a code value are ignored. None if there are larger ones farther than
    `MAX_REACH` from the border of the part.
    """
    probe = probe_picture(_SHORT_SIDE, _LONG_SIDE)
    pairs = [(probe, upscale(probe))]
    for grid, start in _STARTS.items():
        found = 0
        for turned in range(2):
            if turned == len(pairs):
                pairs.append((probe.mT.contiguous(), upscale(probe.mT.contiguous())))
            picture, whole = pairs[turned]
            axis, length = 3 - turned, _END - start
            part = upscale(picture.narrow(axis, start, length))
            same = whole.narrow(axis, scale * start, scale * length)
            found = max(found, _farthest_error(part, same, scale, axis))
            if found > MAX_REACH:
                break
        else:
            return Reach(found, grid)
    return None


@torch.inference_mode()
def measure_reach_of_size(upscale: Upscale, scale: int, size: tuple[int, int]) -> Reach | None:
    """Measure the reach of a network for pictures of one size alone, (height, width).

    Two pictures that overlap are compared. None if the reach exceeds a quarter of a side.
    """
    height, width = size
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

    `purpose` distinguishes several measurements of a network.
    """
    digest = hashlib.blake2b(f"{_FORMAT} {purpose} {network}".encode(), digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    path = cache_folder("reach") / f"{digest.hexdigest()}.json"
    with suppress(OSError, ValueError, TypeError):
        values = json.loads(path.read_text(encoding="utf-8"))
        return None if values is None else Reach(int(values[0]), int(values[1]))
    found = measure()
    with suppress(OSError, ValueError):  # a cache that can't be written costs only time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(found))
    return found


def probe_picture(height: int, width: int) -> Tensor:
    """Draw noise of several sizes, (1, 3, H, W), with a bright and a dark end along the width.

    It has strong edges, and is the same in every call.
    """
    source = torch.Generator().manual_seed(_SEED)
    picture = torch.full((1, 3, height, width), 0.5)
    for step in (2, 4, 8, 16):
        rows, columns = math.ceil(height / step), math.ceil(width / step)
        noise = torch.rand(1, 3, rows, columns, generator=source) - 0.5
        larger = resize_bicubic(noise, (rows * step, columns * step))
        picture += 0.6 * larger[..., :height, :width]
    mark = min(_MARK, width // 4)
    picture[..., :mark] = 0.2 * picture[..., :mark] + 0.8
    picture[..., width - mark :] *= 0.2
    return picture.clamp(0, 1)


def _farthest_error(first: Tensor, second: Tensor, scale: int, axis: int) -> int:
    """Return the largest distance from both ends of an axis, in low-resolution pixels, of an error.

    Pictures are (1, 3, sH, sW). 0 if there is no error.
    """
    difference = (first - second).abs().nan_to_num(math.inf).amax(dim=(0, 1, 5 - axis))
    is_wrong = (difference > _TOLERANCE).view(-1, scale).any(dim=1)
    positions = is_wrong.nonzero().flatten()
    distances = torch.minimum(positions, len(is_wrong) - 1 - positions) + 1
    return int(distances.max()) if len(distances) else 0
