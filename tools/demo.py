"""Make a short clip of photographs under a moving camera, upscale it, and print its PSNR.

python tools/demo.py FOLDER

The photographs come with scikit-image, all public domain or CC0. No included model was trained on
them. The clip is the original downsampled by 4 and compressed, so that the output of `vsr upscale`
can be compared with the original.
"""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from vsr.frames.yuv import colour_spec, planes_to_rgb, rgb_to_planes
from vsr.imaging.degrade import Degradation, degrade
from vsr.imaging.tensors import resize_bicubic, to_float, to_uint8
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import ColourTags, Frame, PixelLayout, StreamInfo
from vsr.media.mux.writer import VideoWriter
from vsr.metrics.image import psnr_y

WIDTH, HEIGHT, SCALE = 480, 320, 4
FRAMES_OF_A_SCENE = 24
TICKS_OF_A_FRAME = 512
REACH = 24
"""Radius of the camera's path in pixels."""
CPU = torch.device("cpu")
BT709 = 1


def main(folder: Path) -> None:
    """Write low.mp4, upscaled.mp4 and comparison.png into `folder`; print the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    low_path, high_path = folder / "low.mp4", folder / "upscaled.mp4"
    originals = make_originals()
    lows = degrade(originals, SCALE, Degradation.BI)
    write_film(low_path, lows)

    command: list[str | Path] = [sys.executable, "-m", "vsr", "upscale", low_path, high_path]
    done = subprocess.run(
        [*command, "--overwrite", "--json"], check=True, stdout=subprocess.PIPE, text=True
    )
    summary = json.loads(done.stdout)

    decoded = read_film(low_path)
    bicubic = resize_bicubic(decoded, (HEIGHT, WIDTH)).clamp(0, 1)
    upscaled = read_film(high_path)
    ours, theirs = (float(psnr_y(film, originals).mean()) for film in (upscaled, bicubic))
    # A third into the first scene: the recurrent state has converged, and a face is in view.
    frame = FRAMES_OF_A_SCENE // 3
    save_comparison(folder / "comparison.png", bicubic[frame], upscaled[frame], originals[frame])
    print(high_path)
    print(
        f"{summary['frames']} frames of {WIDTH // SCALE}x{HEIGHT // SCALE} to {WIDTH}x{HEIGHT} by "
        f"{summary['model']} on {summary['device']} in {summary['seconds']:.1f} s; luma PSNR "
        f"{ours:.2f} dB, bicubic {theirs:.2f} dB ({ours - theirs:+.2f})"
    )


def make_originals() -> Tensor:
    """(T, 3, HEIGHT, WIDTH): three scenes, the camera circling slowly over each."""
    frames = []
    for picture in (data.astronaut(), data.coffee(), data.rocket()):
        height, width = picture.shape[:2]
        # Near the top, where faces are.
        centre = np.minimum([(width - WIDTH) / 2, (height - HEIGHT) / 2], REACH)
        for step in range(FRAMES_OF_A_SCENE):
            angle = 2 * np.pi * step / 60
            corner = centre * (1 + np.array([np.cos(angle), np.sin(angle)]))
            matrix = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]]])
            frames.append(cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC))
    return to_float(torch.from_numpy(np.stack(frames))).permute(0, 3, 1, 2).contiguous()


def write_film(path: Path, frames: Tensor) -> None:
    """Encode frames (T, 3, H, W) in [0, 1] at 25 frames a second."""
    info = StreamInfo(
        width=frames.shape[3],
        height=frames.shape[2],
        layout=PixelLayout(),
        colour=ColourTags(BT709, BT709, BT709),
        time_base=Fraction(1, 25 * TICKS_OF_A_FRAME),
        frame_rate=Fraction(25),
        frame_count=len(frames),
        sample_aspect_ratio=Fraction(1),
    )
    with VideoWriter(path, info, settings=EncoderSettings(crf=10), overwrite=True) as writer:
        for index, picture in enumerate(frames):
            planes = rgb_to_planes(picture, colour_spec(info))
            writer.write(Frame(planes, index * TICKS_OF_A_FRAME, TICKS_OF_A_FRAME))


def read_film(path: Path) -> Tensor:
    """Decode to (T, 3, H, W) in [0, 1]."""
    with VideoReader(path) as reader:
        spec = colour_spec(reader.info)
        frames = [planes_to_rgb(frame.planes, spec, CPU) for frame in reader.frames()]
    return torch.stack(frames).clamp(0, 1)


def save_comparison(path: Path, *pictures: Tensor) -> None:
    """Save the same crop of pictures (3, H, W) side by side, enlarged twice."""
    left, top, side = 120, 0, 200
    crops = [picture[:, top : top + side, left : left + side] for picture in pictures]
    row = to_uint8(torch.cat(crops, dim=2)).permute(1, 2, 0).numpy()
    strip = Image.fromarray(row)
    strip.resize((2 * strip.width, 2 * strip.height), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
