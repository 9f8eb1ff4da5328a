import multiprocessing
from collections.abc import Hashable
from functools import partial

import pytest
import torch
from torch import Tensor

from vsr.data.shared_arrays import Entry, SharedArrays


def filled(value: int, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.full(shape, value + n, dtype=torch.uint8) for n, shape in enumerate(shapes))


def entries(count: int) -> dict[Hashable, Entry]:
    """Of 10 bytes each."""
    shapes = (2, 3), (4,)
    return {n: Entry(shapes, partial(filled, 10 * n, *shapes)) for n in range(count)}


def sums(arrays: SharedArrays) -> list[tuple[int, ...]]:
    return [tuple(int(array.sum()) for array in arrays[n]) for n in range(3)]


@pytest.mark.parametrize(("room", "fitting"), [(9, 0), (10, 1), (29, 2), (1000, 3)])
def test_entries_are_decoded_in_order_as_far_as_they_fit(room: int, fitting: int) -> None:
    arrays = SharedArrays(entries(3), room, threads=2)
    assert [n in arrays for n in range(3)] == [n < fitting for n in range(3)]
    assert arrays.size == 10 * fitting
    for n in range(fitting):
        first, second = arrays[n]
        assert torch.equal(first, torch.full((2, 3), 10 * n, dtype=torch.uint8))
        assert torch.equal(second, torch.full((4,), 10 * n + 1, dtype=torch.uint8))


@pytest.mark.slow
def test_another_process_reads_the_same_arrays() -> None:
    arrays = SharedArrays(entries(3), 1000, threads=1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(sums, (arrays,)) == sums(arrays) == [(0, 4), (60, 44), (120, 84)]
