import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from torch.nn import functional as F

from vsr.training.texture import (
    feature_texture_distance,
    random_filters,
    texture_distance,
)

FILTERS = random_filters(8, 4, np.random.default_rng(1))


def test_filters_are_normalised_and_see_only_detail_beyond_the_input() -> None:
    filters = random_filters(300, 4, np.random.default_rng(0))
    assert filters.shape == (300, 1, 17, 17)
    assert filters.sum(dim=(1, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(filters.square().sum(dim=(1, 2, 3)), torch.ones(300))
    spectra = torch.fft.fft2(filters[:, 0], s=(128, 128)).abs()
    peaks = spectra.flatten(1).argmax(dim=1)
    steps = torch.fft.fftfreq(128)
    frequency = torch.hypot(steps[peaks // 128], steps[peaks % 128])
    # In cycles per pixel. The Nyquist frequency of the input is 1/8.
    assert frequency.min() > 0.8 / 8 - 0.02
    assert 0.2 < frequency.median() < 0.45
    assert torch.equal(filters, random_filters(300, 4, np.random.default_rng(0)))


def test_the_distance_is_that_of_numpy() -> None:
    random = np.random.default_rng(2)
    pictures = random.random((2, 3, 39, 33), dtype=np.float32)
    filters = random_filters(2, 2, random)
    distances = []
    for kernel in filters[:, 0].numpy():
        found, wanted = (
            correlate2d(np.tensordot([0.299, 0.587, 0.114], picture, 1), kernel, "valid")
            for picture in pictures
        )
        for top in (0, 8):  # of 23 x 17 responses: windows of 4 x 4 cells of 2 x 2
            for left in (0, 8):
                window = (slice(top, top + 8), slice(left, left + 8))
                strength = np.abs(wanted[window]).mean() + 2.5 / 255
                for y in (0, 1):
                    for x in (0, 1):
                        ours = np.sort(found[window][y::2, x::2].ravel())
                        theirs = np.sort(wanted[window][y::2, x::2].ravel())
                        relative = (ours - theirs) / strength
                        distances.append(np.sqrt(relative**2 + 0.09) - 0.3)
    output, target = torch.from_numpy(pictures).unsqueeze(1)
    result = texture_distance(output, target, scale=2, filters=filters, window=4)
    assert float(result) == pytest.approx(np.mean(distances), rel=1e-5)


def test_other_noise_of_one_distribution_is_close_and_a_repeated_pattern_far() -> None:
    random = torch.Generator().manual_seed(3)
    target, other = 0.5 + 0.05 * torch.randn(2, 2, 1, 144, 144, generator=random)
    target, other = target.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1)
    blurred = F.avg_pool2d(other, 5, 1, 2)
    pattern = torch.randn(4, 4, generator=random)
    amplitudes = torch.randn(36, 36, generator=random)
    stamped = torch.kron(amplitudes, pattern - pattern.mean())
    stamped = (0.5 + 0.05 * stamped / stamped.std()).expand(2, 3, -1, -1)
    near, soft, repeated = (
        float(texture_distance(picture, target, scale=4, filters=FILTERS))
        for picture in (other, blurred, stamped)
    )
    assert float(texture_distance(target, target, scale=4, filters=FILTERS)) == 0
    assert soft > 4 * near
    assert repeated > 1.8 * near


def test_gradient_descent_brings_detail_where_a_pixel_loss_brings_none() -> None:
    random = torch.Generator().manual_seed(4)
    flat = torch.full((1, 3, 80, 80), 0.5)
    shared = 0.002 * torch.randn(1, 1, 80, 80, generator=random)
    output = (flat + shared).requires_grad_(True)
    optimiser = torch.optim.Adam([output], lr=0.002)
    for _ in range(40):
        # The positions of the detail are different each time, as where an input fits many pictures.
        target = flat + 0.05 * torch.randn(1, 1, 80, 80, generator=random)
        optimiser.zero_grad()
        texture_distance(output, target, scale=4, filters=FILTERS).backward()
        optimiser.step()
    assert output[..., 8:-8, 8:-8].std() > 0.02


def test_bf16_autocast_does_not_round_the_responses() -> None:
    random = torch.Generator().manual_seed(5)
    output, target = torch.rand(2, 1, 3, 64, 64, generator=random)
    wanted = texture_distance(output, target, scale=4, filters=FILTERS)
    with torch.autocast("cpu", torch.bfloat16):
        assert texture_distance(output, target, scale=4, filters=FILTERS) == wanted


def test_the_distance_of_features_is_that_of_numpy() -> None:
    random = np.random.default_rng(6)
    shapes = ((2, 3, 64, 32), (2, 5, 16, 8))  # strides 1 and 4
    output, target = ([random.random(shape, dtype=np.float32) for shape in shapes] for _ in "ab")
    draws = np.random.default_rng(7)
    layers = []
    for ours, theirs, side in zip(output, target, (32, 8), strict=True):
        directions = draws.standard_normal((8, ours.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        found, wanted = (
            np.einsum("kc,nchw->nkhw", directions, f / np.linalg.norm(f, axis=1, keepdims=True))
            for f in (ours, theirs)
        )
        distances = []
        for top in (0, side):
            window = np.s_[..., top : top + side, :side]
            mine, other = (np.sort(f[window].reshape(2, 8, -1)) for f in (found, wanted))
            relative = (mine - other) / (other.std(axis=-1, keepdims=True) + 0.01)
            distances.append(np.sqrt(relative**2 + 0.09) - 0.3)
        layers.append(np.mean(distances))
    result = feature_texture_distance(
        [torch.from_numpy(layer) for layer in output],
        [torch.from_numpy(layer) for layer in target],
        height=64,
        random=np.random.default_rng(7),
    )
    assert float(result) == pytest.approx(np.mean(layers), rel=1e-4)


def test_features_may_change_places_within_a_window() -> None:
    random = torch.Generator().manual_seed(8)
    features = torch.randn(1, 16, 64, 64, generator=random)

    def distance(other: torch.Tensor) -> float:
        draws = np.random.default_rng(0)
        return float(feature_texture_distance([other], [features], height=64, random=draws))

    halves = torch.cat((features[..., 16:32], features[..., :16], features[..., 32:]), dim=-1)
    assert distance(halves) == pytest.approx(0, abs=1e-6)
    assert distance(features.roll(16, dims=-1)) > 0.001
