from typing import Any

import numpy as np
import pytest
import torch

from vsr.frames.yuv import fill_hidden_colours
from vsr.imaging.tensors import bleed


def disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.asarray(x**2 + y**2 < radius**2, dtype=np.float32)


def test_hidden_colours_become_those_nearby() -> None:
    alpha = disc(48, 15)
    colours = np.where(alpha > 0, 200.0, 10.0).astype(np.float32)
    bled = bleed(torch.from_numpy(colours)[None], torch.from_numpy(alpha))[0].numpy()
    assert np.allclose(bled, 200, atol=1e-3)


def test_colours_that_show_stay_as_they_are() -> None:
    random = np.random.default_rng(0)
    colours = torch.from_numpy(random.random((3, 17, 23), dtype=np.float32))
    even = torch.full((17, 23), 0.3)
    assert torch.allclose(bleed(colours, even), colours, atol=1e-6)
    half = torch.from_numpy(disc(17, 5))
    shown = half[None].bool()
    kept = bleed(colours[:, :, :17], half)
    assert torch.equal(kept[shown.expand_as(kept)], colours[:, :, :17][shown.expand_as(kept)])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (2, 3)])
def test_the_smallest_pictures_bleed(shape: tuple[int, int]) -> None:
    alpha = torch.zeros(shape)
    colours = torch.rand(3, *shape)
    assert torch.equal(bleed(colours, alpha), colours)
    alpha[0, 0] = 1
    assert torch.allclose(bleed(colours, alpha), colours[:, :1, :1].expand_as(colours), atol=1e-5)


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize(("down", "across"), [(2, 2), (1, 2), (1, 1)])
def test_planes_of_film_show_nothing_of_what_alpha_hides(
    bit_depth: int, down: int, across: int
) -> None:
    most = 2**bit_depth - 1
    kind = np.uint8 if bit_depth == 8 else np.uint16
    shown = disc(30, 9)
    luma = np.where(shown > 0, most - 20, 16).astype(kind)
    share = shown.reshape(30 // down, down, 30 // across, across).mean(axis=(1, 3))
    chroma = (3 + share * (most // 2 - 3)).astype(kind)
    alpha = (shown * most).astype(kind)
    given: list[Any] = [luma, chroma, chroma, alpha]
    y, cb, cr, kept = fill_hidden_colours(given, bit_depth)
    assert (y == most - 20).all()
    assert y.dtype == cb.dtype == kind
    assert np.array_equal(cb, cr)
    assert np.abs(cb.astype(int) - most // 2).max() < most // 8
    assert np.array_equal(kept, alpha)


def test_opaque_planes_are_the_same_planes() -> None:
    planes = [np.full((4, 4), 255, np.uint8) for _ in range(4)]
    assert fill_hidden_colours(planes, 8) is planes
