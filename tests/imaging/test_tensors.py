import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from vsr.imaging.tensors import resize_bicubic, to_float, to_uint8, warp


def test_uint8_survives_the_way_to_float_and_back() -> None:
    codes = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(codes)), codes)


@pytest.mark.parametrize("size", [(128, 128), (100, 77), (640, 700)])
def test_bicubic_resizing_equals_pillows(size: tuple[int, int]) -> None:
    """In floating point: at 8 bit Pillow rounds and clamps between its two passes."""
    picture = data.astronaut()
    width, height = size
    ours = resize_bicubic(
        to_float(torch.from_numpy(picture)).permute(2, 0, 1)[None], (height, width)
    )
    for channel in range(3):
        plane = Image.fromarray(picture[..., channel].astype(np.float32))
        theirs = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
        assert np.abs(ours[0, channel].numpy() * 255 - theirs).max() < 0.01


def test_warping_by_whole_pixels_is_a_shift_with_repeated_border() -> None:
    pixels = torch.rand(1, 2, 5, 7)
    flow = torch.zeros(1, 2, 5, 7)
    flow[:, 0], flow[:, 1] = 2, -1
    columns = torch.arange(7).add(2).clamp(max=6)
    rows = torch.arange(5).sub(1).clamp(min=0)
    expected = pixels[:, :, rows][:, :, :, columns]
    assert torch.allclose(warp(pixels, flow), expected, atol=1e-5)


def test_warping_by_half_a_pixel_averages_neighbours() -> None:
    pixels = torch.rand(1, 1, 4, 6)
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0] = 0.5
    expected = (pixels[..., :-1] + pixels[..., 1:]) / 2
    assert torch.allclose(warp(pixels, flow)[..., :-1], expected, atol=1e-5)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_gradients_of_positions_that_are_no_numbers_are_safe(odd: float) -> None:
    flow = torch.zeros(1, 2, 8, 8)
    flow[0, 0, 3, 3] = odd
    flow.requires_grad_()
    pixels = torch.rand(1, 3, 8, 8, requires_grad=True)
    warped = warp(pixels, flow)
    assert not warped.sum().isfinite()
    warped.nansum().backward()


def test_warping_is_the_same_with_and_without_gradients() -> None:
    pixels, flow = torch.rand(2, 3, 9, 7), 3 * torch.randn(2, 2, 9, 7)
    with torch.no_grad():
        plain = warp(pixels, flow)
    assert torch.equal(warp(pixels, flow.requires_grad_()), plain)
