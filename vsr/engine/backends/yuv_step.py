"""Networks that take and give the planes of video, colour conversion folded into them.

What turns RGB into luma and subsampled chroma is linear, and so is the last convolution of a
`Recurrent` generator: the two are multiplied once, and the head then has 32 channels for 4:2:0
instead of 48, already in code values, that are rounded before they are spread over pixels.
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
from vsr.models.flow import PyramidFlow
from vsr.models.half import is_half
from vsr.models.int8 import QuantisedConv, QuantisedHead
from vsr.models.recurrent import RecurrentState

Array = TypeVar("Array", NDArray[Any], Tensor)


_SHIFTS = (((0, 0, 1, 0), (0, 0, 0, 1)), ((1, 0, 0, 0), (0, 1, 0, 0)))
"""Zeros around a kernel: of height and of width one more, as it is or one step before."""


class YuvStep(nn.Module):
    """One step of any generator, from planes of code values to planes of code values.

    `forward(y, cb, cr, *state)` takes planes (1, 1, H, W) and gives `(y, cb, cr, *state)`. A step
    for parts of frames takes coarse motion before the state.
    """

    def __init__(
        self, generator: Generator[Any], specs: tuple[ColourSpec, ColourSpec], low: Tensor
    ) -> None:
        """`specs` tell how planes are read and written; `low` is any frame, (1, 3, H, W)."""
        super().__init__()
        self.generator = generator
        self.read_as, self.write_as = specs
        self._kind: Any = type(generator.start(low))

    def start(self, low: Tensor) -> tuple[Tensor, ...]:
        """The state before the first frame of a shot."""
        return tuple(self.generator.start(low))

    def forward(self, y: Tensor, cb: Tensor, cr: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The next planes, and the next state."""
        low = to_rgb((y[:, 0], cb[:, 0], cr[:, 0]), self.read_as)
        high, following = self.generator.step(low, self._kind(*state))
        return (*from_rgb(high, self.write_as), *following)

    def assemble(self, outputs: Sequence[Array]) -> tuple[Array, ...]:
        """Y, Cb and Cr (H, W), maybe as views, of what `forward` gives of them."""
        return tuple(plane[0] for plane in outputs)


class FoldedStep(YuvStep):
    """One step of a `Recurrent` generator that never makes RGB of its output.

    Outputs of `forward` are cells, for each low-resolution pixel the samples that it becomes:
    y (1, H, W, s^2) and chroma (1, H, W, 2 r c); of y, there may be more on top and on the left,
    that `assemble` leaves out. The hidden state lies channels last.
    """

    generator: Recurrent

    def __init__(
        self,
        generator: Recurrent,
        specs: tuple[ColourSpec, ColourSpec],
        low: Tensor,
    ) -> None:
        super().__init__(generator, specs, low)
        self._halves = is_half(generator)
        scale, write_as = generator.scale, self.write_as
        across, down = write_as.subsampling
        cosited_across, cosited_down = write_as.cosited
        # A mean of two samples stays inside the cell of a pixel; a filter around a sample of its
        # own reaches into the cell before, and the head sees that much farther.
        filters = (down == 2 and cosited_down, across == 2 and cosited_across)
        cells = tuple(
            scale if step == 1 or reaches else scale // 2
            for step, reaches in zip((down, across), filters, strict=True)
        )
        self._chroma_cell = cells[0] // (1 + filters[0]), cells[1] // (1 + filters[1])
        self._beyond = int(filters[0]), int(filters[1])
        matrix, offset = _folding(write_as, scale, *cells)
        head = generator.head
        assert head.bias is not None
        weight = torch.einsum("oc,cikl->oikl", matrix, head.weight.detach())
        bias = matrix @ head.bias.detach() + offset
        count = scale**2
        chroma = _filtered(weight[count:], bias[count:], cells, filters)
        precision = head.range if isinstance(head, QuantisedHead) else self._halves
        self._border = [1 + self._beyond[1], 1, 1 + self._beyond[0], 1]
        self.luma = _FoldedHead(weight[:count], bias[:count], precision, self._border)
        self.chroma = _FoldedHead(*chroma, precision, self._border)

    def start(self, low: Tensor) -> tuple[Tensor, ...]:
        """The state before the first frame of a shot."""
        state = self.generator.start(low)
        hidden = state.hidden.permute(0, 2, 3, 1).contiguous()
        return state.low, hidden.half() if self._halves else hidden

    def forward(self, y: Tensor, cb: Tensor, cr: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The cells of the next planes, and the next state."""
        low = to_rgb((y[:, 0], cb[:, 0], cr[:, 0]), self.read_as)
        *coarse, past, hidden = state
        before = RecurrentState(past, hidden.permute(0, 3, 1, 2))
        features, low = self.generator.features(low, before, *coarse)
        luma, chroma = self._heads(features, low)
        hidden = features[:, : self.generator.memory].permute(0, 2, 3, 1)
        return self._codes(luma), self._codes(chroma), low, hidden

    def assemble(self, outputs: Sequence[Array]) -> tuple[Array, ...]:
        """Y, Cb and Cr of the cells."""
        luma, chroma = (cells[0] for cells in outputs)
        top, left = self._beyond
        rows, columns = self._chroma_cell
        half = rows * columns
        scale = self.generator.scale
        return (
            _spread(luma[top:, left:], scale, scale),
            _spread(chroma[..., :half], rows, columns),
            _spread(chroma[..., half:], rows, columns),
        )

    def _heads(self, features: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.generator.head, QuantisedHead):
            seen = [features, self._bordered(low)]  # features, once they are rounded
        elif self._halves:
            seen = [self._bordered(features), self._bordered(low)]
        else:
            seen = [self._bordered(torch.cat((features, low), dim=1))]
        return self.luma(*seen), self.chroma(*seen)

    def _bordered(self, x: Tensor) -> Tensor:
        return F.pad(x, self._border, mode="replicate")

    def _codes(self, values: Tensor) -> Tensor:
        """Rounded, and channels last, as convolutions leave them."""
        depth = self.write_as.bit_depth
        codes = (values + 0.5).clamp(0, 2**depth - 1)
        return codes.to(torch.uint8 if depth == 8 else torch.int16).permute(0, 2, 3, 1)


class _FoldedHead(nn.Module):
    """A convolution of features and of the frame, which is the base and stays f32.

    `precision` is that of the features: a range to round by, or whether to compute in f16. With
    neither, both come as one.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        precision: bool | tuple[float, float],
        border: Sequence[int],
    ) -> None:
        super().__init__()
        self.rounded: QuantisedConv | None = None
        self.of_features: nn.Parameter | None = None
        if isinstance(precision, tuple):
            self.rounded = QuantisedConv(weight[:, :-3], None, *precision, border)
        elif precision:
            self.of_features = nn.Parameter(weight[:, :-3].half())
        self.weight = nn.Parameter(weight[:, -3:].contiguous() if precision else weight)
        self.bias = nn.Parameter(bias)

    def forward(self, *seen: Tensor) -> Tensor:
        """Code values (1, C, H, W); but for features to be rounded, `seen` has its border."""
        base = F.conv2d(seen[-1], self.weight, self.bias)
        if self.rounded is not None:
            added: Tensor = self.rounded(seen[0])
            return base + added
        if self.of_features is not None:
            return base + F.conv2d(seen[0], self.of_features)
        return base


class Layout(NamedTuple):
    """What a step takes, as zeros: for exporting it, and for making room."""

    frame: tuple[Tensor, ...]
    """Y, Cb and Cr, and coarse motion for parts of frames."""
    state: tuple[Tensor, ...]


def build_yuv_step(
    generator: Generator[Any],
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    tiled: bool = False,
) -> tuple[YuvStep, Layout]:
    """The step of a generator for frames of `size` = (height, width), and what it takes.

    `tiled` is for parts of frames, where `flow_of` finds motion.
    """
    read_as, _ = specs
    across, down = read_as.subsampling
    height, width = size
    kind = torch.uint8 if read_as.bit_depth == 8 else torch.int16
    small = (-(-height // down), -(-width // across))
    y, *chroma = (torch.zeros(1, 1, *shape, dtype=kind) for shape in (size, small, small))
    low = torch.zeros(1, 3, *size)
    frame: tuple[Tensor, ...] = (y, *chroma)
    if isinstance(generator, Recurrent) and generator.memory:
        flow = flow_of(generator) if tiled else None
        if flow is not None:
            unit, part = 2**flow.levels, 2 ** (flow.levels - flow.coarse_level)
            frame += (torch.zeros(1, 2, *(-(-side // unit) * part for side in size)),)
        step: YuvStep = FoldedStep(generator, specs, low)
    else:
        step = YuvStep(generator, specs, low)
    return step.eval(), Layout(frame, step.start(low))


def flow_of(generator: Generator[Any]) -> PyramidFlow | None:
    """The motion network of a generator, if it has one."""
    return generator.flow if isinstance(generator, Recurrent) else None


def _folding(spec: ColourSpec, scale: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """From the 3 s^2 RGB samples of a cell to its code values: a matrix and what is added.

    First s^2 of luma, then those of Cb and of Cr, `rows` by `columns` each.
    """
    black, white = spec.luma_range
    neutral, swing = spec.chroma_range
    luma, blue, red = chroma_weights(spec.matrix)
    samples = torch.eye(3 * scale**2).view(-1, 3, scale, scale)
    parts = [(white - black) * torch.einsum("c,ncij->nij", luma, samples).flatten(1)]
    offsets = [torch.full((scale**2,), black)]
    means = F.avg_pool2d(samples, (scale // rows, scale // columns))
    for weights in (blue, red):
        parts.append(swing * torch.einsum("c,ncij->nij", weights, means).flatten(1))
        offsets.append(torch.full((rows * columns,), neutral))
    return torch.cat(parts, dim=1).T.contiguous(), torch.cat(offsets)


def _filtered(
    weight: Tensor, bias: Tensor, cells: Sequence[int], filters: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """A convolution's (2 r c, C, 3, 3) outputs filtered by (1 2 1)/4 around every other sample.

    Down and across, as `filters` tell, each making the kernel one larger, towards the cell before.
    """
    weight, bias = (part.reshape(2, *cells, *part.shape[1:]) for part in (weight, bias))
    for axis, is_filtered in enumerate(filters):
        if not is_filtered:
            continue
        # The same kernel at a pixel, and at the one before it.
        here, before = (F.pad(weight, sides).unbind(1 + axis) for sides in _SHIFTS[axis])
        weight = torch.stack(_thinned(before[-1], here), dim=1 + axis)
        samples = bias.unbind(1 + axis)
        bias = torch.stack(_thinned(samples[-1], samples), dim=1 + axis)
    return weight.flatten(0, 2), bias.flatten(0, 2)


def _thinned(before: Tensor, samples: Sequence[Tensor]) -> list[Tensor]:
    """(1 2 1)/4 around every other of a cell's samples; `before` is the one before the first."""
    around = [before, *samples]
    return [(around[n] + 2 * around[n + 1] + around[n + 2]) / 4 for n in range(0, len(samples), 2)]


def _spread(cells: Array, rows: int, columns: int) -> Array:
    """Cells (H, W, r c) to a plane (r H, c W)."""
    height, width = cells.shape[:2]
    if isinstance(cells, np.ndarray) and columns * cells.itemsize in (2, 4, 8):
        # A row of a cell moves as one number.
        moved = cells.view(f"u{columns * cells.itemsize}").swapaxes(1, 2).copy()
        return moved.view(cells.dtype).reshape(height * rows, width * columns)
    apart = cells.reshape(height, width, rows, columns)
    whole: Array = apart.swapaxes(1, 2).reshape(height * rows, width * columns)
    return whole


def unsigned(codes: Any) -> Plane:
    """Codes as networks give them, where 16 bit are signed, as media holds them."""
    plane: Plane = codes if codes.dtype == np.uint8 else codes.view(np.uint16)
    return plane
