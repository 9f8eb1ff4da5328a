from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.films import scenes
from vsr.frames.shots import mark_cuts
from vsr.media.frame import Frame


def as_frames(pictures: list[NDArray[np.uint8]], shift: int = 0) -> list[Frame]:
    frames = []
    for number, picture in enumerate(pictures):
        y, cr, cb = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
        planes: list[Any] = [
            plane.astype(np.uint16) << shift if shift else plane for plane in (y, cb, cr)
        ]
        frames.append(Frame((planes[0], planes[1], planes[2]), pts=number, bit_depth=8 + shift))
    return frames


def beginnings(frames: list[Frame]) -> list[int]:
    return [i.pts for i, begins in mark_cuts(frames) if begins and isinstance(i, Frame)]


@pytest.mark.parametrize("shift", [0, 2, 4, 7])
def test_hard_cuts_are_found_and_motion_is_not_mistaken_for_them(shift: int) -> None:
    assert beginnings(as_frames(scenes(160, 96, [20, 15, 30]), shift)) == [0, 20, 35]


def test_one_scene_begins_once() -> None:
    assert beginnings(as_frames(scenes(160, 96, [40]))) == [0]


def test_a_single_frame_is_a_shot() -> None:
    assert beginnings(as_frames(scenes(64, 48, [1]))) == [0]


def test_order_is_kept_and_nothing_is_lost() -> None:
    frames = as_frames(scenes(64, 48, [5, 7]))
    mixed: list[Frame | str] = []
    for frame in frames:
        mixed += [frame, f"sound {frame.pts}"]
    assert [item for item, _ in mark_cuts(mixed)] == mixed


def test_at_most_two_frames_are_held() -> None:
    taken = 0

    def count() -> object:
        nonlocal taken
        for frame in as_frames(scenes(64, 48, [10])):
            taken += 1
            yield frame

    for given, _ in enumerate(mark_cuts(count())):  # type: ignore[arg-type]
        assert taken <= given + 3


def test_time_is_not_looked_at() -> None:
    frames = as_frames(scenes(160, 96, [20, 15]))
    sparse = [Frame(f.planes, pts=f.pts**2 * int(Fraction(7))) for f in frames]
    assert beginnings(sparse) == [0, 400 * 7]
