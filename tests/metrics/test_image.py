import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio

from vsr.metrics.image import psnr_y
from vsr.tensors import to_float


def test_luma_psnr_equals_scikit_images_on_its_luma() -> None:
    picture = data.astronaut()
    noisy = np.clip(picture + np.random.default_rng(0).normal(0, 12, picture.shape), 0, 255)
    noisy = noisy.astype(np.uint8)
    theirs = peak_signal_noise_ratio(
        rgb2ycbcr(picture)[..., 0], rgb2ycbcr(noisy)[..., 0], data_range=255
    )
    ours = psnr_y(*(to_float(torch.from_numpy(each)).permute(2, 0, 1) for each in (noisy, picture)))
    assert ours.item() == pytest.approx(theirs, abs=1e-4)


def test_it_is_taken_picture_by_picture() -> None:
    output, target = torch.rand(2, 5, 3, 8, 8), torch.rand(2, 5, 3, 8, 8)
    together = psnr_y(output, target)
    assert together.shape == (2, 5)
    assert together[1, 3] == psnr_y(output[1, 3], target[1, 3])
