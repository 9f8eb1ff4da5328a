"""Write a contact sheet: captioned thumbnails on one picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vsr.system.files import atomic_path

Captioned = tuple[NDArray[np.uint8], str]
"""A picture (H, W, 3) and its caption."""

_GAP = 6
_CAPTION = 14
_BACKGROUND, _FOREGROUND = (24, 24, 24), (220, 220, 220)


def write_sheet(path: Path, rows: Sequence[Sequence[Captioned]]) -> None:
    """Write rows of pictures as a PNG; every cell has the size of the largest picture."""
    height = max(picture.shape[0] for row in rows for picture, _ in row)
    width = max(picture.shape[1] for row in rows for picture, _ in row)
    columns = max(len(row) for row in rows)
    down, across = height + _CAPTION + _GAP, width + _GAP
    sheet = Image.new("RGB", (columns * across + _GAP, len(rows) * down + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, (picture, caption) in enumerate(row):
            left, top = _GAP + x * across, _GAP + y * down
            sheet.paste(Image.fromarray(picture), (left, top))
            shown = caption if len(caption) * 6 <= width else f"{caption[: width // 6 - 1]}~"
            draw.text((left, top + picture.shape[0] + 1), shown, fill=_FOREGROUND)
    with atomic_path(path) as partial:
        sheet.save(partial, "png")
