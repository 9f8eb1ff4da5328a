import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d, gaussian_filter
from skimage import data

from tests.helpers.films import shifted
from vsr.imaging.tensors import on_8_bit_levels, resize_bicubic
from vsr.metrics import Motion, excess_flicker, flicker, motion_to_previous, sharpness
from vsr.metrics.blur import filtered, gaussian_blur, gaussian_taps, matching_sigma


def photograph() -> torch.Tensor:
    pixels = np.ascontiguousarray(data.astronaut()[:320, 80:500])
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.3])
def test_the_blur_is_scipys(sigma: float) -> None:
    picture = photograph()
    reach = math.ceil(4 * sigma)
    expected = gaussian_filter(
        picture.numpy(), (0, sigma, sigma), mode="mirror", radius=(0, reach, reach)
    )
    found = gaussian_blur(picture, sigma)
    assert np.abs(found.numpy() - expected).max() < 1e-5
    assert gaussian_blur(picture, 0.0) is picture


def test_filters_on_a_gpus_path_are_those_on_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    planes, taps = torch.rand(2, 3, 20, 30), gaussian_taps(1.3, 6)
    rows = correlate1d(planes.numpy(), taps.numpy(), axis=-2, mode="mirror")
    expected = correlate1d(rows, taps.numpy(), axis=-1, mode="mirror")
    for by_opencv in (True, False):
        monkeypatch.setattr("vsr.metrics.blur.filters_by_opencv", lambda planes, b=by_opencv: b)
        assert np.abs(filtered(planes, taps).numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("sigma", [0.35, 0.8, 1.7])
def test_the_blur_of_a_blurred_picture_is_found(sigma: float) -> None:
    target = photograph()
    blurred = gaussian_filter(target.numpy(), (0, sigma, sigma), mode="mirror")
    found = matching_sigma(torch.from_numpy(blurred), target)
    assert found == pytest.approx(sigma, rel=0.01)


def test_the_blurred_target_is_as_sharp_as_the_output() -> None:
    target = photograph()
    output = resize_bicubic(resize_bicubic(target[None], (107, 140)), (320, 420))[0]
    sigma = matching_sigma(output, target)
    asked = float(sharpness(output[None], target[None]))
    found = float(sharpness(gaussian_blur(target, sigma)[None], target[None]))
    assert 0.01 < asked < 0.5
    assert found == pytest.approx(asked, rel=0.01)


def test_what_is_as_sharp_as_the_target_asks_for_no_blur() -> None:
    target = photograph()
    assert matching_sigma(target, target) == 0
    assert matching_sigma((target + 0.1 * torch.randn_like(target)).clamp(0, 1), target) == 0
    assert matching_sigma(torch.full_like(target, 0.5), target) == pytest.approx(4, abs=1e-3)


class Pan(NamedTuple):
    """Two frames of a moving film, the later one first, and the motion of the small film."""

    target: tuple[torch.Tensor, torch.Tensor]
    low: tuple[torch.Tensor, torch.Tensor]
    motion: Motion

    def excess_of(self, now: torch.Tensor, before: torch.Tensor) -> float:
        here, there = self.target
        return excess_flicker(now, before, here, there, self.motion)

    def flicker_of(self, now: torch.Tensor, before: torch.Tensor) -> float:
        here, there = self.low
        return flicker(now, before, here, there, self.motion)


@pytest.fixture
def pan() -> Pan:
    target = (shifted(3), shifted(0))
    here, there = (resize_bicubic(picture[None], (40, 50))[0] for picture in target)
    return Pan(target, (here, there), motion_to_previous(here, there))


@pytest.mark.parametrize("sigma", [0.0, 0.6, 1.2])
def test_a_blurred_target_has_no_excess_flicker(sigma: float, pan: Pan) -> None:
    now, before = (gaussian_blur(picture, sigma) for picture in pan.target)
    assert pan.excess_of(now, before) == pytest.approx(0, abs=0.02)
    # Eight bits change little.
    assert abs(pan.excess_of(on_8_bit_levels(now), on_8_bit_levels(before))) < 0.1


def test_flicker_rewards_blur(pan: Pan) -> None:
    found = []
    for sigma in (0.0, 0.6, 1.2):
        now, before = (gaussian_blur(picture, sigma) for picture in pan.target)
        found.append(pan.flicker_of(now, before))
    assert found[0] > found[1] > found[2]


def test_noise_of_each_frame_is_excess_flicker(pan: Pan) -> None:
    noise = torch.randn(2, 3, 160, 200, generator=torch.Generator().manual_seed(0))
    now, before = (gaussian_blur(picture, 1.2) for picture in pan.target)
    found = [
        pan.excess_of(now + strength * noise[0], before + strength * noise[1])
        for strength in (0.0, 2 / 255, 6 / 255)
    ]
    assert abs(found[0]) < 0.02
    assert found[1] > 0.2
    assert found[2] > 2 * found[1]


def test_a_change_of_sharpness_is_excess_flicker() -> None:
    target = shifted(0)
    low = resize_bicubic(target[None], (40, 50))[0]
    motion = motion_to_previous(low, low)
    sharp, soft = gaussian_blur(target, 0.5), gaussian_blur(target, 1.5)
    assert excess_flicker(soft, sharp, target, target, motion) > 1
    assert excess_flicker(sharp, soft, target, target, motion) > 1
