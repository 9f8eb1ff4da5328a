"""Antialiased bicubic resizing of a picture band by band, equal to that of the whole picture."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from vsr.imaging.tensors import resize_bicubic

_SUPPORT = 2.0
"""Pixels on each side that Keys' kernel reaches."""


def resized_bands(
    bands: Iterable[NDArray[np.float32]], size: tuple[int, int], output: tuple[int, int]
) -> Iterator[NDArray[np.float32]]:
    """Resize a picture in bands, (n, W, C), from `size` to `output`, both (height, width).

    The result is that of `tensors.resize_bicubic`, except for the order of sums. As many lines are
    kept as the kernel reaches.
    """
    kept, top, done = np.empty((0, output[1], 0), np.float32), 0, 0
    for band in bands:
        across = _resize_across(band, output[1])
        kept = np.concatenate((kept, across)) if kept.size else across
        end = top + len(kept)
        last = output[0] if end == size[0] else _complete_lines(end, size[0], output[0])
        if last <= done:
            continue
        first, weights = _weights(size[0], output[0], done, last)
        lines = weights @ kept[first - top : first - top + weights.shape[1]].reshape(
            weights.shape[1], -1
        )
        yield lines.reshape(last - done, *kept.shape[1:])
        done = last
        if done < output[0]:
            needed, _ = _window(size[0], output[0], done)
            kept, top = kept[needed - top :], needed


def _resize_across(band: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    planes = torch.from_numpy(np.ascontiguousarray(band)).permute(2, 0, 1)[None]
    resized: NDArray[np.float32] = (
        resize_bicubic(planes, (len(band), width))[0].permute(1, 2, 0).numpy()
    )
    return resized


def _complete_lines(available: int, length: int, output: int) -> int:
    """Return the count of output lines that need only the first `available` of `length` lines."""
    step = length / output
    line = max(0, int((available - _SUPPORT * max(step, 1)) / step - 1))
    while line < output and _window(length, output, line)[1] <= available:
        line += 1
    return line


def _window(length: int, output: int, line: int) -> tuple[int, int]:
    """Return the first input line of an output line, and the one after the last."""
    step = length / output
    centre, support = step * (line + 0.5), _SUPPORT * max(step, 1)
    return max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), length)


def _weights(length: int, output: int, first: int, last: int) -> tuple[int, NDArray[np.float32]]:
    """Return the first input line, and the weights (lines, inputs) of a range of output lines."""
    step = length / output
    start, end = _window(length, output, first)[0], _window(length, output, last - 1)[1]
    weights = np.zeros((last - first, end - start), np.float32)
    for row, line in enumerate(range(first, last)):
        low, high = _window(length, output, line)
        distance = np.abs(np.arange(low, high) + 0.5 - step * (line + 0.5)) / max(step, 1)
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        taps = np.where(distance < 1, near, np.where(distance < 2, far, 0))
        weights[row, low - start : high - start] = taps / taps.sum()
    return start, weights
