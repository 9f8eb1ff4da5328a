"""The strength of the temporal filter."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vsr.errors import ModelError
from vsr.models import Recurrent, RecurrentConfig
from vsr.models.recurrent import TemporalFilter
from vsr.zoo import load
from vsr.zoo.model_file import save_generator

CONFIG = RecurrentConfig(
    channels=4, blocks=1, memory=4, flow_channels=4, flow_levels=2, steadies=True
)


def noisy_frames(count: int = 8) -> Tensor:
    return 0.5 + 0.1 * torch.randn(count, 1, 3, 32, 32)


def weights_of_the_past(strength: float | None) -> Tensor:
    """The weights of an untrained filter, from its outputs for two frames."""
    torch.manual_seed(4)
    temporal_filter = TemporalFilter()
    if strength is not None:
        temporal_filter.set_strength(strength)
    low, past = noisy_frames(2).double()
    with torch.no_grad():
        weights: Tensor = (temporal_filter.double()(low, past) - low) / (past - low)
    return weights


@pytest.mark.parametrize(
    ("strength", "factor"),
    [(0.25, 0.5), (0.5, 1.0), (0.75, np.exp(1.5)), (1.0, np.exp(3.0))],
)
def test_strength_multiplies_the_odds_of_the_past(strength: float, factor: float) -> None:
    trained, changed = (weights_of_the_past(value).numpy() / 0.9 for value in (None, strength))
    odds = changed / (1 - changed) / (trained / (1 - trained))
    np.testing.assert_allclose(odds, factor, rtol=1e-4)


@torch.inference_mode()
def test_without_strength_each_frame_passes_as_it_is() -> None:
    generator = Recurrent(CONFIG).eval()
    generator.set_denoise(0.0)
    frames = noisy_frames()
    state = generator.start(frames[0])
    for low in frames:
        _, state = generator.step(low, state)
        assert torch.equal(state.low, low)


@torch.inference_mode()
def test_more_strength_leaves_less_noise_of_a_still_scene() -> None:
    deviations = []
    for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
        generator = load("tiny-x4", denoise=strength)
        torch.manual_seed(7)
        frames = noisy_frames(6) * 0.3 + 0.35
        state = generator.start(frames[0])
        for low in frames:
            _, state = generator.step(low, state)
        deviations.append(float(state[0].std()))
    assert deviations == sorted(deviations, reverse=True)
    assert deviations[-1] < 0.6 * deviations[0]


def test_the_default_strength_is_the_trained_one() -> None:
    trained, halfway = (load("tiny-x4", denoise=value).state_dict() for value in (None, 0.5))
    assert all(torch.equal(trained[name], halfway[name]) for name in trained)


def test_a_model_without_the_filter_names_one_that_has_it(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steadies": False})
    path = tmp_path / "plain.safetensors"
    save_generator(path, Recurrent(config).state_dict(), config)
    expected = r"plain.safetensors has no temporal filter; leave out denoise, or .* as base-x4$"
    with pytest.raises(ModelError, match=expected):
        load(path, denoise=0.7)
    with pytest.raises(ModelError, match="denoise is between 0 and 1, not 2"):
        load("tiny-x4", denoise=2)
