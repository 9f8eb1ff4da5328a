from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from tests.conftest import gliding_view
from vsr.metrics.temporal import farneback, grey, tof
from vsr.tensors import to_float


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return to_float(torch.from_numpy(picture)).permute(2, 0, 1)


def test_grey_is_opencvs() -> None:
    picture = data.astronaut()
    assert np.array_equal(grey(as_tensor(picture)), cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


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
