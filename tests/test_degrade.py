import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from vsr.degrade import Degradation, blur_and_subsample, degrade
from vsr.tensors import to_float


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
