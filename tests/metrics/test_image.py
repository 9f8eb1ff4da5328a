import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vsr.imaging.colour import luma_of
from vsr.imaging.tensors import to_float
from vsr.metrics.image import ms_ssim_y, psnr, psnr_y, sharpness, ssim_y


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


def test_equal_pictures_have_no_distance() -> None:
    picture = torch.rand(1, 3, 180, 190)
    assert psnr(picture, picture).isinf()
    assert psnr_y(picture, picture).isinf()
    assert float(ms_ssim_y(picture, picture)) == pytest.approx(1, abs=1e-6)
    assert float(sharpness(picture, picture)) == pytest.approx(1, abs=1e-6)


def test_psnr_of_a_case_worked_by_hand() -> None:
    black = torch.zeros(3, 4, 4)
    # Every sample is off by a tenth: MSE 0.01, 20 dB.
    assert float(psnr(black + 0.1, black)) == pytest.approx(20, abs=1e-5)
    # Grey of a tenth is 21.9 code values of studio luma above black.
    assert float(psnr_y(black + 0.1, black)) == pytest.approx(20 * np.log10(255 / 21.9), abs=1e-4)


def test_too_small_a_picture_is_refused() -> None:
    small = torch.rand(1, 3, 10, 40)
    with pytest.raises(ValueError, match="SSIM needs sides of at least 11 pixels, not 40x10"):
        ssim_y(small, small)
    small = torch.rand(1, 3, 175, 200)
    with pytest.raises(ValueError, match="MS-SSIM needs sides of at least 176"):
        ms_ssim_y(small, small)


def test_ssim_on_a_gpus_path_is_that_on_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    output, target = torch.rand(2, 3, 40, 50), torch.rand(2, 3, 40, 50)
    ours = ssim_y(output, target)
    monkeypatch.setattr("vsr.metrics.image.filters_by_opencv", lambda planes: False)
    assert ssim_y(output, target).tolist() == pytest.approx(ours.tolist(), abs=1e-6)


def test_blur_is_less_sharp_and_noise_sharper_than_the_target() -> None:
    target = to_float(torch.from_numpy(data.camera()[:256, :256].copy())).expand(1, 3, 256, 256)
    blurred = torch.from_numpy(gaussian_filter(target.numpy(), (0, 0, 1.5, 1.5)))
    noisy = target + 0.1 * torch.randn(1, 1, 256, 256)
    assert float(sharpness(blurred, target)) < 0.2
    assert float(sharpness(noisy, target)) > 2


def test_sharpness_looks_at_the_upper_half_of_the_spectrum_alone() -> None:
    x = torch.arange(128.0)
    low, high = torch.sin(2 * torch.pi * x * 0.1), torch.sin(2 * torch.pi * x * 0.4)

    def grating(a: float, b: float) -> torch.Tensor:
        return (0.5 + 0.1 * (a * low + b * high)).expand(1, 3, 128, 128)

    # Twice the amplitude is four times the energy; what is below a quarter doesn't count.
    assert float(sharpness(grating(3, 2), grating(1, 1))) == pytest.approx(4, abs=0.01)


def test_the_sharpness_of_flat_targets_is_unknown() -> None:
    """Rounding errors are no detail: a ratio to them would be arbitrary."""
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    flat = torch.full((1, 3, 64, 64), 0.4)
    for output in (flat, noise):
        assert sharpness(output, flat).isnan().all()
    rounded = 0.4 + (noise[:, :1] - 0.5).expand(1, 3, 64, 64) / 255
    assert sharpness(rounded, rounded) == pytest.approx(1)
    assert sharpness(flat, noise) == pytest.approx(0, abs=1e-6)
