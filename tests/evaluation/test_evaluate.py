import json
import math
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.films import scenes, write_film
from tests.helpers.pretrained import alexnet
from vsr.errors import ConfigError, DataError, ModelError
from vsr.evaluation import Report, evaluate, evaluate_model
from vsr.evaluation.html import report_page
from vsr.evaluation.report import as_csv, as_json, table
from vsr.metrics import psnr_y
from vsr.metrics.cvvdp import pooled
from vsr.metrics.protocol import Metric
from vsr.models.pretrained_features import backbone_path

CODED = {"codec": "libx264", "options": {"crf": "0"}, "pixel_format": "yuv444p"}
WIDTH, HEIGHT = 128, 96


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A reference of two shots, a blurred output, and the small film it was made from."""
    folder = tmp_path_factory.mktemp("compared")
    target = scenes(WIDTH, HEIGHT, [9, 7])
    random = np.random.default_rng(0)
    output = [
        (cv2.GaussianBlur(f, (0, 0), 1.0) + random.normal(0, 8, f.shape)).clip(0, 255)
        for f in target
    ]
    low = [cv2.resize(f, (WIDTH // 4, HEIGHT // 4), interpolation=cv2.INTER_AREA) for f in target]
    made = {"reference": target, "output": [f.astype(np.uint8) for f in output], "source": low}
    return {
        name: write_film(folder / f"{name}.mkv", frames, **CODED)  # type: ignore[arg-type]
        for name, frames in made.items()
    }


@pytest.fixture(scope="module")
def report(films: dict[str, Path]) -> Report:
    return evaluate(
        films["output"],
        films["reference"],
        source=films["source"],
        device="cpu",
        gallery=True,
        command="vsr evaluate <a> & b",
    )


def test_everything_that_can_be_is_measured(report: Report) -> None:
    assert list(report.metrics) == ["psnr_y", "psnr", "ssim_y", "tof", "warping_error", "flicker"]
    assert "alexnet-owt-7be5be79.pth" in report.left_out[0]
    assert "without lpips and tlp" in report.left_out[0]
    (film,) = report.films
    assert len(film.rows) == 16
    # The first frame and that after the cut have no motion to speak of.
    unknown = [n for n, row in enumerate(film.rows) if math.isnan(row["tof"])]  # type: ignore[index]
    assert unknown == [0, 9]
    assert report["flicker"].mean > 0.5
    assert film.bicubic is not None
    with pytest.raises(KeyError, match="ms_ssim_y was not measured"):
        report["ms_ssim_y"]


def test_means_are_those_of_the_frames(films: dict[str, Path], report: Report) -> None:
    rows = report.films[0].rows
    values = [row["psnr_y"] for row in rows]  # type: ignore[index]
    assert report["psnr_y"].mean == pytest.approx(np.mean(values))
    assert report["psnr_y"].worst == min(values)
    assert report["tof"].worst == np.nanmax([row["tof"] for row in rows])  # type: ignore[index]


def test_a_film_equals_itself(films: dict[str, Path]) -> None:
    own = evaluate(films["reference"], films["reference"], metrics=["psnr", "ssim_y", "tof"])
    assert math.isinf(own["psnr"].mean)
    assert own["ssim_y"].mean == pytest.approx(1, abs=1e-6)
    assert own["tof"].mean == 0


def test_tecogans_protocol_drops_two_frames_at_either_end(films: dict[str, Path]) -> None:
    known = evaluate(films["output"], films["reference"], protocol="tecogan", metrics=["psnr_y"])
    rows = known.films[0].rows
    kept = [row["psnr_y"] for row in rows[2:-2]]  # type: ignore[index]
    assert known["psnr_y"].mean == pytest.approx(np.mean(kept))
    assert "2 frames off either end" in table(known)


def test_clips_or_frames_are_averaged_as_the_protocol_says(
    films: dict[str, Path], tmp_path: Path
) -> None:
    for place, name in (("ours", "output"), ("theirs", "reference")):
        (tmp_path / place).mkdir()
        frames = scenes(WIDTH, HEIGHT, [8])
        if place == "ours":
            frames = [np.asarray(cv2.GaussianBlur(f, (0, 0), 3.0), np.uint8) for f in frames]
        write_film(tmp_path / place / "short.mkv", frames, **CODED)  # type: ignore[arg-type]
        (tmp_path / place / "long.mkv").write_bytes(films[name].read_bytes())
    places = (tmp_path / "ours", tmp_path / "theirs")
    clips = evaluate(*places, protocol="basicvsr", metrics=["psnr_y"])
    frames_alike = evaluate(*places, protocol="tecogan", metrics=["psnr"])
    means = [film.values(clips.metrics[0], clips.protocol) for film in clips.films]
    assert clips["psnr_y"].mean == pytest.approx(np.mean([np.mean(each) for each in means]))
    every = [
        v
        for f in frames_alike.films
        for v in f.values(frames_alike.metrics[0], frames_alike.protocol)
    ]
    assert len(every) == 16 - 4 + 8 - 4
    assert frames_alike["psnr"].mean == pytest.approx(np.mean(every))


def test_flicker_alone_needs_no_reference(films: dict[str, Path], report: Report) -> None:
    alone = evaluate(films["output"], source=films["source"], device="cpu")
    assert list(alone.metrics) == ["flicker"]
    assert alone["flicker"].mean == pytest.approx(report["flicker"].mean)


@pytest.mark.slow
def test_lpips_is_measured_where_its_file_is(
    films: dict[str, Path],
    torch_home: Path,
) -> None:
    torch.save(alexnet(), backbone_path("alexnet"))
    known = evaluate(films["output"], films["reference"], metrics=["lpips", "tlp"])
    assert known["lpips"].mean > 0
    assert known["tlp"].mean > 0
    backbone_path("alexnet").unlink()
    with pytest.raises(ModelError, match="LPIPS needs alexnet"):
        evaluate(films["output"], films["reference"], metrics=["lpips", "tlp"])


def test_one_frame_has_no_motion(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", scenes(WIDTH, HEIGHT, [1]), **CODED)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="one frame has no motion to measure tof, warping_error"):
        evaluate(path, path)
    assert math.isinf(evaluate(path, path, metrics=["psnr_y"])["psnr_y"].mean)


def test_too_short_a_clip_for_a_protocol_is_reported(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", scenes(WIDTH, HEIGHT, [4]), **CODED)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has 4 frames, and tecogan drops 2 at either end"):
        evaluate(path, path, protocol="tecogan", metrics=["psnr_y"])


def test_what_frames_are_too_small_for_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", scenes(64, 40, [3]), **CODED)  # type: ignore[arg-type]
    known = evaluate(path, path)
    assert "tof" not in known.metrics
    assert any("tof needs sides of at least 48 pixels" in line for line in known.left_out)
    with pytest.raises(DataError, match="ms_ssim_y needs sides of at least 176 pixels, not 40"):
        evaluate(path, path, metrics=["psnr_y", "ms_ssim_y"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "nothing to evaluate against"),
        (
            {"reference": "reference", "metrics": ["flicker"]},
            "flicker is measured against the film",
        ),
        (
            {"reference": "reference", "metrics": ["excess_flicker"]},
            "excess_flicker is measured against",
        ),
        ({"source": "source", "metrics": ["psnr"]}, "only flicker and niqe can be measured"),
        (
            {"reference": "reference", "protocol": "ours"},
            "unknown protocol 'ours'; choose one of: plain",
        ),
        ({"reference": "reference", "source": "source", "align": "crop"}, "can't be combined"),
    ],
)
def test_what_does_not_make_sense_is_reported(
    films: dict[str, Path], asked: dict[str, object], said: str
) -> None:
    known = {k: films[v] if isinstance(v, str) and v in films else v for k, v in asked.items()}
    with pytest.raises(ConfigError, match=said):
        evaluate(films["output"], **known)  # type: ignore[arg-type]


def test_the_table_tells_the_protocol_and_what_was_left_out(report: Report) -> None:
    lines = table(report).splitlines()
    assert lines[1].startswith("protocol plain: all frames; whole frames; luma is BT.601")
    assert "without lpips" in lines[2]
    heads, cells = lines[-2:]
    assert heads.split()[:3] == ["film", "frames", "PSNR-Y"]
    assert cells.split()[:3] == ["output", "16", f"{report['psnr_y'].mean:.2f}"]


def test_json_and_csv_hold_every_frame(report: Report) -> None:
    whole = json.loads(as_json(report))
    assert whole["protocol"] == "plain"
    assert whole["mean"]["psnr_y"] == pytest.approx(report["psnr_y"].mean, abs=1e-5)
    assert len(whole["films"][0]["per_frame"]) == 16
    assert whole["films"][0]["per_frame"][0]["tof"] is None
    lines = as_csv(report).splitlines()
    assert lines[0].startswith("film,frame,counts,psnr_y,psnr,ssim_y")
    assert len(lines) == 17
    assert lines[4].split(",")[:3] == ["output", "3", "1"]
    assert float(lines[4].split(",")[3]) == pytest.approx(
        whole["films"][0]["per_frame"][3]["psnr_y"], abs=1e-5
    )


def test_the_page_stands_by_itself(report: Report) -> None:
    page = report_page(report)
    # Nothing is fetched: all that is referred to is inside.
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert not re.findall(r"url\((?!data:)", page)
    assert "&lt;a&gt; &amp; b" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page).group(1))  # type: ignore[union-attr]
    (film,) = data["films"]
    assert film["frames"] == list(range(16))
    assert [curve["title"] for curve in film["curves"]][:2] == ["PSNR-Y dB", "PSNR dB"]
    assert page.count("<h3>Worst frames") == 1
    assert "Most flickering second" in page
    assert "x-t slices" in page


def test_the_worst_frames_are_the_worst_of_their_half_seconds(report: Report) -> None:
    gallery = report.films[0].gallery
    assert gallery is not None
    values = [row["psnr_y"] for row in report.films[0].rows]  # type: ignore[index]
    # 25 frames a second: stretches of twelve.
    assert {frame.index for frame in gallery.worst} == {
        int(np.argmin(values[:12])),
        12 + int(np.argmin(values[12:])),
    }
    assert gallery.worst[0].psnr_y == min(values)
    assert list(gallery.worst[0].panels) == ["output", "reference", "bicubic"]
    assert gallery.slices["output"].shape == (16, WIDTH, 3)


@pytest.mark.parametrize("degradation", ["bi", "bd", "web", "real"])
def test_a_model_is_measured_beside_bicubic(
    films: dict[str, Path], tiny_model: Path, degradation: Literal["bi", "bd", "web", "real"]
) -> None:
    known = evaluate_model(
        str(tiny_model),
        films["reference"],
        degradation,
        metrics=["psnr_y", "tof", "flicker"],
        device="cpu",
    )
    (film,) = known.films
    assert film.bicubic is not None
    assert len(film.rows) == len(film.bicubic) == 16
    bicubic = known.summary(known.metrics[0], "bicubic").mean
    assert 15 < bicubic < 40
    assert known["psnr_y"].mean != bicubic
    again = evaluate_model(
        str(tiny_model),
        films["reference"],
        degradation,
        metrics=["psnr_y"],
        device="cpu",
    )
    assert again["psnr_y"].mean == known["psnr_y"].mean


def test_the_first_frames_alone_can_be_measured(films: dict[str, Path], tiny_model: Path) -> None:
    options: dict[str, Any] = {"metrics": ["psnr_y"], "device": "cpu"}
    whole = evaluate_model(str(tiny_model), films["reference"], **options)
    part = evaluate_model(str(tiny_model), films["reference"], frames=5, **options)
    assert part.films[0].rows == whole.films[0].rows[:5]
    assert "the first 5 frames of each film of" in part.subject


def test_bicubic_is_bicubic(films: dict[str, Path], tiny_model: Path) -> None:
    from vsr.evaluation.frame_sequence import open_sequence
    from vsr.imaging.degrade import Degradation, degrade
    from vsr.imaging.tensors import on_8_bit_levels, resize_bicubic

    known = evaluate_model(str(tiny_model), films["reference"], metrics=["psnr_y"], device="cpu")
    frame = next(open_sequence(films["reference"]).read(torch.device("cpu"), False)).picture
    low = degrade(frame[None], 4, Degradation.BI)
    expected = psnr_y(on_8_bit_levels(resize_bicubic(low, (HEIGHT, WIDTH)))[0], frame)
    rows = known.films[0].bicubic
    assert rows is not None
    # A data set's reading of the film keeps 4:2:0 or 4:4:4 as it is: the same picture.
    assert rows[0][known.metrics[0]] == pytest.approx(float(expected), abs=1e-4)


def test_a_folder_of_images_is_the_truth_in_full_colour(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    coloured = np.random.default_rng(0).integers(0, 256, (HEIGHT // 2, WIDTH // 2, 3))
    detail = np.kron(coloured, np.ones((2, 2, 1)))
    expected = []
    for index, frame in enumerate(scenes(WIDTH, HEIGHT, [6])):
        picture = Image.fromarray((0.6 * frame + 0.4 * detail).astype(np.uint8))
        picture.save(folder / f"{index:04d}.png")
        small = picture.resize((WIDTH // 4, HEIGHT // 4), Image.Resampling.BICUBIC)
        large = small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        error = (np.asarray(large, np.float64) - np.asarray(picture)) ** 2
        expected.append(10 * np.log10(255**2 / error.mean()))
    known = evaluate_model(str(tiny_model), folder, metrics=["psnr"], device="cpu")
    rows = known.films[0].bicubic
    assert rows is not None
    # Pillow rounds between its two passes; through 4:2:0 it was 1.7 dB more.
    assert [row[Metric.PSNR] for row in rows] == pytest.approx(expected, abs=0.02)


def test_photographs_are_no_film_to_evaluate_on(tmp_path: Path, tiny_model: Path) -> None:
    for index, frame in enumerate(scenes(WIDTH, HEIGHT, [4])):
        Image.fromarray(frame).save(tmp_path / f"{index:04d}.png")
    with pytest.raises(DataError, match=r"holds no film, and no 5 images or more .* numbered"):
        evaluate_model(str(tiny_model), tmp_path, device="cpu")


def test_a_model_that_gives_no_numbers_is_reported(films: dict[str, Path], tmp_path: Path) -> None:
    from vsr.models import Recurrent, RecurrentConfig
    from vsr.zoo.model_file import save_generator

    config = RecurrentConfig(channels=8, blocks=1, memory=0)
    weights = Recurrent(config).state_dict()
    weights["head.weight"][:] = 3e38  # finite, as their file must be
    weights["head.bias"][:] = 3e38
    save_generator(tmp_path / "broken.safetensors", weights, config)
    with pytest.raises(DataError, match="frame 0 holds values that are not numbers"):
        evaluate_model(str(tmp_path / "broken.safetensors"), films["reference"], device="cpu")


OPTIONAL = ["features", "cvvdp", "excess_flicker"]


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_optional_metrics_are_measured_where_they_are_asked_for(films: dict[str, Path]) -> None:
    known = evaluate(
        films["output"], films["reference"], source=films["source"], metrics=OPTIONAL, device="cpu"
    )
    (film,) = known.films
    assert film.bicubic is not None
    values = {metric: film.values(Metric(metric), known.protocol) for metric in OPTIONAL}
    assert not any(math.isnan(value) for m in ("features", "cvvdp") for value in values[m])
    assert [n for n, v in enumerate(values["excess_flicker"]) if math.isnan(v)] == [0, 9]
    # Noise of each frame of its own is in the output.
    assert known["excess_flicker"].mean > 0.5
    assert 0 < known["features"].mean < 2
    assert known["cvvdp"].mean == pytest.approx(pooled(values["cvvdp"]))
    assert known["cvvdp"].worst == min(values["cvvdp"]) < known["cvvdp"].mean < 9.9
    assert json.loads(as_json(known))["films"][0]["mean"]["cvvdp"] == pytest.approx(
        known["cvvdp"].mean, abs=1e-5
    )


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_a_model_is_measured_by_optional_metrics_beside_bicubic(
    films: dict[str, Path], tiny_model: Path
) -> None:
    known = evaluate_model(str(tiny_model), films["reference"], metrics=OPTIONAL, device="cpu")
    for metric in known.metrics:
        own, bicubic = known.summary(metric).mean, known.summary(metric, "bicubic").mean
        assert math.isfinite(own)
        assert math.isfinite(bicubic)
        assert own != bicubic


@pytest.mark.parametrize("metric", ["features", "cvvdp"])
def test_an_optional_metric_without_its_package_is_an_error_before_any_work(
    metric: str, films: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("vsr.metrics.cvvdp.version", missing)
    monkeypatch.setattr("vsr.models.vgg16.distribution", missing)
    seen: list[int] = []
    with pytest.raises(ModelError, match=f"the metric '{metric}' needs .*: pip install"):
        evaluate(
            films["output"],
            films["reference"],
            metrics=["psnr_y", metric],
            watch=lambda done, total: seen.append(done),
        )
    assert not seen
