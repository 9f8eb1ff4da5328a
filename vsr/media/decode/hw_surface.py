"""Decoded frames in GPU memory."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

from av.video.frame import VideoFrame

from vsr.media.frame import PixelLayout, Plane
from vsr.media.pyav import planes_of

_BITS = {"nv12": 8, "p010le": 10}
"""Bit depths of NVDEC's 4:2:0 layouts, with interleaved chroma, by FFmpeg's names."""
_CPU, _CUDA = 1, 2
"""Device types of DLPack."""


class Surface(Sequence[Plane]):
    """Y, Cb and Cr of a frame in GPU memory, copied to CPU memory on access.

    `exported` gives access to the samples on the GPU.
    """

    def __init__(self, decoded: VideoFrame, layout: PixelLayout) -> None:
        """`decoded` must satisfy `fits`; `layout` is that of the copied planes."""
        self._decoded, self._layout = decoded, layout
        self.size = decoded.height, decoded.width
        """Height and width of luma."""
        self.bit_depth = layout.bit_depth

    @staticmethod
    def fits(decoded: VideoFrame, layout: PixelLayout) -> bool:
        """Whether a frame needs no conversion, and can stay in GPU memory."""
        name = (decoded.sw_format or decoded.format).name
        plain = PixelLayout(_BITS.get(name, 0))
        return plain == layout and not (decoded.width % 2 or decoded.height % 2)

    @property
    def device(self) -> str:
        """The device of the samples, as torch names it, such as `cuda:0`."""
        device_type, index = self._decoded.planes[0].__dlpack_device__()
        return {_CPU: "cpu", _CUDA: f"cuda:{index}"}[device_type]

    def exported(self) -> tuple[Any, Any]:
        """Return DLPack capsules of luma (H, W) and chroma (H/2, W/2, 2).

        uint8, or above 8 bits uint16 whose upper bits are the sample. The GPU may still be
        computing them in its default stream.
        """
        luma, chroma = self._decoded.planes
        return luma.__dlpack__(), chroma.__dlpack__()

    @cached_property
    def _fetched(self) -> tuple[Plane, ...]:
        return planes_of(self._decoded, self._layout)

    def __len__(self) -> int:
        return 3

    @overload
    def __getitem__(self, index: int) -> Plane: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Plane, ...]: ...
    def __getitem__(self, index: int | slice) -> Plane | tuple[Plane, ...]:
        return self._fetched[index]

    def __iter__(self) -> Iterator[Plane]:
        return iter(self._fetched)
