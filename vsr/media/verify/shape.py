"""Compare the shapes of two films, whatever their sizes."""

from fractions import Fraction
from typing import NamedTuple

from vsr.media.frame import StreamInfo

_ROUNDING = 2
"""Pixels by which sides may differ, since sides are rounded to even numbers."""


class SameShape(NamedTuple):
    """What an output of any size has kept of the shape of its source."""

    has_aspect: bool
    """Whether the frame has the aspect ratio of the source's, or shows it with square pixels."""
    has_pixel_aspect: bool
    """Whether pixels have the aspect ratio of the source's, or are square and show its picture."""


def compare_shapes(source: StreamInfo, output: StreamInfo) -> SameShape:
    """Compare an output with its source; the output may have been rotated as its tag asks."""
    aspect, found = source.sample_aspect_ratio, output.sample_aspect_ratio
    is_applied = source.display_matrix is not None and output.display_matrix is None
    upright = (source.width, source.height, aspect)
    turned = (source.height, source.width, 1 / aspect)
    for width, height, pixel in (upright, turned) if is_applied else (upright,):
        is_square = found == 1 and _has_shape(output, width * pixel / height)
        if is_square or _has_shape(output, Fraction(width, height)):
            return SameShape(True, found == pixel or is_square)
    return SameShape(False, found == aspect)


def _has_shape(output: StreamInfo, aspect: Fraction) -> bool:
    """Whether the frame of an output has an aspect ratio, but for the rounding of its sides."""
    width, height = output.width, output.height
    return abs(width - height * aspect) < _ROUNDING or abs(height - width / aspect) < _ROUNDING
