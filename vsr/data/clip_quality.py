"""Quality of clips for training, measured on 8-bit luma: defects, duplicates, true resolution."""

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

_HASH_SIDE = 16
_DUPLICATE_BITS = 40
"""Of 512: hashes of two encodings of one picture differ in no more bits."""
_STATIC_CHANGE = 0.35
"""Mean change of a pixel between frames, in code values, below which a clip is static."""
_FLAT_DEVIATION = 4.0
"""Standard deviation of luma, in code values, below which a frame is flat."""
_BINS = 64
_BLURRED_BANDWIDTH = 0.45
"""`bandwidth` below which a clip is out of focus or smeared."""
_SHARP_BANDWIDTH = 0.7
"""`bandwidth` above which a film is as sharp as its size allows."""
_BANDWIDTH_TIMES_SCALE = 0.9
"""`bandwidth` of a film enlarged by s, times s: interpolation attenuates frequencies near the
limit."""
_MAX_BLACK = 28
"""Highest 99% quantile of luma in a row that counts as a black bar."""


class RejectReason(StrEnum):
    """Why a stretch of film is rejected."""

    SHORT = "short"
    STATIC = "static"
    FLAT = "flat"
    BLURRED = "blurred"
    DUPLICATE = "duplicate"


class Crop(NamedTuple):
    """The area of a frame inside black bars, in pixels; all values are even."""

    top: int
    left: int
    height: int
    width: int


def find_defect(clip: Sequence[Luma]) -> RejectReason | None:
    """Check frames (H, W) of one shot for defects; None if there are none."""
    sample = [clip[n] for n in np.linspace(0, len(clip) - 1, min(len(clip), 8)).astype(int)]
    if max(float(frame[::4, ::4].std()) for frame in sample) < _FLAT_DEVIATION:
        return RejectReason.FLAT
    if len(clip) > 1 and _mean_change(clip) < _STATIC_CHANGE:
        return RejectReason.STATIC
    if max(bandwidth(frame) for frame in sample[::2]) < _BLURRED_BANDWIDTH:
        return RejectReason.BLURRED
    return None


def signature(clip: Sequence[Luma]) -> tuple[str, ...]:
    """Perceptual hashes, in hexadecimal, of the first, middle and last frame of a clip."""
    return tuple(_hash(clip[n]) for n in sorted({0, len(clip) // 2, len(clip) - 1}))


class DuplicateIndex:
    """Signatures of all clips accepted so far."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.uint8]] = []
        self._shots: list[tuple[str, int]] = []

    def add(self, hashes: Sequence[str], source: str, shot: int) -> None:
        """Add a clip of a shot."""
        for text in hashes:
            self._rows.append(np.frombuffer(bytes.fromhex(text), np.uint8))
            self._shots.append((source, shot))

    def holds(self, hashes: Sequence[str], source: str, shot: int) -> bool:
        """Whether another shot has a frame like one of these."""
        if not self._rows:
            return False
        known = np.stack(self._rows)
        is_other = np.array([known_shot != (source, shot) for known_shot in self._shots])
        for text in hashes:
            row = np.frombuffer(bytes.fromhex(text), np.uint8)
            bits = np.unpackbits(known ^ row, axis=1).sum(axis=1)
            if bool(((bits <= _DUPLICATE_BITS) & is_other).any()):
                return True
        return False


def full_area(frame: Luma) -> Crop:
    """The whole frame (H, W), without a last odd row and column."""
    height, width = frame.shape
    return Crop(0, 0, height // 2 * 2, width // 2 * 2)


def picture_area(frames: Sequence[Luma]) -> Crop:
    """The frame without the black bars that all frames (H, W) have in common."""
    brightest = np.max(np.stack(frames), axis=0)
    height, width = brightest.shape
    top, bottom = _between_bars(np.quantile(brightest, 0.99, axis=1))
    left, right = _between_bars(np.quantile(brightest, 0.99, axis=0))
    if (bottom - top) * (right - left) < height * width / 4:
        return full_area(frames[0])  # a dark film rather than bars
    top, left = top + top % 2, left + left % 2
    return Crop(top, left, (bottom - top) // 2 * 2, (right - left) // 2 * 2)


def true_scale(frames: Sequence[Luma]) -> float:
    """Estimate the ratio of true to actual side of frames (H, W); 1 if they are sharp.

    A picture that was enlarged by s has hardly any energy above 1/s of the frequencies that its
    frames could hold. The sharpest frames decide.
    """
    textured = [frame for frame in frames if frame[::4, ::4].std() > 2 * _FLAT_DEVIATION]
    widths = sorted(bandwidth(frame) for frame in textured)
    # The upper eighth is ignored: a frame in it may be a title or noise.
    share = widths[len(widths) - 1 - len(widths) // 8] if widths else 1.0
    return min(share / _BANDWIDTH_TIMES_SCALE, 1.0) if share < _SHARP_BANDWIDTH else 1.0


def bandwidth(frame: Luma) -> float:
    """Estimate the highest frequency with energy, relative to the limit of a frame (H, W).

    The power of natural pictures falls with the square of the frequency or somewhat faster
    (Field, 1987). Where it remains 19 dB below that slope, interpolation or a lens has removed it.
    """
    power = _radial_power(frame)
    level = power * (np.arange(_BINS) + 0.5) ** 2
    level = np.convolve(np.pad(level, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    threshold = np.quantile(level[2 : _BINS // 5], 0.75) * 10**-1.9
    for start in range(_BINS // 8, _BINS - 4):
        if level[start : start + 4].max() < threshold:
            return start / _BINS
    return 1.0


def _radial_power(frame: Luma) -> NDArray[np.float64]:
    """Mean power by distance from zero frequency, up to half a cycle a pixel."""
    side = min(*frame.shape, 512)
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    part = frame[top : top + side, left : left + side].astype(np.float64)
    window = np.hanning(side)
    spectrum = np.abs(np.fft.rfft2((part - part.mean()) * window[:, None] * window)) ** 2
    vertical, horizontal = np.abs(np.fft.fftfreq(side)), np.fft.rfftfreq(side)
    # Maximum of both axes: the cut-off of a scaler is a square, not a circle.
    distance = np.maximum(vertical[:, None], horizontal)
    bins = np.minimum((distance * 2 * _BINS).astype(int), _BINS - 1)
    total = np.bincount(bins.ravel(), spectrum.ravel(), _BINS)
    return np.asarray(total / np.maximum(np.bincount(bins.ravel(), minlength=_BINS), 1))


def _mean_change(clip: Sequence[Luma]) -> float:
    small = [
        cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in clip
    ]
    changes = [cv2.absdiff(a, b).mean() for a, b in pairwise(small)]
    return float(np.mean(changes))


def _hash(frame: Luma) -> str:
    """512 bits: whether each of 16x16 cells is darker than its right and its lower neighbour."""
    side = _HASH_SIDE
    small = cv2.resize(frame, (side + 1, side + 1), interpolation=cv2.INTER_AREA)
    across = small[:side, 1:] > small[:side, :-1]
    down = small[1:, :side] > small[:-1, :side]
    return np.packbits(np.stack((across, down))).tobytes().hex()


def _between_bars(brightness: NDArray[np.floating]) -> tuple[int, int]:
    bright = np.flatnonzero(brightness > _MAX_BLACK)
    return (int(bright[0]), int(bright[-1]) + 1) if len(bright) else (0, len(brightness))
