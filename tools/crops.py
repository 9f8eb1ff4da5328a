"""Show crops of films as several methods upscale them, side by side.

    python tools/crops.py films docs/images/native --scale 2 --reference x4plus=x4plus.safetensors

For each film of a folder, OUTPUT/NAME.jpg has three rows: the most detailed square of a frame, the
most detailed one that does not overlap it, and one of median detail. In a small film, where all
overlap, the remotest are shown. The columns are bicubic interpolation, `fast`, `best`, `best` with
detail, and the network of --reference, which is one of single pictures. The included networks have
upscaled the frames before.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from compare_models import Upscale, bicubic_upscale, model_upscale
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tool_main import run
from torch import Tensor

import vsr.zoo
from vsr.data.sources import Source, SourceType, find_sources, source_frames
from vsr.errors import VsrError

SIDE, MARGIN = 96, 24
"""Side of a crop in pixels of the film, and the border around it that networks see."""
STEP = 16
"""Distance of the squares that are candidates."""
GAP, CAPTION = 4, 14
"""Height and width of the gaps between crops, and height of the captions, in pixels."""

Corner = tuple[int, int]
"""Row and column."""


def main() -> None:
    """Parse arguments, and write a picture for each film."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--detail", type=float, default=0.5)
    parser.add_argument("--frame", type=int, default=40, help="index of the frame that is shown")
    parser.add_argument("--before", type=int, default=12, help="frames upscaled before it")
    parser.add_argument("--reference", metavar="NAME=FILE", help="a network of single pictures")
    options = parser.parse_args()
    if options.reference and not all(options.reference.partition("=")):
        parser.error("--reference: not NAME=FILE")
    options.output.mkdir(parents=True, exist_ok=True)
    for film in find_sources([options.films]):
        if film.type is SourceType.FILM:
            path = options.output / f"{Path(film.name).stem}.jpg"
            picture_of(film, options).save(path, quality=92)
            print(path, flush=True)


def picture_of(film: Source, options: argparse.Namespace) -> Image.Image:
    """Crops of one frame of a film: a row for each, and a column for each method."""
    first = max(0, options.frame - options.before)
    with_shots = islice(source_frames(film, torch.device("cpu")), first, options.frame + 1)
    frames = list(with_shots)
    if not frames:
        raise VsrError(f"{film.name}: has no frame {first}")
    if min(frames[-1][0].shape[1:]) < SIDE:
        raise VsrError(f"{film.name}: smaller than {SIDE} pixels")
    rows = []
    for corner in chosen_corners(frames[-1][0]):
        row = {}
        for name, upscale, remembers in methods(options):
            row[name] = upscaled(upscale, frames if remembers else frames[-1:], corner)
        rows.append(row)
    side = options.scale * SIDE + GAP
    sheet = Image.new("RGB", (side * len(rows[0]), CAPTION + side * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(rows[0]):
        draw.text((column * side, 0), name, fill="black")
        for line, row in enumerate(rows):
            sheet.paste(Image.fromarray(row[name]), (column * side, CAPTION + line * side))
    return sheet


def methods(options: argparse.Namespace) -> Iterator[tuple[str, Upscale, bool]]:
    """Yield the caption of each method, the method with new state, and whether it has state."""
    scale = options.scale
    yield "bicubic", bicubic_upscale(scale), False
    for model, detail in (("fast", 0.0), ("best", 0.0), ("best", options.detail)):
        caption = f"{model}, detail {detail:g}" if detail else model
        yield caption, model_upscale(vsr.zoo.load(model, scale, detail)), True
    if options.reference:
        name, _, file = options.reference.partition("=")
        yield name, model_upscale(vsr.zoo.load(Path(file), scale)), False


def chosen_corners(frame: Tensor) -> list[Corner]:
    """Top left corners of the three squares to show, of a frame (3, H, W) of at least `SIDE`."""
    luma: NDArray[np.float32] = frame.mean(0).numpy()
    change = np.abs(np.diff(luma, axis=0))[:, 1:] + np.abs(np.diff(luma, axis=1))[1:]
    height, width = luma.shape
    corners = [
        (top, left)
        for top in range(0, height - SIDE + 1, STEP)
        for left in range(0, width - SIDE + 1, STEP)
    ]
    detail = cv2.boxFilter(change, -1, (SIDE - 1, SIDE - 1), anchor=(0, 0))
    ranked = sorted(corners, key=lambda corner: -float(detail[corner]))
    chosen = [ranked[0]]
    for candidates in (ranked, ranked[len(ranked) // 2 :]):
        # In a small film all squares overlap; the remotest one is shown.
        remoteness = [min(distance(corner, other) for other in chosen) for corner in candidates]
        enough = min(SIDE, max(remoteness))
        chosen.append(candidates[next(i for i, far in enumerate(remoteness) if far >= enough)])
    return chosen


def distance(one: Corner, other: Corner) -> int:
    """Largest distance of two corners along an axis; squares overlap below `SIDE`."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def upscaled(upscale: Upscale, frames: list[tuple[Tensor, bool]], corner: Corner) -> NDArray[Any]:
    """Upscale a square of consecutive frames; return the last as (side, side, 3) in 8 bits."""
    top, left = (max(0, place - MARGIN) for place in corner)
    inside = [place - start for place, start in zip(corner, (top, left), strict=True)]
    high = None
    for index, (frame, starts_shot) in enumerate(frames):
        area = frame[:, top : corner[0] + SIDE + MARGIN, left : corner[1] + SIDE + MARGIN]
        high = upscale(area, starts_shot or index == 0)
    assert high is not None
    scale = high.shape[1] // area.shape[1]
    y, x, side = scale * inside[0], scale * inside[1], scale * SIDE
    crop = high[:, y : y + side, x : x + side].clamp(0, 1).mul(255).round()
    return crop.byte().permute(1, 2, 0).cpu().numpy()


if __name__ == "__main__":
    run(main)
