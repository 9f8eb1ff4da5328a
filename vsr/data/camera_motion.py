"""Render a camera that moves over a picture, with exact sub-pixel motion."""

import cv2
import numpy as np
from numpy.random import Generator as Random
from numpy.typing import NDArray

_MEAN_PAN, _MAX_PAN = 2.5, 8.0
"""Pixels a frame."""
_MEAN_MICRO_PAN = 0.05


def glide(
    picture: NDArray[np.uint8],
    side: int,
    first: int,
    frames: int,
    random: Random,
    micro: bool = False,
) -> NDArray[np.uint8]:
    """Render frames from index `first` on, (frames, side, side, 3), of a camera over a picture.

    The camera pans, zooms, rotates and tilts slightly, by fractions of a pixel, or by hundredths of
    a pixel with `micro`. It reverses at the border of the picture. Each frame is rendered at twice
    the size and averaged, which keeps it sharp and free of aliasing. The sides of the picture must
    be at least 2 `side`.
    """
    height, width = picture.shape[:2]
    pixels_per_output = random.uniform(1.2, 1.8)
    amplitude = 0.02 if micro else 1.0
    zoom, rotation, *tilt = amplitude * random.normal(0, (0.004, 0.006, 0.01, 0.01))
    direction = random.uniform(0, 2 * np.pi)
    speed = (
        random.exponential(_MEAN_MICRO_PAN)
        if micro
        else min(random.exponential(_MEAN_PAN), _MAX_PAN)
    )
    pan = speed * pixels_per_output * np.array([np.cos(direction), np.sin(direction)])
    reach = 0.75 * side * pixels_per_output
    travel = np.array([max(width - 2 * reach, 1), max(height - 2 * reach, 1)])
    nearest = np.minimum(reach, (width / 2, height / 2))
    start = random.uniform(0, 1, 2) * travel
    clip = []
    for index in range(first, first + frames):
        # Back and forth between the borders, and between the extremes of zoom, rotation and tilt.
        middle = nearest + _reflected(start + pan * index, travel)
        swing = 8 * np.sin(index / 8)
        scale = pixels_per_output * np.exp(zoom * swing) / 2
        cosine, sine = scale * np.cos(rotation * swing), scale * np.sin(rotation * swing)
        tilted = np.array(tilt) * np.sin(index / 8) / side
        matrix = np.array([[cosine, -sine, middle[0]], [sine, cosine, middle[1]], [0, 0, 1]])
        matrix = matrix @ np.array([[1, 0, 0], [0, 1, 0], [*tilted, 1]])
        matrix = matrix @ np.array([[1, 0, 0.5 - side], [0, 1, 0.5 - side], [0, 0, 1]])
        large = cv2.warpPerspective(
            picture,
            matrix,
            (2 * side, 2 * side),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        clip.append(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA))
    return np.stack(clip).astype(np.uint8, copy=False)


def _reflected(position: NDArray[np.float64], limit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reflect positions into [0, limit]."""
    unfolded = np.mod(position, 2 * limit)
    return np.minimum(unfolded, 2 * limit - unfolded)
