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

from vsr.colour import ColourSpec, chroma_weights, from_rgb, to_rgb
from vsr.media.frame import Plane
from vsr.models import Generator, Recurrent
from vsr.models.halves import is_halved
from vsr.models.recurrent import RecurrentState

Array = TypeVar("Array", NDArray[Any], Tensor)


class PlanesStep(nn.Module):
    """One step of any generator, from planes of code values to planes of code values.

    `forward(y, cb, cr, *state)` takes planes (1, 1, H, W) and gives `(y, cb, cr, *state)`.
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


class FoldedStep(PlanesStep):
    """One step of a `Recurrent` generator that never makes RGB of its output.

    Outputs of `forward` are cells, for each low-resolution pixel the samples that it becomes:
    y (1, H, W, s^2) and chroma (1, H, W, 2 r c). The hidden state lies channels last.
    """

    generator: Recurrent

    def __init__(
        self, generator: Recurrent, specs: tuple[ColourSpec, ColourSpec], low: Tensor
    ) -> None:
        super().__init__(generator, specs, low)
        self._halves = is_halved(generator)
        scale, write_as = generator.scale, self.write_as
        across, down = write_as.subsampling
        cosited_across, cosited_down = write_as.cosited
        # A mean of two samples stays inside the cell of a pixel and is folded into the head; a
        # filter around a sample of its own reaches into the next cell, and is applied after.
        self._after = (down == 2 and cosited_down, across == 2 and cosited_across)
        rows = scale if down == 1 or self._after[0] else scale // 2
        columns = scale if across == 1 or self._after[1] else scale // 2
        self._cells = (rows, columns)
        matrix, offset = _folding(write_as, scale, rows, columns)
        head = generator.head
        assert head.bias is not None
        weight = torch.einsum("oc,cikl->oikl", matrix, head.weight.detach())
        bias = matrix @ head.bias.detach() + offset
        luma = scale**2
        self.luma_weight, self.luma_bias = nn.Parameter(weight[:luma]), nn.Parameter(bias[:luma])
        self.chroma_weight = nn.Parameter(weight[luma:])
        self.chroma_bias = nn.Parameter(bias[luma:])

    def start(self, low: Tensor) -> tuple[Tensor, ...]:
        """The state before the first frame of a shot."""
        state = self.generator.start(low)
        hidden = state.hidden.permute(0, 2, 3, 1).contiguous()
        return state.low, hidden.half() if self._halves else hidden

    def forward(self, y: Tensor, cb: Tensor, cr: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The cells of the next planes, and the next state."""
        low = to_rgb((y[:, 0], cb[:, 0], cr[:, 0]), self.read_as)
        before = RecurrentState(state[0], state[1].permute(0, 3, 1, 2))
        features, low = self.generator.features(low, before)
        luma = self._headed(features, low, self.luma_weight, self.luma_bias)
        chroma = self._headed(features, low, self.chroma_weight, self.chroma_bias)
        chroma = self._filtered(chroma)
        hidden = features[:, : self.generator.memory].permute(0, 2, 3, 1)
        return self._codes(luma), self._codes(chroma), low, hidden

    def assemble(self, outputs: Sequence[Array]) -> tuple[Array, ...]:
        """Y, Cb and Cr of the cells."""
        luma, chroma = (cells[0] for cells in outputs)
        rows, columns = self._shape_of_chroma
        half = rows * columns
        scale = self.generator.scale
        return (
            _spread(luma, scale, scale),
            _spread(chroma[..., :half], rows, columns),
            _spread(chroma[..., half:], rows, columns),
        )

    def _headed(self, features: Tensor, low: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The head's convolution; of the frame itself, which is the base, always in f32."""
        if not self._halves:
            return F.conv2d(_bordered(torch.cat((features, low), dim=1)), weight, bias)
        added = F.conv2d(_bordered(features), weight[:, :-3].half())
        return F.conv2d(_bordered(low), weight[:, -3:], bias) + added

    @property
    def _shape_of_chroma(self) -> tuple[int, int]:
        rows, columns = self._cells
        return rows // (1 + self._after[0]), columns // (1 + self._after[1])

    def _filtered(self, chroma: Tensor) -> Tensor:
        """(1 2 1)/4 around every other sample of cells (1, 2 r c, H, W), across and down."""
        _, channels, height, width = chroma.shape
        rows, columns = self._cells
        if self._after[1]:
            parts = chroma.reshape(1, channels // columns, columns, height, width).unbind(2)
            chroma = torch.stack(_thinned(parts, dim=-1), dim=2)
            columns //= 2
        if self._after[0]:
            parts = chroma.reshape(1, 2, rows, columns, height, width).unbind(2)
            chroma = torch.stack(_thinned(parts, dim=-2), dim=2)
            rows //= 2
        return chroma.reshape(1, 2 * rows * columns, height, width)

    def _codes(self, values: Tensor) -> Tensor:
        """Rounded, and channels last, as convolutions leave them."""
        depth = self.write_as.bit_depth
        codes = (values + 0.5).clamp(0, 2**depth - 1)
        return codes.to(torch.uint8 if depth == 8 else torch.int16).permute(0, 2, 3, 1)


class Layout(NamedTuple):
    """What a step takes: for exporting it, and for making room."""

    planes: tuple[Tensor, Tensor, Tensor]
    state: tuple[Tensor, ...]


def planes_step(
    generator: Generator[Any], specs: tuple[ColourSpec, ColourSpec], size: tuple[int, int]
) -> tuple[PlanesStep, Layout]:
    """The step of a generator for frames of `size` = (height, width), and what it takes.

    At a picture's size the layout holds zeros.
    """
    read_as, _ = specs
    across, down = read_as.subsampling
    height, width = size
    kind = torch.uint8 if read_as.bit_depth == 8 else torch.int16
    small = (-(-height // down), -(-width // across))
    y, *chroma = (torch.zeros(1, 1, *shape, dtype=kind) for shape in (size, small, small))
    low = torch.zeros(1, 3, *size)
    folds = isinstance(generator, Recurrent) and generator.memory > 0
    step = FoldedStep(generator, specs, low) if folds else PlanesStep(generator, specs, low)  # type: ignore[arg-type]
    return step.eval(), Layout((y, chroma[0], chroma[1]), step.start(low))


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


def _thinned(parts: Sequence[Tensor], dim: int) -> list[Tensor]:
    """Of a cell's samples along one of its sides, every other, filtered with its neighbours.

    Before the first of the first cell comes itself.
    """
    last, first = parts[-1], parts[0]
    count = last.shape[dim]
    before = torch.cat((first.narrow(dim, 0, 1), last.narrow(dim, 0, count - 1)), dim)
    around = [before, *parts]
    return [(around[n] + 2 * around[n + 1] + around[n + 2]) / 4 for n in range(0, len(parts), 2)]


def _bordered(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="replicate")


def _spread(cells: Array, rows: int, columns: int) -> Array:
    """Cells (H, W, r c) to a plane (r H, c W)."""
    height, width = cells.shape[:2]
    apart = cells.reshape(height, width, rows, columns)
    whole: Array = apart.swapaxes(1, 2).reshape(height * rows, width * columns)
    return whole


def unsigned(codes: Any) -> Plane:
    """Codes as networks give them, where 16 bit are signed, as media holds them."""
    plane: Plane = codes if codes.dtype == np.uint8 else codes.view(np.uint16)
    return plane
