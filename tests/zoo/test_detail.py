"""The dial between what is known and what is invented."""

from pathlib import Path

import numpy as np
import pytest
import torch

import vsr
from vsr.errors import ModelError
from vsr.models import Recurrent, RecurrentConfig
from vsr.zoo import load
from vsr.zoo.model_file import save_generator

CONFIG = RecurrentConfig(channels=4, blocks=1, memory=4, flow_channels=4, flow_levels=2)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A model and its twin, of other weights."""
    for seed, name in ((1, "mine"), (2, "mine-gan")):
        torch.manual_seed(seed)
        save_generator(tmp_path / f"{name}.safetensors", Recurrent(CONFIG).state_dict(), CONFIG)
    return tmp_path / "mine.safetensors"


def weights(path: Path, detail: float = 0.0) -> dict[str, torch.Tensor]:
    return load(path, detail=detail).state_dict()


def test_the_dial_goes_from_one_model_to_its_twin(pair: Path) -> None:
    own, twin = weights(pair), weights(pair.with_name("mine-gan.safetensors"))
    for detail in (0.0, 0.25, 1.0):
        for name, weight in weights(pair, detail).items():
            expected = (1 - detail) * own[name] + detail * twin[name]
            assert torch.allclose(weight, expected, atol=1e-6), name


def test_a_picture_changes_with_the_dial(pair: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    results = [
        vsr.upscale_image(pixels, model=str(pair), device="cpu", detail=detail)
        for detail in (0.0, 0.5, 1.0)
    ]
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[1], results[2])


def test_mistakes_are_reported(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"between 0 and 1, not 1\.5"):
        load(pair, detail=1.5)
    with pytest.raises(ModelError, match=r"has no twin for detail \(mine-gan-gan\.safetensors\)"):
        load(pair.with_name("mine-gan.safetensors"), detail=0.5)
    other = RecurrentConfig(channels=8, blocks=1, memory=4, flow_channels=4, flow_levels=2)
    twin = tmp_path / "mine-gan.safetensors"
    save_generator(twin, Recurrent(other).state_dict(), other)
    with pytest.raises(ModelError, match="its shape differs"):
        load(pair, detail=0.5)
