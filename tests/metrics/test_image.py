import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vsr.colour import luma_of
from vsr.metrics.image import psnr_y, ssim_y
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


@pytest.mark.parametrize("blur", [0.0, 1.5])
def test_ssim_is_scikit_images(blur: float) -> None:
    target = to_float(torch.from_numpy(data.astronaut()[:200, :240].copy())).permute(2, 0, 1)
    noise = 0.05 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    output = (target + noise).clamp(0, 1)
    if blur:
        output = torch.from_numpy(gaussian_filter(output.numpy(), (0, blur, blur)))
    ours = float(ssim_y(output[None], target[None]))
    theirs, places = structural_similarity(
        luma_of(output).numpy(),
        luma_of(target).numpy(),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    # Theirs drops the border that the window overlaps, as ours does.
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert float(ssim_y(target[None], target[None])) == pytest.approx(1, abs=1e-6)
    assert places.shape == (200, 240)
