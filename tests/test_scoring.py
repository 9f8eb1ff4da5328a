import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio

from tests.helpers.films import as_tensor, gliding_view
from vsr.errors import DataError
from vsr.imaging.degrade import Degradation
from vsr.imaging.tensors import to_uint8
from vsr.metrics.meter import FilmMeter, mean_of
from vsr.metrics.protocol import PROTOCOLS, Metric, parse_metrics
from vsr.models import Recurrent, RecurrentConfig
from vsr.scoring import score_film

PLAIN = PROTOCOLS["plain"]
BICUBIC = Image.Resampling.BICUBIC
Picture = NDArray[np.uint8]


def psnr_y_by_scikit_image(outputs: Sequence[Picture], targets: Sequence[Picture]) -> float:
    """The mean over frames of (H, W, 3)."""
    found = []
    for output, target in zip(outputs, targets, strict=True):
        lumas = [rgb2ycbcr(picture)[..., 0] for picture in (target, output)]
        found.append(peak_signal_noise_ratio(*lumas, data_range=255))
    return float(np.mean(found))


def film(frames: int, side: int = 64) -> list[torch.Tensor]:
    return list(torch.rand(frames, 3, side, side))


def test_several_outputs_are_measured_as_if_each_were_alone() -> None:
    target, one, other = film(3), film(3), film(3)
    metrics = [Metric.PSNR_Y, Metric.TOF, Metric.WARPING_ERROR]
    together, alone = FilmMeter(metrics, PLAIN), FilmMeter(metrics, PLAIN)
    for here, there, reference in zip(one, other, target, strict=True):
        rows = together.add([here, there], reference)
        (single,) = alone.add([there], reference)
        assert {k: v for k, v in rows[1].items() if not math.isnan(v)} == {
            k: v for k, v in single.items() if not math.isnan(v)
        }


def test_motion_has_no_meaning_on_the_first_frame_and_across_a_cut() -> None:
    meter = FilmMeter([Metric.TOF], PLAIN)
    shots = [True, False, True, False]
    found = [
        meter.add([picture], picture, begins)[0][Metric.TOF]
        for picture, begins in zip(film(4), shots, strict=True)
    ]
    assert [math.isnan(value) for value in found] == shots


def test_the_papers_protocols_know_no_cuts() -> None:
    meter = FilmMeter([Metric.TOF], PROTOCOLS["tecogan"])
    found = [meter.add([p], p, starts_shot=True)[0][Metric.TOF] for p in film(3)]
    assert [math.isnan(value) for value in found] == [True, False, False]


def test_tecogans_crop_is_multiples_of_32_with_a_border() -> None:
    picture = torch.rand(3, 144, 180)
    cropped = PROTOCOLS["tecogan"].part(picture)
    # 144 - 16 = 128; 180 - 16 = 164 holds 160.
    assert torch.equal(cropped, picture[:, 8:136, 10:170])
    assert PLAIN.part(picture) is picture
    meter = FilmMeter([Metric.PSNR_Y], PROTOCOLS["tecogan"])
    spoilt = picture.clone()
    spoilt[:, :8] = 0
    assert math.isinf(meter.add([spoilt], picture)[0][Metric.PSNR_Y])


def test_what_is_no_number_is_reported() -> None:
    meter = FilmMeter([Metric.PSNR_Y], PLAIN)
    spoilt = torch.rand(3, 16, 16)
    spoilt[1, 2, 3] = math.nan
    with pytest.raises(DataError, match="not numbers"):
        meter.add([spoilt], torch.rand(3, 16, 16))


def test_without_a_target_only_flicker_is_measured() -> None:
    meter = FilmMeter([Metric.PSNR_Y, Metric.FLICKER], PLAIN)
    lows = film(2, 16)
    rows = [
        meter.add([picture], None, low=low)[0] for picture, low in zip(film(2), lows, strict=True)
    ]
    assert list(rows[1]) == [Metric.FLICKER]


def test_metrics_are_parsed_by_name() -> None:
    assert parse_metrics(["psnr_y", " tof", "psnr_y"]) == (Metric.PSNR_Y, Metric.TOF)
    with pytest.raises(ValueError, match=r"unknown metric 'pnsr'; there are: psnr_y"):
        parse_metrics(["pnsr"])


def test_a_mean_leaves_out_what_has_no_meaning() -> None:
    assert mean_of([1.0, math.nan, 3.0]) == 2
    assert math.isnan(mean_of([math.nan]))


def test_a_scored_film_is_bicubic_beside_the_model() -> None:
    """Bicubic by Pillow, PSNR by scikit-image; sides are cut to multiples of the scale."""
    generator = Recurrent(RecurrentConfig(channels=8, blocks=1, memory=8, flow_channels=4)).eval()
    targets = gliding_view(data.astronaut(), 66, 66, 3)
    frames = [(as_tensor(picture), number == 0) for number, picture in enumerate(targets)]
    score = score_film(generator, "views", frames, Degradation.BI)
    assert score.frames == 3
    targets = [picture[:64, :64] for picture in targets]
    lows = [np.array(Image.fromarray(p).resize((16, 16), BICUBIC)) for p in targets]
    bicubic = [np.asarray(Image.fromarray(p).resize((64, 64), BICUBIC)) for p in lows]
    with torch.inference_mode():
        highs = generator(torch.stack([as_tensor(low) for low in lows])[None])[0]
    ours = list(to_uint8(highs).permute(0, 2, 3, 1).numpy())
    wanted = [psnr_y_by_scikit_image(films, targets) for films in (ours, bicubic)]
    assert [score.ours.psnr_y, score.bicubic.psnr_y] == pytest.approx(wanted, abs=0.05)
    assert score.gain == pytest.approx(wanted[0] - wanted[1], abs=0.05)
    assert score.ours.tof > 0
