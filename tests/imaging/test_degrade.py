import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import data

from vsr.imaging.degrade import (
    Degradation,
    Phase,
    Scaler,
    add_gaussian_noise,
    add_poisson_noise,
    blur_and_subsample,
    blur_each,
    degrade,
    filter_and_subsample,
    gaussian_kernels,
    shrinking_kernels,
    sinc_kernels,
)
from vsr.imaging.tensors import to_float


@pytest.mark.parametrize("scale", [2, 4])
def test_bi_equals_pillows_bicubic_rounded_once(scale: int) -> None:
    picture = data.coffee()[:400, :600]
    high = to_float(torch.from_numpy(picture.copy())).permute(2, 0, 1)[None]
    ours = degrade(high, scale, Degradation.BI)[0] * 255
    for channel in range(3):
        plane = Image.fromarray(picture[..., channel].astype(np.float32))
        shrunk = plane.resize((600 // scale, 400 // scale), Image.Resampling.BICUBIC)
        theirs = np.asarray(shrunk).clip(0, 255)
        assert np.abs(ours[channel].numpy() - theirs).max() < 0.51


PILLOWS = {
    Scaler.BICUBIC: Image.Resampling.BICUBIC,
    Scaler.BILINEAR: Image.Resampling.BILINEAR,
    Scaler.AREA: Image.Resampling.BOX,
    Scaler.LANCZOS: Image.Resampling.LANCZOS,
}


@pytest.mark.parametrize("scaler", list(Scaler))
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_scalers_shrink_as_pillows_do(scaler: Scaler, scale: int) -> None:
    """Away from the border, where Pillow leaves out what the picture lacks."""
    plane = data.camera()[:240, :360].astype(np.float32)
    high = torch.from_numpy(plane)[None, None].expand(2, 3, -1, -1)
    ours = filter_and_subsample(high, scale, shrinking_kernels(scaler, scale, torch.zeros(2)))
    shrunk = Image.fromarray(plane).resize((360 // scale, 240 // scale), PILLOWS[scaler])
    assert ours.shape == (2, 3, 240 // scale, 360 // scale)
    inner = (slice(3, -3), slice(3, -3))
    assert np.abs(ours[1, 2].numpy()[inner] - np.asarray(shrunk)[inner]).max() < 0.01


def test_each_frame_is_blurred_by_its_own_sigma_before_it_shrinks() -> None:
    plane = data.camera()[:240, :240].astype(np.float32)
    high = torch.from_numpy(plane)[None, None].expand(2, 1, -1, -1)
    kernels = shrinking_kernels(Scaler.AREA, 4, torch.tensor([0.0, 2.0]))
    ours = filter_and_subsample(high, 4, kernels)[:, 0].numpy()
    for number, sigma in enumerate((0.0, 2.0)):
        soft = gaussian_filter(plane, sigma, truncate=3) if sigma else plane
        expected = soft.reshape(60, 4, 60, 4).mean(axis=(1, 3))
        assert np.abs(ours[number] - expected)[3:-3, 3:-3].max() < 0.05


@pytest.mark.parametrize("kind", list(Degradation))
@pytest.mark.parametrize("scale", [2, 4])
def test_low_frames_lie_on_the_middle_of_their_cells(kind: Degradation, scale: int) -> None:
    """An even ramp keeps its place: neither degradation displaces the picture."""
    side = 64
    ramp = (torch.arange(side) / 255).expand(1, 3, side, side)
    low = degrade(ramp, scale, kind)[0, 0, 0] * 255
    middles = torch.arange(side // scale) * scale + (scale - 1) / 2
    inner = slice(16 // scale, -16 // scale)
    assert (low - middles)[inner].abs().max() <= 0.5 + 1e-4


def test_bd_is_a_gaussian_of_the_sigma_asked_for() -> None:
    """The second moment of what one bright line spreads into."""
    side, scale, sigma = 128, 4, 1.6
    total = torch.zeros(side // scale)
    second_moments = []
    for position in (62, 63, 64, 65):
        line = torch.zeros(1, 3, side, side)
        line[..., position] = 1
        low = blur_and_subsample(line, scale, sigma)[0, 0, 0]
        distance = torch.arange(side // scale) * scale + (scale - 1) / 2 - position
        second_moments.append((low * distance**2).sum())
        total += low
    # Over the four phases the samples of the kernel are one apart: their sum is its integral.
    variance = sum(second_moments) / total.sum()
    assert float(variance) == pytest.approx(sigma**2, rel=0.03)
    assert float(total.sum()) == pytest.approx(1.0, rel=1e-3)


def test_low_frames_are_on_8_bit_levels() -> None:
    low = degrade(torch.rand(1, 3, 16, 16), 4, Degradation.BD) * 255
    assert torch.allclose(low, low.round(), atol=1e-4)


def test_sides_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="18x16 doesn't divide by 4"):
        degrade(torch.rand(1, 3, 16, 18), 4, Degradation.BI)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_first_pixel_of_a_cell_is_the_literatures_phase(scale: int) -> None:
    """Blur, then every s-th pixel from the first, as benchmarks make their `BD`."""
    picture = data.coffee()[:200, :240]
    high = to_float(torch.from_numpy(picture.copy())).permute(2, 0, 1)[None]
    sigma = 0.4 * scale
    low = blur_and_subsample(high, scale, sigma, Phase.FIRST)[0]
    for channel in range(3):
        blurred = gaussian_filter(picture[..., channel] / 255, sigma, truncate=3.2, mode="nearest")
        assert np.abs(low[channel].numpy() - blurred[::scale, ::scale]).max() < 0.01


def test_sigma_can_be_another() -> None:
    high = torch.rand(1, 3, 32, 32)
    usual, other = (degrade(high, 4, Degradation.BD, sigma) for sigma in (None, 1.5))
    assert torch.equal(usual, degrade(high, 4, Degradation.BD, 1.6))
    assert not torch.equal(usual, other)


def test_each_frame_gets_its_own_kernel() -> None:
    frames = torch.zeros(2, 3, 15, 15)
    frames[..., 7, 7] = 1
    sigmas = torch.tensor([[0.5, 0.5], [2.0, 1.0]])
    kernels = gaussian_kernels(sigmas, torch.tensor([0.0, 0.0]), reach=5)
    blurred = blur_each(frames, kernels)
    assert torch.allclose(blurred[:, 1, 2:-2, 2:-2], kernels, atol=1e-6)
    place = torch.arange(-5.0, 6.0)
    across = (kernels[1].sum(dim=0) * place**2).sum()
    down = (kernels[1].sum(dim=1) * place**2).sum()
    assert float(across) == pytest.approx(2.0**2, rel=0.06)
    assert float(down) == pytest.approx(1.0**2, rel=0.06)


def test_a_sinc_passes_what_is_below_its_cutoff() -> None:
    kernel = sinc_kernels(torch.tensor([np.pi / 2]), reach=20)[0]
    place = torch.arange(-20.0, 21.0)

    def passed(frequency: float) -> float:
        return float((kernel * torch.cos(frequency * place)).sum())

    assert passed(np.pi / 8) == pytest.approx(1, abs=0.1)
    assert passed(7 * np.pi / 8) == pytest.approx(0, abs=0.1)


def test_noise_has_the_strength_asked_for() -> None:
    grey = torch.full((2, 3, 64, 64), 0.25)
    random = torch.Generator().manual_seed(0)
    noisy = add_gaussian_noise(grey, torch.tensor([0.01, 0.1]), False, random) - grey
    assert noisy.std(dim=(1, 2, 3)).tolist() == pytest.approx([0.01, 0.1], rel=0.05)
    alike = add_gaussian_noise(grey, torch.tensor([0.1, 0.1]), True, random)
    assert torch.equal(alike[:, 0], alike[:, 2])
    shot = add_poisson_noise(grey, torch.tensor([0.1, 0.1]), random) - grey
    assert float(shot.std()) == pytest.approx(0.05, rel=0.05)
