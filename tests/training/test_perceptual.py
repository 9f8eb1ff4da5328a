from collections.abc import Collection
from pathlib import Path
from typing import Literal

import pytest
import torch

from tests.helpers.pretrained import spoilt
from tests.helpers.training import CPU, batch, objective, recipe_of
from vsr.config import parse
from vsr.errors import ConfigError, ModelError
from vsr.models import vgg16
from vsr.models.vgg16 import Vgg16Features
from vsr.training.gan import GanConfig, GanWeights, perceptual_losses
from vsr.training.losses import perceptual
from vsr.training.perceptual import PerceptualConfig, PerceptualLosses
from vsr.training.trainer import Trainer


def losses(
    seed: int = 0, wanted: Collection[str] = ("perceptual",), **settings: object
) -> PerceptualLosses:
    config = PerceptualConfig(perceptual_network="vgg16", **settings)
    return PerceptualLosses(config, wanted, seed, CPU)


def test_layers_are_those_of_the_network() -> None:
    assert GanConfig().perceptual_layers == ("2_2", "3_4", "4_4", "5_4")
    assert GanConfig(perceptual_network="vgg16").perceptual_layers == ("1_2", "2_2", "3_3")
    assert GanConfig(perceptual_network="vgg16", perceptual_layers=("4_3",)).perceptual_layers == (
        "4_3",
    )
    with pytest.raises(ConfigError, match=r"vgg16 has no layer 5_4; it has 1_1, 1_2, 2_1"):
        parse({"perceptual_network": "vgg16", "perceptual_layers": ["5_4"]}, GanConfig, "a.toml")
    with pytest.raises(ConfigError, match="vgg19 has no layer 3_3"):
        parse({"perceptual_layers": ["3_3"]}, GanConfig, "a.toml")
    with pytest.raises(ConfigError, match="vgg19 needs a layer"):
        parse({"perceptual_layers": []}, GanConfig, "a.toml")


@pytest.mark.usefixtures("installed")
def test_the_loss_is_the_distance_in_the_features_of_vgg_16() -> None:
    output, target = torch.rand(2, 4, 3, 16, 16)
    found = losses(perceptual_kind="unit_l2")(output, target, 0)
    network = Vgg16Features(("1_2", "2_2", "3_3"))
    assert found.keys() == {"perceptual"}
    assert torch.equal(found["perceptual"], perceptual(network(output), network(target), "unit_l2"))


@pytest.mark.usefixtures("installed")
def test_both_losses_of_features_take_one_network() -> None:
    output, target = torch.rand(2, 2, 3, 64, 64)
    both = losses(wanted=("perceptual", "feature_texture"))
    found = both(output, target, 0)
    assert found.keys() == {"perceptual", "feature_texture"}
    assert both._networks["perceptual"] is both._networks["feature_texture"]
    assert found["perceptual"] == losses()(output, target, 0)["perceptual"]
    # Windows are compared with those of the same position.
    moved = target.roll(32, dims=-1)
    alone = losses(wanted=("feature_texture",))
    assert alone(target, target, 0)["feature_texture"] == 0
    assert alone(moved, target, 0)["feature_texture"] > 0
    assert found["feature_texture"] == alone(output, target, 0)["feature_texture"]


@pytest.mark.usefixtures("installed")
def test_a_share_of_the_frames_follows_from_seed_and_iteration() -> None:
    target = torch.rand(8, 3, 16, 16)
    output = target.clone().requires_grad_()

    def compared(seed: int, iteration: int) -> list[int]:
        output.grad = None
        losses(seed, perceptual_share=0.25)(output**2, target, iteration)["perceptual"].backward()
        assert output.grad is not None
        return output.grad.abs().sum(dim=(1, 2, 3)).nonzero().flatten().tolist()

    first = compared(0, 5)
    assert len(first) == 2
    assert compared(0, 5) == first
    others = [compared(0, iteration) for iteration in range(6, 12)]
    assert any(other != first for other in others)
    assert any(compared(seed, 5) != first for seed in range(1, 7))


@pytest.mark.usefixtures("installed")
def test_features_may_be_computed_in_bf16() -> None:
    output, target = torch.rand(2, 2, 3, 32, 32)
    single = losses(perceptual_kind="unit_l2")(output, target, 0)["perceptual"]
    half = losses(perceptual_kind="unit_l2", perceptual_precision="bf16")
    found = half(output, target, 0)["perceptual"]
    assert found.dtype == torch.float32
    assert found.item() != single.item()
    assert found.item() == pytest.approx(single.item(), rel=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        assert losses(perceptual_kind="unit_l2")(output, target, 0)["perceptual"] == found
        kept = losses(perceptual_kind="unit_l2", perceptual_precision="f32")(output, target, 0)
    assert kept["perceptual"].item() == pytest.approx(single.item(), rel=1e-5)


@pytest.mark.usefixtures("installed")
def test_gan_training_minimises_the_perceptual_loss() -> None:
    gan = objective(perceptual_network="vgg16")
    assert "perceptual" not in gan(*batch(), [], 50).parts
    config = GanConfig(perceptual_network="vgg16")
    gan._perceptual = perceptual_losses(config, 0, CPU)
    assert gan(*batch(), [], 50).parts["perceptual"] > 0


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
@pytest.mark.usefixtures("torch_home")
def test_a_named_network_that_is_missing_is_an_error_before_any_work(
    network: str,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vgg16, "_PACKAGE", "no-such-package")
    recipe = recipe_of(
        "smoke-gan", dataset, f"gan.perceptual_network={network}", "training.motion_iterations=2"
    )
    with pytest.raises(ModelError, match="the perceptual loss needs") as caught:
        Trainer(recipe, tmp_path / "run", CPU)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_truncated_file_is_an_error_before_any_work(
    installed: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = spoilt(installed, "truncated", tmp_path / "broken.h5")
    monkeypatch.setattr(vgg16, "vgg16_path", lambda what_for: path)
    recipe = recipe_of("smoke-gan", dataset, "gan.perceptual_network=vgg16")
    with pytest.raises(ModelError, match="truncated"):
        Trainer(recipe, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("installed")
def test_a_network_whose_loss_counts_nothing_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg16, "_PACKAGE", "no-such-package")
    config = GanConfig(perceptual_network="vgg19", weights=GanWeights(perceptual=0))
    frames = torch.rand(1, 3, 8, 8)
    assert perceptual_losses(config, 0, CPU)(frames, frames, 0) == {}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("compared", ["footage", "target"])
def test_features_are_compared_with_the_footage_or_with_the_target(
    compared: Literal["footage", "target"],
) -> None:
    """They differ where a teacher's outputs are the target."""
    gan = objective(weights=GanWeights(ping_pong=0), perceptual_target=compared)
    low, target, clean, fresh = batch()
    footage = target.flip(-1)
    gan._perceptual = losses()
    found = gan(low, target, clean, fresh, [], 50, footage).parts["perceptual"]
    other = {"footage": footage, "target": target}[compared]
    alone = gan(low, other, clean, fresh, [], 50).parts["perceptual"]
    assert torch.equal(found, alone)
    assert not torch.equal(found, gan(low, 1 - other, clean, fresh, [], 50).parts["perceptual"])
