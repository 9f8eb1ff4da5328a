"""Convert decoded frames to one size, layout, range and matrix."""

from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from vsr.media.frame import ColourTags, PixelLayout
from vsr.media.pyav import fill_plane, in_memory, is_rgb, read_plane, with_pts

Tag = Literal["matrix", "primaries", "transfer"]

_UNSPECIFIED = (0, 2, 3)
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
"""swscale's matrix for each H.273 code that it supports."""
_SAME: dict[Tag, tuple[int, ...]] = {
    "matrix": (5, 6),
    "primaries": (6, 7),
    "transfer": (1, 6, 14, 15),
}
"""H.273 codes with the same coefficients."""
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
    """FFmpeg's name of the pixel format; `yuvj` names without the j."""
    colour: ColourTags
    """Without chroma siting. RGB is BT.709 in limited range, as it is converted."""
    aspect: Fraction = Fraction(1)
    """Pixel aspect ratio of the bitstream, width over height."""


class FormatChange(NamedTuple):
    """A property of a frame that differs from the film's first frame."""

    what: str
    old: str
    new: str
    converted: bool
    """Whether `Conformer` converts it; primaries, transfer and aspect aren't converted."""

    def line(self, where: str) -> str:
        """Describe the change in one line; see `where_of`."""
        how = "converted to the first" if self.converted else "shown as the first"
        if self.what == "frame size":
            how = "scaled to the first"
        verb = "change" if self.what.endswith("s") else "changes"
        return f"{self.what} {verb} {where}, from {self.old} to {self.new}: {how}"


class Conformer:
    """Converts frames whose size, pixel format, range or matrix differs from the first frame's."""

    def __init__(
        self, like: FrameFormat, layout: PixelLayout, time_base: Fraction, notes: list[str]
    ) -> None:
        """Convert frames to the format `like`; `layout` is that of the planes read from them.

        A line is added to `notes` for the first change of each property.
        """
        self.like, self._layout, self._time_base = like, layout, time_base
        self._notes = notes
        self.lead = Fraction(0)
        """Seconds that the reader adds to all times."""
        self._seen = like
        self._noted: set[str] = set()

    def announce(self, change: FormatChange, line: str | None) -> None:
        """Note a change before its frames are read; `line` is None if it is reported elsewhere."""
        if change.what not in self._noted:
            self._noted.add(change.what)
            self._notes += [] if line is None else [line]

    def conform(self, decoded: VideoFrame, aspect: Fraction | None) -> VideoFrame:
        """Return the frame, converted if necessary; `aspect` is as in `format_of`."""
        found, like = format_of(decoded, aspect), self.like
        if found != self._seen:
            self._seen = found
            self._note(changes(like, found), decoded.pts)
        if found == like:
            return decoded
        old, new = found.colour, like.colour
        rgb = is_rgb(decoded.sw_format or decoded.format)
        source, target = _matrices(like, found)
        recolours = _converts(source, target) or old.full_range != new.full_range
        if not (recolours or rgb):
            if found.size == like.size:
                return decoded  # a different pixel format is converted when planes are read
            return with_pts(in_memory(decoded).reformat(*like.size), decoded)
        read_as = None if rgb else _SWSCALE.get(source)
        converted = _without_j(in_memory(decoded)).reformat(
            *like.size,
            format=self._layout.name,
            src_colorspace=read_as,
            dst_colorspace=_SWSCALE.get(target, read_as),
            src_color_range=None if rgb else _range(old),
            dst_color_range=_range(new),
            interpolation=_EXACT,
        )
        return with_pts(converted, decoded)

    def _note(self, differences: list[FormatChange], pts: int | None) -> None:
        for change in differences:
            if change.what not in self._noted:
                self._noted.add(change.what)
                seconds = None if pts is None else float(pts * self._time_base + self.lead)
                self._notes.append(change.line(where_of(seconds)))


def where_of(seconds: float | None, is_exact: bool = True) -> str:
    """Format the time of a change; without `is_exact`, it may have happened before that."""
    if seconds is None:  # a stream without times
        return "in mid-film"
    return f"at {seconds:.2f} s" if is_exact else f"by about {seconds:.2f} s"


def format_of(decoded: VideoFrame, aspect: Fraction | None) -> FrameFormat:
    """Describe a decoded frame; `aspect` is the pixel aspect ratio of its decoder."""
    pixels = decoded.sw_format or decoded.format
    name = pixels.name
    if is_rgb(pixels):
        colour = ColourTags(1, decoded.color_primaries, decoded.color_trc)
    else:
        full = is_full_range(name, decoded.color_range)
        tags = decoded.colorspace, decoded.color_primaries, decoded.color_trc
        colour = ColourTags(*tags, full_range=full)
    size = decoded.width, decoded.height
    return FrameFormat(
        size=size,
        pixels=name.replace("yuvj", "yuv"),
        colour=colour,
        aspect=aspect or Fraction(1),
    )


def is_full_range(pixel_format: str, colour_range: int) -> bool:
    """Whether samples have full range, by their tag or by an old name of the pixel format (`yuvj`).

    The tag takes precedence: a decoder may keep the name when the range changes.
    """
    implied = pixel_format.startswith("yuvj") and colour_range != ColorRange.MPEG.value
    return implied or colour_range == ColorRange.JPEG.value


def changes(like: FrameFormat, found: FrameFormat) -> list[FormatChange]:
    """List the properties in which a frame's format differs from the film's (`like`)."""
    differences = []
    if found.size != like.size:
        old_name, new_name = ("x".join(map(str, one.size)) for one in (like, found))
        differences.append(FormatChange("frame size", old_name, new_name, converted=True))
    if found.pixels != like.pixels:
        differences.append(FormatChange("pixel format", like.pixels, found.pixels, converted=True))
    # A frame that is scaled to the first one's size may have the same shape on the display.
    if found.aspect != like.aspect and _display_aspect(found) != _display_aspect(like):
        differences.append(
            FormatChange("pixel aspect", str(like.aspect), str(found.aspect), converted=False)
        )
    old, new = like.colour, found.colour
    if new.full_range != old.full_range:
        old_name, new_name = ("full" if tags.full_range else "limited" for tags in (old, new))
        differences.append(FormatChange("colour range", old_name, new_name, converted=True))
    source, target = _matrices(like, found)
    if not same_code("matrix", source, target):
        names = name_of("matrix", old.matrix), name_of("matrix", new.matrix)
        differences.append(
            FormatChange("colour matrix", *names, converted=_converts(source, target))
        )
    for tag in ("primaries", "transfer"):
        codes = [
            1 if code in _UNSPECIFIED else code for code in (getattr(old, tag), getattr(new, tag))
        ]
        if not same_code(tag, *codes):
            names = name_of(tag, getattr(old, tag)), name_of(tag, getattr(new, tag))
            differences.append(FormatChange(f"colour {tag}", *names, converted=False))
    return differences


def same_code(tag: Tag, one: int, other: int) -> bool:
    """Whether two H.273 codes have the same coefficients."""
    return one == other or {one, other} <= set(_SAME[tag])


def is_specified(code: int) -> bool:
    """Whether an H.273 code specifies anything."""
    return code not in _UNSPECIFIED


def name_of(tag: Tag, code: int) -> str:
    """Return the common name of an H.273 code."""
    return _NAMES[tag].get(code, f"code {code}" if is_specified(code) else "unspecified")


def _without_j(decoded: VideoFrame) -> VideoFrame:
    """Copy a `yuvj` frame to the plain pixel format: swscale reads `yuvj` as full range always."""
    name = decoded.format.name
    if not name.startswith("yuvj"):
        return decoded
    plain = VideoFrame(decoded.width, decoded.height, name.replace("yuvj", "yuv"))
    for plane, samples in zip(plain.planes, decoded.planes, strict=True):
        fill_plane(plane, read_plane(samples, np.dtype(np.uint8)))
    return plain


def _matrices(like: FrameFormat, found: FrameFormat) -> tuple[int, int]:
    """Return the matrix codes of a frame and of the film.

    A frame without one has that of the film. If neither has one, it follows from the height, as in
    `colour.matrix_from_code`.
    """
    guess = 1 if like.size[1] >= 720 else 6
    target = like.colour.matrix if is_specified(like.colour.matrix) else guess
    source = found.colour.matrix if is_specified(found.colour.matrix) else target
    return source, target


def _converts(source: int, target: int) -> bool:
    """Whether two matrices differ and swscale supports both."""
    differs = not same_code("matrix", source, target)
    return differs and source in _SWSCALE and target in _SWSCALE


def _display_aspect(found: FrameFormat) -> Fraction:
    return Fraction(*found.size) * found.aspect


def _range(colour: ColourTags) -> int:
    return (ColorRange.JPEG if colour.full_range else ColorRange.MPEG).value
