"""Frames between decoder and encoder: planes of code values, and their description."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8] | NDArray[np.uint16]
"""One plane of code values (height, width): uint8, or uint16 above 8 bits."""

ChromaSiting = Literal["left", "center", "topleft"]
"""Position of a subsampled chroma sample among its luma samples, by FFmpeg's names."""


@dataclass(frozen=True)
class PixelLayout:
    """Memory layout of a planar Y'CbCr frame."""

    bit_depth: int = 8
    across: int = 2
    """Luma samples per chroma sample, horizontally."""
    down: int = 2
    """Luma samples per chroma sample, vertically."""
    alpha: bool = False
    """Whether a fourth plane stores opacity."""

    @property
    def name(self) -> str:
        """FFmpeg's name of the layout, such as `yuv420p10le`."""
        chroma = {(2, 2): "420", (2, 1): "422", (1, 1): "444"}[self.across, self.down]
        colour = "yuva" if self.alpha else "yuv"
        return f"{colour}{chroma}p" + ("" if self.bit_depth == 8 else f"{self.bit_depth}le")


LAYOUTS = {
    layout.name: layout
    for layout in (
        PixelLayout(bit_depth=depth, across=across, down=down, alpha=alpha)
        for alpha in (False, True)
        for depth in (8, 10, 12)
        for across, down in ((2, 2), (2, 1), (1, 1))
        if (depth, down, alpha) != (12, 2, True)  # FFmpeg has no such format
    )
}
"""Layouts that need no conversion, by FFmpeg's names."""


HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""Transfer functions of H.273."""


@dataclass(frozen=True)
class ColourTags:
    """Colour description of a stream, as ITU-T H.273 code points; 2 is "unspecified"."""

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    full_range: bool = False
    siting: ChromaSiting = "left"


@dataclass(frozen=True)
class Hdr:
    """HDR10 metadata: mastering display and content light level."""

    mastering: tuple[Fraction, ...] | None = None
    """Chromaticities x, y of red, green, blue and white, then minimum and maximum luminance in
    cd/m2 (SMPTE ST 2086): ten values."""
    light: tuple[int, int] | None = None
    """Maximum of all pixels, and of the frames' means, in cd/m2 (CTA-861.3)."""


@dataclass(frozen=True)
class StreamInfo:
    """Properties of a video stream, available before its frames are read."""

    width: int
    height: int
    layout: PixelLayout
    colour: ColourTags
    time_base: Fraction
    """Seconds in one tick of pts."""
    frame_rate: Fraction
    """Average frames per second: a hint for encoders, never used to compute time."""
    frame_count: int | None
    """From the container, or estimated from duration and rate; None if unknown."""
    sample_aspect_ratio: Fraction
    """Width of a pixel over its height."""
    hdr: Hdr = Hdr()
    display_matrix: tuple[int, ...] | None = None
    """Rotation that players apply: nine integers, as FFmpeg stores them; None for none."""
    coded_bits: int | None = None
    """Bits per sample as coded, which may exceed those of the layout."""
    stereo_mode: int = 0
    """Arrangement of two views in a picture, as Matroska's StereoMode; 0 for one view."""
    projection: bytes = b""
    """Projection of spherical video: content of Matroska's Projection element; empty if flat."""
    dolby_vision: bytes = b""
    """Dolby Vision configuration record; empty without one."""

    @property
    def bits(self) -> int:
        """Bits per sample as coded."""
        return self.coded_bits or self.layout.bit_depth


HDR10_PLUS_HEADER = b"\xb5\x00\x3c\x00\x01\x04"
"""First bytes of HDR10+ metadata in a message registered by T.35: country, provider and
provider-oriented code, and application identifier."""


class Message(NamedTuple):
    """Supplemental enhancement information (SEI) of a picture, such as captions."""

    payload_type: int
    """Payload type of ITU-T H.274: 4 is user data registered by T.35, 5 unregistered."""
    payload: bytes


@dataclass(frozen=True)
class Frame:
    """One picture: Y, Cb and Cr planes as decoded, alpha if there is one, and its time.

    Alpha is always full range.
    """

    planes: Sequence[Plane]
    pts: int
    """Presentation time, in ticks of the stream's time base."""
    duration: int = 0
    """In ticks; 0 if unknown."""
    messages: tuple[Message, ...] = ()
    """SEI messages of the picture."""
    bit_depth: int = 10
    """Bits per sample of planes of uint16; only cut detection reads it."""
    picture: object = None
    """A numbered picture as `still.Still`, without its pixels; None for a frame of a film."""
