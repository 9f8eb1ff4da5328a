"""Our metrics against what independent implementations wrote down."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from tests.metrics.make_golden import GOLDEN, clips
from vsr.imaging.colour import luma_of
from vsr.imaging.tensors import to_float
from vsr.metrics import farneback, grey, ms_ssim_y, psnr, psnr_y, ssim_y, tof

GOLD = json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module")
def films() -> list[torch.Tensor]:
    return [to_float(torch.from_numpy(np.stack(film))).permute(0, 3, 1, 2) for film in clips()]


@pytest.mark.parametrize(
    ("metric", "name", "tolerance"),
    [
        (psnr, "psnr", 1e-6),
        (psnr_y, "psnr_y", 1e-6),
        (ssim_y, "ssim_y", 1e-4),
        (ms_ssim_y, "ms_ssim_y", 1e-4),
    ],
)
def test_pictures(
    films: list[torch.Tensor],
    metric: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    name: str,
    tolerance: float,
) -> None:
    output, target = films
    assert metric(output, target).tolist() == pytest.approx(GOLD[name], abs=tolerance)


def test_motion(films: list[torch.Tensor]) -> None:
    found = []
    for number in range(1, len(GOLD["psnr"])):
        flows = [farneback(grey(film[number - 1]), grey(film[number])) for film in films]
        found.append(tof(flows[0], flows[1]))
    assert found == pytest.approx(GOLD["tof"], abs=1e-6)


@pytest.mark.slow
def test_torchmetrics_agrees(films: list[torch.Tensor]) -> None:
    output, target = (film.double() for film in films)
    lumas = [luma_of(film).unsqueeze(1) for film in (output, target)]
    for number in range(len(output)):
        one, other = (film[number : number + 1] for film in films)
        y, z = (luma[number : number + 1] for luma in lumas)
        # Its mean takes in a mirrored border; ours, as scikit-image's, is over the places inside.
        _, places = structural_similarity_index_measure(
            y, z, data_range=255.0, return_full_image=True
        )
        theirs = {
            psnr: peak_signal_noise_ratio(output[number], target[number], data_range=1.0),
            psnr_y: peak_signal_noise_ratio(y, z, data_range=255.0),
            ssim_y: places[..., 5:-5, 5:-5].mean(),
            ms_ssim_y: multiscale_structural_similarity_index_measure(y, z, data_range=255.0),
        }
        for metric, value in theirs.items():
            # torchmetrics computes its decibels in f32.
            tolerance = 3e-6 if metric in (psnr, psnr_y) else 1e-4
            assert float(metric(one, other)) == pytest.approx(float(value), abs=tolerance)
