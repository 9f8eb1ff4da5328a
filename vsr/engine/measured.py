"""Upscale files of measured values: DICOM and TIFF stacks, each plane as a picture of its own.

Neighbouring planes are different structures along Z, and may be different events along T. No plane
therefore uses the network's memory of another: what an output shows is in its own input.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vsr.engine.dicom_series import measured_range, upscaled_frames
from vsr.engine.planes import ValueRange, not_finite, range_of, upscale_plane
from vsr.errors import OutputError
from vsr.media.dicom import check_dicom_output, is_dicom, read_dicom, write_dicom
from vsr.media.picture_memory import check_memory
from vsr.media.tiff_stack import TiffStack, check_stack_output, open_stack, write_stack
from vsr.system.files import check_distinct

_BYTES_PER_PIXEL = 12
"""A plane is computed as RGB floats."""


class PlaneUpscaler(Protocol):
    """Upscales single pictures."""

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) of the output for a picture of this size."""

    def upscale_array(self, pixels: NDArray[np.float32]) -> NDArray[Any]:
        """Upscale RGB (H, W, 3)."""

    def describe(self, height: int, width: int) -> str:
        """Describe in one line how a picture of this size is upscaled."""


def upscale_measured(
    source: Path,
    output: Path,
    upscaler_for: Callable[[Path], PlaneUpscaler],
    *,
    overwrite: bool,
    strict: bool,
    tell: Callable[[str], None],
    ranges: Mapping[Path, ValueRange | None],
) -> bool:
    """Upscale a file of measured values; returns False for other files, without any work.

    `upscaler_for` returns an upscaler that invents nothing, or raises `ConfigError`. What can't be
    kept is reported to `tell` beforehand; if `strict`, it is an error. `ranges` are those of the
    series of DICOM files, see `survey_series`; other files have their own. Raises `MediaError` or
    `OutputError`.
    """
    if is_dicom(source):
        dicom = read_dicom(source)
        upscaler = upscaler_for(source)
        check_distinct([output], [source])
        size = upscaler.output_size(dicom.height, dicom.width)
        check_dicom_output(output, dicom, size, overwrite)
        check_memory(output, size[::-1], _BYTES_PER_PIXEL, OutputError)
        _report(source, output, dicom.lost, strict, tell)
        values = ranges[source] if source in ranges else measured_range(dicom)
        frames = list(upscaled_frames(dicom, upscaler.upscale_array, values))
        made_by = upscaler.describe(dicom.height, dicom.width)
        write_dicom(output, dicom, frames, made_by=made_by)
        return True
    with open_stack(source) as stack:
        if stack is None:
            return False
        upscaler = upscaler_for(source)
        check_distinct([output], [source])
        size = upscaler.output_size(stack.height, stack.width)
        check_stack_output(output, stack, size, overwrite)
        check_memory(output, size[::-1], _BYTES_PER_PIXEL, OutputError)
        _report(source, output, stack.lost, strict, tell)
        write_stack(output, stack, _upscaled(stack, upscaler), size)
    return True


def _report(
    source: Path, output: Path, lost: tuple[str, ...], strict: bool, tell: Callable[[str], None]
) -> None:
    if strict and lost:
        raise OutputError(f"{output}: would lack {'; '.join(lost)}")
    for line in lost:
        tell(f"{source}: not kept: {line}")


def _upscaled(stack: TiffStack, upscaler: PlaneUpscaler) -> Iterator[NDArray[Any]]:
    """Upscale the planes of a stack, all of a channel with one range of values."""
    ranges: dict[int, ValueRange] = {}
    for index in range(stack.planes):
        plane = stack.plane(index)
        if found := range_of(plane, not_finite(plane)):
            channel = stack.channel(index)
            ranges[channel] = found.joined(ranges.get(channel))
    for index in range(stack.planes):
        plane = stack.plane(index)
        yield upscale_plane(
            plane,
            upscaler.upscale_array,
            values_range=ranges.get(stack.channel(index)),
            missing=not_finite(plane),
            inverted=stack.white_is_zero,
        )
