"""Decoding and encoding on NVIDIA's cards, and what happens where there is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.cli import complaint
from tests.helpers.films import scenes, write_film
from vsr.engine.upscale import upscale_video
from vsr.errors import OutputError
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings, check_options
from vsr.media.encode.trial import openable_encoders
from vsr.media.verify import verify_film

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@no_gpu
def test_without_a_card_the_cpu_decodes_and_a_line_says_so(
    tmp_path: Path, tiny_model: Path
) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(64, 48, [4]))
    with VideoReader(film) as one, VideoReader(film, decoder="gpu") as other:
        assert not other.on_gpu
        for here, there in zip(one.frames(), other.frames(), strict=True):
            assert all(map(np.array_equal, here.planes, there.planes))
    summary = upscale_video(film, tmp_path / "b.mp4", str(tiny_model), decoder="gpu")
    assert summary.frames == 4
    assert "no GPU of this machine decodes mpeg4; decoded on the CPU" in summary.notes


@no_gpu
def test_without_a_card_that_encodes_nothing_is_begun(tmp_path: Path, tiny_model: Path) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(64, 48, [4]))
    options = ("--model", tiny_model, "--encoder", "gpu", "--codec", "hevc")
    reported = complaint("upscale", film, tmp_path / "b.mp4", *options)
    assert "--encoder gpu: this machine has no NVIDIA NVENC encoder for hevc (" in reported
    assert reported.endswith("use --encoder cpu\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("name", ["gpu", "nvenc", "qsv", "amf", "vaapi", "videotoolbox"])
def test_codecs_that_no_gpu_encodes_are_named(name: Any) -> None:
    with pytest.raises(OutputError, match=r"doesn't encode prores; use one of h264, hevc"):
        check_options(EncoderSettings("prores", encoder=name), ".mov")


@pytest.mark.gpu
@needs_card
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_a_card_decodes_the_same_frames(tmp_path: Path, codec: str, pixel_format: str) -> None:
    film = write_film(
        tmp_path / "a.mkv", scenes(256, 192, [12]), codec=codec, pixel_format=pixel_format
    )
    with VideoReader(film) as one, VideoReader(film, decoder="gpu") as other:
        if not other.on_gpu:
            pytest.skip("this GPU doesn't decode it")
        for here, there in zip(one.frames(), other.frames(), strict=True):
            assert here.pts == there.pts
            assert all(map(np.array_equal, here.planes, there.planes))


@pytest.mark.gpu
@needs_card
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_a_card_encodes_and_nothing_is_lost(tmp_path: Path, tiny_model: Path, codec: str) -> None:
    settings = EncoderSettings(codec, encoder="gpu")  # type: ignore[arg-type]
    if "nvenc" not in openable_encoders().get(settings.codec, []):
        pytest.skip("this GPU doesn't encode it")
    film = write_film(tmp_path / "a.mkv", scenes(128, 96, [12, 9]))
    upscale_video(film, tmp_path / "b.mkv", str(tiny_model), settings=settings)
    assert all(finding.kept for finding in verify_film(film, tmp_path / "b.mkv"))
