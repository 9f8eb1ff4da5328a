"""Films of real pictures under a moving camera, encoded by PyAV."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from skimage import data

from vsr.imaging.tensors import to_float


@dataclass(frozen=True)
class AudioTrack:
    codec: str
    hertz: float
    rate: int = 44_100


def gliding_view(
    picture: NDArray[np.uint8], width: int, height: int, frames: int
) -> list[NDArray[np.uint8]]:
    """Views (height, width, 3) of a picture under a slowly moving camera."""
    views = []
    for index in range(frames):
        angle = 2 * np.pi * index / 97
        zoom = max(width / 420, height / 420)
        matrix = np.array(
            [[zoom, 0, -40 - 35 * np.cos(angle)], [0, zoom, -40 - 35 * np.sin(angle)]]
        )
        views.append(cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_AREA))
    return [np.asarray(view, dtype=np.uint8) for view in views]


def scenes(width: int, height: int, lengths: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Frames of consecutive scenes of the given lengths, with hard cuts between them."""
    pictures = (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())
    frames: list[NDArray[np.uint8]] = []
    for index, length in enumerate(lengths):
        frames += gliding_view(pictures[index % len(pictures)], width, height, length)
    return frames


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return to_float(torch.from_numpy(picture)).permute(2, 0, 1)


def shifted(by: int) -> torch.Tensor:
    """A view (3, H, W) of a photograph, moved to the left by some pixels."""
    return as_tensor(np.ascontiguousarray(data.astronaut()[100:260, 100 + by : 300 + by]))


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
    """Encode RGB frames with `pts` or one every 512 ticks, and a sine tone per audio track."""
    height, width = frames[0].shape[:2]
    times = list(pts) if pts is not None else [512 * index for index in range(len(frames))]
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
        for index, picture in enumerate(frames):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = times[index], time_base
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


def broken_inputs(folder: Path) -> Sequence[tuple[Path, str]]:
    film = write_film(folder / "good.mp4", scenes(64, 48, [8]), audio=[AudioTrack("aac", 440)])
    text = folder / "text.mp4"
    text.write_text("this is no film\n" * 40)
    empty = folder / "empty.mp4"
    empty.touch()
    cut = folder / "cut.mp4"
    cut.write_bytes(film.read_bytes()[:3000])
    sound = folder / "sound.m4a"
    with av.open(str(sound), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        silence.sample_rate = 44_100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    return (
        (folder / "none.mp4", "no such file"),
        (folder, "is a folder"),
        (text, "can't be read as video"),
        (empty, "is empty"),
        (cut, "can't be read as video"),
        (sound, r"no video stream, only audio \(aac\)"),
    )
