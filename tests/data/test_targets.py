from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from torch import Tensor

from tests.helpers.data_sets import add_source, diagonal_pan
from vsr.data.agreement import Features, feature_distance
from vsr.data.clip_codec import Planes420
from vsr.data.clip_pairs import ClipPairs, ClipShape
from vsr.data.clip_pool import ClipPool
from vsr.data.config import DataConfig, SharpeningConfig
from vsr.data.flow_pairs import MotionPairs
from vsr.data.sharpening import sharpened
from vsr.data.store import Header, Store, StoreWriter, TeacherRun
from vsr.errors import DataError
from vsr.imaging.degrade import Degradation, degrade

CPU = torch.device("cpu")
PLAIN: dict[str, Any] = {"stills_share": 0.0, "micro_share": 0.0, "static_share": 0.0}
BI = {"bi": 1.0, "bd": 0.0, "codec": 0.0, "real": 0.0}


def teaching(name: str, scale: int = 4, native_crop: int | None = None) -> TeacherRun:
    return TeacherRun(
        teaching=f"{name} x{scale}{' native' if native_crop else ''}",
        teacher=name,
        sha256="0",
        licence="MIT",
        scale=scale,
        back_projections=0,
        precision="f32",
        native_crop=native_crop,
    )


def negative(planes: Planes420) -> Planes420:
    """RGB becomes 1 - RGB, as far as it lies within [0, 1]."""
    y, cb, cr = (plane.astype(int) for plane in planes)
    limits = [np.clip(plane, 0, 255).astype(np.uint8) for plane in (251 - y, 256 - cb, 256 - cr)]
    return limits[0], limits[1], limits[2]


def part(planes: Planes420, first: int, frames: int) -> Planes420:
    y, cb, cr = (plane[first : first + frames] for plane in planes)
    return y, cb, cr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two films and a photograph, of which nothing is taught yet."""
    store = StoreWriter(tmp_path / "set", Header(shortest=7, val_share=0))
    soft = cv2.addWeighted(data.astronaut(), 0.7, data.astronaut(), 0, 40)
    picture = np.asarray(soft, dtype=np.uint8)
    add_source(store, "a", diagonal_pan(picture, 20, 176))
    add_source(store, "b", diagonal_pan(picture, 9, 144, top=90, left=60))
    add_source(store, "photo", [picture[::-1].copy()])
    return tmp_path / "set"


def teach_negatives(folder: Path, first: int = 0, frames: int | None = None) -> None:
    store = StoreWriter(folder, Header(shortest=7, val_share=0))
    lesson = teaching("Teacher")
    store.add(lesson)
    for clip in store.clips():
        if clip.frames == 1:
            continue
        end = clip.frames if frames is None else min(first + frames, clip.frames)
        for begin in range(first, end, 4):
            planes = part(store.read(clip), begin, min(4, end - begin))
            store.add_teacher_output(negative(planes), lesson.teaching, clip, begin, (0, 0))


def clips(
    folder: Path,
    shape: ClipShape = ClipShape(4, 12),
    scale: int = 4,
    features: Features | None = None,
    **changes: Any,
) -> ClipPairs:
    config = DataConfig.model_validate({"dataset": folder, "degradation": BI} | changes)
    pool = ClipPool(Store(folder), "train", config, features)
    return ClipPairs(pool, config, scale, 0, shape)


@pytest.mark.parametrize("spliced", [0.0, 1.0])
def test_taught_targets_lie_where_the_originals_lie(folder: Path, spliced: float) -> None:
    """Cut, turned and spliced alike; the input is made of the original."""
    teach_negatives(folder)
    taught = clips(folder, targets="taught", spliced_share=spliced, **PLAIN)
    original = clips(folder, spliced_share=spliced, **PLAIN)
    for number in range(12):
        for segment in (0, 1):
            low, target, *_ = taught.pair(number, segment)
            same_low, plain, *_ = original.pair(number, segment)
            assert torch.equal(low, same_low)
            assert (target - (1 - plain)).abs().mean() < 2.5 / 255
            assert torch.equal(taught.pair(number, segment).target, target)
            footage = taught.pair(number, segment).footage
            assert footage is not None
            assert torch.equal(footage, plain)
            assert original.pair(number, segment).footage is None


def test_taught_scenes_are_cut_from_taught_frames_alone(folder: Path) -> None:
    teach_negatives(folder, first=4, frames=8)
    pairs = clips(folder, shape=ClipShape(7, 12), targets="taught", spliced_share=0.0, **PLAIN)
    for number in range(16):
        low, target, *_ = pairs.pair(number, 1)
        shrunk = degrade(target, 4, Degradation.BI)
        assert (shrunk - (1 - low)).abs().mean() < 4 / 255


def test_taught_photographs_serve_clips_of_one_frame(folder: Path) -> None:
    store = StoreWriter(folder, Header(shortest=7, val_share=0))
    lesson = teaching("Teacher")
    store.add(lesson)
    photograph = next(clip for clip in store.clips() if clip.frames == 1)
    store.add_teacher_output(
        negative(store.read(photograph)), lesson.teaching, photograph, 0, (0, 0)
    )
    pairs = clips(folder, shape=ClipShape(1, 12), targets="taught", **PLAIN)
    for number in range(4):
        low, target, *_ = pairs.pair(number)
        assert (degrade(target, 4, Degradation.BI) - (1 - low)).abs().mean() < 4 / 255
    with pytest.raises(DataError, match="no taught clip has 4 frames"):
        clips(folder, shape=ClipShape(4, 12), targets="taught", **PLAIN)


def test_photographs_under_a_camera_keep_their_original(folder: Path) -> None:
    teach_negatives(folder)
    extras = PLAIN | {"stills_share": 1.0, "spliced_share": 0.0}
    taught, original = clips(folder, targets="taught", **extras), clips(folder, **extras)
    for number in range(4):
        assert torch.equal(taught.target(number), original.target(number))


def test_motion_is_learnt_from_originals(folder: Path) -> None:
    config = DataConfig(dataset=folder, motion_crop=12)
    pool = ClipPool(Store(folder), "train", config)
    sharp = config.model_copy(update={"targets": "sharpened"})
    for number in range(3):
        for one, other in zip(
            MotionPairs(pool, config, 4, 0).pair(number),
            MotionPairs(pool, sharp, 4, 0).pair(number),
            strict=True,
        ):
            assert torch.equal(one, other)


def unsharp_mask_of_opencv(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """What Real-ESRGAN does to a picture (H, W, 3) in [0, 1]."""
    difference = picture - cv2.GaussianBlur(picture, (51, 51), 0)
    mask = (np.abs(difference) * 255 > 10).astype(np.float32)
    mask = np.asarray(cv2.GaussianBlur(mask, (51, 51), 0), dtype=np.float32)
    sharp = np.clip(picture + 0.5 * difference, 0, 1)
    return np.asarray(mask * sharp + (1 - mask) * picture, dtype=np.float32)


def test_the_unsharp_mask_is_that_of_real_esrgan() -> None:
    picture = data.astronaut()[:120, 150:310].astype(np.float32) / 255
    mine = sharpened(torch.from_numpy(picture).permute(2, 0, 1)[None], SharpeningConfig())
    np.testing.assert_allclose(
        mine[0].permute(1, 2, 0).numpy(), unsharp_mask_of_opencv(picture), atol=2e-4
    )


@pytest.mark.parametrize("share", ["stills_share", None])
def test_sharpened_targets_are_sharper_and_their_inputs_the_same(
    folder: Path, share: str | None
) -> None:
    extras = PLAIN | {"spliced_share": 0.0} | ({share: 1.0} if share else {})
    sharp, plain = clips(folder, targets="sharpened", **extras), clips(folder, **extras)
    for number in range(4):
        (low, target, *_), (same_low, original, *_) = sharp.pair(number), plain.pair(number)
        assert torch.equal(low, same_low)
        assert target.diff(dim=-1).abs().mean() > 1.02 * original.diff(dim=-1).abs().mean()


def colours(pictures: Tensor) -> list[Tensor]:
    """Feature maps in which a picture and its negative are opposite."""
    return [2 * pictures - 1]


def test_agreeing_targets_are_taught_where_features_agree_and_sharpened_elsewhere(
    folder: Path,
) -> None:
    """The left half of each frame is taught as its negative, the right as it is."""
    store = StoreWriter(folder, Header(shortest=7, val_share=0))
    lesson = teaching("Teacher")
    store.add(lesson)
    for clip in store.clips():
        if clip.frames == 1:
            continue
        planes = store.read(clip)
        mixed = negative(planes)
        for own, other in zip(planes, mixed, strict=True):
            middle = own.shape[2] // 2
            other[..., middle:] = own[..., middle:]
        store.add_teacher_output(mixed, lesson.teaching, clip, 0, (0, 0))
    extras = PLAIN | {"spliced_share": 0.0}
    agreeing = clips(folder, targets="agreeing", features=colours, agreement=0.2, **extras)
    taught = clips(folder, targets="taught", **extras)
    sharp = clips(folder, targets="sharpened", **extras)
    near = 0
    for number in range(24):
        target, of_teacher, of_mask = (p.target(number) for p in (agreeing, taught, sharp))
        footage = agreeing.pair(number).footage
        assert footage is not None
        assert torch.equal(footage, of_mask)
        low = torch.minimum(of_teacher, of_mask) - 1e-5
        high = torch.maximum(of_teacher, of_mask) + 1e-5
        assert bool(((target >= low) & (target <= high)).all())
        opposite = (of_teacher - of_mask).abs().mean() > 0.12
        if opposite:  # mostly in the left half
            assert (target - of_mask).abs().mean() < (target - of_teacher).abs().mean()
        else:
            near += int((target - of_teacher).abs().mean() < 0.01)
    assert near > 2


def test_feature_distance_is_that_of_numpy() -> None:
    one, other = torch.rand(2, 3, 64, 96), torch.rand(2, 3, 64, 96)

    def unit(pictures: Tensor) -> NDArray[np.float64]:
        maps = 2 * pictures.double().numpy() - 1
        halved = maps.reshape(2, 3, 32, 2, 48, 2).mean(axis=(3, 5))
        return np.asarray(halved / np.linalg.norm(halved, axis=1, keepdims=True))

    difference = np.square(unit(one) - unit(other)).sum(axis=1)
    cells = difference.reshape(2, 2, 16, 3, 16).mean(axis=(2, 4))
    mine = feature_distance(colours, one, other)
    np.testing.assert_allclose(mine[:, 0].numpy(), cells, rtol=1e-5)


def test_native_targets_come_with_the_stored_frame_as_their_input(folder: Path) -> None:
    store = StoreWriter(folder, Header(shortest=7, val_share=0))
    lesson = teaching("Teacher", native_crop=48)
    store.add(lesson)
    for clip in store.clips():
        if clip.frames == 1:
            continue
        top, left = 24, 40
        y, cb, cr = (
            plane[:, top // n : (top + 48) // n, left // n : (left + 48) // n]
            for plane, n in zip(store.read(clip), (1, 2, 2), strict=True)
        )
        large = [plane.repeat(4, axis=1).repeat(4, axis=2) for plane in (y, cb, cr)]
        store.add_teacher_output(
            (large[0], large[1], large[2]), lesson.teaching, clip, 0, (top, left)
        )
    pairs = clips(folder, targets="taught", native_share=1.0, **PLAIN)
    again = clips(folder, targets="taught", native_share=1.0, **PLAIN)
    for number in range(8):
        low, target, *_ = pairs.pair(number, 1)
        assert low.shape == (4, 3, 12, 12)
        assert target.shape == (4, 3, 48, 48)
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        seen = (torch.nn.functional.avg_pool2d(target, 4) * weights).sum(dim=1)
        assert (seen - (low * weights).sum(dim=1)).abs().mean() < 1.5 / 255
        assert torch.equal(low, again.pair(number, 1)[0])


def test_a_share_of_native_scenes_is_mixed_in(folder: Path) -> None:
    test_native_targets_come_with_the_stored_frame_as_their_input(folder)
    plain = clips(folder, **PLAIN)
    mixed = clips(folder, native_share=0.5, **PLAIN)
    assert mixed.pair(0)[0].shape == plain.pair(0)[0].shape


def test_a_data_set_without_targets_is_reported(folder: Path) -> None:
    with pytest.raises(DataError, match="holds no taught targets; add them by vsr data teach"):
        clips(folder, targets="taught")
    with pytest.raises(DataError, match=r"holds no native targets; .* --native"):
        clips(folder, native_share=0.2)


def test_targets_of_another_scale_are_reported(folder: Path) -> None:
    teach_negatives(folder)
    with pytest.raises(DataError, match="are for x4, not for x2"):
        clips(folder, scale=2, targets="taught")


def test_several_teachers_must_be_distinguished(folder: Path) -> None:
    teach_negatives(folder)
    StoreWriter(folder, Header(shortest=7, val_share=0)).add(teaching("Other"))
    with pytest.raises(DataError, match=r"choose one by data\.taught_by: .*Teacher.*Other"):
        clips(folder, targets="taught")
    clips(folder, targets="taught", taught_by="Teacher")
    with pytest.raises(DataError, match="no taught targets by Nobody"):
        clips(folder, targets="taught", taught_by="Nobody")


def test_too_few_taught_frames_are_reported(folder: Path) -> None:
    teach_negatives(folder, frames=4)
    with pytest.raises(DataError, match="no taught clip has 7 frames"):
        clips(folder, shape=ClipShape(9, 12), targets="taught")


def test_agreeing_targets_without_features_are_reported(folder: Path) -> None:
    teach_negatives(folder)
    with pytest.raises(DataError, match="needs a network of features"):
        clips(folder, targets="agreeing")
