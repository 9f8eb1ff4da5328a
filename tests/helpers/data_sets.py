"""Data sets of clips written directly, without decoding films."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tests.helpers.planes import planes_of
from vsr.data.store import SourceStart, StoreWriter
from vsr.imaging.colour import ColourSpec, Matrix

CLIP_COLOURS = ColourSpec(Matrix.BT601)
"""Of the clips that `add_source` stores."""


def add_source(
    store: StoreWriter,
    name: str,
    frames: Sequence[NDArray[np.uint8]],
    split: Literal["train", "val"] = "train",
) -> None:
    """Store a source of one clip: a film, or a photograph if there is one frame (H, W, 3)."""
    height, width = frames[0].shape[:2]
    source = SourceStart(
        source=name,
        name=name,
        type="film" if len(frames) > 1 else "photograph",
        split=split,
        width=width,
        height=height,
        crop=(0, 0, height, width),
        stored=(height, width),
        frame_rate="25",
    )
    store.add(source)
    store.add_clip(planes_of(frames), CLIP_COLOURS, source, shot=0, piece=0, hashes=[])


def diagonal_pan(
    picture: NDArray[np.uint8], frames: int, side: int, top: int = 40, left: int = 20
) -> list[NDArray[np.uint8]]:
    """Square views of a picture, each one pixel further down and right."""
    return [
        picture[top + n : top + n + side, left + n : left + n + side].copy() for n in range(frames)
    ]
