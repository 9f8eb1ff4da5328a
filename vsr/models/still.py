"""Generators as networks of single pictures: convolutions of a limited reach, without state.

A picture is the first frame of a film: memory is zero, and the previous frame is the frame itself.
The motion network of a `Recurrent` generator isn't trained on equal frames. It returns nearly the
same shift of less than a pixel everywhere, with which trunk and head were trained. Here the shift
is a constant, so that the motion network isn't computed, and the output of a pixel depends on few
pixels around it.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.imaging.tensors import resize_bicubic
from vsr.models.generator import Generator
from vsr.models.int8 import quantise
from vsr.models.reach import Reach
from vsr.models.recurrent import Recurrent

_PROBE_PIXELS, _PROBE_SEED = 128, 7
"""Side and seed of the picture on which the shift is measured."""


class StillNetwork(nn.Module):
    """Upscales pictures by any generator; each is the first frame of a shot."""

    def __init__(
        self, generator: Generator[Any], computed_by: Generator[Any] | None = None
    ) -> None:
        """`computed_by` computes in place of `generator`, with the same output."""
        super().__init__()
        self.scale = generator.scale
        self._own_reach = generator.reach
        self.bytes_per_pixel = generator.step_bytes_per_pixel()
        """Memory of a run per low-resolution pixel, estimated."""
        self._description = {"still": generator.description()} if generator.architecture else {}
        self._generator = self._without_state(computed_by or generator)

    def reach(self) -> Reach | None:
        """Return how tiles must be cut; None if only whole pictures are right."""
        return self._own_reach()

    def description(self) -> dict[str, Any]:
        """Describe all that determines the output besides the tensors; empty if unknown."""
        return self._description

    def forward(self, low: Tensor) -> Tensor:
        """Upscale RGB (1, 3, H, W) to cells (1, s s 3, H, W): by row, column and colour."""
        generator: Any = self._generator
        high, _ = generator.step(low, generator.start(low))
        return F.pixel_unshuffle(high, self.scale)[:, _by_sample(self.scale)]

    def _without_state(self, generator: Generator[Any]) -> nn.Module | None:
        return generator


class RecurrentStill(StillNetwork):
    """A `Recurrent` generator without memory, motion and temporal filter."""

    def __init__(self, generator: Recurrent, quantises: bool = False) -> None:
        """`quantises` is for int8; entry and frame stay f32. Raises KeyError without ranges."""
        super().__init__(generator)
        entry = generator.entry
        pictures = list(range(3 + (3 if generator.memory else 0)))
        error = range(6 + generator.memory, entry.in_channels) if generator.memory else ()
        inputs = [*pictures, *error]
        self.entry = nn.Conv2d(len(inputs), entry.out_channels, 3, padding=1)
        twin = copy.deepcopy(generator)
        order = _by_sample(generator.scale)
        with torch.no_grad():
            assert self.entry.bias is not None
            assert entry.bias is not None
            self.entry.weight.copy_(entry.weight[:, inputs])
            self.entry.bias.copy_(entry.bias)
            assert twin.head.bias is not None
            twin.head.weight.copy_(generator.head.weight[order])
            twin.head.bias.copy_(twin.head.bias[order])
        if quantises:
            twin = quantise(twin, twin.int8_ranges)
        self.trunk, self.exit, self.head = twin.trunk, twin.exit, twin.head
        self.register_buffer("shift", shift_kernel(*rest_motion(generator)))
        self._own_reach = lambda: _reach(generator)
        self.eval()

    shift: Tensor

    def forward(self, low: Tensor) -> Tensor:
        """Upscale RGB (1, 3, H, W) to cells (1, s s 3, H, W): by row, column and colour."""
        inputs: tuple[Tensor, ...] = (low,)
        if self.entry.in_channels > 3:
            past = F.conv2d(F.pad(low, [1] * 4, mode="replicate"), self.shift, groups=3)
            inputs += (past, (low - past).abs())[: self.entry.in_channels // 3 - 1]
        trunk = self.trunk(F.relu(self.entry(torch.cat(inputs, dim=1))))
        cells: Tensor = self.head(torch.cat((F.relu(self.exit(trunk)), low), dim=1))
        return cells

    def _without_state(self, generator: Generator[Any]) -> None:
        return None


def still_network(
    generator: Generator[Any],
    quantises: bool = False,
    computed_by: Generator[Any] | None = None,
) -> StillNetwork:
    """Build the network of single pictures, in evaluation mode, on the generator's device.

    `quantises` is for generators that `models.int8.is_calibrated`. `computed_by` computes in place
    of a generator that isn't a `Recurrent`, with the same output.
    """
    if isinstance(generator, Recurrent):
        return RecurrentStill(generator, quantises).eval()
    return StillNetwork(generator, computed_by).eval()


@torch.inference_mode()
def rest_motion(generator: Recurrent) -> tuple[float, float]:
    """Return the median motion (x, y) that a generator estimates between equal frames, in pixels.

    It is limited to a pixel, and measured on smooth noise.
    """
    if generator.flow is None:
        return 0.0, 0.0
    source = torch.Generator().manual_seed(_PROBE_SEED)
    noise = torch.rand(1, 3, _PROBE_PIXELS // 4, _PROBE_PIXELS // 4, generator=source)
    probe = resize_bicubic(noise, (_PROBE_PIXELS, _PROBE_PIXELS)).clamp(0, 1)
    flow = generator.flow(probe, probe).flatten(2).median(dim=2).values.clamp(-1, 1)[0]
    return float(flow[0]), float(flow[1])


def shift_kernel(x: float, y: float) -> Tensor:
    """Return weights (3, 1, 3, 3) that sample RGB bilinearly at a shift of at most a pixel."""
    across, down = (
        torch.tensor([max(0.0, 1 - abs(shift - tap)) for tap in (-1, 0, 1)]) for shift in (x, y)
    )
    return torch.outer(down, across).expand(3, 1, 3, 3).contiguous()


def _reach(generator: Recurrent) -> Reach:
    """Return the reach of an output: the sum over kernels, the shift and the resampling."""
    layers = [generator.entry, *generator.trunk.modules(), generator.exit, generator.head]
    total = sum(layer.kernel_size[0] // 2 for layer in layers if isinstance(layer, nn.Conv2d))
    return Reach(2 + total, 1)


def _by_sample(scale: int) -> list[int]:
    """Order the channels of a pixel shuffle by row, column and colour."""
    count = scale**2
    return [colour * count + sample for sample in range(count) for colour in range(3)]
