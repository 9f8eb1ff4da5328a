"""Networks of other projects, as generators of single pictures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.errors import ModelError
from vsr.models.generator import StillGenerator
from vsr.models.memory import peak_bytes
from vsr.models.reach import Reach, measure_reach_of_size, remembered_reach

_PROBE_SIDE = 32
_MEMORY_RESERVE = 1.25
"""Factor for scratch memory of operations, which isn't measured."""


@dataclass(frozen=True)
class SizeRules:
    """Sizes of pictures that a network accepts, in pixels; others are padded."""

    multiple: int = 1
    """Height and width are multiples of this."""
    minimum: int = 1
    square: bool = False
    fixed: tuple[int, int] | None = None
    """The only (height, width); larger pictures are computed in tiles."""

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest accepted (height, width) that a picture fits into."""
        if self.fixed is not None:
            return self.fixed
        sides = [max(side, self.minimum) for side in (height, width)]
        sides = [-(-side // self.multiple) * self.multiple for side in sides]
        return (max(sides), max(sides)) if self.square else (sides[0], sides[1])


@dataclass(frozen=True)
class Facts:
    """What is known about a network of another project."""

    architecture: str
    """Name of the network's architecture, or `ONNX`."""
    scale: int
    """Output side over input side."""
    sizes: SizeRules = field(default_factory=SizeRules)
    supports_half: bool = False
    """Whether it can compute in f16."""
    software: str = ""
    """Package, with its version, that defines or computes the network."""
    licence: str = ""
    """Licence of the weights, if the file names it."""
    bytes_per_pixel: int = 0
    """Memory of a step per low-resolution pixel, where it can't be measured."""
    is_traceable: bool = True
    """Whether torch computes it, so that it can be traced for OpenVINO."""


class CommunityNetwork(StillGenerator):
    """A network (B, 3, H, W) to (B, 3, sH, sW), RGB in [0, 1], of another project.

    Pictures of sizes that the network doesn't accept are padded, and the output is cropped.
    """

    compiles = False
    _known_reach_of_size: tuple[Reach | None] | None = None
    """The measured reach for the only size; None before it is measured."""
    _bytes_per_pixel: int = 0
    """Memory of a step per low-resolution pixel; 0 before it is measured."""

    def __init__(
        self,
        network: nn.Module,
        facts: Facts,
        call: Callable[[nn.Module, Tensor], Tensor] | None = None,
    ) -> None:
        """`call` calls the network where it takes or returns more than a picture."""
        super().__init__()
        self.network = network
        self.facts = facts
        self.scale = facts.scale
        self.supports_half, self.software = facts.supports_half, facts.software
        self._call = call or (lambda network, low: network(low))

    def upscale(self, low: Tensor) -> Tensor:
        """Upscale (B, 3, H, W) to (B, 3, sH, sW), RGB in [0, 1]."""
        height, width = low.shape[-2:]
        rows, columns = self.facts.sizes.padded(height, width)
        if rows < height or columns < width:
            return self._in_tiles(low)
        padded = _padded(low, rows - height, columns - width)
        high = self.compute(padded)
        return high[..., : self.scale * height, : self.scale * width]

    def compute(self, low: Tensor) -> Tensor:
        """Upscale a picture of a size that the network accepts."""
        return self._call(self.network, low.clone())  # some networks change their input

    def computed_by(self, network: nn.Module) -> "CommunityNetwork":
        """Return this network as computed by another module, which pads and crops the same."""
        return CommunityNetwork(network, self.facts).eval()

    def reach(self) -> Reach | None:
        """Return the measured reach; None for a network that sees the whole picture."""
        return self._measured_reach()

    def _in_tiles(self, low: Tensor) -> Tensor:
        """Upscale a picture that is larger than the only size in tiles of this size."""
        fixed = self.facts.sizes.fixed
        assert fixed is not None
        reach = self._reach_of_size(fixed)
        if reach is None:
            raise ModelError(
                f"the model takes pictures of {fixed[1]}x{fixed[0]} alone, and sees too far for "
                "tiles without seams; use one that takes any size"
            )
        height, width = low.shape[-2:]
        low = _padded(low, max(0, fixed[0] - height), max(0, fixed[1] - width))
        scale = self.scale
        high = low.new_empty(*low.shape[:2], *(scale * side for side in low.shape[-2:]))
        for y in _spans(low.shape[-2], fixed[0], reach.pixels):
            for x in _spans(low.shape[-1], fixed[1], reach.pixels):
                tile = low[..., y.start : y.start + fixed[0], x.start : x.start + fixed[1]]
                part = self.compute(tile)
                high[..., scale * y.first : scale * y.end, scale * x.first : scale * x.end] = part[
                    ...,
                    scale * (y.first - y.start) : scale * (y.end - y.start),
                    scale * (x.first - x.start) : scale * (x.end - x.start),
                ]
        return high[..., : scale * height, : scale * width]

    def _reach_of_size(self, fixed: tuple[int, int]) -> Reach | None:
        """Measure the reach of a network for pictures of one size alone, once."""
        if self._known_reach_of_size is None:
            found = remembered_reach(
                self,
                lambda: measure_reach_of_size(self.upscale_probe, self.scale, fixed),
                f"pictures of {fixed}",
            )
            self._known_reach_of_size = (found,)
        return self._known_reach_of_size[0]

    def step_bytes_per_pixel(self) -> int:
        """Return the memory of a step per low-resolution pixel, as measured on a small picture."""
        if self._bytes_per_pixel == 0:
            self._bytes_per_pixel = self.facts.bytes_per_pixel or self._measured_bytes_per_pixel()
        return self._bytes_per_pixel

    def _measured_bytes_per_pixel(self) -> int:
        rows, columns = self.facts.sizes.padded(_PROBE_SIDE, _PROBE_SIDE)
        low = torch.full((1, 3, rows, columns), 0.5)
        peak = peak_bytes(lambda: self.upscale_probe(low))
        return max(int(_MEMORY_RESERVE * peak / (rows * columns)), 12 * (1 + self.scale**2))


class _Span(NamedTuple):
    """A tile of a fixed length along one side of a picture."""

    start: int
    first: int
    """Start of the part that is used, and its end."""
    end: int


def _spans(length: int, tile: int, reach: int) -> list[_Span]:
    """Cover a side by tiles that overlap by twice the reach; seams are in the middle."""
    count = max(1, -(-(length - 2 * reach) // (tile - 2 * reach)))
    starts = [(length - tile) * index // max(1, count - 1) for index in range(count)]
    seams = [(start + tile + following) // 2 for start, following in pairwise(starts)]
    borders = pairwise([0, *seams, length])
    return [_Span(start, *border) for start, border in zip(starts, borders, strict=True)]


def _padded(low: Tensor, below: int, right: int) -> Tensor:
    """Pad a picture by reflection, and by repetition where it is too small for that."""
    height, width = low.shape[-2:]
    if not (below or right):
        return low
    reflected = (min(right, width - 1), min(below, height - 1))
    low = F.pad(low, (0, reflected[0], 0, reflected[1]), mode="reflect")
    return F.pad(low, (0, right - reflected[0], 0, below - reflected[1]), mode="replicate")
