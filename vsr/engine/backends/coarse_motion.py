"""Coarse flow of whole frames, for tiles to refine.

With a shared coarse flow, neighbouring tiles agree on the motion; they differ only by what is in
the receptive field of the finer levels.
"""

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.frames.yuv import planes_to_rgb
from vsr.imaging.colour import ColourSpec
from vsr.media.frame import Plane
from vsr.models.flow import PyramidFlow

_STRIP_ROWS = 16
"""Rows of a strip, in units of the motion network's grid."""


class CoarseMotion:
    """Computes coarse flow strip by strip, so that no full-size RGB frame is ever in memory."""

    def __init__(self, flow: PyramidFlow, read_as: ColourSpec) -> None:
        """Copy the network `flow` to the CPU; `read_as` is the colour format of frames."""
        self._flow = copy.deepcopy(flow).to("cpu", torch.float32)
        self._read_as = read_as
        self._rows = _STRIP_ROWS * 2**flow.levels
        self._factor = 2**flow.coarse_level

    @torch.inference_mode()
    def estimate(self, planes: Sequence[Plane], previous: Tensor | None) -> Tensor:
        """Estimate the coarse flow (1, 2, h, w) from a frame to the previous one, (1, 3, H, W).

        If `previous` is None, the frame itself is used.
        """
        height = planes[0].shape[0]
        luma = self._coarse_luma(self._rgb(planes, y, y + self._rows) for y in self._tops(height))
        if previous is None:
            return self._flow.coarse(luma, luma)
        previous_luma = self._coarse_luma(
            previous[:, :, y : y + self._rows] for y in self._tops(height)
        )
        return self._flow.coarse(luma, previous_luma)

    def crop(self, flow: Tensor, start: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Crop the coarse flow to a tile at `start`, (y, x), of `size`, (height, width)."""
        unit = 2**self._flow.levels
        y, x = (position // self._factor for position in start)
        height, width = (-(-side // unit) * unit // self._factor for side in size)
        return flow[:, :, y : y + height, x : x + width].contiguous()

    def _tops(self, height: int) -> range:
        return range(0, height, self._rows)

    def _rgb(self, planes: Sequence[Plane], top: int, bottom: int) -> Tensor:
        """Convert rows of a frame to (1, 3, rows, W); interpolating chroma needs rows around."""
        first, down = max(0, top - 2), self._read_as.subsampling.down
        rows = [slice(first, bottom + 2), *[slice(first // down, (bottom + 2) // down)] * 2]
        strip: list[Plane] = [plane[part] for plane, part in zip(planes, rows, strict=False)]
        rgb = planes_to_rgb(strip, self._read_as, torch.device("cpu"))
        return rgb[None, :, top - first : bottom - first]

    def _coarse_luma(self, strips: Iterable[Tensor]) -> Tensor:
        """Downsample the luma of a frame's strips to the coarse level."""
        lumas = []
        for strip in strips:
            luma = self._flow.padded_luma(strip)
            for _ in range(self._flow.coarse_level):
                luma = F.avg_pool2d(luma, 2)
            lumas.append(luma)
        return torch.cat(lumas, dim=2)
