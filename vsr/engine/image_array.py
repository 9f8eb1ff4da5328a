"""Upscale a picture in memory: the API behind `vsr.upscale_image`."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vsr.engine.image import StillUpscaler
from vsr.engine.output_size import SizeRequest
from vsr.media.picture_memory import memory_limit

_SamplesT = TypeVar("_SamplesT", NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32])


def upscale_image(
    pixels: _SamplesT,
    model: str | None = None,
    scale: float | None = None,
    device: str = "auto",
    detail: float | None = None,
    grain: float = 0.0,
    *,
    width: int | None = None,
    height: int | None = None,
    size: str | None = None,
    max_memory: float | None = None,
) -> _SamplesT:
    """Upscale one RGB picture (H, W, 3) to (sH, sW, 3): uint8, uint16, or float32 of white 1.

    `model` is a name from `vsr.list_models()` or a file, by default the included model for the
    scale. `scale` is any number above 0, by default that of a named model, or 4. `width`, `height`
    and `size` set the output instead, as those of `vsr.upscale_video`. `detail` is that of
    `vsr.load`, by default that of the model's card. `grain` is the strength of film grain, from
    0 to 1. `max_memory` is the memory in gigabytes that the output may need, by default half of the
    machine's. Raises ValueError for another shape or type, and `VsrError`.
    """
    if not isinstance(pixels, np.ndarray):
        raise ValueError(f"expected an array (H, W, 3), got {type(pixels).__name__}")
    is_known = pixels.dtype in (np.uint8, np.uint16, np.float32)
    if not is_known or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        expected = "uint8, uint16 or float32 (H, W, 3)"
        raise ValueError(f"expected {expected}, got {pixels.dtype} {pixels.shape}")
    request = SizeRequest(scale=scale, width=width, height=height, screen=size)
    upscaler = StillUpscaler(model, request, device=device, detail=detail, grain=grain)
    with memory_limit(max_memory):
        output: Any = upscaler.upscale_array(pixels)
    typed: _SamplesT = output
    return typed
