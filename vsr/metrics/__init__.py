"""Image and video quality metrics: pure functions of tensors on any device."""

from vsr.metrics.image import ms_ssim_y, psnr, psnr_y, sharpness, ssim_y
from vsr.metrics.perceptual import Lpips, tlp
from vsr.metrics.temporal import (
    Motion,
    excess_flicker,
    farneback,
    flicker,
    grey,
    motion_to_previous,
    temporal_profile,
    tof,
    warping_error,
)

__all__ = [
    "Lpips",
    "Motion",
    "excess_flicker",
    "farneback",
    "flicker",
    "grey",
    "motion_to_previous",
    "ms_ssim_y",
    "psnr",
    "psnr_y",
    "sharpness",
    "ssim_y",
    "temporal_profile",
    "tlp",
    "tof",
    "warping_error",
]
