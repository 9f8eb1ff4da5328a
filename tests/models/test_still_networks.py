"""The still-image networks, SRGAN's and ESRGAN's."""

from pathlib import Path

import pytest
import torch

from vsr.models import (
    GeneratorConfig,
    RrdbnetConfig,
    SrresnetConfig,
    build_generator,
    multiplies_per_pixel,
)
from vsr.zoo.model_file import load_generator, save_generator

SMALL: list[GeneratorConfig] = [
    SrresnetConfig(channels=8, blocks=2),
    SrresnetConfig(channels=8, blocks=2, scale=2),
    RrdbnetConfig(channels=8, growth=4, blocks=1),
    RrdbnetConfig(channels=8, growth=4, blocks=1, scale=2),
]


@pytest.mark.parametrize("config", SMALL)
def test_each_picture_is_upscaled_by_itself(config: GeneratorConfig) -> None:
    generator = build_generator(config).eval()
    clip = torch.rand(2, 3, 3, 9, 13)
    with torch.no_grad():
        high = generator(clip)
        assert high.shape == (2, 3, 3, 9 * config.scale, 13 * config.scale)
        alone = generator(clip[:, 2:])
    assert torch.allclose(high[:, 2:], alone, atol=1e-6)


@pytest.mark.parametrize("config", SMALL)
def test_a_file_brings_back_the_kind_of_network(config: GeneratorConfig, tmp_path: Path) -> None:
    generator = build_generator(config).eval()
    save_generator(tmp_path / "a.safetensors", generator.state_dict(), config)
    again = load_generator(tmp_path / "a.safetensors")
    clip = torch.rand(1, 1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(again(clip), generator(clip))


def test_sizes_are_those_of_the_papers() -> None:
    srresnet = build_generator(SrresnetConfig())
    # 1,547k with the batch normalisation that ours leaves out, 37 layers of 2 x 64.
    assert sum(p.numel() for p in srresnet.parameters()) == pytest.approx(1_547_000, rel=0.01)
    rrdbnet = build_generator(RrdbnetConfig())
    assert sum(p.numel() for p in rrdbnet.parameters()) == 16_697_987
    assert multiplies_per_pixel(build_generator(SMALL[0])) > 0


@pytest.mark.parametrize("config", SMALL)
def test_gradients_reach_all_weights(config: GeneratorConfig) -> None:
    generator = build_generator(config)
    generator(torch.rand(1, 1, 3, 8, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())
