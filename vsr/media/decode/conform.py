"""Conform decoded frames to a film's description: one size, layout, range and matrix."""

from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from vsr.media.frame import ColourTags, PixelLayout
from vsr.media.pyav import fill_plane, in_memory, is_rgb, read_plane, with_pts

Tag = Literal["matrix", "primaries", "transfer"]

_UNSAID = (0, 2, 3)
"""H.273 codes without a meaning for Y'CbCr: identity or reserved, unspecified, reserved."""
_SWSCALE = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""swscale's matrix of each H.273 code that it computes."""
_SAME: dict[Tag, tuple[int, ...]] = {
    "matrix": (5, 6),
    "primaries": (6, 7),
    "transfer": (1, 6, 14, 15),
}
"""H.273 codes that stand for the same numbers."""
_NAMES: dict[Tag, dict[int, str]] = {
    "matrix": {
        **{1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 8: "YCgCo"},
        **{9: "BT.2020", 10: "BT.2020 constant luminance", 14: "ICtCp"},
    },
    "primaries": {
        **{1: "BT.709", 4: "BT.470M", 5: "BT.601 (625)", 6: "BT.601 (525)", 7: "BT.601 (525)"},
        **{9: "BT.2020", 11: "DCI-P3", 12: "Display P3"},
    },
    "transfer": {
        **{1: "BT.709", 4: "gamma 2.2", 5: "gamma 2.8", 6: "BT.709", 7: "SMPTE 240M"},
        **{8: "linear", 13: "sRGB", 14: "BT.709", 15: "BT.709", 16: "PQ", 18: "HLG"},
    },
}
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


class FrameFormat(NamedTuple):
    """The size, pixel format and colour tags of a decoded frame."""

    size: tuple[int, int]
    """Width and height."""
    pixels: str
    """FFmpeg's name of the pixel format; `yuvj` names without their j."""
    colour: ColourTags
    """Without chroma siting. RGB is BT.709 in limited range, as it is converted."""
    aspect: Fraction = Fraction(1)
    """Width of a pixel over its height, as the bitstream says."""


class FormatChange(NamedTuple):
    """A property of frames that differs from the description of the film."""

    what: str
    old: str
    new: str
    converted: bool
    """Whether `Conformer` converts it; primaries, transfer and aspect stay as they are."""

    def line(self, where: str) -> str:
        """A line for the user; see `where_of`."""
        how = "converted to the first" if self.converted else "shown as the first"
        if self.what == "frame size":
            how = "scaled to the first"
        verb = "change" if self.what.endswith("s") else "changes"
        return f"{self.what} {verb} {where}, from {self.old} to {self.new}: {how}"


class Conformer:
    """Convert frames whose size, pixel format, range or matrix differs from the film's."""

    def __init__(
        self, like: FrameFormat, layout: PixelLayout, time_base: Fraction, notes: list[str]
    ) -> None:
        """`like` describes the film's frames, `layout` the planes that are read of them.

        A line is added to `notes` for the first change of each property.
        """
        self.like, self._layout, self._time_base = like, layout, time_base
        self._notes = notes
        self.lead = Fraction(0)
        """Seconds by which the reader moves all of the film."""
        self._seen = like
        self._noted: set[str] = set()

    def announce(self, change: FormatChange, line: str | None) -> None:
        """Note a change before its frames are read; `line` is None where a loss names it."""
        if change.what not in self._noted:
            self._noted.add(change.what)
            self._notes += [] if line is None else [line]

    def conform(self, decoded: VideoFrame, aspect: Fraction | None) -> VideoFrame:
        """Return the frame, converted if need be; see `format_of`."""
        look, like = format_of(decoded, aspect), self.like
        if look != self._seen:
            self._seen = look
            self._note(changes(like, look), decoded.pts)
        if look == like:
            return decoded
        old, new = look.colour, like.colour
        rgb = is_rgb(decoded.sw_format or decoded.format)
        source, target = _matrices(like, look)
        recolours = _converts(source, target) or old.full_range != new.full_range
        if not (recolours or rgb):
            if look.size == like.size:
                return decoded  # the pixel format is converted with the layout
            return with_pts(in_memory(decoded).reformat(*like.size), decoded)
        read_as = None if rgb else _SWSCALE.get(source)
        made = _without_j(in_memory(decoded)).reformat(
            *like.size,
            format=self._layout.name,
            src_colorspace=read_as,
            dst_colorspace=_SWSCALE.get(target, read_as),
            src_color_range=None if rgb else _range(old),
            dst_color_range=_range(new),
            interpolation=_EXACT,
        )
        return with_pts(made, decoded)

    def _note(self, found: list[FormatChange], pts: int | None) -> None:
        for change in found:
            if change.what not in self._noted:
                self._noted.add(change.what)
                seconds = None if pts is None else float(pts * self._time_base + self.lead)
                self._notes.append(change.line(where_of(seconds)))


def where_of(seconds: float | None, is_exact: bool = True) -> str:
    """Where something begins, in words; without `is_exact`, it may begin earlier than that."""
    if seconds is None:  # a stream without times
        return "in mid-film"
    return f"at {seconds:.2f} s" if is_exact else f"by about {seconds:.2f} s"


def format_of(decoded: VideoFrame, aspect: Fraction | None) -> FrameFormat:
    """Describe a decoded frame; `aspect` is its pixels', as its decoder says."""
    pixels = decoded.sw_format or decoded.format
    name = pixels.name
    if is_rgb(pixels):
        colour = ColourTags(1, decoded.color_primaries, decoded.color_trc)
    else:
        full = is_full_range(name, decoded.color_range)
        tags = decoded.colorspace, decoded.color_primaries, decoded.color_trc
        colour = ColourTags(*tags, full_range=full)
    size = decoded.width, decoded.height
    return FrameFormat(size, name.replace("yuvj", "yuv"), colour, aspect or Fraction(1))


def is_full_range(pixel_format: str, colour_range: int) -> bool:
    """Whether samples have full range: as they are tagged, else as old names of formats imply.

    A decoder may keep the name when the range changes.
    """
    implied = pixel_format.startswith("yuvj") and colour_range != ColorRange.MPEG.value
    return implied or colour_range == ColorRange.JPEG.value


def changes(like: FrameFormat, look: FrameFormat) -> list[FormatChange]:
    """The properties of a frame that differ from the film's."""
    found = []
    if look.size != like.size:
        here, there = ("x".join(map(str, one.size)) for one in (like, look))
        found.append(FormatChange("frame size", here, there, converted=True))
    if look.pixels != like.pixels:
        found.append(FormatChange("pixel format", like.pixels, look.pixels, converted=True))
    # What is scaled to the first may have its shape all the same.
    if look.aspect != like.aspect and _display_aspect(look) != _display_aspect(like):
        found.append(
            FormatChange("pixel aspect", str(like.aspect), str(look.aspect), converted=False)
        )
    old, new = like.colour, look.colour
    if new.full_range != old.full_range:
        here, there = ("full" if tags.full_range else "limited" for tags in (old, new))
        found.append(FormatChange("colour range", here, there, converted=True))
    source, target = _matrices(like, look)
    if not same_code("matrix", source, target):
        names = name_of("matrix", old.matrix), name_of("matrix", new.matrix)
        found.append(FormatChange("colour matrix", *names, converted=_converts(source, target)))
    for tag in ("primaries", "transfer"):
        codes = [1 if code in _UNSAID else code for code in (getattr(old, tag), getattr(new, tag))]
        if not same_code(tag, *codes):
            names = name_of(tag, getattr(old, tag)), name_of(tag, getattr(new, tag))
            found.append(FormatChange(f"colour {tag}", *names, converted=False))
    return found


def same_code(tag: Tag, one: int, other: int) -> bool:
    """Whether two H.273 codes stand for the same numbers."""
    return one == other or {one, other} <= set(_SAME[tag])


def is_said(code: int) -> bool:
    """Whether an H.273 code names anything."""
    return code not in _UNSAID


def name_of(tag: Tag, code: int) -> str:
    """The usual name of an H.273 code."""
    return _NAMES[tag].get(code, f"code {code}" if is_said(code) else "unspecified")


def _without_j(decoded: VideoFrame) -> VideoFrame:
    """The frame under a pixel format's plain name: swscale takes `yuvj` for full range always."""
    name = decoded.format.name
    if not name.startswith("yuvj"):
        return decoded
    plain = VideoFrame(decoded.width, decoded.height, name.replace("yuvj", "yuv"))
    for plane, samples in zip(plain.planes, decoded.planes, strict=True):
        fill_plane(plane, read_plane(samples, np.dtype(np.uint8)))
    return plain


def _matrices(like: FrameFormat, look: FrameFormat) -> tuple[int, int]:
    """The codes by which a frame and the film are read.

    A frame without one is read as the film is; where neither has one, it is guessed by height,
    as `colour.matrix_from_code` does.
    """
    guess = 1 if like.size[1] >= 720 else 6
    target = like.colour.matrix if is_said(like.colour.matrix) else guess
    source = look.colour.matrix if is_said(look.colour.matrix) else target
    return source, target


def _converts(source: int, target: int) -> bool:
    """Whether swscale can convert one matrix to another, and needs to."""
    differs = not same_code("matrix", source, target)
    return differs and source in _SWSCALE and target in _SWSCALE


def _display_aspect(look: FrameFormat) -> Fraction:
    return Fraction(*look.size) * look.aspect


def _range(colour: ColourTags) -> int:
    return (ColorRange.JPEG if colour.full_range else ColorRange.MPEG).value
