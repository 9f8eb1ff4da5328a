"""A camera that glides over a picture: motion that is true below a pixel."""

import cv2
import numpy as np
from numpy.random import Generator as Random
from numpy.typing import NDArray

_FAST, _FASTEST = 2.5, 8.0
_SLOW = 0.05
"""Mean pan, and the most, in pixels a frame; and the mean of micro-motion."""


def glide(
    picture: NDArray[np.uint8],
    side: int,
    first: int,
    frames: int,
    random: Random,
    micro: bool = False,
) -> NDArray[np.uint8]:
    """Frames `first` and on, (frames, side, side, 3), of a camera over a picture.

    It pans, zooms, turns and tilts a little, by fractions of a pixel, or by hundredths
    where the motion is to be `micro`, and turns back when it comes to the picture's
    border. Each frame is rendered at twice the size and averaged down, which keeps it
    sharp and free of aliasing. The picture's sides must be at least 2 `side`.
    """
    height, width = picture.shape[:2]
    pixels_per_output = random.uniform(1.2, 1.8)
    calm = 0.02 if micro else 1.0
    zoom, turn, *tilt = calm * random.normal(0, (0.004, 0.006, 0.01, 0.01))
    direction = random.uniform(0, 2 * np.pi)
    speed = random.exponential(_SLOW) if micro else min(random.exponential(_FAST), _FASTEST)
    pan = speed * pixels_per_output * np.array([np.cos(direction), np.sin(direction)])
    reach = 0.75 * side * pixels_per_output
    room = np.array([max(width - 2 * reach, 1), max(height - 2 * reach, 1)])
    nearest = np.minimum(reach, (width / 2, height / 2))
    begin = random.uniform(0, 1, 2) * room
    clip = []
    for number in range(first, first + frames):
        # To and fro between the borders, and between the ends of zoom, turn and tilt.
        middle = nearest + _to_and_fro(begin + pan * number, room)
        swing = 8 * np.sin(number / 8)
        scale = pixels_per_output * np.exp(zoom * swing) / 2
        cosine, sine = scale * np.cos(turn * swing), scale * np.sin(turn * swing)
        tilted = np.array(tilt) * np.sin(number / 8) / side
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


def _to_and_fro(place: NDArray[np.float64], room: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions reflected into [0, room]."""
    there = np.mod(place, 2 * room)
    return np.minimum(there, 2 * room - there)
