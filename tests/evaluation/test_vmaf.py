"""VMAF and NIQE in evaluations; VMAF against FFmpeg's own reading of the files."""

import csv
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.helpers.ffmpeg import ffmpeg, needs_ffmpeg, pictures
from tests.helpers.films import as_tensor, scenes, write_film
from vsr.errors import ConfigError, DataError, ModelError, VsrError
from vsr.evaluation import Report, evaluate, evaluate_model
from vsr.evaluation.html import report_page
from vsr.evaluation.report import as_csv, as_json, table
from vsr.evaluation.vmaf import find_ffmpeg
from vsr.metrics.niqe import niqe

WIDTH, HEIGHT, FRAMES = 230, 193, 4
SCORES = ["vmaf", "vmaf_neg", "vmaf_4k"]


@pytest.fixture(autouse=True)
def fresh_search() -> Iterator[None]:
    find_ffmpeg.cache_clear()
    yield
    find_ffmpeg.cache_clear()


@pytest.fixture(scope="module")
def libvmaf() -> None:
    """Skip a test where no FFmpeg with libvmaf is found."""
    try:
        find_ffmpeg()
    except ModelError as error:
        pytest.skip(str(error))


needs_libvmaf = pytest.mark.usefixtures("libvmaf")


def pair(folder: Path, pixel_format: str, width: int, height: int) -> tuple[Path, Path]:
    """A blurred output and its reference, both lossless."""
    target = scenes(width, height, [FRAMES])
    output = [np.asarray(cv2.GaussianBlur(f, (0, 0), 1.2), np.uint8) for f in target]
    first, second = (
        write_film(
            folder / f"{name}-{pixel_format}.mkv", frames, codec="ffv1", pixel_format=pixel_format
        )
        for name, frames in (("output", output), ("reference", target))
    )
    return first, second


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return pair(tmp_path_factory.mktemp("vmaf"), "yuv444p", WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def report(films: tuple[Path, Path], libvmaf: None) -> Report:
    return evaluate(*films, metrics=[*SCORES, "niqe"], device="cpu", gallery=True)


def by_ffmpeg(
    output: Path, reference: Path, log: Path, prepare: str = "null"
) -> dict[str, list[float]]:
    """What libvmaf finds when FFmpeg reads the two files, each through the filter `prepare`."""
    models = "|".join(
        rf"version={version}\\:name={name}"
        for version, name in zip(
            ("vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_4k_v0.6.1"), SCORES, strict=True
        )
    )
    graph = (
        f"[0]{prepare}[a];[1]{prepare}[b];[a][b]libvmaf=model={models}:log_fmt=csv:log_path={log}"
    )
    command = [find_ffmpeg(), "-v", "error", "-i", str(output), "-i", str(reference)]
    subprocess.run([*command, "-lavfi", graph, "-f", "null", "-"], check=True)
    with log.open(newline="") as file:
        lines = list(csv.DictReader(file))
    return {name: [float(line[name]) for line in lines] for name in SCORES}


def test_vmaf_is_that_of_the_files_by_ffmpeg(
    films: tuple[Path, Path], report: Report, tmp_path: Path
) -> None:
    expected = by_ffmpeg(*films, tmp_path / "log.csv")
    for name in SCORES:
        found = [row[name] for row in report.films[0].rows]  # type: ignore[index]
        assert found == pytest.approx(expected[name], abs=1e-4)
        assert 20 < min(found) < max(found) < 98
    assert report["vmaf_neg"].mean < report["vmaf"].mean < report["vmaf_4k"].mean


@needs_libvmaf
@pytest.mark.parametrize(
    ("pixel_format", "prepare", "tolerance"),
    [
        ("yuv420p10le", "null", 1e-4),
        ("gray", "scale=in_range=pc:out_range=tv,format=yuv420p", 0.1),  # rounded by swscale
    ],
)
def test_vmaf_of_other_formats_is_that_of_ffmpeg(
    pixel_format: str, prepare: str, tolerance: float, tmp_path: Path
) -> None:
    films = pair(tmp_path, pixel_format, 96, 64)
    found = evaluate(*films, metrics=SCORES, device="cpu")
    expected = by_ffmpeg(*films, tmp_path / "log.csv", prepare)
    for name in SCORES:
        values = [row[name] for row in found.films[0].rows]  # type: ignore[index]
        assert values == pytest.approx(expected[name], abs=tolerance)


def test_niqe_of_the_reference_is_beside_that_of_the_output(report: Report) -> None:
    (film,) = report.films
    assert film.reference is not None
    own = report["niqe"].mean
    target = report.summary(report.metrics[-1], "reference").mean
    assert target < own
    picture = as_tensor(scenes(WIDTH, HEIGHT, [FRAMES])[0])
    first = film.reference[0][report.metrics[-1]]
    assert first == pytest.approx(niqe(picture), rel=0.02)  # its colours were coded as Y'CbCr
    heads, _ = table(report).splitlines()[-2:]
    assert heads.endswith("VMAF  VMAF NEG  VMAF 4K   NIQE  reference")


def test_every_report_holds_the_scores(report: Report) -> None:
    whole = json.loads(as_json(report))
    (film,) = whole["films"]
    values = [row["vmaf"] for row in film["per_frame"]]
    assert film["mean"]["vmaf"] == pytest.approx(np.mean(values), abs=1e-5)
    harmonic = 1 / np.mean([1 / (value + 1) for value in values]) - 1
    assert film["harmonic_mean"]["vmaf"] == pytest.approx(harmonic, abs=1e-5)
    assert list(film["reference_mean"]) == list(whole["reference_mean"]) == ["niqe"]
    assert len(film["reference_per_frame"]) == FRAMES
    assert "ffmpeg" in whole["versions"]
    head, line, *_ = as_csv(report).splitlines()
    assert head == "film,frame,counts,vmaf,vmaf_neg,vmaf_4k,niqe,reference_niqe"
    assert float(line.split(",")[-1]) == pytest.approx(film["reference_per_frame"][0]["niqe"])
    assert '"reference":[' in report_page(report)


def test_every_report_states_the_luma_of_vmaf(report: Report) -> None:
    """Other metrics use that of BT.601, whatever the matrix of the film."""
    said = "luma is BT.601 studio; motion across cuts left out; mean over clips; VMAF: luma by the"
    for text in (table(report), as_json(report), report_page(report)):
        assert said in text


def test_niqe_needs_no_reference(films: tuple[Path, Path], report: Report) -> None:
    alone = evaluate(films[0], metrics=["niqe"], device="cpu", gallery=True)
    assert "VMAF" not in alone.rules
    assert alone["niqe"].mean == report["niqe"].mean
    assert alone.films[0].reference is None
    assert report_page(alone)


@needs_libvmaf
@pytest.mark.slow
def test_a_model_is_measured_beside_bicubic_and_the_reference(
    films: tuple[Path, Path], tiny_model: Path
) -> None:
    found = evaluate_model(str(tiny_model), films[1], metrics=["vmaf", "niqe"], device="cpu")
    heads = table(found).splitlines()[-2].split()
    assert heads == ["film", "frames", "VMAF", "bicubic", "NIQE", "bicubic", "reference"]
    assert found["vmaf"].mean != found.summary(found.metrics[0], "bicubic").mean


@needs_libvmaf
@pytest.mark.parametrize(("metric", "least"), [("vmaf", 32), ("niqe", 192)])
def test_small_frames_are_refused(metric: str, least: int, tmp_path: Path) -> None:
    films = pair(tmp_path, "yuv420p", 64, 30)
    with pytest.raises(DataError, match=f"{metric} needs sides of at least {least} pixels, not 30"):
        evaluate(*films, metrics=[metric], device="cpu")


def test_what_a_protocol_crops_must_be_large_enough(films: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="niqe needs sides of at least 192 pixels, not 160"):
        evaluate(*films, metrics=["niqe"], protocol="tecogan", device="cpu")


@needs_libvmaf
@needs_ffmpeg
def test_hdr_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hdr.mkv"
    ffmpeg(*pictures(0.2), "-c:v", "ffv1", "-color_trc", "smpte2084", path)
    with pytest.raises(DataError, match=r"hdr\.mkv: is HDR \(PQ\); leave out .*: vmaf$"):
        evaluate(path, path, metrics=["psnr", "vmaf"], device="cpu")


def test_a_folder_of_hdr_pictures_is_refused(tmp_path: Path) -> None:
    info = PngInfo()
    info.add(b"cICP", bytes([9, 16, 0, 1]))
    Image.new("RGB", (192, 192)).save(tmp_path / "0001.png", pnginfo=info)
    with pytest.raises(DataError, match=r": is HDR \(PQ\); leave out .*: niqe$"):
        evaluate(tmp_path, metrics=["niqe"], device="cpu")


def test_a_machine_without_libvmaf_is_one_line(
    films: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSR_FFMPEG", sys.executable)
    with pytest.raises(ConfigError, match=r"^VSR_FFMPEG=.*: is no FFmpeg with the filter libvmaf"):
        evaluate(*films, metrics=["vmaf"])
    monkeypatch.delenv("VSR_FFMPEG")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"^VMAF needs an FFmpeg with libvmaf: pip install 'vsr"):
        evaluate(*films, metrics=["vmaf"])


@pytest.mark.skipif(sys.platform == "win32", reason="a script with #! takes FFmpeg's place")
def test_a_failure_of_ffmpeg_is_one_line(
    films: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "ffmpeg"
    fails = "echo '[Parsed_libvmaf_0 @ 0x55c5] no model' >&2; echo 'Error : Invalid argument' >&2"
    answers = f'case "$*" in *filter=*) echo " model ";; *) {fails}; exit 3;; esac'
    script.write_text(f"#!/bin/sh\n{answers}\n")
    script.chmod(0o755)
    monkeypatch.setenv("VSR_FFMPEG", str(script))
    with pytest.raises(VsrError, match=r"^vmaf: .*ffmpeg failed: no model$"):
        evaluate(*films, metrics=["vmaf"], device="cpu")
