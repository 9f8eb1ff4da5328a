from collections import Counter

import numpy as np
import pytest
import torch
from scipy.ndimage import shift
from torch import Tensor

from tests.conftest import scenes
from vsr.degrade import Degradation, degrade
from vsr.metrics.image import psnr_y
from vsr.tensors import resize_bicubic
from vsr.web import Profile, degrade_as_web, draw_style

PROFILES = [*Profile, None]


def clip(side: int = 160, frames: int = 7) -> Tensor:
    return torch.from_numpy(np.stack(scenes(side, side, [frames]))).permute(0, 3, 1, 2) / 255


def low_clip(high: Tensor, seed: int, profile: Profile | None = None, noise: int = 5) -> Tensor:
    return degrade_as_web(high, 4, np.random.default_rng(seed), noise, profile)


@pytest.mark.parametrize("profile", Profile)
def test_the_same_seeds_give_the_same_clip(profile: Profile) -> None:
    high = clip()
    for seed in range(4):
        low = low_clip(high, seed, profile)
        assert low.shape == (7, 3, 40, 40)
        assert torch.equal(low, low_clip(high, seed, profile))


def test_another_noise_seed_gives_another_clip() -> None:
    high = clip()
    pairs = [[low_clip(high, n, Profile.CAMCORDER, noise) for noise in (5, 6)] for n in range(3)]
    assert not any(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("profile", Profile)
def test_clips_are_harmed_but_not_destroyed(profile: Profile) -> None:
    high = clip()
    clean = degrade(high, 4, Degradation.BI)
    for seed in range(10):
        quality = float(psnr_y(low_clip(high, seed, profile).clamp(0, 1), clean).mean())
        assert 18 < quality < 42


def test_clips_are_not_displaced() -> None:
    """Each low clip is nearest to its clean twin where both lie on each other."""
    high = clip()
    clean = degrade(high, 4, Degradation.BI)[3].mean(dim=0).numpy()
    for seed in range(12):
        low = low_clip(high, seed)[3].mean(dim=0).numpy()
        offsets = [(dy, dx) for dy in (-0.5, 0, 0.5) for dx in (-0.5, 0, 0.5)]
        moved = [shift(clean, offset, order=3, mode="nearest") for offset in offsets]
        errors = [np.square(low - other)[4:-4, 4:-4].mean() for other in moved]
        assert offsets[int(np.argmin(errors))] == (0, 0)


def test_profiles_are_drawn_by_their_shares() -> None:
    random = np.random.default_rng(1)
    styles = [draw_style(random, (120, 160)) for _ in range(600)]
    drawn = Counter(style.profile for style in styles)
    assert drawn[Profile.UPLOAD] > drawn[Profile.CAMCORDER] > drawn[Profile.DVD] > 80
    codecs = {coding.codec for style in styles for coding in style.codings}
    assert codecs == {"h264", "hevc", "mpeg2", "mpeg4"}
    assert {len(style.codings) for style in styles} == {1, 2}


@pytest.mark.parametrize("profile", Profile)
def test_the_smallest_frames_can_be_coded(profile: Profile) -> None:
    high = resize_bicubic(clip(), (8, 24)).clamp(0, 1)
    for seed in range(12):
        assert low_clip(high, seed, profile).shape == (7, 3, 2, 6)


def test_a_frame_alone_is_a_clip_too() -> None:
    for seed in range(6):
        assert low_clip(clip(frames=1), seed).shape == (1, 3, 40, 40)
