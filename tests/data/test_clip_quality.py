from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from tests.helpers.films import gliding_view, scenes
from tests.helpers.planes import planes_of
from vsr.data.clip_quality import (
    Crop,
    DuplicateIndex,
    RejectReason,
    bandwidth,
    find_defect,
    picture_area,
    signature,
    true_scale,
)

Luma = NDArray[np.uint8]


def luma(frames: Sequence[NDArray[np.uint8]]) -> list[Luma]:
    return list(planes_of(frames)[0])


@pytest.fixture(scope="module")
def sharp() -> list[Luma]:
    return luma(gliding_view(data.astronaut(), 512, 512, 12))


def resized(frames: Sequence[Luma], share: float, how: int) -> list[Luma]:
    size = (round(frames[0].shape[1] * share), round(frames[0].shape[0] * share))
    return [np.asarray(cv2.resize(f, size, interpolation=how), np.uint8) for f in frames]


def test_a_sharp_moving_clip_has_no_fault(sharp: list[Luma]) -> None:
    assert find_defect(sharp) is None


def test_a_picture_that_stands_still_is_static_even_with_some_noise(sharp: list[Luma]) -> None:
    random = np.random.default_rng(0)
    noisy = [np.clip(sharp[0] + random.normal(0, 0.4, sharp[0].shape), 0, 255) for _ in range(9)]
    assert find_defect([frame.astype(np.uint8) for frame in noisy]) is RejectReason.STATIC
    assert find_defect(sharp[:1]) is None  # a photograph may stand still


def test_nothing_to_see_is_flat() -> None:
    random = np.random.default_rng(0)
    frames = [(60 + random.normal(0, 2, (90, 160))).astype(np.uint8) for _ in range(9)]
    assert find_defect(frames) is RejectReason.FLAT


def test_out_of_focus_is_blurred(sharp: list[Luma]) -> None:
    soft = [np.asarray(cv2.GaussianBlur(frame, (0, 0), 4), np.uint8) for frame in sharp]
    assert find_defect(soft) is RejectReason.BLURRED


@pytest.mark.parametrize("how", [cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
def test_an_enlarged_film_is_recognised_with_its_true_size(sharp: list[Luma], how: int) -> None:
    small = resized(sharp, 0.7, cv2.INTER_AREA)
    assert true_scale(small) == 1
    assert true_scale(resized(small, 2, how)) == pytest.approx(0.5, abs=0.1)


def test_bandwidth_tells_how_far_the_spectrum_reaches(sharp: list[Luma]) -> None:
    small = resized(sharp[:1], 0.7, cv2.INTER_AREA)
    widths = [bandwidth(resized(small, by, cv2.INTER_CUBIC)[0]) for by in (1, 1.5, 2, 3)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0.85


def test_black_bars_are_found_and_cut_to_even_places(sharp: list[Luma]) -> None:
    frames = []
    for frame in sharp:
        barred = np.full((400, 520), 16, np.uint8)
        barred[45:355, 11:509] = frame[100:410, 5:503]
        frames.append(barred)
    top, left, height, width = picture_area(frames)
    assert (top, left) == (46, 12)
    assert height == pytest.approx(308, abs=4)
    assert width == pytest.approx(496, abs=4)
    assert all(number % 2 == 0 for number in (top, left, height, width))


def test_a_film_without_bars_and_a_dark_one_are_left_whole(sharp: list[Luma]) -> None:
    assert picture_area([frame[:401, :301] for frame in sharp]) == Crop(0, 0, 400, 300)
    dark = np.full((90, 160), 16, np.uint8)
    dark[40:44, 70:80] = 200
    assert picture_area([dark]) == Crop(0, 0, 90, 160)


def test_the_same_shot_coded_again_is_recognised_and_another_is_not() -> None:
    one, other = scenes(320, 240, [8]), scenes(320, 240, [8, 8])[8:]
    gallery = DuplicateIndex()
    gallery.add(signature(luma(one)), "a", 0)
    coarse = [
        np.asarray(cv2.imdecode(cv2.imencode(".jpg", f, [1, 40])[1], 1), np.uint8) for f in one
    ]
    smaller = [np.asarray(cv2.resize(f, (160, 120)), np.uint8) for f in one]
    assert gallery.holds(signature(luma(coarse)), "b", 0)
    assert gallery.holds(signature(luma(smaller)), "b", 0)
    assert not gallery.holds(signature(luma(other)), "b", 0)


def test_pieces_of_one_shot_may_be_alike() -> None:
    hashes = signature(luma(scenes(320, 240, [8])))
    gallery = DuplicateIndex()
    assert not gallery.holds(hashes, "a", 3)
    gallery.add(hashes, "a", 3)
    assert not gallery.holds(hashes, "a", 3)
    assert gallery.holds(hashes, "a", 4)
