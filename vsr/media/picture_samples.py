"""The samples of Pillow's pictures, without copies of the whole picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

_LINES = 256


def upright_copy(opened: Image.Image) -> Image.Image:
    """Rotate a picture by its orientation; return it itself, loaded, where it is upright."""
    if opened.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
        return ImageOps.exif_transpose(opened)
    opened.load()
    return opened


def samples_of(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return RGB (H, W, 3) and alpha (H, W) of 8 bits, if there is any transparency."""
    width, height = image.size
    has_alpha = image.has_transparency_data
    rgb = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if has_alpha else None
    for top in range(0, height, _LINES):
        lines = slice(top, min(top + _LINES, height))
        strip = image.crop((0, lines.start, width, lines.stop))
        pixels = np.asarray(strip.convert("RGBA" if has_alpha else "RGB"))
        rgb[lines] = pixels[..., :3]
        if alpha is not None:
            alpha[lines] = pixels[..., 3]
    return rgb, alpha
