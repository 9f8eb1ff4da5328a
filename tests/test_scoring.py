import math

import pytest
import torch

from vsr.errors import DataError
from vsr.imaging.degrade import Degradation
from vsr.metrics.meter import FilmMeter, mean_of
from vsr.metrics.protocol import PROTOCOLS, Metric, parse_metrics
from vsr.models import Recurrent, RecurrentConfig
from vsr.scoring import score_film

PLAIN = PROTOCOLS["plain"]


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


def test_what_is_no_number_is_told() -> None:
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
    with pytest.raises(ValueError, match=r"unknown metric: 'pnsr'.*there are: psnr_y"):
        parse_metrics(["pnsr"])


def test_a_mean_leaves_out_what_has_no_meaning() -> None:
    assert mean_of([1.0, math.nan, 3.0]) == 2
    assert math.isnan(mean_of([math.nan]))


def test_a_scored_film_is_bicubic_beside_the_model() -> None:
    generator = Recurrent(RecurrentConfig(channels=8, blocks=1, memory=8, flow_channels=4)).eval()
    frames = [(picture, number == 0) for number, picture in enumerate(film(3, 66))]
    score = score_film(generator, "noise", frames, Degradation.BI)
    assert score.frames == 3
    assert score.ours.psnr_y != score.bicubic.psnr_y
    assert score.gain == score.ours.psnr_y - score.bicubic.psnr_y
    assert score.ours.tof > 0
