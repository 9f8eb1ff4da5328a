"""The codecs for output, and the capabilities of FFmpeg's encoders for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import av

from vsr.media.frame import ChromaSiting

CodecName = Literal["h264", "hevc", "av1", "prores", "ffv1", "raw", "pictures"]


@dataclass(frozen=True)
class Codec:
    """Capabilities and defaults of one encoder."""

    encoder: str
    """FFmpeg's name."""
    crf: int | None
    """Default constant rate factor; None for a codec without one."""
    presets: tuple[str, ...]
    """Valid values of `--preset`, fastest first; empty for a codec without presets."""
    default_preset: str
    containers: frozenset[str]
    """Suffixes of output files."""
    depths: tuple[int, ...]
    """Bit depths."""
    chroma: tuple[tuple[int, int], ...]
    """Chroma subsamplings, (across, down)."""
    longest_side: int
    """Pixels."""
    bits_per_pixel: float
    """Approximate size of the output at 8 bits per sample, for estimates."""
    max_crf: int = 51
    sitings: tuple[ChromaSiting, ...] = ("left",)
    """Chroma sample positions that the bitstream can specify."""
    alpha: tuple[tuple[int, int], ...] = ()
    """Chroma subsamplings with an alpha plane."""
    aspect: bool = True
    """Whether the bitstream stores the pixel aspect ratio."""
    pixel_formats: Mapping[str, str] = field(default_factory=dict)
    """Layouts that the encoder takes as another pixel format, by FFmpeg's names."""
    odd_sides: bool = False
    """Whether sides may be odd where chroma is subsampled."""


PACKED_FOR_FFV1 = {"yuva422p12le": "yuva422p16le", "yuva444p12le": "yuva444p16le"}
"""Layouts that FFV1 supports but decoders before FFmpeg 8 don't: twelve bits at the top of
sixteen."""
_ALL_CHROMA = ((2, 2), (2, 1), (1, 1))
# fmt: off
_X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium",
    "slow", "slower", "veryslow", "placebo",
)
# fmt: on
_SVT_PRESETS = tuple(str(level) for level in range(13, -1, -1))
_H26X_CONTAINERS = frozenset({".mp4", ".mov", ".mkv"})
_ALL_SITINGS: tuple[ChromaSiting, ...] = ("left", "center", "topleft")
ON_CPU: dict[str, Codec] = {
    "h264": Codec(
        encoder="libx264",
        crf=16,
        presets=_X26X_PRESETS,
        default_preset="medium",
        containers=_H26X_CONTAINERS,
        depths=(8, 10),
        chroma=_ALL_CHROMA,
        longest_side=16_384,
        bits_per_pixel=0.12,
        sitings=_ALL_SITINGS,
    ),
    "hevc": Codec(
        encoder="libx265",
        crf=18,
        presets=_X26X_PRESETS,
        default_preset="medium",
        containers=_H26X_CONTAINERS,
        depths=(8, 10, 12),
        chroma=_ALL_CHROMA,
        longest_side=16_384,
        bits_per_pixel=0.08,
        sitings=_ALL_SITINGS,
    ),
    "av1": Codec(
        encoder="libsvtav1",
        crf=22,
        presets=_SVT_PRESETS,
        default_preset="8",
        containers=frozenset({".mp4", ".mkv", ".webm"}),
        depths=(8, 10),
        chroma=((2, 2),),
        longest_side=16_384,
        bits_per_pixel=0.08,
        max_crf=63,
        sitings=("left", "topleft"),
        aspect=False,
    ),
    "prores": Codec(
        encoder="prores_ks",
        crf=None,
        presets=(),
        default_preset="",
        containers=frozenset({".mov", ".mkv"}),
        depths=(10,),
        chroma=_ALL_CHROMA[1:],
        longest_side=65_535,
        bits_per_pixel=4.0,
        alpha=((1, 1),),
        aspect=False,
    ),
    "ffv1": Codec(
        encoder="ffv1",
        crf=None,
        presets=(),
        default_preset="",
        containers=frozenset({".mkv"}),
        depths=(8, 10, 12),
        chroma=_ALL_CHROMA,
        longest_side=65_535,
        bits_per_pixel=7.0,
        alpha=_ALL_CHROMA,
        pixel_formats=PACKED_FOR_FFV1,
        odd_sides=True,
    ),
    "raw": Codec(
        encoder="rawvideo",
        crf=None,
        presets=(),
        default_preset="",
        containers=frozenset({".nut"}),
        depths=(8, 10, 12),
        chroma=_ALL_CHROMA,
        longest_side=65_535,
        bits_per_pixel=12.0,
        alpha=_ALL_CHROMA,
        odd_sides=True,
    ),
    "pictures": Codec(
        encoder="",
        crf=None,
        presets=(),
        default_preset="",
        containers=frozenset(),
        depths=(15,),
        chroma=((1, 1),),
        longest_side=65_535,
        bits_per_pixel=0.0,
        alpha=((1, 1),),
        odd_sides=True,
    ),
}
FRAME_PACKING = {5: 0, 9: 1, 7: 2, 1: 3, 3: 4, 13: 5}
"""x264's frame packing by Matroska's StereoMode; none has the right eye's view first."""
ENCODED: tuple[CodecName, ...] = ("h264", "hevc", "av1", "prores", "ffv1")
"""Valid values of `--codec`; `raw` is for pipes, `pictures` for numbered pictures."""


def available_encoders() -> dict[CodecName, bool]:
    """Whether the installed FFmpeg has the encoder of each codec on the CPU."""
    return {name: ON_CPU[name].encoder in av.codecs_available for name in ENCODED}
