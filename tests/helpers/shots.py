"""Films of noise that moves, with cuts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.helpers.ffmpeg import ffmpeg
from tests.helpers.films import AudioTrack, write_film


def shots(lengths: Sequence[int], width: int = 48, height: int = 32) -> list[NDArray[np.uint8]]:
    """Frames of shots of these lengths; each shows another texture that moves."""
    random = np.random.default_rng(5)
    frames = []
    for number, length in enumerate(lengths):
        middle = (60, 190, 120)[number % 3]
        coarse = random.uniform(middle - 30, middle + 30, (4, 6, 3)).astype(np.float32)
        texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        picture = np.clip(texture, 0, 255).astype(np.uint8)
        frames += [np.roll(picture, index, 1) for index in range(length)]
    return frames


def write_shots(path: Path, lengths: Sequence[int], **options: Any) -> Path:
    """A film of H.264 with B frames and a keyframe every 12 frames, and one tone."""
    return write_film(
        path,
        shots(lengths),
        codec="libx264",
        options={"bf": "2", "g": "12", "crf": "16"},
        audio=[AudioTrack("aac", 440)],
        **options,
    )


def frame_hashes(path: Path) -> list[str]:
    """The hash of each decoded frame, by Debian's ffmpeg."""
    lines = ffmpeg("-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-")
    return [line.split(",")[-1].strip() for line in lines.splitlines() if line[:1] == "0"]
