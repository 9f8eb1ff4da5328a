"""Read what a comparison of pictures needs: samples, and metadata as the file has them."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import ExifTags, Image

from vsr.errors import MediaError, first_line
from vsr.media.animation.reader import ANIMATED_FORMATS, plays_of
from vsr.media.exif import (
    EXIF_IFD,
    GPS_IFD,
    INTEROPERABILITY_IFD,
    ORIENTATION,
    THUMBNAIL,
    THUMBNAIL_LENGTH,
    TRANSPOSED,
)
from vsr.media.image import read_still
from vsr.media.photoshop import PNG_KEYS, from_png_text, iptc_in
from vsr.media.picture_exif import dpi_of, exif_dpi
from vsr.media.picture_header import frames_of
from vsr.media.picture_memory import reading_by_pillow
from vsr.media.picture_tags import resources_of, tiff_records, tiff_tags
from vsr.media.still import Still

_IPTC, _PHOTOSHOP = 0x83BB, 0x8649
_TEXTS_BESIDE = ("XML:com.adobe.xmp", "Raw profile type exif", "Comment", *PNG_KEYS)
"""Text chunks of PNG that are compared as XMP, Exif data, comment and IPTC data."""
_JXL = "JXL"
_COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"cICP")

ExifTag = tuple[int, int]
"""Directory (0 for the first) and tag."""


@dataclass(frozen=True)
class PictureContents:
    """A picture, upright, and the metadata of its file."""

    still: Still
    colours: str
    """Colour model, such as "grey", "RGB" or "CMYK"."""
    orientation: int = 1
    frames: int = 1
    """Frames of an animation, or pages."""
    delays: tuple[float, ...] = ()
    """Milliseconds that each frame of an animation is shown."""
    plays: int | None = None
    """How often an animation is played, 0 for endlessly; None for other pictures."""
    first_frame: Still | None = None
    """First frame of an animation that has another picture for programs without animation."""
    icc_profile: bytes | None = None
    exif: dict[ExifTag, Any] = field(default_factory=dict)
    thumbnail: tuple[int, int] | None = None
    """(width, height) of the thumbnail in Exif data."""
    xmp: bytes | None = None
    iptc: bytes | None = None
    """Records of IPTC-IIM."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch of the upright picture, horizontally and vertically."""
    exif_dpi: tuple[float, float] | None = None
    """Those in Exif data, where the file states others too."""
    comment: bytes | None = None
    texts: dict[str, str] = field(default_factory=dict)
    """Text chunks of PNG, by keyword."""
    chunks: dict[str, bytes] = field(default_factory=dict)
    """Colour chunks of PNG, by name."""

    @property
    def size(self) -> tuple[int, int]:
        """(Width, height) in pixels."""
        return self.still.rgb.shape[1], self.still.rgb.shape[0]


def read_picture(path: Path) -> PictureContents:
    """Read the samples and metadata of a picture. Raises `MediaError`."""
    still = read_still(path)
    with reading_by_pillow(path):
        try:
            opened: Any = Image.open(path)
        except Exception:  # a format that another library decodes
            return _without_pillow(path, still)
        with opened:
            if opened.format == _JXL:  # by a plug-in, which adds a profile to pictures without
                return _without_pillow(path, still)
            try:
                return _read(path, opened, still)
            except Exception as error:  # Pillow raises many types of error for broken files
                raise MediaError(f"{path}: can't be read: {first_line(error)}") from error


def _read(path: Path, opened: Any, still: Still) -> PictureContents:
    # Metadata first: pixels of a TIFF file close it.
    exif = _loaded(opened.getexif)
    orientation = exif.get(ORIENTATION, 1)
    directories = _directories(exif)
    thumbnail = None if opened.format == "TIFF" else _thumbnail(exif, opened.info.get("exif"))
    tags = tiff_tags(opened) if opened.format == "TIFF" else {}
    frames, start = frames_of(opened, []), 0
    dpis = dpi_of(opened.info), exif_dpi(exif)
    if orientation in TRANSPOSED:
        dpis = dpis[0] and dpis[0][::-1], dpis[1] and dpis[1][::-1]
    if opened.format == "PNG":
        opened.load()  # text after the pixels
        start = int(bool(opened.default_image))
    info = dict(opened.info)
    texts = dict(getattr(opened, "text", None) or {})
    comment = info.get("comment") or texts.get("Comment")
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    is_animated = opened.format in ANIMATED_FORMATS and frames > 1
    return PictureContents(
        still=still,
        colours=_colours(opened.mode, still),
        orientation=orientation,
        frames=frames - start,
        delays=tuple(_delays(opened, start, frames)) if is_animated else (),
        plays=plays_of(opened) if is_animated else None,
        first_frame=_first_frame(opened, still) if start else None,
        icc_profile=info.get("icc_profile") or None,
        exif=directories,
        thumbnail=thumbnail,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        iptc=_iptc(getattr(opened, "applist", []), tags, texts),
        dpi=dpis[0] or dpis[1],
        exif_dpi=dpis[1],
        comment=comment.encode() if isinstance(comment, str) else comment,
        texts={key: str(value) for key, value in texts.items() if key not in _TEXTS_BESIDE},
        chunks=_colour_chunks(path) if opened.format == "PNG" else {},
    )


def _without_pillow(path: Path, still: Still) -> PictureContents:
    """Describe a picture by what `read_still` found."""
    exif = Image.Exif()
    if still.exif:
        exif.load(still.exif)
    frames = 1
    if path.suffix.lower() in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as tif:
            frames = len(tif.pages)
    segments = [("APP13", content) for content in still.tags.iptc]
    return PictureContents(
        still=still,
        colours=_colours("RGB", still),
        frames=frames,
        icc_profile=still.icc_profile,
        exif=_directories(exif),
        xmp=still.tags.xmp,
        iptc=_iptc(segments, {}, {}),
        dpi=still.tags.dpi,
        comment=still.tags.comment,
        texts=dict(still.tags.texts),
    )


def _colours(mode: str, still: Still) -> str:
    if still.grey:
        return "grey"
    return mode if mode in ("CMYK", "LAB", "HSV") else "RGB"


def _loaded(getexif: Any) -> Image.Exif:
    try:
        found: Image.Exif = getexif()
    except Exception:  # damaged data
        return Image.Exif()
    return found


def _directories(exif: Image.Exif) -> dict[ExifTag, Any]:
    """Return the tags of the directories of Exif data that describe the picture."""
    inner = (EXIF_IFD, GPS_IFD)
    found = {(0, tag): value for tag, value in exif.items() if tag not in inner}
    for directory in inner:
        content = exif.get_ifd(directory)
        found |= {
            (directory, tag): value for tag, value in content.items() if tag != INTEROPERABILITY_IFD
        }
    return {tag: _plain(value) for tag, value in found.items()}


def _plain(value: Any) -> Any:
    """Convert a value of Exif data so that equal values of any type compare equal."""
    if isinstance(value, str):
        return value.rstrip("\0 ")
    if isinstance(value, bytes):
        return value
    if isinstance(value, tuple | list):
        parts = tuple(_plain(part) for part in value)
        return parts[0] if len(parts) == 1 else parts
    try:
        return float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return str(value)


def _thumbnail(exif: Image.Exif, content: bytes | None) -> tuple[int, int] | None:
    """Return the size of the JPEG thumbnail in Exif data."""
    entry = exif.get_ifd(ExifTags.IFD.IFD1)
    if not content or THUMBNAIL not in entry:
        return None
    data = content.removeprefix(b"Exif\0\0")
    start = entry[THUMBNAIL]
    try:
        with Image.open(io.BytesIO(data[start : start + entry[THUMBNAIL_LENGTH]])) as small:
            return small.size
    except Exception:  # damaged data
        return None


def _first_frame(opened: Any, still: Still) -> Still:
    opened.seek(1)
    opened.load()
    pixels = np.asarray(opened.convert("RGBA"))
    alpha = None if still.alpha is None else pixels[..., 3]
    return replace(still, rgb=pixels[..., :3], alpha=alpha)


def _delays(opened: Any, first: int, frames: int) -> Iterator[float]:
    for number in range(first, frames):
        opened.seek(number)
        opened.load()  # WebP knows the delay of a decoded frame
        yield float(opened.info.get("duration", 0) or 0)


def _iptc(
    segments: list[tuple[str, bytes]], tags: dict[int, Any], texts: dict[str, str]
) -> bytes | None:
    """Return the IPTC records of JPEG's segments, of TIFF's tags or of PNG's texts."""
    resources = resources_of(tuple(content for name, content in segments if name == "APP13"))
    for key in PNG_KEYS:
        resources += from_png_text(texts.get(key, "")) or b""
    if isinstance(tags.get(_PHOTOSHOP), bytes):
        resources += tags[_PHOTOSHOP]
    found = iptc_in(resources)
    return found.rstrip(b"\0") or tiff_records(tags.get(_IPTC))


def _colour_chunks(path: Path) -> dict[str, bytes]:
    content = path.read_bytes()
    found: dict[str, bytes] = {}
    position = 8
    while position + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        if name == b"IDAT":
            break
        if name in _COLOUR_CHUNKS:
            found[name.decode()] = content[position + 8 : position + 8 + length]
        position += length + 12
    return found
