"""Upscale planes of measured values: any type and range, and samples without a value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from vsr.imaging.tensors import bleed

Upscale = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Upscales float32 (H, W, 3), of which 0 is black and 1 is white, to float32 (H', W', 3)."""


_OUTLIERS = 0.1
"""Percentage of values at either end that may be outliers."""


@dataclass(frozen=True)
class ValueRange:
    """Range of measured values, which is [0, 1] for the network."""

    lowest: float
    highest: float

    def joined(self, other: "ValueRange | None") -> "ValueRange":
        """Return the smallest range that includes both."""
        if other is None:
            return self
        return ValueRange(min(self.lowest, other.lowest), max(self.highest, other.highest))


def range_of(values: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> ValueRange | None:
    """Return the range of values, except where `missing`; None if there are none.

    Outliers, such as hot pixels, are outside the range: values that are farther than its extent
    from the middle 99.8%.
    """
    present = values if missing is None else values[~missing]
    if not present.size:
        return None
    lowest, highest = float(present.min()), float(present.max())
    low, high = map(float, np.percentile(present, (_OUTLIERS, 100 - _OUTLIERS)))
    if low < high:
        lowest, highest = max(lowest, 2 * low - high), min(highest, 2 * high - low)
    return ValueRange(lowest, highest)


def not_finite(values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where a plane (H, W) or (H, W, 3) has no finite value; None if nowhere."""
    if values.dtype.kind != "f":
        return None
    missing = ~np.isfinite(values)
    missing = missing.any(axis=2) if missing.ndim == 3 else missing
    return missing if missing.any() else None


def upscale_plane(
    values: NDArray[Any],
    upscale: Upscale,
    *,
    values_range: ValueRange | None,
    missing: NDArray[np.bool_] | None = None,
    inverted: bool = False,
) -> NDArray[Any]:
    """Upscale a plane (H, W) or (H, W, 3), and round to its type, within its own extremes.

    The network sees `values_range` as [0, 1], or as [1, 0] if `inverted`; the excess of values
    outside is interpolated bilinearly and added. Samples that are `missing` (H, W), such as
    padding, keep their values at the nearest pixels of the output, and have no influence on others.
    A range of None is that of a plane without values.
    """
    height, width = values.shape[:2]
    ends = values_range or ValueRange(0, 0)
    present = values if missing is None else values[~missing]
    known = values.astype(np.float64)
    if missing is not None:
        known[missing] = ends.lowest
    unit = (known - ends.lowest) / ((ends.highest - ends.lowest) or 1.0)
    low = unit.clip(0, 1)
    excess = unit - low
    if inverted:
        low = 1 - low
    low = np.repeat(low[..., None], 3, axis=2) if low.ndim == 2 else low
    low = np.ascontiguousarray(low, np.float32)
    if missing is not None:
        low = _filled(low, missing)
    high: NDArray[Any] = upscale(low).astype(np.float64)
    if values.ndim == 2:
        high = high.mean(axis=2)  # the three inputs are equal, and so are their weights
    if inverted:
        high = 1 - high
    if excess.any():
        high += _interpolated(excess, high.shape[:2])
    output = high * (ends.highest - ends.lowest) + ends.lowest
    if present.size:
        output = output.clip(present.min(), present.max())
    result: NDArray[Any] = (np.rint(output) if values.dtype.kind in "ui" else output).astype(
        values.dtype
    )
    if missing is not None:
        nearest = np.ix_(_nearest(height, result.shape[0]), _nearest(width, result.shape[1]))
        result[missing[nearest]] = values[nearest][missing[nearest]]
    return result


def _interpolated(plane: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Resize (H, W) or (H, W, 3) to `size` = (height, width) bilinearly."""
    channels = torch.from_numpy(plane.reshape(*plane.shape[:2], -1)).permute(2, 0, 1)
    resized = F.interpolate(channels[None], size=size, mode="bilinear")[0]
    return resized.permute(1, 2, 0).reshape(*size, *plane.shape[2:]).numpy()


def _nearest(length: int, output_length: int) -> NDArray[np.intp]:
    """Return the nearest pixel for each of the output, along one side."""
    return (2 * np.arange(output_length) + 1) * length // (2 * output_length)


def _filled(low: NDArray[np.float32], missing: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Replace missing samples of (H, W, 3) by values nearby."""
    colours = torch.from_numpy(low).permute(2, 0, 1)
    filled = bleed(colours, torch.from_numpy((~missing).astype(np.float32)))
    return filled.permute(1, 2, 0).numpy()
