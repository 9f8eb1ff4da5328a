from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.training import CPU, MOVING, recipe_of
from vsr.errors import TrainingError
from vsr.models import Generator, Recurrent, Srresnet, SrresnetConfig
from vsr.training.flat_head import flatten_head
from vsr.training.trainer import Trainer
from vsr.zoo.model_file import load_generator


def pattern_of(generator: Generator[Any]) -> float:
    """Deviation of the inner output for even features and an even input, in [0, 1] values."""
    assert isinstance(generator, Recurrent)
    features = torch.randn(1, generator.head.in_channels, 1, 1).expand(-1, -1, 8, 8)
    with torch.no_grad():
        cells = generator.head(features)[..., 2:-2, 2:-2]
    picture = torch.pixel_shuffle(cells, generator.scale)
    return float(picture.std(dim=(-2, -1)).max())


def test_even_features_give_an_even_picture() -> None:
    torch.manual_seed(3)
    generator = Recurrent(MOVING)
    assert generator.head.bias is not None
    torch.nn.init.normal_(generator.head.bias)
    kept = generator.head.weight.detach().clone()
    assert pattern_of(generator) > 0.05
    flatten_head(generator)
    assert pattern_of(generator) < 1e-5
    # An orthogonal projection: applying it again changes nothing, and colours keep their means.
    once = generator.head.weight.detach().clone()
    flatten_head(generator)
    assert torch.allclose(generator.head.weight, once, atol=1e-6)
    before, after = (w.view(3, 16, -1, 9).mean(dim=1).sum(dim=-1) for w in (kept, once))
    assert torch.allclose(before, after, atol=1e-5)


def test_gan_training_keeps_the_head_flat(dataset: Path, tmp_path: Path) -> None:
    recipe = recipe_of("smoke-gan", dataset, "gan.flat_head=true", "gan.max_shift=5")
    trainer = Trainer(recipe, tmp_path, CPU)
    generator = trainer.state.generator
    assert isinstance(generator, Recurrent)
    before = generator.head.weight.detach().clone()
    trainer.run()
    assert not torch.equal(generator.head.weight, before)
    assert pattern_of(generator) < 1e-5
    saved = load_generator(tmp_path / "model.safetensors")
    assert pattern_of(saved) < 1e-5


def test_a_head_of_another_shape_is_refused() -> None:
    with pytest.raises(
        TrainingError, match=r"gan\.flat_head: needs a model that ends with a pixel"
    ):
        flatten_head(Srresnet(SrresnetConfig(channels=4, blocks=1)))
