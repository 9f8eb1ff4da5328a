"""The temporal filter for the output of networks of single pictures."""

from pathlib import Path

import pytest
import torch

from vsr.errors import ModelError
from vsr.models import CommunityNetwork, Srresnet, SrresnetConfig
from vsr.models.community import Facts
from vsr.models.half import to_half
from vsr.models.steady import Steadied
from vsr.zoo import load
from vsr.zoo.model_file import save_generator


class Flickering(torch.nn.Module):
    """Nearest neighbours by 2, with noise that differs from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = torch.Generator().manual_seed(0)

    def forward(self, low: torch.Tensor) -> torch.Tensor:
        high = low.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return high + 0.03 * torch.randn(high.shape, generator=self.noise)


@pytest.fixture
def still_model(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    config = SrresnetConfig(channels=4, blocks=1, scale=2)
    path = tmp_path / "still.safetensors"
    save_generator(path, Srresnet(config).state_dict(), config)
    return path


def steadied(network: torch.nn.Module) -> Steadied:
    trained = load("tiny-x4", denoise=0.75)
    inner = CommunityNetwork(network, Facts("Test", 2)).eval()
    return Steadied(inner, trained.flow, trained.steady).eval()  # type: ignore[arg-type]


def textures(height: int, width: int) -> torch.Tensor:
    grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    waves = (grid * torch.tensor([0.31, 0.23])[:, None, None]).sin()
    return (0.5 + 0.2 * waves[0] + 0.2 * waves[1]).expand(1, 3, height, width)


@torch.inference_mode()
def test_noise_of_a_still_scene_is_averaged() -> None:
    generator, low = steadied(Flickering()), textures(32, 48)
    exact = low.repeat_interleave(2, 2).repeat_interleave(2, 3)
    state, errors = generator.start(low), []
    for _ in range(8):
        high, state = generator.step(low, state)
        errors.append(float((high - exact).std()))
    assert errors[0] == pytest.approx(0.03, rel=0.05)
    assert errors[-1] < 0.85 * errors[0]


@torch.inference_mode()
def test_first_frame_is_that_of_the_network_alone(still_model: Path) -> None:
    low = torch.rand(1, 3, 16, 24)
    plain, filtered = load(still_model), load(still_model, steady=0.5)
    high, _ = filtered.step(low, filtered.start(low))
    assert torch.allclose(high, plain.step(low, plain.start(low))[0], atol=1e-6)


@torch.inference_mode()
def test_changed_content_is_not_mixed() -> None:
    generator = steadied(Flickering())
    first, second = textures(32, 48), 1 - textures(48, 32).mT
    _, state = generator.step(first, generator.start(first))
    high, _ = generator.step(second, state)
    exact = second.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert float((high - exact).abs().mean()) < 0.035


def test_models_with_a_memory_are_refused() -> None:
    with pytest.raises(ModelError, match="has a memory: leave it out, or for a film use denoise"):
        load("tiny-x4", steady=0.5)


@torch.inference_mode()
def test_filter_stays_f32_in_half_precision(still_model: Path) -> None:
    low = torch.rand(1, 3, 16, 24)
    whole = load(still_model, steady=0.5)
    half = to_half(whole)
    assert half.inner is not whole.inner
    states = [whole.start(low), half.start(low)]
    for _ in range(2):
        pairs = [one.step(low, state) for one, state in zip((whole, half), states, strict=True)]
        states = [state for _, state in pairs]
        assert float((pairs[0][0] - pairs[1][0]).abs().max()) < 2 / 255
        assert pairs[1][0].dtype == torch.float32
