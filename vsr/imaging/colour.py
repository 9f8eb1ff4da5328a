"""Convert RGB to Y'CbCr and back, by the matrices of the standards.

Sources: ITU-R BT.601-7, BT.709-6, BT.2020-2 (non-constant luminance); code points
and chroma sample positions from ITU-T H.273.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor


class Matrix(StrEnum):
    """A standard's luma coefficients."""

    BT601 = "bt601"
    BT709 = "bt709"
    BT2020 = "bt2020"

    @property
    def luma_weights(self) -> tuple[float, float, float]:
        """The weights of R, G and B in luma; their sum is 1."""
        red, blue = {
            Matrix.BT601: (0.299, 0.114),
            Matrix.BT709: (0.2126, 0.0722),
            Matrix.BT2020: (0.2627, 0.0593),
        }[self]
        return red, 1 - red - blue, blue


class Siting(StrEnum):
    """Position of a subsampled chroma sample among its luma samples."""

    LEFT = "left"
    """On the left column, between the two rows: MPEG-2, H.264 and HEVC by default."""
    CENTER = "center"
    """In the centre of the luma samples: MPEG-1, JPEG."""
    TOP_LEFT = "topleft"
    """On the upper left luma sample: BT.2020 and HDR10 discs."""


class Subsampling(NamedTuple):
    """Luma samples per chroma sample, horizontally and vertically: (2, 2) is 4:2:0."""

    across: int
    down: int


_420 = Subsampling(2, 2)


@dataclass(frozen=True)
class ColourSpec:
    """Describes how planes of code values represent colour."""

    matrix: Matrix
    full_range: bool = False
    bit_depth: int = 8
    subsampling: Subsampling = _420
    siting: Siting = Siting.LEFT

    @property
    def luma_range(self) -> tuple[float, float]:
        """Code values of black and of white."""
        if self.full_range:
            return 0.0, float(2**self.bit_depth - 1)
        return 16.0 * 2 ** (self.bit_depth - 8), 235.0 * 2 ** (self.bit_depth - 8)

    @property
    def chroma_range(self) -> tuple[float, float]:
        """Code value of neutral chroma, and the full swing of Cb or Cr in code values."""
        swing = 2**self.bit_depth - 1 if self.full_range else 224 * 2 ** (self.bit_depth - 8)
        return float(2 ** (self.bit_depth - 1)), float(swing)

    @property
    def cosited(self) -> tuple[bool, bool]:
        """Whether chroma samples coincide with luma samples, horizontally and vertically."""
        return self.siting is not Siting.CENTER, self.siting is Siting.TOP_LEFT


_MATRIX_OF_CODE = {
    1: Matrix.BT709,
    4: Matrix.BT601,  # FCC 73.682: differs from BT.601 in the third digit
    5: Matrix.BT601,
    6: Matrix.BT601,
    9: Matrix.BT2020,
    10: Matrix.BT2020,
}
CODE_OF_MATRIX = {Matrix.BT709: 1, Matrix.BT601: 6, Matrix.BT2020: 9}
"""H.273 MatrixCoefficients of each matrix, for output."""


def matrix_from_code(code: int, height: int) -> Matrix:
    """Return the matrix of an H.273 MatrixCoefficients code point.

    For an unspecified (2) or unsupported code, it follows from the height, as in players: BT.709
    from 720 lines up, BT.601 below.
    """
    guess = Matrix.BT709 if height >= 720 else Matrix.BT601
    return _MATRIX_OF_CODE.get(code, guess)


def to_rgb(planes: Sequence[Tensor], spec: ColourSpec) -> Tensor:
    """Convert planes of code values, Y (..., H, W), Cb and Cr (..., h, w), to RGB (..., 3, H, W).

    The result is float. Colours outside RGB are below 0 or above 1 and aren't clamped, so that
    `from_rgb` reproduces luma. Raises ValueError where the sizes of the planes don't match.
    """
    luma, *chroma = (plane.to(torch.float32) for plane in planes)
    *batch, height, width = luma.shape
    across, down = spec.subsampling
    expected = (*batch, -(-height // down), -(-width // across))
    if len(chroma) != 2 or any(plane.shape != expected for plane in chroma):
        sizes = [tuple(plane.shape) for plane in planes]
        raise ValueError(f"planes of {sizes} are not {spec.subsampling} subsampled")
    black, white = spec.luma_range
    neutral, swing = spec.chroma_range
    y = (luma - black) / (white - black)
    colour = (torch.stack(chroma) - neutral) / swing
    cosited_across, cosited_down = spec.cosited
    if across == 2:  # the slower direction first, on fewer rows
        colour = _upsample(colour, width, cosited_across, dim=-1)
    if down == 2:
        colour = _upsample(colour, height, cosited_down, dim=-2)
    cb, cr = colour.unbind(0)
    red_weight, green_weight, blue_weight = spec.matrix.luma_weights
    red = y + 2 * (1 - red_weight) * cr
    blue = y + 2 * (1 - blue_weight) * cb
    green = (y - red_weight * red - blue_weight * blue) / green_weight
    return torch.stack((red, green, blue), dim=-3)


def from_rgb(rgb: Tensor, spec: ColourSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Convert float RGB (..., 3, H, W) to planes of code values: uint8, or int16 above 8 bits.

    Values are rounded to nearest and clamped to the bit depth. Chroma is low-passed before it is
    subsampled: by the mean of two luma positions where it is between them, by (1 2 1)/4 where it
    coincides with one.
    """
    luma = _weighted(rgb, spec.matrix)
    black, white = spec.luma_range
    neutral, swing = spec.chroma_range
    small = rgb
    cosited_across, cosited_down = spec.cosited
    # Filters are linear: subsampling RGB first leaves a quarter of the pixels to convert.
    if spec.subsampling.down == 2:
        small = _downsample(small, cosited_down, dim=-2)
    if spec.subsampling.across == 2:
        small = _downsample(small, cosited_across, dim=-1)
    small_luma = _weighted(small, spec.matrix) if small is not rgb else luma
    cb = (small[..., 2, :, :] - small_luma) / (2 * (1 - spec.matrix.luma_weights[2]))
    cr = (small[..., 0, :, :] - small_luma) / (2 * (1 - spec.matrix.luma_weights[0]))
    return (
        _quantise(luma * (white - black) + black, spec.bit_depth),
        _quantise(cb * swing + neutral, spec.bit_depth),
        _quantise(cr * swing + neutral, spec.bit_depth),
    )


def chroma_weights(matrix: Matrix) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights (3,) of R, G, B in luma in [0, 1], and in Cb and Cr in [-0.5, 0.5]."""
    luma = torch.tensor(matrix.luma_weights)
    red, blue = torch.eye(3)[0], torch.eye(3)[2]
    return luma, (blue - luma) / (2 * (1 - luma[2])), (red - luma) / (2 * (1 - luma[0]))


def luma_of(rgb: Tensor) -> Tensor:
    """Convert RGB (..., 3, H, W) in [0, 1] to BT.601 studio luma (..., H, W), 16..235.

    The luma of published PSNR tables: MATLAB's `rgb2ycbcr`.
    """
    red, green, blue = rgb.unbind(-3)
    return 65.481 * red + 128.553 * green + 24.966 * blue + 16


def _weighted(rgb: Tensor, matrix: Matrix) -> Tensor:
    """Compute luma in [0, 1] of (..., 3, H, W), term by term.

    The rounding of a matrix product depends on the memory layout of its operands, and occasionally
    changes a code value.
    """
    (red, green, blue), (a, b, c) = rgb.unbind(-3), matrix.luma_weights
    return a * red + b * green + c * blue


def _quantise(values: Tensor, bit_depth: int) -> Tensor:
    codes = values.round().clamp_(0, 2**bit_depth - 1)
    return codes.to(torch.uint8 if bit_depth == 8 else torch.int16)


def _upsample(samples: Tensor, length: int, cosited: bool, dim: int) -> Tensor:
    """Upsample by 2 along `dim`, linearly, and crop to `length`; borders are repeated."""
    count = samples.shape[dim]
    following = torch.cat(
        (samples.narrow(dim, 1, count - 1), samples.narrow(dim, count - 1, 1)), dim
    )
    if cosited:
        even, odd = samples, (samples + following) / 2
    else:
        preceding = torch.cat((samples.narrow(dim, 0, 1), samples.narrow(dim, 0, count - 1)), dim)
        even, odd = 0.75 * samples + 0.25 * preceding, 0.75 * samples + 0.25 * following
    both = torch.stack((even, odd), dim=samples.dim() + dim + 1)
    return both.flatten(samples.dim() + dim, samples.dim() + dim + 1).narrow(dim, 0, length)


def _downsample(samples: Tensor, cosited: bool, dim: int) -> Tensor:
    """Downsample by 2 along `dim`; borders, and an odd length, repeat the last sample."""
    count = samples.shape[dim]
    if count % 2:
        samples = torch.cat((samples, samples.narrow(dim, count - 1, 1)), dim)
    every_other = torch.arange(0, samples.shape[dim], 2, device=samples.device)
    even, odd = (samples.index_select(dim, every_other + first) for first in (0, 1))
    if not cosited:
        return (even + odd) / 2
    before = torch.cat((even.narrow(dim, 0, 1), odd.narrow(dim, 0, odd.shape[dim] - 1)), dim)
    return (before + 2 * even + odd) / 4
