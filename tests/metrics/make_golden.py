"""Write golden.json: what scikit-image, torchmetrics and OpenCV find on pictures of scikit-image.

python tests/metrics/make_golden.py

Nothing of vsr is used, so that its metrics can be held against what this wrote.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

GOLDEN = Path(__file__).with_name("golden.json")
FRAMES = 4


def clips() -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """A film of 240x208, drifting by whole pixels, and a blurred and noisy copy of it."""
    picture = data.astronaut()
    target = [picture[20 + 2 * n : 228 + 2 * n, 100 + 3 * n : 340 + 3 * n] for n in range(FRAMES)]
    random = np.random.default_rng(5)
    output = []
    for frame in target:
        blurred = cv2.GaussianBlur(frame, (0, 0), 1.1).astype(np.float64)
        noisy = blurred + random.normal(0, 5, frame.shape)
        output.append(noisy.round().clip(0, 255).astype(np.uint8))
    return output, target


def main() -> None:
    """Measure each frame."""
    output, target = clips()
    golden: dict[str, list[float]] = {key: [] for key in ("psnr", "psnr_y", "ssim_y", "ms_ssim_y")}
    golden["tof"] = []
    for ours, theirs in zip(output, target, strict=True):
        lumas = [rgb2ycbcr(picture)[..., 0] for picture in (ours, theirs)]
        golden["psnr"].append(float(peak_signal_noise_ratio(theirs, ours, data_range=255)))
        golden["psnr_y"].append(float(peak_signal_noise_ratio(lumas[1], lumas[0], data_range=255)))
        golden["ssim_y"].append(
            float(
                structural_similarity(
                    lumas[0],
                    lumas[1],
                    data_range=255,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                )
            )
        )
        one, other = (torch.from_numpy(luma)[None, None] for luma in lumas)
        golden["ms_ssim_y"].append(
            float(multiscale_structural_similarity_index_measure(one, other, data_range=255.0))
        )
    for number in range(1, FRAMES):
        flows = []
        for film in (output, target):
            was, now = (cv2.cvtColor(film[n], cv2.COLOR_RGB2GRAY) for n in (number - 1, number))
            none: Any = None
            flows.append(cv2.calcOpticalFlowFarneback(was, now, none, 0.5, 3, 15, 3, 5, 1.2, 0))
        # 208 - 16 = 192 and 240 - 16 = 224 are multiples of 32.
        difference = (flows[0] - flows[1])[8:-8, 8:-8]
        golden["tof"].append(float(np.sqrt((difference**2).sum(axis=-1)).mean()))
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
