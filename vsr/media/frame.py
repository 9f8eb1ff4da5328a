"""What passes between decoder and encoder: planes of code values, and what they mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8] | NDArray[np.uint16]
"""One plane of code values, (height, width); uint8, or uint16 above 8 bit."""

ChromaSiting = Literal["left", "center", "topleft"]
"""Where subsampled chroma lies among its luma samples, by FFmpeg's names."""


@dataclass(frozen=True)
class PixelLayout:
    """How a planar Y'CbCr frame lies in memory."""

    bit_depth: int = 8
    across: int = 2
    """Luma samples for each chroma sample, across."""
    down: int = 2
    """Luma samples for each chroma sample, down."""
    alpha: bool = False
    """Whether a fourth plane says how opaque each pixel is."""

    @property
    def name(self) -> str:
        """FFmpeg's name of this layout, such as `yuv420p10le`."""
        chroma = {(2, 2): "420", (2, 1): "422", (1, 1): "444"}[self.across, self.down]
        colour = "yuva" if self.alpha else "yuv"
        return f"{colour}{chroma}p" + ("" if self.bit_depth == 8 else f"{self.bit_depth}le")


LAYOUTS = {
    layout.name: layout
    for layout in (
        PixelLayout(depth, across, down, alpha)
        for alpha in (False, True)
        for depth in (8, 10, 12)
        for across, down in ((2, 2), (2, 1), (1, 1))
        if (depth, down, alpha) != (12, 2, True)  # FFmpeg has no such format
    )
}
"""The layouts that are read and written as they are, by FFmpeg's names."""


@dataclass(frozen=True)
class ColourTags:
    """What a stream says of its colours, as ITU-T H.273 code points; 2 is "not said"."""

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    full_range: bool = False
    siting: ChromaSiting = "left"


@dataclass(frozen=True)
class Hdr:
    """What HDR10 says of the display that a film was mastered on, and of its light."""

    mastering: tuple[Fraction, ...] | None = None
    """Chromaticities x, y of red, green, blue and white, then least and most luminance in
    cd/m2 (SMPTE ST 2086): ten numbers."""
    light: tuple[int, int] | None = None
    """Most of any pixel, and most of a frame's mean, in cd/m2 (CTA-861.3)."""


@dataclass(frozen=True)
class StreamInfo:
    """What a video stream says of itself before the first frame is decoded."""

    width: int
    height: int
    layout: PixelLayout
    colour: ColourTags
    time_base: Fraction
    """Seconds in one tick of pts."""
    frame_rate: Fraction
    """Average frames per second: a hint for encoders, never used to compute time."""
    frame_count: int | None
    """As told by the container, or estimated from duration and rate; None if unknown."""
    sample_aspect_ratio: Fraction
    """Width of a pixel over its height."""
    hdr: Hdr = Hdr()
    display_matrix: tuple[int, ...] | None = None
    """How players turn the picture: nine numbers, as FFmpeg holds them; None if not at all."""
    coded_bits: int | None = None
    """Bits of a sample as coded, where the layout holds fewer."""
    stereo_mode: int = 0
    """How two views lie in a picture, as Matroska's StereoMode; 0 for one view."""
    projection: bytes = b""
    """Of spherical video, as the content of Matroska's Projection element; empty if flat."""
    dolby_vision: bytes = b""
    """The configuration record of Dolby Vision; empty without it."""

    @property
    def bits(self) -> int:
        """Bits of a sample as coded."""
        return self.coded_bits or self.layout.bit_depth


class Message(NamedTuple):
    """Supplemental data of a picture, such as captions, as H.264 and HEVC hold it (SEI)."""

    kind: int
    """H.274 payload type: 4 is registered by ITU-T T.35, 5 unregistered."""
    payload: bytes


@dataclass(frozen=True)
class Frame:
    """One picture: Y, Cb and Cr planes as decoded, alpha where there is one, and its place in time.

    Alpha is full range whatever the others are.
    """

    planes: Sequence[Plane]
    pts: int
    """Presentation time, in ticks of the stream's time base."""
    duration: int = 0
    """In ticks; 0 where the stream doesn't say."""
    messages: tuple[Message, ...] = ()
    """What is coded beside the picture."""
