"""Temporal metrics: distance of optical flow, warping error and flicker."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vsr.imaging.tensors import resize_bicubic, to_uint8, warp
from vsr.metrics.blur import gaussian_blur, matching_sigma

Grey = NDArray[np.uint8]

TOF_SMALLEST_SIDE = 48
"""Minimal side in pixels: tOF's crop must leave a part of the frame."""

_MAX_DIFFERENCE = 12 / 255
_DIFFERENCE_WINDOW = 5
"""Motion is trusted where a frame differs from the warped previous one by less than this, on
average over a window of 5x5 pixels: that admits noise of some 10 code values, but no uncovered
background."""


class Motion(NamedTuple):
    """Optical flow from a frame to the previous one."""

    flow: Tensor
    """(2, H, W) in pixels, x before y: `warp(previous, flow)` approximates the frame."""
    trusted: Tensor
    """(H, W), bool: where the approximation holds."""


def grey(frame: Tensor) -> Grey:
    """Convert RGB (3, H, W) in [0, 1] to 8-bit grey (H, W), as OpenCV's RGB2GRAY."""
    pixels = to_uint8(frame).permute(1, 2, 0).contiguous().cpu().numpy()
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def farneback(previous: Grey, following: Grey) -> NDArray[np.float32]:
    """Compute dense flow (H, W, 2) in pixels by Farneback's method with TecoGAN's settings."""
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
    """Compute tOF: mean distance in pixels of two flows (H, W, 2) inside a crop; 0 is best.

    The crop is TecoGAN's (Chu et al., 2020): sides become multiples of 32, with at least 8 pixels
    off each end. Raises ValueError if a side has fewer than 48 pixels.
    """
    height, width = output_flow.shape[:2]
    if min(height, width) < TOF_SMALLEST_SIDE:
        raise ValueError(
            f"tOF needs sides of at least {TOF_SMALLEST_SIDE} pixels, not {width}x{height}"
        )
    top, left, inner_height, inner_width = tecogan_crop(height, width)
    inner = np.s_[top : top + inner_height, left : left + inner_width]
    return float(np.linalg.norm(output_flow[inner] - target_flow[inner], axis=-1).mean())


def tecogan_crop(height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the area that TecoGAN measures (Chu et al., 2020)."""
    inner_height, inner_width = ((side - 16) // 32 * 32 for side in (height, width))
    return (height - inner_height) // 2, (width - inner_width) // 2, inner_height, inner_width


def motion_to_previous(frame: Tensor, previous: Tensor) -> Motion:
    """Estimate the motion from a frame to the previous one, RGB (3, H, W) in [0, 1].

    By Farneback's method, with a mask of where it can be trusted.
    """
    dense = farneback(grey(frame), grey(previous))
    flow = torch.from_numpy(dense).permute(2, 0, 1).to(frame.device)
    difference = (frame - warp(previous[None], flow[None])[0]).abs().mean(dim=0)
    size = _DIFFERENCE_WINDOW
    mean = F.avg_pool2d(difference[None, None], size, 1, size // 2, count_include_pad=False)
    return Motion(flow, mean[0, 0] < _MAX_DIFFERENCE)


def warping_error(output: Tensor, previous: Tensor, motion: Motion) -> float:
    """Compute 1000 times the mean squared distance of a frame from the warped previous one.

    RGB (3, H, W) in [0, 1], squares summed over the channels, where `motion`, that of the target,
    can be trusted. 0 is steadiest; NaN if it can be trusted nowhere. The E_warp of Lai et al.,
    "Learning blind video temporal consistency", 2018.
    """
    warped = warp(previous[None], motion.flow[None])[0]
    distance = (output - warped).square().sum(dim=0)
    return 1000 * float(distance[motion.trusted].mean())


def flicker(
    output: Tensor, previous: Tensor, low: Tensor, low_previous: Tensor, motion: Motion
) -> float:
    """Compute how much more an output changes along the motion than its input.

    Two frames of the output, (3, sH, sW), and of the input, (3, H, W), RGB in [0, 1];
    `motion` is the input's. Mean absolute difference in 8-bit code values between a frame and
    the warped previous one, less that of the input upscaled bicubically, where the motion can be
    trusted. 0 flickers like bicubic, less is steadier; NaN if the motion can be trusted nowhere. No
    reference is needed.
    """
    size = (output.shape[-2], output.shape[-1])
    along = _enlarged(motion, size)
    bicubic = resize_bicubic(torch.stack((low, low_previous)), size).clamp(0, 1)
    return 255 * (_change(output, previous, along) - _change(bicubic[0], bicubic[1], along))


def excess_flicker(
    output: Tensor, previous: Tensor, target: Tensor, target_previous: Tensor, motion: Motion
) -> float:
    """Compute how much more an output changes along the motion than its equally blurred target.

    Two frames of the output and of the target, RGB (3, sH, sW) in [0, 1]; `motion` is the
    input's, as for `flicker`. Mean absolute difference in 8-bit code values between a frame and the
    warped previous one, less that of the target after a Gaussian blur; 0 is best. The blur is that
    of `matching_sigma` for this frame and is applied to both frames, so that a change of sharpness
    between frames counts as flicker. NaN if the motion can be trusted nowhere.

    `flicker` rewards blur: the motion of the input is off by a fraction of a pixel, so that detail
    changes along it. A target flickers, too, and more than a blurred output.
    """
    sigma = matching_sigma(output, target)
    along = _enlarged(motion, (output.shape[-2], output.shape[-1]))
    blurred, blurred_before = gaussian_blur(torch.stack((target, target_previous)), sigma)
    return 255 * (_change(output, previous, along) - _change(blurred, blurred_before, along))


def _enlarged(motion: Motion, size: tuple[int, int]) -> Motion:
    """Scale the motion of a small frame to `size`, (height, width)."""
    height, width = motion.flow.shape[-2:]
    stretch = motion.flow.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
    flow = stretch * F.interpolate(motion.flow[None], size=size, mode="bilinear")
    trusted = F.interpolate(motion.trusted[None, None].float(), size=size, mode="nearest")
    return Motion(flow[0], trusted[0, 0] > 0)


def _change(frame: Tensor, previous: Tensor, motion: Motion) -> float:
    """Mean absolute difference of a frame from the warped previous one, where trusted."""
    difference = (frame - warp(previous[None], motion.flow[None])[0]).abs().mean(dim=0)
    return float(difference[motion.trusted].mean())


def temporal_profile(clip: Tensor, row: int | None = None) -> Tensor:
    """Extract the x-t slice of (T, C, H, W): a row of each frame, stacked to (C, T, W).

    Steady film shows smooth streaks; flicker breaks them up. `row` is the middle one by default.
    """
    return clip[:, :, clip.shape[2] // 2 if row is None else row].permute(1, 0, 2)
