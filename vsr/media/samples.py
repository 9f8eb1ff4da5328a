"""Between PyAV's planes, whose rows may be padded, and plain arrays."""

from typing import Any

import numpy as np

from vsr.media.frame import Plane


def read_plane(plane: Any, kind: np.dtype[Any]) -> Plane:
    """A copy without the padding at the ends of rows; the decoder may reuse its memory."""
    return _rows(plane, kind)[: plane.height, : plane.width].copy()


def fill_plane(plane: Any, samples: np.ndarray[Any, Any]) -> None:
    """Copy samples (height, width) into a plane."""
    _rows(plane, samples.dtype)[: samples.shape[0], : samples.shape[1]] = samples


def _rows(plane: Any, kind: np.dtype[Any]) -> Plane:
    return np.frombuffer(plane, dtype=kind).reshape(-1, plane.line_size // kind.itemsize)
