from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.ndimage import shift
from torch import Tensor

from tests.helpers.films import scenes
from vsr.errors import DataError
from vsr.frames.web_degradation import Profile, degrade_clip_as_web, degrade_film_as_web, draw_style
from vsr.imaging.colour import luma_of
from vsr.imaging.degrade import Degradation, degrade
from vsr.imaging.tensors import resize_bicubic
from vsr.metrics.image import psnr_y


def clip(side: int = 160, frames: int = 7) -> Tensor:
    return torch.from_numpy(np.stack(scenes(side, side, [frames]))).permute(0, 3, 1, 2) / 255


def low_clip(high: Tensor, seed: int, profile: Profile | None = None, noise: int = 5) -> Tensor:
    return degrade_clip_as_web(high, 4, np.random.default_rng(seed), noise, profile)


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


def film(high: Tensor, name: str, profile: Profile | None = None) -> list[tuple[Tensor, Tensor]]:
    frames = ((frame, number in (0, 9)) for number, frame in enumerate(high))
    return [(low, target) for low, target, _ in degrade_film_as_web(frames, 4, name, profile)]


@pytest.mark.parametrize("profile", Profile)
def test_a_film_is_the_same_on_every_run_and_whole(profile: Profile) -> None:
    high = clip(frames=30)
    for name in ("one.mp4", "other.mp4"):
        once, again = (film(high, name, profile) for _ in range(2))
        assert len(once) == 30
        assert all(torch.equal(a[0], b[0]) for a, b in zip(once, again, strict=True))
        assert all(torch.equal(a[1], b) for a, b in zip(once, high, strict=True))


def test_the_name_of_a_film_decides_on_its_parameters() -> None:
    high = clip(frames=4)
    lows = [torch.stack([low for low, _ in film(high, f"{n}.mp4")]) for n in range(4)]
    assert not any(torch.equal(lows[0], other) for other in lows[1:])


def test_low_frames_belong_to_their_targets() -> None:
    """Of all frames shrunk, the one nearest to a low frame is its target."""
    high = clip(frames=24)
    clean = luma_of(degrade(high, 4, Degradation.BI))
    for number in range(8):
        lows = luma_of(torch.stack([low for low, _ in film(high, f"{number}")]))
        distance = (lows[:, None] - clean[None]).square().mean(dim=(-2, -1))
        nearest = distance.argmin(dim=1)
        assert float((nearest - torch.arange(24)).float().abs().mean()) < 0.2
        assert int((nearest - torch.arange(24)).abs().max()) <= 1


def test_cuts_are_reported_where_they_were() -> None:
    frames = ((frame, number in (0, 9)) for number, frame in enumerate(clip(frames=20)))
    marks = [begins_shot for *_, begins_shot in degrade_film_as_web(frames, 4, "cut.mp4")]
    assert [number for number, mark in enumerate(marks) if mark] == [0, 9]


def test_sides_are_cut_to_what_420_holds() -> None:
    (pair,) = film(torch.rand(1, 3, 61, 78), "odd.mp4")
    assert [tuple(picture.shape) for picture in pair] == [(3, 14, 18), (3, 56, 72)]


class Waiting:
    """Frames to be degraded, and how many of them were not yet given back."""

    def __init__(self, clip: Tensor, count: int) -> None:
        self._clip = clip
        self._count = count
        self.given = self.taken = self.most = 0

    def __iter__(self) -> Iterator[tuple[Tensor, bool]]:
        for number in range(self._count):
            self.given += 1
            self.most = max(self.most, self.given - self.taken)
            yield self._clip[abs(number % 14 - 7)], number == 0


def test_films_stream_by_in_the_memory_of_some_frames() -> None:
    high = clip(64, 8)
    for number in range(10):
        waiting = Waiting(high, 50)
        for _ in degrade_film_as_web(waiting, 4, f"{number}"):
            waiting.taken += 1
        assert waiting.taken == 50
        assert waiting.most <= 22


def test_a_film_too_small_for_420_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"tiny\.mp4: 40x7 is too small"):
        film(torch.rand(3, 3, 7, 40), "tiny.mp4")
