import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import correlate2d
from torch.nn import functional as F

from vsr.training.texture import (
    feature_texture_distance,
    random_filters,
    texture_distance,
)

FILTERS = random_filters(8, np.random.default_rng(1))


def test_filters_are_normalised_and_cover_two_octaves() -> None:
    filters = random_filters(300, np.random.default_rng(0))
    assert filters.shape == (300, 1, 17, 17)
    assert filters.sum(dim=(1, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(filters.square().sum(dim=(1, 2, 3)), torch.ones(300))
    spectra = torch.fft.fft2(filters[:, 0], s=(128, 128)).abs()
    peaks = spectra.flatten(1).argmax(dim=1)
    steps = torch.fft.fftfreq(128)
    frequency = torch.hypot(steps[peaks // 128], steps[peaks % 128])  # cycles per pixel
    assert frequency.min() > 0.1
    assert 0.22 < frequency.median() < 0.32
    assert torch.equal(filters, random_filters(300, np.random.default_rng(0)))


def distance_by_numpy(
    output: NDArray[np.float64], target: NDArray[np.float64], kernel: NDArray[np.float64], cell: int
) -> list[float]:
    """Of windows of 4 x 4 cells of the luma."""
    found, wanted = (correlate2d(picture, kernel, "valid") for picture in (output, target))
    side = 4 * cell
    distances = []
    for top in range(0, found.shape[0] - side + 1, side):
        for left in range(0, found.shape[1] - side + 1, side):
            window = (slice(top, top + side), slice(left, left + side))
            strength = np.abs(wanted[window]).mean() + 2.5 / 255
            for y in range(cell):
                for x in range(cell):
                    ours = np.sort(found[window][y::cell, x::cell].ravel())
                    theirs = np.sort(wanted[window][y::cell, x::cell].ravel())
                    relative = (ours - theirs) / strength
                    distances.append(np.sqrt(relative**2 + 0.09).mean() - 0.3)
    return distances


def test_the_distance_is_that_of_numpy() -> None:
    random = np.random.default_rng(2)
    pictures = random.random((2, 3, 54, 46), dtype=np.float32)
    filters = random_filters(2, random)
    output, target = (np.tensordot([0.299, 0.587, 0.114], picture, 1) for picture in pictures)
    halves = (picture.reshape(27, 2, 23, 2).mean(axis=(1, 3)) for picture in (output, target))
    small_output, small_target = halves
    kernels = filters[:, 0].numpy().astype(float)
    large = [distance_by_numpy(output, target, kernel, 2) for kernel in kernels]
    small = [distance_by_numpy(small_output, small_target, kernel, 1) for kernel in kernels]
    assert (len(large[0]), len(small[0])) == (12 * 4, 2)
    ours, theirs = torch.from_numpy(pictures).unsqueeze(1)
    result = texture_distance(ours, theirs, scale=2, filters=filters, window=4)
    assert float(result) == pytest.approx((np.mean(large) + np.mean(small)) / 2, rel=1e-5)


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
    assert soft > 2.5 * near
    assert repeated > 2.5 * near


def test_gradient_descent_brings_detail_where_a_pixel_loss_brings_none() -> None:
    random = torch.Generator().manual_seed(4)
    flat = torch.full((1, 3, 112, 112), 0.5)
    shared = 0.002 * torch.randn(1, 1, 112, 112, generator=random)
    output = (flat + shared).requires_grad_(True)
    optimiser = torch.optim.Adam([output], lr=0.002)
    for _ in range(40):
        # The positions of the detail are different each time, as where an input fits many pictures.
        target = flat + 0.05 * torch.randn(1, 1, 112, 112, generator=random)
        optimiser.zero_grad()
        texture_distance(output, target, scale=4, filters=FILTERS).backward()
        optimiser.step()
    assert output[..., 8:-8, 8:-8].std() > 0.02


def test_bf16_autocast_does_not_round_the_responses() -> None:
    random = torch.Generator().manual_seed(5)
    output, target = torch.rand(2, 1, 3, 96, 96, generator=random)
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


@pytest.mark.parametrize("height", [47, 63])
def test_windows_are_32_pixels_at_sides_that_poolings_do_not_divide(height: int) -> None:
    random = torch.Generator().manual_seed(9)
    rows = height
    for _ in range(3):
        rows //= 2
    features = torch.randn(1, 6, rows, rows, generator=random)
    other = features.clone()
    other[..., :4, :4] = features[..., :4, :4].flip(-1)  # inside the first window of 4 x 4

    def distance(output: torch.Tensor) -> float:
        draws = np.random.default_rng(0)
        return float(feature_texture_distance([output], [features], height=height, random=draws))

    assert distance(other) == pytest.approx(0, abs=1e-6)
    assert distance(features.flip(-1)) > 0.001


@pytest.mark.parametrize("scale", [1, 3])
def test_other_scales_have_a_finite_distance_and_gradient(scale: int) -> None:
    random = torch.Generator().manual_seed(10)
    side = 24 * scale
    output, target = torch.rand(2, 2, 3, side, side, generator=random)
    output.requires_grad_()
    distance = texture_distance(output, target, scale=scale, filters=FILTERS)
    distance.backward()
    assert output.grad is not None
    assert distance > 0
    assert output.grad.isfinite().all()
    assert output.grad.abs().sum() > 0
