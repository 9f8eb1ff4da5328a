"""Upscale arrays of measured values: the API `vsr.upscale_stack`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsr.engine.image import StillUpscaler
from vsr.engine.output_size import SizeRequest
from vsr.engine.planes import ValueRange, not_finite, range_of, upscale_plane


def upscale_stack(
    planes: NDArray[Any],
    model: str | None = None,
    scale: float | None = None,
    device: str = "auto",
    detail: float = 0.0,
    *,
    allow_invented_detail: bool = False,
) -> NDArray[Any]:
    """Upscale grey planes (..., H, W) of measured values to (..., sH, sW), each by itself.

    Integers of up to 32 bits, and floats, of any range. The type is kept, and no value is outside
    the range of its plane. Values that aren't finite stay where they are. The range of the whole
    array is scaled to that of the network. `model`, `scale` and `device` are those of
    `vsr.upscale_image`. `detail` above 0 invents values, and needs `allow_invented_detail`. Raises
    ValueError for another shape or type, and `VsrError`.
    """
    is_known = isinstance(planes, np.ndarray) and (
        planes.dtype.kind == "f" or (planes.dtype.kind in "ui" and planes.dtype.itemsize <= 4)
    )
    if not is_known or planes.ndim < 2 or not planes.size:
        got = f"{planes.dtype} {planes.shape}" if isinstance(planes, np.ndarray) else type(planes)
        raise ValueError(f"expected integers of up to 32 bits, or floats, (..., H, W), got {got}")
    request = SizeRequest(scale=scale)
    upscaler = StillUpscaler(
        model,
        request,
        device=device,
        detail=detail,
        allow_invented_detail=allow_invented_detail,
    ).faithful("the array")
    *rest, height, width = planes.shape
    size = upscaler.output_size(height, width)
    values: ValueRange | None = None
    for index in np.ndindex(*rest):
        if found := range_of(planes[index], not_finite(planes[index])):
            values = found.joined(values)
    output = np.empty((*rest, *size), planes.dtype)
    for index in np.ndindex(*rest):
        output[index] = upscale_plane(
            planes[index],
            upscaler.upscale_array,
            values_range=values,
            missing=not_finite(planes[index]),
        )
    return output
