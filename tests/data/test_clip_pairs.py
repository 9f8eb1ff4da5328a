from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from tests.helpers.data_sets import add_source, diagonal_pan
from vsr.data.camera_motion import glide
from vsr.data.clip_pairs import ClipPairs, ClipShape
from vsr.data.clip_pool import ClipPool
from vsr.data.config import DataConfig
from vsr.data.flow_pairs import MotionPairs
from vsr.data.real_degradation import degrade_as_real
from vsr.data.store import Header, StoreWriter
from vsr.errors import DataError
from vsr.imaging.degrade import Degradation, degrade
from vsr.imaging.tensors import resize_bicubic, warp
from vsr.metrics.image import psnr_y

CPU = torch.device("cpu")
NO_EXTRAS: dict[str, Any] = {
    "stills_share": 0.0,
    "micro_share": 0.0,
    "static_share": 0.0,
    "spliced_share": 0.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    store = StoreWriter(folder, Header(shortest=7, val_share=0))
    add_source(store, "a", diagonal_pan(data.astronaut(), 20, 176))
    add_source(store, "b", diagonal_pan(data.coffee(), 9, 176))
    add_source(store, "photo", [data.astronaut()[::-1].copy()])
    return folder


def clips(
    folder: Path, scale: int = 4, seed: int = 0, shape: ClipShape = ClipShape(4, 12), **changes: Any
) -> ClipPairs:
    config = DataConfig.model_validate({"dataset": folder} | changes)
    pool = ClipPool(StoreWriter(folder, Header(shortest=7, val_share=0)), "train", config)
    return ClipPairs(pool, config, scale, seed, shape)


def only(kind: str) -> dict[str, float]:
    return {"bi": 0.0, "bd": 0.0, "codec": 0.0, "real": 0.0, "web": 0.0, "noisy": 0.0} | {kind: 1.0}


@pytest.mark.parametrize("scale", [2, 4])
def test_the_same_number_is_the_same_clip(folder: Path, scale: int) -> None:
    one, again, other = (clips(folder, scale, seed) for seed in (1, 1, 2))
    for number in range(20):
        for segment in (0, 2):
            low, target, *_ = one.pair(number, segment)
            assert low.shape == (4, 3, 12, 12)
            assert target.shape == (4, 3, 12 * scale, 12 * scale)
            assert torch.equal(low, again.pair(number, segment)[0])
            assert torch.equal(target, again.pair(number, segment)[1])
        assert torch.equal(one.pair(number)[1], one.target(number))
    assert not all(torch.equal(one.target(n), other.target(n)) for n in range(20))


@pytest.mark.parametrize("kind", ["bi", "bd", "codec", "real", "web", "noisy"])
def test_every_degradation_is_seeded(folder: Path, kind: str) -> None:
    one, again = (clips(folder, degradation=only(kind)) for _ in range(2))
    for number in range(6):
        assert torch.equal(one.pair(number)[0], again.pair(number)[0])


@pytest.mark.parametrize("kind", list(Degradation))
def test_low_clips_are_their_targets_degraded(folder: Path, kind: Degradation) -> None:
    """Away from the border, where the low clip has seen beyond its target."""
    pairs = clips(folder, shape=ClipShape(4, 24), degradation=only(kind.value))
    for number in range(6):
        low, target, *_ = pairs.pair(number)
        expected = degrade(target, 4, kind)
        assert torch.allclose(low[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3], atol=1.01 / 255)


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("codec", 0.5, 12), ("real", 1, 40), ("web", 0.5, 20)]
)
def test_codecs_leave_marks_but_the_picture_too(
    folder: Path, kind: str, least: float, most: float
) -> None:
    pairs = clips(folder, shape=ClipShape(4, 24), degradation=only(kind))
    for number in range(6):
        low, target, *_ = pairs.pair(number)
        difference = (low - degrade(target, 4, Degradation.BI)).abs().mean() * 255
        assert least < difference < most


@pytest.mark.parametrize("share", ["stills_share", "micro_share", None])
def test_segments_follow_one_another(folder: Path, share: str | None) -> None:
    """The last frame of one and the first of the next are as near as any two neighbours."""
    pairs = clips(folder, **NO_EXTRAS | ({share: 1.0} if share else {}))
    for number in range(12):
        whole = torch.cat([pairs.pair(number, segment)[1] for segment in range(4)])
        steps = whole.diff(dim=0).abs().mean(dim=(1, 2, 3))
        assert float(steps.max()) < 4 * float(steps.median()) + 2 / 255


def test_a_film_turns_round_at_its_ends(folder: Path) -> None:
    """Nine frames, again and again: every sixteenth is the same."""
    pairs = clips(folder, shape=ClipShape(9, 12), **NO_EXTRAS)
    whole = torch.cat([pairs.pair(3, segment)[1] for segment in range(8)])
    frames = {tuple(frame.flatten().tolist()) for frame in whole}
    assert len(frames) == 9
    assert len(whole) == 72


def test_a_static_clip_stands_still(folder: Path) -> None:
    pairs = clips(folder, degradation=only("bi"), **NO_EXTRAS | {"static_share": 1.0})
    low, target, *_ = pairs.pair(0)
    assert not low.diff(dim=0).any()
    assert not target.diff(dim=0).any()


def test_a_static_clip_can_be_noisy_where_it_is_seen_and_not_where_it_is_wanted(
    folder: Path,
) -> None:
    extras = NO_EXTRAS | {"static_share": 1.0}
    quiet = clips(folder, degradation=only("bi"), **extras)
    noisy = clips(folder, degradation=only("bi"), static_noise=8.0, **extras)
    strengths = []
    for number in range(12):
        (low, target, *_), (clean, wanted, *_) = noisy.pair(number), quiet.pair(number)
        assert torch.equal(target, wanted)
        strengths.append(float((low - clean).std() * 255))
        assert torch.equal(low, noisy.pair(number)[0])
        # Each frame, and each segment of a clip that goes on, has noise of its own.
        if strengths[-1] > 1:
            assert low.diff(dim=0).flatten(1).any(dim=1).all()
            assert not torch.equal(low, noisy.pair(number, 1)[0])
    assert max(strengths) < 8.5
    assert max(strengths) - min(strengths) > 3
    moving = NO_EXTRAS | {"static_noise": 8.0}
    assert torch.equal(
        clips(folder, degradation=only("bi"), **moving).pair(0)[0],
        clips(folder, degradation=only("bi"), **NO_EXTRAS).pair(0)[0],
    )


def test_micro_motion_is_there_but_small(folder: Path) -> None:
    pairs = clips(folder, **NO_EXTRAS | {"micro_share": 1.0})
    for number in range(6):
        steps = pairs.target(number).diff(dim=0).abs().mean() * 255
        assert 0 < steps < 3


def test_a_spliced_clip_has_a_cut_in_it(folder: Path) -> None:
    spliced = clips(folder, shape=ClipShape(8, 12), **NO_EXTRAS | {"spliced_share": 1.0})
    whole = clips(folder, shape=ClipShape(8, 12), **NO_EXTRAS)

    def jumps(pairs: ClipPairs) -> float:
        steps = [pairs.target(n).diff(dim=0).abs().mean(dim=(1, 2, 3)) for n in range(12)]
        return float(torch.stack([s.max() / s.median() for s in steps]).median())

    assert jumps(spliced) > 2 * jumps(whole)


def test_little_memory_changes_no_clip(folder: Path) -> None:
    roomy, tight = clips(folder), clips(folder, memory_gb=1e-9)
    for number in range(6):
        assert torch.equal(roomy.pair(number)[0], tight.pair(number)[0])


def test_without_photographs_the_camera_moves_over_film(tmp_path: Path) -> None:
    store = StoreWriter(tmp_path, Header(shortest=7, val_share=0))
    add_source(store, "a", diagonal_pan(data.astronaut(), 8, side=300))
    pairs = clips(tmp_path, **NO_EXTRAS | {"stills_share": 1.0})
    assert pairs.target(0).diff(dim=0).abs().max() > 0


def test_a_data_set_too_small_for_its_clips_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no film in it has 832x832 pixels"):
        clips(folder, shape=ClipShape(4, 200))


def test_a_gliding_camera_moves_a_sharp_picture() -> None:
    random = np.random.default_rng(0)
    clip = glide(data.astronaut(), 64, 0, 6, random)
    assert clip.shape == (6, 64, 64, 3)
    assert clip.dtype == np.uint8
    assert (np.abs(np.diff(clip.astype(int), axis=0)).mean(axis=(1, 2, 3)) > 0.2).all()
    assert np.abs(np.diff(clip.astype(int), axis=2)).mean() > 3


def test_a_gliding_camera_never_leaves_the_picture() -> None:
    """Where the picture is white, no frame of a thousand shows anything else."""
    white = np.full((200, 260, 3), 255, np.uint8)
    clip = glide(white, 64, 0, 300, np.random.default_rng(3))
    assert clip.min() == 255


def test_stronger_degradation_harms_more() -> None:
    high = torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1)[None].expand(3, -1, -1, -1)
    high = high[..., :256, 100:356].float() / 255
    target = resize_bicubic(high, (64, 64))

    def quality(strength: float) -> float:
        seeds = range(8)
        lows = [degrade_as_real(high, 4, strength, np.random.default_rng(s), s) for s in seeds]
        assert all(low.shape == (3, 3, 64, 64) for low in lows)
        return sum(float(psnr_y(low, target).mean()) for low in lows) / len(lows)

    weak, medium, strong = quality(0.1), quality(0.5), quality(1.0)
    assert weak > medium > strong
    assert weak > strong + 3


def test_known_motion_is_what_lies_between_the_frames(folder: Path) -> None:
    config = DataConfig(dataset=folder, motion_crop=20)
    store = StoreWriter(folder, Header(shortest=7, val_share=0))
    pairs = MotionPairs(ClipPool(store, "train", config), config, 4, seed=0)
    still = moved = 0.0
    for number in range(12):
        current, previous, flow = pairs.pair(number)
        assert flow.shape == (2, 20, 20)
        inner = (slice(None), slice(6, -6), slice(6, -6))
        moved += float((warp(previous[None], flow[None])[0] - current)[inner].abs().mean())
        still += float((previous - current)[inner].abs().mean())
    assert moved < still / 2


@pytest.mark.parametrize("kind", ["noisy", "real"])
def test_grey_clips_are_the_luma_of_their_footage(folder: Path, kind: str) -> None:
    colour, grey = (clips(folder, degradation=only(kind), grey=grey) for grey in (False, True))
    target = grey.target(0)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    luma = (colour.target(0) * weights).sum(dim=1)
    for channel in range(3):
        assert (target[:, channel] - luma).abs().max() < 1e-3
    low = grey.pair(0).low
    assert torch.equal(low[:, 0], low[:, 1])
    assert torch.equal(low[:, 0], low[:, 2])


def test_sensor_noise_has_no_bias_and_is_independent_in_each_frame(folder: Path) -> None:
    shares = only("noisy") | {"noisy_sigma": 60.0}
    pairs = clips(folder, shape=ClipShape(4, 32), degradation=shares, grey=True)
    found = []
    for number in range(20):
        low, _, clean, *_ = pairs.pair(number)
        noise = (low - clean)[:, 0]
        found.append(float(noise.std()))
        assert abs(float(noise.mean())) < 0.1 * noise.std()
        correlation = np.corrcoef(noise[0].numpy().ravel(), noise[1].numpy().ravel())[0, 1]
        assert abs(correlation) < 0.15
    assert min(found) < 0.03
    assert 0.1 < max(found) < 60 / 255 * 1.05
