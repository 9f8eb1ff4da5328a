"""Hardware encoders by name: their options, as FFmpeg has them, and where there is none."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import av
import pytest

from tests.helpers.cli import complaint, vsr
from tests.helpers.films import scenes, write_film
from vsr.errors import OutputError
from vsr.media.encode import trial
from vsr.media.encode.hardware import (
    HardwareName,
    codec_of,
    hardware_of,
    quality_options,
    speed_options,
)
from vsr.media.encode.settings import EncoderSettings, check_options
from vsr.media.encode.trial import openable_encoders
from vsr.media.frame import PixelLayout

NAMES = get_args(HardwareName)
ENCODERS = [(name, codec) for name in NAMES for codec in hardware_of(name).crf]
HERE = openable_encoders()


@pytest.mark.parametrize("name", NAMES)
def test_hardware_that_is_missing_is_one_line_before_any_work(
    tmp_path: Path, tiny_model: Path, name: Any
) -> None:
    if name in HERE.get("h264", []):
        pytest.skip("this machine has it")
    film = write_film(tmp_path / "a.mp4", scenes(32, 24, [2]))
    reported = complaint(
        "upscale", film, tmp_path / "b.mp4", "--model", tiny_model, "--encoder", name
    )
    encoder = f"h264_{name}"
    if encoder in av.codecs_available:
        label = hardware_of(name).label
        assert f"--encoder {name}: this machine has no {label} encoder for h264 (" in reported
    else:
        assert f"--encoder {name}: FFmpeg as installed with PyAV has no {encoder}; use" in reported
    assert reported.endswith("--encoder cpu\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_the_plan_refuses_missing_hardware_too(tmp_path: Path, tiny_model: Path) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(32, 24, [2]))
    reported = complaint("plan", film, "--model", tiny_model, "--encoder", "vaapi")
    assert "--encoder vaapi: " in reported


def test_hardware_that_works_is_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = EncoderSettings(encoder="vaapi")
    monkeypatch.setattr(trial, "_opens", lambda info, settings: settings.encoder == "qsv")
    monkeypatch.setattr(trial, "_is_in_ffmpeg", lambda name, encoder: encoder != "vaapi")
    with pytest.raises(OutputError, match="use --encoder qsv or --encoder cpu"):
        trial.check_encoder(trial._trial_info(), settings)


def test_sizes_that_the_hardware_refuses_are_distinguished(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = EncoderSettings(encoder="nvenc")
    info = trial._trial_info()
    monkeypatch.setattr(trial, "_opens", lambda tried, settings: tried is not info)
    with pytest.raises(OutputError, match="NVENC can't encode 320x256 as h264"):
        trial.check_encoder(info, settings)


@pytest.mark.parametrize(("name", "codec"), ENCODERS)
def test_options_are_those_that_ffmpeg_has(name: Any, codec: Any) -> None:
    encoder = codec_of(codec, name).encoder
    if encoder not in av.codecs_available:
        pytest.skip("not in this FFmpeg")
    context = av.CodecContext.create(encoder, "w")
    private = {option.name: option for option in context.supported_options.private}
    general = {option.name: option for option in context.supported_options.generic}
    capabilities = codec_of(codec, name)
    presets = [speed_options(name, preset) for preset in capabilities.presets]
    qualities = [quality_options(codec, name, crf) for crf in (0, capabilities.max_crf)]
    for options in (*presets, *qualities):
        for key, value in options.items():
            option = private.get(key) or general[key]
            choices = [choice.name for choice in option.choices]
            assert value in choices or option.min <= float(value) <= option.max, (key, value)
    formats = {pixel_format.name for pixel_format in context.codec.video_formats or ()}
    for depth in capabilities.depths:
        layout = PixelLayout(bit_depth=depth).name
        assert capabilities.pixel_formats.get(layout, layout) in formats


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs Debian's ffmpeg")
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_options_of_vaapi_are_those_that_debian_documents(codec: Any) -> None:
    command = ["ffmpeg", "-hide_banner", "-h", f"encoder={codec}_vaapi"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "not recognized" in text:
        pytest.skip("not in this FFmpeg")
    for key, value in quality_options(codec, "vaapi", 20).items():
        assert f"-{key} " in text
        assert value == "20" or f" {value} " in text


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        (EncoderSettings(encoder="qsv", preset="p6"), "unknown preset 'p6' for h264; use one of v"),
        (EncoderSettings(encoder="vaapi", preset="fast"), "h264 has no --preset; leave it out"),
        (EncoderSettings(encoder="amf", crf=52), "--crf 52: h264 has 0 to 51; lower is better"),
    ],
)
def test_quality_and_speed_that_hardware_lacks_are_refused(
    settings: EncoderSettings, reported: str
) -> None:
    with pytest.raises(OutputError, match=reported):
        check_options(settings, ".mp4")


def test_the_doctor_lists_the_encoders_that_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_opens", lambda info, settings: settings.encoder == "qsv")
    lines = vsr("doctor").stdout.splitlines()
    assert "h264     cpu, qsv" in lines
    assert "prores   cpu" in lines
