from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from tests.helpers.films import as_tensor, gliding_view, shifted
from vsr.imaging.tensors import resize_bicubic
from vsr.metrics.temporal import (
    Motion,
    farneback,
    flicker,
    grey,
    motion_to_previous,
    temporal_profile,
    tof,
    warping_error,
)


def test_grey_is_the_luma_of_bt601() -> None:
    picture = data.astronaut()
    luma = picture @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey(as_tensor(picture)) - luma).max() < 0.51  # OpenCV rounds its weights


def test_tof_is_a_plain_loop_over_opencvs_farneback() -> None:
    target = gliding_view(data.astronaut(), 150, 110, 4)
    output = [cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in target]
    ours, theirs = [], []
    for number in range(1, 4):
        flows = []
        for film in (output, target):
            before, here = (cv2.cvtColor(film[n], cv2.COLOR_RGB2GRAY) for n in (number - 1, number))
            flow: Any = None
            flows.append(cv2.calcOpticalFlowFarneback(before, here, flow, 0.5, 3, 15, 3, 5, 1.2, 0))
        difference = flows[0] - flows[1]
        # 150 - 16 = 134 -> 128; 110 - 16 = 94 -> 64.
        inner = difference[23 : 23 + 64, 11 : 11 + 128]
        theirs.append(np.sqrt((inner**2).sum(axis=-1)).mean())
        pair = [
            farneback(*(grey(as_tensor(film[n])) for n in (number - 1, number)))
            for film in (output, target)
        ]
        ours.append(tof(pair[0], pair[1]))
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert min(ours) > 0


def test_the_same_motion_is_no_distance() -> None:
    flow = np.random.default_rng(0).normal(size=(64, 64, 2)).astype(np.float32)
    assert tof(flow, flow) == 0
    assert tof(flow, flow + np.array([3, 4], np.float32)) == pytest.approx(5, abs=1e-5)


def test_tof_of_too_small_a_frame_is_refused() -> None:
    flow = np.zeros((47, 90, 2), np.float32)
    with pytest.raises(ValueError, match="tOF needs sides of at least 48 pixels, not 90x47"):
        tof(flow, flow)


def test_motion_leads_back_to_the_frame_before() -> None:
    motion = motion_to_previous(shifted(3), shifted(0))
    inner = motion.flow[:, 20:-20, 20:-20]
    assert inner[0].median().item() == pytest.approx(3, abs=0.1)
    assert inner[1].median().item() == pytest.approx(0, abs=0.1)
    assert motion.trusted.float().mean() > 0.95


def test_motion_is_not_trusted_across_a_cut() -> None:
    other = as_tensor(np.ascontiguousarray(data.coffee()[100:260, 100:300]))
    assert motion_to_previous(other, shifted(0)).trusted.float().mean() < 0.5


def test_warping_error_of_a_case_worked_by_hand() -> None:
    still = Motion(torch.zeros(2, 4, 4), torch.ones(4, 4, dtype=torch.bool))
    black = torch.zeros(3, 4, 4)
    # A tenth in each of three channels: 3 * 0.01, times 1000.
    assert warping_error(black + 0.1, black, still) == pytest.approx(30, abs=1e-3)
    half = still._replace(trusted=torch.arange(16).view(4, 4) < 8)
    changed = black.clone()
    changed[:, :2] = 0.1
    assert warping_error(changed, black, half) == pytest.approx(30, abs=1e-3)
    assert warping_error(changed, black, still) == pytest.approx(15, abs=1e-3)
    nowhere = still._replace(trusted=torch.zeros(4, 4, dtype=torch.bool))
    assert np.isnan(warping_error(changed, black, nowhere))


def test_following_motion_costs_nothing_and_ignoring_it_does() -> None:
    motion = motion_to_previous(shifted(3), shifted(0))
    followed = warping_error(shifted(3), shifted(0), motion)
    assert followed < 0.2 * warping_error(shifted(0), shifted(0), motion)


def test_bicubic_flickers_as_bicubic_does() -> None:
    lows = [resize_bicubic(shifted(by)[None], (40, 50))[0] for by in (0, 3)]
    motion = motion_to_previous(lows[1], lows[0])
    highs = [resize_bicubic(low[None], (160, 200))[0].clamp(0, 1) for low in lows]
    assert flicker(highs[1], highs[0], lows[1], lows[0], motion) == pytest.approx(0, abs=1e-4)


def test_flicker_is_reported_in_code_values_above_bicubics() -> None:
    low = resize_bicubic(shifted(0)[None], (40, 50))[0].clamp(0, 1)
    high = resize_bicubic(low[None], (160, 200))[0].clamp(0.1, 0.9)
    motion = motion_to_previous(low, low)
    brighter = high + 4 / 255
    assert flicker(brighter, high, low, low, motion) == pytest.approx(4, abs=0.01)
    # What the input does too is no flicker: noise of its own doesn't count against the output.
    noisy = low + torch.full_like(low, 4 / 255)
    bicubic = resize_bicubic(torch.stack((noisy, low)), (160, 200)).clamp(0, 1)
    assert flicker(bicubic[0], bicubic[1], noisy, low, motion) == pytest.approx(0, abs=0.01)


def test_a_profile_is_one_row_of_each_frame() -> None:
    clip = torch.arange(2 * 3 * 5 * 4.0).view(2, 3, 5, 4)
    assert torch.equal(temporal_profile(clip, 1)[:, 1], clip[1, :, 1])
    assert torch.equal(temporal_profile(clip)[:, 0], clip[0, :, 2])
    assert temporal_profile(clip).shape == (3, 2, 4)
