"""Choose the size of tiles that a device's memory allows."""

from typing import Any

import torch

from vsr.engine.backend_options import Tiling
from vsr.engine.backends.tiling import Margin, margin_for
from vsr.errors import VsrError
from vsr.models import Generator
from vsr.system.machine import memory_bytes

_FRAME_SHARE, _TILE_SHARE = 0.4, 0.15
"""Shares of the device's memory: decoder, encoder and queues of frames need some too, and so does
the state of a whole frame beside a tile. The shares are of total memory, not of free memory: the
size of tiles changes the last bits of a film, and a resumed run must choose the same size."""
_MAX_FRAME_BYTES, _MAX_TILE_BYTES = 5_000_000_000, 1_200_000_000
"""Limits on a CPU: more memory gains no speed, and other processes may need it."""


def pick_tile_size(
    tiling: Tiling,
    generator: Generator[Any],
    device: torch.device,
    size: tuple[int, int],
    memory: int | None = None,
) -> int | None:
    """Return the side of a tile for frames of `size` = (height, width); None for whole frames.

    "auto" chooses whole frames if they fit into 40 % of `memory`, by default the device's, and on a
    CPU into 5 GB. Raises `VsrError` if not even the smallest tile fits, if `tiling` is smaller than
    it, or if tiles of the network would show seams.
    """
    if tiling == "off":
        return None
    if tiling == "auto":
        memory = memory_bytes(device) if memory is None else memory
        pixel_bytes = generator.step_bytes_per_pixel()
        frame_bytes, tile_bytes = _FRAME_SHARE * memory, _TILE_SHARE * memory
        if device.type == "cpu":
            frame_bytes = min(frame_bytes, _MAX_FRAME_BYTES)
            tile_bytes = min(tile_bytes, _MAX_TILE_BYTES)
        if pixel_bytes * size[0] * size[1] <= frame_bytes:
            return None
        side = int((tile_bytes / pixel_bytes) ** 0.5)
        smallest = tile_margin(generator).smallest_tile
        if side < smallest:
            raise VsrError(f"not enough memory on {device} for tiles of {smallest} pixels")
        return side
    if tiling >= max(size):
        return None
    smallest = tile_margin(generator).smallest_tile
    if tiling < smallest:
        raise VsrError(f"tiles of {tiling} pixels are too small; use {smallest} or more")
    return tiling


def tile_margin(generator: Generator[Any]) -> Margin:
    """Return the overlap of a generator's tiles; raises `VsrError` if tiles would show seams."""
    reach = generator.reach()
    if reach is None:
        raise VsrError(
            "the output of this model depends on the whole frame, so that tiles would show seams; "
            "use --tile off with enough memory, smaller frames, or another model"
        )
    return margin_for(reach)
