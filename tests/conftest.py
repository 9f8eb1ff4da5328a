"""Films that tests make for themselves: real pictures under a moving camera."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from skimage import data

from vsr.data.clip_codec import Planes420
from vsr.imaging.colour import ColourSpec, Matrix, from_rgb
from vsr.imaging.tensors import to_float
from vsr.models import Recurrent, RecurrentConfig
from vsr.zoo.model_file import save_generator


@dataclass(frozen=True)
class AudioTrack:
    codec: str
    hertz: float
    rate: int = 44_100


def gliding_view(
    picture: NDArray[np.uint8], width: int, height: int, frames: int
) -> list[NDArray[np.uint8]]:
    """Views (height, width, 3) of a picture, each some pixels on from the one before."""
    views = []
    for step in range(frames):
        turn = 2 * np.pi * step / 97
        zoom = max(width / 420, height / 420)
        matrix = np.array([[zoom, 0, -40 - 35 * np.cos(turn)], [0, zoom, -40 - 35 * np.sin(turn)]])
        views.append(cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_AREA))
    return [np.asarray(view, dtype=np.uint8) for view in views]


def scenes(width: int, height: int, lengths: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Frames of several scenes of the given lengths, cut hard one after another."""
    pictures = (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())
    frames: list[NDArray[np.uint8]] = []
    for number, length in enumerate(lengths):
        frames += gliding_view(pictures[number % len(pictures)], width, height, length)
    return frames


def planes_of(frames: Sequence[NDArray[np.uint8]]) -> Planes420:
    """Frames as 8-bit 4:2:0 planes of BT.601: Y (T, H, W), Cb and Cr (T, H/2, W/2)."""
    rgb = to_float(torch.from_numpy(np.stack(frames))).permute(0, 3, 1, 2)
    y, cb, cr = (plane.numpy() for plane in from_rgb(rgb, ColourSpec(Matrix.BT601)))
    return y, cb, cr


def write_film(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    *,
    codec: str = "mpeg4",
    pixel_format: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 12_800),
    audio: Sequence[AudioTrack] = (),
    options: dict[str, str] | None = None,
    matrix: int = 1,
) -> Path:
    """Encode RGB frames, one every 512 ticks unless `pts` says otherwise, and beeps."""
    height, width = frames[0].shape[:2]
    times = list(pts) if pts is not None else [512 * number for number in range(len(frames))]
    timescale = {"video_track_timescale": str(time_base.denominator)}
    with av.open(
        str(path), "w", container_options=timescale if path.suffix in (".mp4", ".mov") else {}
    ) as container:
        video: Any = container.add_stream(codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        video.time_base = video.codec_context.time_base = time_base
        video.codec_context.colorspace = matrix
        if codec == "mpeg4":
            video.codec_context.qmin = video.codec_context.qmax = 2
        tracks: list[Any] = [container.add_stream(track.codec, rate=track.rate) for track in audio]
        for number, picture in enumerate(frames):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = times[number], time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        seconds = float(times[-1] * time_base)
        for track, stream in zip(audio, tracks, strict=True):
            phase = np.arange(int(seconds * track.rate)) / track.rate * track.hertz * 2 * np.pi
            samples = (0.3 * np.sin(phase)).astype(np.float32)[None]
            sound = AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            sound.sample_rate = track.rate
            sound.pts, sound.time_base = 0, Fraction(1, track.rate)
            container.mux(stream.encode(sound))
            container.mux(stream.encode(None))
    return path


@pytest.fixture(autouse=True)
def _same_chance_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of 96x64, H.264, no sound."""
    path = tmp_path_factory.mktemp("films") / "small.mp4"
    return write_film(path, scenes(96, 64, [12]), codec="libx264", options={"crf": "10"})


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of few channels with random weights, x4: quick, but with all its parts."""
    torch.manual_seed(3)
    config = RecurrentConfig(channels=8, blocks=1, memory=8, flow_channels=4, flow_levels=2)
    generator = Recurrent(config)
    path = tmp_path_factory.mktemp("models") / "random.safetensors"
    save_generator(path, generator.state_dict(), config)
    return path
