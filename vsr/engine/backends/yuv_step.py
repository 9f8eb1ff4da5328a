"""Generators that take and return planes of Y'CbCr, with colour conversion folded into them.

The conversion from RGB to luma and subsampled chroma is linear, and so is the last convolution of a
`Recurrent` generator. Their product is computed once: for 4:2:0, the head then has 24 channels
instead of 48. Its outputs are code values, which are rounded before the pixel shuffle.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.imaging.colour import ColourSpec, chroma_weights, from_rgb, to_rgb
from vsr.media.frame import Plane
from vsr.models import Generator, Recurrent
from vsr.models.half import is_half
from vsr.models.int8 import QuantisedConv, QuantisedHead
from vsr.models.recurrent import RecurrentState

Array = TypeVar("Array", NDArray[Any], Tensor)
_OWN_KERNEL = 3
"""Side of the kernel of a head without resampling."""


class YuvStep(nn.Module):
    """One step of any generator, from planes of code values to planes of code values.

    `forward(y, cb, cr, *state)` takes planes (1, 1, H, W) and returns `(y, cb, cr, *state)`. A step
    for tiles takes the coarse flow before the state.
    """

    def __init__(
        self,
        generator: Generator[Any],
        specs: tuple[ColourSpec, ColourSpec],
        takes_flow: bool = False,
    ) -> None:
        """`specs` are the colour formats of input and output; `takes_flow` is for tiles."""
        super().__init__()
        self.generator = generator
        self._coarse = int(takes_flow)
        self.read_as, self.write_as = specs

    def start(self, low: Tensor) -> tuple[Tensor, ...]:
        """Return the state before the first frame of a shot, (1, 3, H, W)."""
        return tuple(self.generator.start(low))

    def forward(self, y: Tensor, cb: Tensor, cr: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the next planes and the next state."""
        low = to_rgb((y[:, 0], cb[:, 0], cr[:, 0]), self.read_as)
        coarse, state = state[: self._coarse], state[self._coarse :]
        step: Any = self.generator.step  # accepts the coarse flow if the generator has motion
        high, following = step(low, self.generator.state_type(*state), *coarse)
        return (*from_rgb(high, self.write_as), *following)

    def assemble(self, outputs: Sequence[Array]) -> tuple[Array, ...]:
        """Return Y, Cb and Cr (H, W), possibly as views, from the planes of `forward`."""
        return tuple(plane[0] for plane in outputs)


class FoldedStep(YuvStep):
    """One step of a `Recurrent` generator that computes no RGB output.

    Outputs of `forward` are cells, the output samples of each low-resolution pixel: y
    (1, H, W, s^2) and chroma (1, H, W, 2 r c). y may have additional cells at the top and on the
    left, which `assemble` drops. If the scale is small, two or four pixels share a cell. The hidden
    state is channels last.
    """

    generator: Recurrent

    def __init__(
        self, generator: Recurrent, specs: tuple[ColourSpec, ColourSpec], size: tuple[int, int]
    ) -> None:
        """`specs` are the colour formats of input and output; `size` is (height, width)."""
        super().__init__(generator, specs)
        self._is_half = is_half(generator)
        scale, write_as, head = generator.scale, self.write_as, generator.head
        across, down = write_as.subsampling
        cosited_across, cosited_down = write_as.cosited
        # Chroma between two samples is their mean, within the cell of a pixel. Cosited chroma is
        # filtered around a sample, which reaches into the previous cell and enlarges the kernel.
        filters = (down == 2 and cosited_down, across == 2 and cosited_across)
        is_resampled = head.weight.shape[-1] > _OWN_KERNEL
        counts = tuple(
            _pixels_per_cell(scale, step, side, is_resampled)
            for step, side in zip((down, across), size, strict=True)
        )
        self._cell = (counts[0] * scale, counts[1] * scale)
        cells = tuple(
            side if step == 1 or is_filtered else side // 2
            for side, step, is_filtered in zip(self._cell, (down, across), filters, strict=True)
        )
        self._chroma_cell = cells[0] // (1 + filters[0]), cells[1] // (1 + filters[1])
        assert head.bias is not None
        joined = _joined(head.weight.detach(), head.bias.detach(), scale, counts)
        luma, chroma = _converted(*joined, write_as, self._cell, cells)
        chroma = _filtered(*chroma, cells, filters, counts)
        extra = int(filters[0]), int(filters[1])
        self._extra = extra if counts == (1, 1) else (0, 0)
        if counts != (1, 1):  # the kernels of luma and chroma start at the same pixel
            luma = (F.pad(luma[0], (extra[1], 0, extra[0], 0)), luma[1])
        precision = head.range if isinstance(head, QuantisedHead) else self._is_half
        reach = head.weight.shape[-1] // 2
        self._border = [reach + extra[1], reach, reach + extra[0], reach]
        stride = (counts[0], counts[1])
        self.luma = _FoldedHead(*luma, precision, self._border, stride)
        self.chroma = _FoldedHead(*chroma, precision, self._border, stride)

    def start(self, low: Tensor) -> tuple[Tensor, ...]:
        """Return the state before the first frame of a shot, (1, 3, H, W)."""
        state = self.generator.start(low)
        hidden = state.hidden.permute(0, 2, 3, 1).contiguous()
        return state.low, hidden.half() if self._is_half else hidden

    def forward(self, y: Tensor, cb: Tensor, cr: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the cells of the next planes and the next state."""
        low = to_rgb((y[:, 0], cb[:, 0], cr[:, 0]), self.read_as)
        *coarse, past, hidden = state
        previous = RecurrentState(past, hidden.permute(0, 3, 1, 2))
        features, low = self.generator.features(low, previous, *coarse)
        luma, chroma = self._heads(features, low)
        hidden = features[:, : self.generator.memory].permute(0, 2, 3, 1)
        return self._codes(luma), self._codes(chroma), low, hidden

    def assemble(self, outputs: Sequence[Array]) -> tuple[Array, ...]:
        """Return Y, Cb and Cr from cells."""
        luma, chroma = (cells[0] for cells in outputs)
        top, left = self._extra
        rows, columns = self._chroma_cell
        half = rows * columns
        return (
            _pixel_shuffle(luma[top:, left:], *self._cell),
            _pixel_shuffle(chroma[..., :half], rows, columns),
            _pixel_shuffle(chroma[..., half:], rows, columns),
        )

    def _heads(self, features: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.generator.head, QuantisedHead):
            inputs = [features, self._pad(low)]  # features are padded after rounding
        elif self._is_half:
            inputs = [self._pad(features), self._pad(low)]
        else:
            inputs = [self._pad(torch.cat((features, low), dim=1))]
        return self.luma(*inputs), self.chroma(*inputs)

    def _pad(self, x: Tensor) -> Tensor:
        return F.pad(x, self._border, mode="replicate")

    def _codes(self, values: Tensor) -> Tensor:
        """Round to code values, channels last, which is the layout that convolutions return."""
        depth = self.write_as.bit_depth
        codes = (values + 0.5).clamp(0, 2**depth - 1)
        return codes.to(torch.uint8 if depth == 8 else torch.int16).permute(0, 2, 3, 1)


class _FoldedHead(nn.Module):
    """A convolution of features and of the frame, whose part always stays f32.

    `precision` is that of the features: an int8 range, True for f16, or False for f32. In f32,
    features and frame are one input.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        precision: bool | tuple[float, float],
        border: Sequence[int],
        stride: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.stride = stride
        self.quantised: QuantisedConv | None = None
        self.feature_weight: nn.Parameter | None = None
        if isinstance(precision, tuple):
            self.quantised = QuantisedConv(weight[:, :-3], None, *precision, border, stride)
        elif precision:
            self.feature_weight = nn.Parameter(weight[:, :-3].half())
        self.weight = nn.Parameter(weight[:, -3:].contiguous() if precision else weight)
        self.bias = nn.Parameter(bias)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return code values (1, C, H, W) from padded inputs; features for int8 are not padded."""
        base = F.conv2d(inputs[-1], self.weight, self.bias, stride=self.stride)
        if self.quantised is not None:
            added: Tensor = self.quantised(inputs[0])
            return base + added
        if self.feature_weight is not None:
            return base + F.conv2d(inputs[0], self.feature_weight, stride=self.stride)
        return base


class Layout(NamedTuple):
    """Inputs of a step, all zero: for conversion and for allocating buffers."""

    frame: tuple[Tensor, ...]
    """Y, Cb and Cr, and for tiles the coarse flow."""
    state: tuple[Tensor, ...]


def build_yuv_step(
    generator: Generator[Any],
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    tiled: bool = False,
) -> tuple[YuvStep, Layout]:
    """Build the step of a generator for frames of `size` = (height, width), and its inputs.

    If `tiled`, frames are tiles, and the step takes the coarse flow if the generator uses motion.
    """
    read_as, _ = specs
    across, down = read_as.subsampling
    height, width = size
    dtype = torch.uint8 if read_as.bit_depth == 8 else torch.int16
    chroma_size = (-(-height // down), -(-width // across))
    y, *chroma = (
        torch.zeros(1, 1, *shape, dtype=dtype) for shape in (size, chroma_size, chroma_size)
    )
    low = torch.zeros(1, 3, *size)
    frame: tuple[Tensor, ...] = (y, *chroma)
    flow = generator.flow if tiled else None
    if flow is not None:
        unit, cells = 2**flow.levels, 2 ** (flow.levels - flow.coarse_level)
        frame += (torch.zeros(1, 2, *(-(-side // unit) * cells for side in size)),)
    ends_whole = _has_whole_cells(generator.scale, specs[1], size)
    if isinstance(generator, Recurrent) and generator.memory and ends_whole:
        step: YuvStep = FoldedStep(generator, specs, size)
    else:
        step = YuvStep(generator, specs, takes_flow=flow is not None)
    return step.eval(), Layout(frame, step.start(low))


def _pixels_per_cell(scale: int, step: int, side: int, is_resampled: bool) -> int:
    """Return how many low-resolution pixels share a cell along an axis of `side` pixels.

    Cells contain whole chroma samples, `step` luma samples apart. A convolution computes 16
    channels or more at a time, and a resampled head of a small scale has fewer per pixel.
    """
    least = 2 if scale % step else 1
    if not is_resampled:
        return least
    return max(n for n in (least, 2, 4) if n == least or (n * scale <= 4 and side % n == 0))


def _has_whole_cells(scale: int, spec: ColourSpec, size: tuple[int, int]) -> bool:
    """Whether frames of `size` = (height, width) end with a cell of chroma."""
    steps = (spec.subsampling.down, spec.subsampling.across)
    return all(scale * side % step == 0 for side, step in zip(size, steps, strict=True))


Convolution = tuple[Tensor, Tensor]
"""Weight (outputs, C, H, W) and bias of a convolution."""


def _converted(
    weight: Tensor, bias: Tensor, spec: ColourSpec, sides: tuple[int, int], cells: Sequence[int]
) -> tuple[Convolution, Convolution]:
    """Convert a convolution to RGB cells of `sides` into one to luma and one to chroma."""
    matrix, offset = _folding(spec, sides, cells)
    weight = torch.einsum("oc,cikl->oikl", matrix, weight)
    bias = matrix @ bias + offset
    count = sides[0] * sides[1]
    return (weight[:count], bias[:count]), (weight[count:], bias[count:])


def _folding(
    spec: ColourSpec, sides: tuple[int, int], cells: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return matrix and offset from the RGB samples of a cell to its code values.

    The code values are as many of luma, then `cells` = (rows, columns) of Cb, then as many of Cr.
    """
    black, white = spec.luma_range
    neutral, swing = spec.chroma_range
    luma, blue, red = chroma_weights(spec.matrix)
    count = sides[0] * sides[1]
    samples = torch.eye(3 * count).view(-1, 3, *sides)
    parts = [(white - black) * torch.einsum("c,ncij->nij", luma, samples).flatten(1)]
    offsets = [torch.full((count,), black)]
    means = F.avg_pool2d(samples, (sides[0] // cells[0], sides[1] // cells[1]))
    for weights in (blue, red):
        parts.append(swing * torch.einsum("c,ncij->nij", weights, means).flatten(1))
        offsets.append(torch.full((cells[0] * cells[1],), neutral))
    return torch.cat(parts, dim=1).T.contiguous(), torch.cat(offsets)


def _joined(weight: Tensor, bias: Tensor, scale: int, counts: Sequence[int]) -> Convolution:
    """Join the cells of `counts` = (rows, columns) pixels to one, which enlarges the kernel."""
    weight = weight.view(3, scale, scale, *weight.shape[1:])
    bias = bias.view(3, scale, scale)
    for axis, count in enumerate(counts):
        parts = [F.pad(weight, _sides(axis, n, count - 1 - n)) for n in range(count)]
        weight = torch.cat(parts, dim=1 + axis)
        bias = torch.cat(count * [bias], dim=1 + axis)
    return weight.flatten(0, 2), bias.flatten()


def _filtered(
    weight: Tensor,
    bias: Tensor,
    cells: Sequence[int],
    filters: Sequence[bool],
    counts: Sequence[int],
) -> Convolution:
    """Filter a convolution's (2 r c, C, H, W) outputs by (1 2 1)/4 around every other sample.

    `filters` says whether to filter down and across. Each filter enlarges the kernel by one,
    towards the previous cell. `counts` are the pixels of a cell down and across.
    """
    weight, bias = (part.reshape(2, *cells, *part.shape[1:]) for part in (weight, bias))
    for axis, (is_filtered, count) in enumerate(zip(filters, counts, strict=True)):
        if not is_filtered:
            continue
        # The same kernel for a cell, and for the previous one.
        current, previous = (
            F.pad(weight, _sides(axis, *side)).unbind(1 + axis)
            for side in ((1, 0), (1 - count, count))
        )
        weight = torch.stack(_decimate(previous[-1], current), dim=1 + axis)
        samples = bias.unbind(1 + axis)
        bias = torch.stack(_decimate(samples[-1], samples), dim=1 + axis)
    return weight.flatten(0, 2), bias.flatten(0, 2)


def _sides(axis: int, before: int, after: int) -> tuple[int, ...]:
    """Return the padding of a kernel, (..., H, W), down (axis 0) or across (axis 1)."""
    return (0, 0, before, after) if axis == 0 else (before, after, 0, 0)


def _decimate(previous: Tensor, samples: Sequence[Tensor]) -> list[Tensor]:
    """Filter every other of a cell's samples by (1 2 1)/4; `previous` precedes the first."""
    taps = [previous, *samples]
    return [(taps[n] + 2 * taps[n + 1] + taps[n + 2]) / 4 for n in range(0, len(samples), 2)]


def _pixel_shuffle(cells: Array, rows: int, columns: int) -> Array:
    """Rearrange cells (H, W, r c) into a plane (r H, c W)."""
    height, width = cells.shape[:2]
    if isinstance(cells, np.ndarray) and columns * cells.itemsize in (2, 4, 8):
        # A row of a cell is copied as one integer.
        moved = cells.view(f"u{columns * cells.itemsize}").swapaxes(1, 2).copy()
        return moved.view(cells.dtype).reshape(height * rows, width * columns)
    split = cells.reshape(height, width, rows, columns)
    plane: Array = split.swapaxes(1, 2).reshape(height * rows, width * columns)
    return plane


def unsigned(codes: Any) -> Plane:
    """View 16-bit codes, which networks return as signed, as unsigned."""
    plane: Plane = codes if codes.dtype == np.uint8 else codes.view(np.uint16)
    return plane
