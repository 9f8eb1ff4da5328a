from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from skimage.color import ycbcr2rgb

from vsr.imaging.colour import (
    ColourSpec,
    Matrix,
    Siting,
    Subsampling,
    from_rgb,
    luma_of,
    matrix_from_code,
    to_rgb,
)

C444 = Subsampling(1, 1)
C422 = Subsampling(2, 1)
C420 = Subsampling(2, 2)
SWSCALE = {
    Matrix.BT601: Colorspace.ITU601,
    Matrix.BT709: Colorspace.ITU709,
    Matrix.BT2020: Colorspace.BT2020,
}
ALL_SPECS = [
    ColourSpec(matrix, full, depth, subsampling, siting)
    for matrix, full, depth, subsampling, siting in product(
        Matrix, (False, True), (8, 10), (C444, C422, C420), Siting
    )
]


def random_planes(spec: ColourSpec, height: int = 37, width: int = 51) -> list[torch.Tensor]:
    """Any code values at all, odd sizes."""
    small = (-(-height // spec.subsampling.down), -(-width // spec.subsampling.across))
    most = 2**spec.bit_depth
    return [torch.randint(0, most, size) for size in ((height, width), small, small)]


@pytest.mark.parametrize("spec", ALL_SPECS, ids=str)
def test_luma_comes_back_within_one_code_value_whatever_the_chroma(spec: ColourSpec) -> None:
    planes = random_planes(spec)
    luma = from_rgb(to_rgb(planes, spec), spec)[0]
    assert (luma.int() - planes[0]).abs().max() <= 1


@pytest.mark.parametrize("spec", [s for s in ALL_SPECS if s.subsampling == C444], ids=str)
def test_without_subsampling_all_planes_come_back(spec: ColourSpec) -> None:
    planes = random_planes(spec)
    for before, after in zip(planes, from_rgb(to_rgb(planes, spec), spec), strict=True):
        assert (after.int() - before).abs().max() <= 1


@pytest.mark.parametrize(("matrix", "full"), list(product(Matrix, (False, True))))
def test_rgb_equals_ffmpegs_scaler(matrix: Matrix, full: bool) -> None:
    spec = ColourSpec(matrix, full, 8, C444)
    # Colours inside RGB, so that neither side clamps.
    rgb = torch.rand(3, 40, 40)
    planes = from_rgb(rgb, spec)
    frame: Any = VideoFrame(40, 40, "yuv444p")
    for plane, samples in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows[:40, :40] = samples.numpy()
    # 16 bit out, so that its own rounding doesn't count.
    theirs = frame.reformat(
        format="gbrp16le",
        src_colorspace=SWSCALE[matrix],
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation="BICUBIC",
    )
    green, blue, red = (
        np.frombuffer(plane, np.uint16).reshape(-1, plane.line_size // 2)[:40, :40]
        for plane in theirs.planes
    )
    reference = np.stack((red, green, blue)).astype(np.float64) / 65535
    difference = np.abs(to_rgb(planes, spec).numpy().clip(0, 1) - reference)
    assert difference.max() < 1.5 / 255


def test_bt601_equals_scikit_image() -> None:
    planes = [torch.randint(64, 192, (9, 9)) for _ in range(3)]
    theirs = ycbcr2rgb(np.stack([plane.numpy() for plane in planes], axis=-1).astype(float))
    ours = to_rgb(planes, ColourSpec(Matrix.BT601, False, 8, C444))
    assert np.abs(ours.permute(1, 2, 0).numpy() - theirs).max() < 1e-3


def test_ten_bit_codes_are_four_times_eight_bit_ones() -> None:
    planes = random_planes(ColourSpec(Matrix.BT2020, subsampling=C420))
    eight = to_rgb(planes, ColourSpec(Matrix.BT2020))
    ten = to_rgb([4 * plane for plane in planes], ColourSpec(Matrix.BT2020, bit_depth=10))
    assert torch.allclose(eight, ten, atol=1e-5)


@pytest.mark.parametrize("siting", list(Siting))
@pytest.mark.parametrize("subsampling", [C422, C420])
def test_a_ramp_of_chroma_lands_where_its_samples_lie(
    siting: Siting, subsampling: Subsampling
) -> None:
    """Chroma that grows evenly over the picture must do so after interpolation too."""
    spec = ColourSpec(Matrix.BT709, False, 8, subsampling, siting)
    across = 0.0 if siting is not Siting.CENTER else 0.5
    down = 0.0 if siting is Siting.TOP_LEFT else 0.5
    x = torch.arange(16).float() * 2 + across
    y = torch.arange(16).float() * 2 + down if subsampling.down == 2 else torch.arange(32).float()
    ramp = 128 + x + 0.5 * y[:, None]
    luma = torch.full((32, 32), 126.0)
    neutral = torch.full_like(ramp, 128)
    red = to_rgb((luma, neutral, ramp), spec)[0]
    grey = to_rgb((luma, neutral, neutral), spec)[0]
    full = torch.arange(32).float() + 0.5 * torch.arange(32).float()[:, None]
    expected = 2 * (1 - 0.2126) * full / 224
    inner = (slice(2, -3), slice(2, -3))  # borders repeat, so ramps end there
    assert torch.allclose((red - grey)[inner], expected[inner], atol=1e-5)
    back = from_rgb(to_rgb((luma, neutral, ramp), spec), spec)[2]
    assert (back.float() - ramp)[2:-2, 2:-2].abs().max() <= 0.51


def test_planes_of_the_wrong_size_are_refused() -> None:
    planes = [torch.zeros(8, 8), torch.zeros(4, 4), torch.zeros(4, 5)]
    with pytest.raises(ValueError, match="subsampled"):
        to_rgb(planes, ColourSpec(Matrix.BT709))


@pytest.mark.parametrize(
    ("code", "height", "matrix"),
    [
        (1, 100, Matrix.BT709),
        (6, 1080, Matrix.BT601),
        (9, 100, Matrix.BT2020),
        (2, 480, Matrix.BT601),
        (2, 720, Matrix.BT709),
    ],
)
def test_a_matrix_is_named_by_its_code_or_guessed_from_the_height(
    code: int, height: int, matrix: Matrix
) -> None:
    assert matrix_from_code(code, height) is matrix


def test_luma_of_white_and_black_is_that_of_studio_range() -> None:
    white, black = torch.ones(3, 1, 1), torch.zeros(3, 1, 1)
    assert luma_of(white).item() == pytest.approx(235, abs=1e-3)
    assert luma_of(black).item() == 16
