"""Frames as a card's decoder leaves them, in its own memory."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

from av.video.frame import VideoFrame

from vsr.media.frame import PixelLayout, Plane
from vsr.media.pyav import planes_of

_BITS = {"nv12": 8, "p010le": 10}
"""Layouts with chroma's samples in turn, by FFmpeg's names: what NVDEC gives of 4:2:0."""
_CPU, _CUDA = 1, 2
"""DLPack's numbers of devices."""


class Surface(Sequence[Plane]):
    """Y, Cb and Cr of a frame, which come to the CPU's memory only if they are asked for.

    `exported` gives the samples where they are.
    """

    def __init__(self, decoded: VideoFrame, layout: PixelLayout) -> None:
        """`decoded` must fit, see `fits`; `layout` is how its planes are to lie."""
        self._decoded, self._layout = decoded, layout
        self.size = decoded.height, decoded.width
        """Height and width of luma."""
        self.bit_depth = layout.bit_depth

    @staticmethod
    def fits(decoded: VideoFrame, layout: PixelLayout) -> bool:
        """Whether a frame lies so that it can stay as it is."""
        name = (decoded.sw_format or decoded.format).name
        plain = PixelLayout(_BITS.get(name, 0))
        return plain == layout and not (decoded.width % 2 or decoded.height % 2)

    @property
    def device(self) -> str:
        """Where it is, as torch names it, such as `cuda:0`."""
        kind, number = self._decoded.planes[0].__dlpack_device__()
        return {_CPU: "cpu", _CUDA: f"cuda:{number}"}[kind]

    def exported(self) -> tuple[Any, Any]:
        """Capsules of DLPack: luma (H, W), chroma (H/2, W/2, 2).

        uint8, or above 8 bit uint16 whose upper bits are the sample. A card may still be at work on
        them, in its default stream.
        """
        luma, chroma = self._decoded.planes
        return luma.__dlpack__(), chroma.__dlpack__()

    @cached_property
    def _fetched(self) -> tuple[Plane, ...]:
        return planes_of(self._decoded, self._layout)

    def __len__(self) -> int:
        return 3

    @overload
    def __getitem__(self, place: int) -> Plane: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Plane, ...]: ...
    def __getitem__(self, place: int | slice) -> Plane | tuple[Plane, ...]:
        return self._fetched[place]

    def __iter__(self) -> Iterator[Plane]:
        return iter(self._fetched)
