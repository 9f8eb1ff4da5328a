"""Resample upscaled frames to any other size, by libswscale."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from vsr.media.frame import Plane, StreamInfo
from vsr.media.pyav import read_plane, video_frame

RESAMPLED_DEPTH = 14
"""Bits per sample of the frames to resample: enough that only the last rounding counts."""

_FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
_KEYS = "param0=0:param1=0.5"
"""Keys' kernel with a = -0.5, as in `imaging.tensors.resize_bicubic`, as swscale's B and C."""
_POSITIONS = {"left": (0, 128), "center": (128, 128), "topleft": (0, 0)}
"""Positions of chroma samples across and down, in 256ths of a luma sample."""


class Resampler:
    """Resamples planes of 14 bits by antialiased bicubic interpolation, and rounds them."""

    def __init__(self, size: tuple[int, int], output: StreamInfo) -> None:
        """Resample from `size` = (width, height) to the size and layout of `output`."""
        self._layout = replace(output.layout, bit_depth=RESAMPLED_DEPTH, alpha=False)
        self._tables = _rounding_tables(output.layout.bit_depth, output.colour.full_range)
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=size[0],
            height=size[1],
            format=VideoFormat(self._layout.name),
            time_base=Fraction(1, 1),
        )
        across, down = _POSITIONS[output.colour.siting]
        positions = ""
        if self._layout.across == 2:
            positions += f":in_h_chr_pos={across}:out_h_chr_pos={across}"
        if self._layout.down == 2:
            positions += f":in_v_chr_pos={down}:out_v_chr_pos={down}"
        scale = self._graph.add(
            "scale", f"w={output.width}:h={output.height}:flags={_FLAGS}:{_KEYS}{positions}"
        )
        pixels = self._graph.add("format", self._layout.name)
        sink = self._graph.add("buffersink")
        for one, other in ((source, scale), (scale, pixels), (pixels, sink)):
            one.link_to(other)
        self._graph.configure()

    def resample(self, planes: Sequence[Plane]) -> tuple[Plane, ...]:
        """Return Y, Cb and Cr at the new size, in the depth of the output."""
        frame = video_frame(planes, self._layout)
        frame.pts = None
        self._graph.push(frame)
        resampled = self._graph.pull()
        assert isinstance(resampled, VideoFrame)
        luma, chroma = self._tables
        dtype = np.dtype(np.uint16)
        rounded: list[Any] = [
            np.take(table, read_plane(plane, dtype))
            for table, plane in zip((luma, chroma, chroma), resampled.planes, strict=True)
        ]
        return tuple(rounded)


def _rounding_tables(bit_depth: int, full_range: bool) -> tuple[Plane, Plane]:
    """Return the code values of `bit_depth` of luma and chroma for each of 14 bits."""
    codes = np.arange(2**RESAMPLED_DEPTH)
    most, neutral = 2**bit_depth - 1, 2 ** (bit_depth - 1)
    factor = most / (2**RESAMPLED_DEPTH - 1) if full_range else 2.0 ** (bit_depth - RESAMPLED_DEPTH)

    def table(centre: int, target: int) -> Plane:
        values = np.floor((codes - centre) * factor + target + 0.5).clip(0, most)
        return values.astype(np.uint8) if bit_depth == 8 else values.astype(np.uint16)

    return table(0, 0), table(2 ** (RESAMPLED_DEPTH - 1), neutral)
