"""What a stretch of film is worth to learn from, and how large its picture really is.

Plain measures on luma planes; code values are 8 bit.
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

_HASH_SIDE = 16
_ALIKE_BITS = 40
"""Of 512: hashes of the same picture, coded twice, differ in no more."""
_STATIC_CHANGE = 0.35
"""Mean change of a pixel from frame to frame, in code values, under which nothing moves."""
_FLAT_DEVIATION = 4.0
"""Standard deviation of luma, in code values, under which there is nothing to see."""
_BINS = 64
_BLURRED_BANDWIDTH = 0.45
"""Of `bandwidth`, under which a whole stretch is out of focus or smeared."""
_SHARP_BANDWIDTH = 0.7
"""Of `bandwidth`, above which a film is as sharp as its size."""
_SEEN_SHARE = 0.9
"""`bandwidth` of a film enlarged by s, times s: interpolation dims what lies near its limit."""
_BLACK = 28
"""Highest luma, of 99% of a row, that still counts as a black bar."""


class RejectReason(StrEnum):
    """Why a stretch is left out."""

    SHORT = "short"
    STATIC = "static"
    FLAT = "flat"
    BLURRED = "blurred"
    DUPLICATE = "duplicate"


class Crop(NamedTuple):
    """The part of a frame that holds a picture, in pixels; all even."""

    top: int
    left: int
    height: int
    width: int


def fault_of(clip: Sequence[Luma]) -> RejectReason | None:
    """What speaks against learning from frames (H, W) of one shot, by themselves."""
    sample = [clip[n] for n in np.linspace(0, len(clip) - 1, min(len(clip), 8)).astype(int)]
    if max(float(frame[::4, ::4].std()) for frame in sample) < _FLAT_DEVIATION:
        return RejectReason.FLAT
    if len(clip) > 1 and _mean_change(clip) < _STATIC_CHANGE:
        return RejectReason.STATIC
    if max(bandwidth(frame) for frame in sample[::2]) < _BLURRED_BANDWIDTH:
        return RejectReason.BLURRED
    return None


def signature(clip: Sequence[Luma]) -> tuple[str, ...]:
    """Hashes, in hexadecimal, of a clip's first, middle and last frame."""
    return tuple(_hash(clip[n]) for n in sorted({0, len(clip) // 2, len(clip) - 1}))


class DuplicateIndex:
    """The signatures of all that was taken so far."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.uint8]] = []
        self._shots: list[tuple[str, int]] = []

    def add(self, hashes: Sequence[str], source: str, shot: int) -> None:
        """Remember a clip of a shot."""
        for text in hashes:
            self._rows.append(np.frombuffer(bytes.fromhex(text), np.uint8))
            self._shots.append((source, shot))

    def holds(self, hashes: Sequence[str], source: str, shot: int) -> bool:
        """Whether a frame like one of these was taken from another shot."""
        if not self._rows:
            return False
        known = np.stack(self._rows)
        other = np.array([kept != (source, shot) for kept in self._shots])
        for text in hashes:
            row = np.frombuffer(bytes.fromhex(text), np.uint8)
            bits = np.unpackbits(known ^ row, axis=1).sum(axis=1)
            if bool(((bits <= _ALIKE_BITS) & other).any()):
                return True
        return False


def whole_area(frame: Luma) -> Crop:
    """All of a frame (H, W), but for a last odd row and column."""
    height, width = frame.shape
    return Crop(0, 0, height // 2 * 2, width // 2 * 2)


def picture_area(frames: Sequence[Luma]) -> Crop:
    """The frame without black bars that all of the frames (H, W) have."""
    brightest = np.max(np.stack(frames), axis=0)
    height, width = brightest.shape
    top, bottom = _between_bars(np.quantile(brightest, 0.99, axis=1))
    left, right = _between_bars(np.quantile(brightest, 0.99, axis=0))
    if (bottom - top) * (right - left) < height * width / 4:
        return whole_area(frames[0])  # a dark film, not bars
    top, left = top + top % 2, left + left % 2
    return Crop(top, left, (bottom - top) // 2 * 2, (right - left) // 2 * 2)


def true_share(frames: Sequence[Luma]) -> float:
    """Side at which these frames (H, W) would be sharp, over theirs; 1 where they are.

    A picture that was enlarged by s holds next to nothing above 1/s of the frequencies
    that its frames could hold, whatever it shows: the sharpest frames decide.
    """
    shown = [frame for frame in frames if frame[::4, ::4].std() > 2 * _FLAT_DEVIATION]
    widths = sorted(bandwidth(frame) for frame in shown)
    # Not the very sharpest of many: one may be a title or noise.
    share = widths[len(widths) - 1 - len(widths) // 8] if widths else 1.0
    return min(share / _SEEN_SHARE, 1.0) if share < _SHARP_BANDWIDTH else 1.0


def bandwidth(frame: Luma) -> float:
    """Highest frequency with anything in it, over the highest that a frame (H, W) could hold.

    The power of natural pictures falls with the square of frequency or somewhat faster
    (Field, 1987); where it stays 19 dB below that course, interpolation or a lens took
    it away.
    """
    power = _radial_power(frame)
    level = power * (np.arange(_BINS) + 0.5) ** 2
    level = np.convolve(np.pad(level, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    least = np.quantile(level[2 : _BINS // 5], 0.75) * 10**-1.9
    for place in range(_BINS // 8, _BINS - 4):
        if level[place : place + 4].max() < least:
            return place / _BINS
    return 1.0


def _radial_power(frame: Luma) -> NDArray[np.float64]:
    """Mean power by distance from zero frequency, up to 1/2 cycle a pixel."""
    side = min(*frame.shape, 512)
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    part = frame[top : top + side, left : left + side].astype(np.float64)
    window = np.hanning(side)
    spectrum = np.abs(np.fft.rfft2((part - part.mean()) * window[:, None] * window)) ** 2
    vertical, horizontal = np.abs(np.fft.fftfreq(side)), np.fft.rfftfreq(side)
    # Along the axes: a scaler's cut-off is a square, not a circle.
    reach = np.maximum(vertical[:, None], horizontal)
    bins = np.minimum((reach * 2 * _BINS).astype(int), _BINS - 1)
    total = np.bincount(bins.ravel(), spectrum.ravel(), _BINS)
    return np.asarray(total / np.maximum(np.bincount(bins.ravel(), minlength=_BINS), 1))


def _mean_change(clip: Sequence[Luma]) -> float:
    small = [
        cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in clip
    ]
    changes = [cv2.absdiff(a, b).mean() for a, b in pairwise(small)]
    return float(np.mean(changes))


def _hash(frame: Luma) -> str:
    """Whether each of 256 places is brighter than its right neighbour, and than its lower one."""
    side = _HASH_SIDE
    small = cv2.resize(frame, (side + 1, side + 1), interpolation=cv2.INTER_AREA)
    across = small[:side, 1:] > small[:side, :-1]
    down = small[1:, :side] > small[:-1, :side]
    return np.packbits(np.stack((across, down))).tobytes().hex()


def _between_bars(brightness: NDArray[np.floating]) -> tuple[int, int]:
    bright = np.flatnonzero(brightness > _BLACK)
    return (int(bright[0]), int(bright[-1]) + 1) if len(bright) else (0, len(brightness))
