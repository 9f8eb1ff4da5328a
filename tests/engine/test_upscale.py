import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.films import AudioTrack, scenes, write_film
from tests.helpers.models import write_model
from tests.helpers.read_back import audio_packets, frames_of, pts_of
from vsr.engine import session
from vsr.engine.upscale import UpscaleProgress, upscale_video
from vsr.engine.upscaler import Upscaler
from vsr.errors import ModelError, OutputError, VsrError
from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings, output_info
from vsr.media.frame import LAYOUTS
from vsr.models import Generator
from vsr.zoo.model_file import load_generator

CPU = torch.device("cpu")
LOSSLESS = EncoderSettings("ffv1")


class Identity(Generator[tuple[()]]):
    """Gives back what it gets."""

    scale = 1
    state_type = tuple

    def start(self, low: Tensor) -> tuple[()]:
        return ()

    def step(self, low: Tensor, state: tuple[()]) -> tuple[Tensor, tuple[()]]:
        return low, state


def test_an_odd_film_of_variable_rate_with_two_tracks_keeps_all(
    tmp_path: Path, tiny_model: Path
) -> None:
    pts = [0, 512, 1024, 1100, 3000, 3001, 9000, 12_800]
    tracks = [AudioTrack("aac", 440), AudioTrack("aac", 660, 48_000)]
    source = write_film(tmp_path / "a.mp4", scenes(333, 187, [8]), pts=pts, audio=tracks)
    summary = upscale_video(source, tmp_path / "b.mp4", model=str(tiny_model), device="cpu")
    assert (summary.width, summary.height) == (4 * 333, 4 * 187)
    assert (summary.frames, summary.audio_tracks) == (8, 2)
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert (reader.info.width, reader.info.height) == (4 * 333, 4 * 187)
    assert pts_of(tmp_path / "b.mp4") == (pts, Fraction(1, 12_800))
    packets = audio_packets(source)
    assert len(packets) == 2
    assert all(packets)
    assert audio_packets(tmp_path / "b.mp4") == packets


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_an_identity_model_gives_back_luma_within_one_code_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source = write_film(tmp_path / "a.mkv", scenes(51, 37, [3]), codec="ffv1", pixel_format=name)
    monkeypatch.setattr(session, "load", lambda *given: Identity())
    upscale_video(source, tmp_path / "b.mkv", model="identity", device="cpu", settings=LOSSLESS)
    for before, after in zip(frames_of(source), frames_of(tmp_path / "b.mkv"), strict=True):
        difference = after.planes[0].astype(int) - before.planes[0].astype(int)
        assert np.abs(difference).max() <= 1


def test_the_engine_gives_what_forward_gives_and_a_cut_what_starting_there_gives(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = write_film(
        tmp_path / "a.mkv", scenes(160, 96, [8, 7]), codec="ffv1", pixel_format="yuv444p"
    )
    summary = upscale_video(
        source, tmp_path / "b.mkv", model=str(tiny_model), device="cpu", settings=LOSSLESS
    )
    assert summary.shots == 2
    generator = load_generator(tiny_model)
    with VideoReader(source) as reader:
        spec = colour_spec(reader.info)
        lows = [planes_to_rgb(frame.planes, spec, CPU) for frame in reader.frames()]
    with torch.inference_mode():
        shots = [generator(torch.stack(part)[None])[0] for part in (lows[:8], lows[8:])]
    for high, frame in zip(torch.cat(shots), frames_of(tmp_path / "b.mkv"), strict=True):
        for ours, theirs in zip(rgb_to_planes(high, spec), frame.planes, strict=True):
            assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@torch.inference_mode()
def test_streaming_equals_forward_and_a_cut_forgets_exactly(tiny_model: Path) -> None:
    generator = load_generator(tiny_model)
    clip = torch.rand(1, 9, 3, 24, 32)
    upscaler = Upscaler(generator, CPU)
    streamed = [
        upscaler.upscale(low, begins_shot=number == 5) for number, low in enumerate(clip[0])
    ]
    for part in (slice(0, 5), slice(5, 9)):
        whole = load_generator(tiny_model)(clip[:, part])[0]
        assert torch.allclose(torch.stack(streamed[part]), whole, atol=1e-5)
    afresh = Upscaler(load_generator(tiny_model), CPU)
    for number in range(5, 9):
        assert torch.equal(afresh.upscale(clip[0, number], begins_shot=False), streamed[number])


def test_progress_counts_every_frame(tmp_path: Path, small_film: Path, tiny_model: Path) -> None:
    seen: list[UpscaleProgress] = []
    summary = upscale_video(
        small_film, tmp_path / "b.mp4", model=str(tiny_model), device="cpu", watch=seen.append
    )
    assert [progress.frames for progress in seen] == list(range(1, 13))
    assert seen[0].frame_count == 12
    assert 0 < summary.first_frame_seconds <= summary.seconds


def test_a_film_that_names_no_matrix_gets_the_one_it_was_read_by(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = write_film(tmp_path / "a.mkv", scenes(256, 192, [2]), codec="ffv1", matrix=2)
    upscale_video(source, tmp_path / "b.mp4", model=str(tiny_model), device="cpu")
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert reader.info.height == 768  # where a player would take BT.709 for granted
        assert reader.info.colour.matrix == 6


def test_chroma_stays_where_it_lay_if_the_codec_can_say_so(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = write_film(
        tmp_path / "a.mkv", scenes(64, 48, [2]), codec="mjpeg", pixel_format="yuvj420p"
    )
    with VideoReader(source) as reader:
        assert reader.info.colour.siting == "center"
        reported = output_info(reader.info, (256, 192), 1, EncoderSettings("h264"))
        untold = output_info(reader.info, (256, 192), 1, LOSSLESS)
    assert (reported.colour.siting, untold.colour.siting) == ("center", "left")
    assert reported.colour.full_range


def test_nothing_is_left_when_it_fails_halfway(
    tmp_path: Path, small_film: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def fail(self: Any, low: Tensor, begins_shot: bool, coarse: Tensor | None) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise RuntimeError("broke")
        return torch.zeros(3, 4 * low.shape[1], 4 * low.shape[2])

    monkeypatch.setattr(Upscaler, "upscale", fail)
    with pytest.raises(RuntimeError, match="broke"):
        upscale_video(small_film, tmp_path / "b.mp4", model=str(tiny_model), device="cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_film_with_a_hole_keeps_its_length_and_tells_where_it_is_damaged(
    tmp_path: Path, tiny_model: Path
) -> None:
    whole = write_film(
        tmp_path / "a.mp4", scenes(160, 120, [40]), codec="libx264", options={"crf": "1"}
    )
    data = bytearray(whole.read_bytes())
    middle = len(data) // 3
    data[middle : middle + len(data) // 4] = bytes(len(data) // 4)
    (tmp_path / "hole.mp4").write_bytes(data)
    summary = upscale_video(tmp_path / "hole.mp4", tmp_path / "b.mp4", model=str(tiny_model))
    assert summary.frames == 40
    assert pts_of(tmp_path / "b.mp4")[0] == pts_of(whole)[0]
    assert 5 < len(summary.damaged_seconds) < 30


def test_mistakes_are_reported_before_any_work(
    tmp_path: Path, small_film: Path, tiny_model: Path
) -> None:
    taken = tmp_path / "taken.mp4"
    taken.write_text("precious")
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(small_film.read_bytes())
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        upscale_video(small_film, taken)
    with pytest.raises(OutputError, match="is the input itself"):
        upscale_video(copy, copy, overwrite=True)
    with pytest.raises(ModelError, match=r"unknown model 'huge-x9'; there are: .*tiny-x4"):
        upscale_video(small_film, tmp_path / "b.mp4", model="huge-x9")
    with pytest.raises(OutputError, match="use a number above 0"):
        upscale_video(small_film, tmp_path / "b.mp4", model=str(tiny_model), scale=0)
    with pytest.raises(VsrError, match="unknown device"):
        upscale_video(small_film, tmp_path / "b.mp4", model=str(tiny_model), device="abacus")
    assert taken.read_text() == "precious"
    assert copy.read_bytes() == small_film.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.mp4", "taken.mp4"]


# ru_maxrss won't do: a child inherits its parent's. VmHWM is its own.
PEAK_MEMORY = """
import re, sys
from pathlib import Path
from vsr.engine.upscale import upscale_video
from vsr.media.encode.encoder import EncoderSettings
settings = EncoderSettings(preset="ultrafast")
upscale_video(*sys.argv[1:4], scale=2, device="cpu", backend="torch", settings=settings)
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """50 s and 150 s of 320x180, at 6 frames a second to keep the test short.

    The shorter film has more frames than the survey before the work looks at. The limit is less
    than the 600 further input frames take.
    """
    peaks = []
    model = write_model(tmp_path / "model.safetensors", flow_channels=0)
    for seconds in (50, 150):
        pts = [n * 12_800 // 6 for n in range(seconds * 6)]
        film = write_film(
            tmp_path / f"{seconds}.mp4",
            scenes(320, 180, [30] * (len(pts) // 30)),
            pts=pts,
            audio=[AudioTrack("aac", 440)],
        )
        done = subprocess.run(
            [sys.executable, "-c", PEAK_MEMORY, film, tmp_path / f"{seconds}-out.mp4", model],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.05 * peaks[0], f"{peaks} kB"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_what_the_cpu_gives(tmp_path: Path, tiny_model: Path) -> None:
    source = write_film(tmp_path / "a.mkv", scenes(64, 48, [8]), codec="ffv1")
    for device in ("cpu", "cuda"):
        upscale_video(
            source, tmp_path / f"{device}.mkv", model=str(tiny_model), device=device,
            settings=replace(LOSSLESS),
        )  # fmt: skip
    for one, other in zip(
        frames_of(tmp_path / "cpu.mkv"), frames_of(tmp_path / "cuda.mkv"), strict=True
    ):
        difference = np.abs(one.planes[0].astype(int) - other.planes[0].astype(int))
        assert (difference > 1).mean() < 1e-3
