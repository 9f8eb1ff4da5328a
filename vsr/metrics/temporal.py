"""How far the motion of one film is from that of another."""

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vsr.tensors import to_uint8

Grey = NDArray[np.uint8]


def grey(frame: Tensor) -> Grey:
    """RGB (3, H, W) in [0, 1] to 8-bit grey (H, W), as OpenCV's RGB2GRAY."""
    pixels = to_uint8(frame).permute(1, 2, 0).contiguous().cpu().numpy()
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def farneback(previous: Grey, following: Grey) -> NDArray[np.float32]:
    """Dense flow (H, W, 2) in pixels, by Farneback's method with TecoGAN's settings."""
    flow = cv2.calcOpticalFlowFarneback(
        previous,
        following,
        None,  # type: ignore[call-overload]
        pyr_scale=0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )
    return np.asarray(flow, dtype=np.float32)


def tof(output_flow: NDArray[np.float32], target_flow: NDArray[np.float32]) -> float:
    """tOF: mean distance in pixels of two flows (H, W, 2), away from the border; 0 is best.

    The crop is TecoGAN's (Chu et al., 2020): sides become multiples of 32, with at
    least 8 pixels off each end.
    """
    height, width = output_flow.shape[:2]
    inner_height, inner_width = ((side - 16) // 32 * 32 for side in (height, width))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    inner = np.s_[top : top + inner_height, left : left + inner_width]
    return float(np.linalg.norm(output_flow[inner] - target_flow[inner], axis=-1).mean())
