from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.helpers.pretrained import by_numpy
from vsr.metrics import features
from vsr.metrics.features import FeatureDistance


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def test_the_distance_is_that_of_unit_vectors_by_numpy(installed: Path) -> None:
    random = np.random.default_rng(0)
    target = random.random((22, 27, 3))
    outputs = [(target + random.normal(0, s, target.shape)).clip(0, 1) for s in (0.05, 0.3)]
    there = by_numpy(installed, target)
    expected = []
    for output in outputs:
        here = by_numpy(installed, output)
        layers = [
            ((unit(here[layer]) - unit(there[layer])) ** 2).sum(axis=-1).mean()
            for layer in ("1_2", "2_2", "3_3")
        ]
        expected.append(np.mean(layers))
    pictures = [torch.from_numpy(p).float().permute(2, 0, 1) for p in (*outputs, target)]
    found = FeatureDistance()(torch.stack(pictures[:2]), pictures[2])
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
    assert 0 < found[0] < found[1] < 2


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("height", [60, 66, 71])
def test_strips_give_what_the_whole_picture_gives(
    height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, target = torch.rand(1, 3, height, 30), torch.rand(3, height, 30)
    distance = FeatureDistance()
    whole = distance(outputs, target).item()
    monkeypatch.setattr(features, "_STRIP", 16)
    assert distance(outputs, target).item() == pytest.approx(whole, rel=1e-6)


@pytest.mark.usefixtures("installed")
def test_equal_pictures_have_no_distance() -> None:
    picture = torch.rand(3, 16, 16)
    assert FeatureDistance()(picture[None], picture).item() == 0
