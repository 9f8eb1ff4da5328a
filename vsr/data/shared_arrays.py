"""Arrays in memory shared by the training process and its workers."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

Shapes = tuple[tuple[int, ...], ...]
"""Shapes of the uint8 arrays of an entry, in order."""


class Entry(NamedTuple):
    """Arrays to share, and the function that decodes them."""

    shapes: Shapes
    decode: Callable[[], Sequence[Tensor]]
    """Returns uint8 arrays of these shapes; called in a thread."""

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        return sum(math.prod(shape) for shape in self.shapes)


class SharedArrays:
    """uint8 arrays by key in one block of shared memory.

    A pickled copy in another process reads the same memory. A single block needs a single file
    descriptor.
    """

    def __init__(self, entries: Mapping[Hashable, Entry], limit: int, threads: int) -> None:
        """Decode entries in order, as many as fit into `limit` bytes."""
        self._layout: dict[Hashable, tuple[int, Shapes]] = {}
        end = 0
        for key, entry in entries.items():
            if end + entry.size > limit:
                break
            self._layout[key] = end, entry.shapes
            end += entry.size
        self._block = torch.empty(end, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda key: self._fill(key, entries[key]), self._layout):
                pass

    def _fill(self, key: Hashable, entry: Entry) -> None:
        for array, decoded in zip(self[key], entry.decode(), strict=True):
            array.copy_(decoded)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._layout

    def __getitem__(self, key: Hashable) -> tuple[Tensor, ...]:
        """The arrays of an entry: read-only views of the shared memory."""
        offset, shapes = self._layout[key]
        arrays = []
        for shape in shapes:
            size = math.prod(shape)
            arrays.append(self._block[offset : offset + size].view(shape))
            offset += size
        return tuple(arrays)

    @property
    def size(self) -> int:
        """Bytes used by the arrays."""
        return len(self._block)
