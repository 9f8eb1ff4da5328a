"""Decoded clips in memory that the training process shares with its workers."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

Shapes = tuple[tuple[int, ...], ...]
"""Of the uint8 arrays of an entry, in order."""


class Entry(NamedTuple):
    """Arrays to be shared, and how to decode them."""

    shapes: Shapes
    decode: Callable[[], Sequence[Tensor]]
    """Arrays of these shapes, uint8; runs in a thread."""

    @property
    def size(self) -> int:
        """Bytes of all its arrays."""
        return sum(math.prod(shape) for shape in self.shapes)


class SharedArrays:
    """uint8 arrays by key, side by side in one block of shared memory.

    A pickled copy in another process reads the same memory: many small blocks would need a file
    descriptor each.
    """

    def __init__(self, entries: Mapping[Hashable, Entry], room: int, threads: int) -> None:
        """Decode entries in order, as many as fit into `room` bytes."""
        self._places: dict[Hashable, tuple[int, Shapes]] = {}
        end = 0
        for key, entry in entries.items():
            if end + entry.size > room:
                break
            self._places[key] = end, entry.shapes
            end += entry.size
        self._block = torch.empty(end, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda key: self._fill(key, entries[key]), self._places):
                pass

    def _fill(self, key: Hashable, entry: Entry) -> None:
        for place, decoded in zip(self[key], entry.decode(), strict=True):
            place.copy_(decoded)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._places

    def __getitem__(self, key: Hashable) -> tuple[Tensor, ...]:
        """The arrays of an entry: views of the shared memory, not to be written."""
        offset, shapes = self._places[key]
        arrays = []
        for shape in shapes:
            size = math.prod(shape)
            arrays.append(self._block[offset : offset + size].view(shape))
            offset += size
        return tuple(arrays)

    @property
    def size(self) -> int:
        """Bytes in use."""
        return len(self._block)
