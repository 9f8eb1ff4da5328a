"""Read the metadata of a picture beside Exif data and the colour profile."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import ExifTags, Image

from vsr.media.exif import HEADER, THUMBNAIL, TRANSPOSED
from vsr.media.photoshop import (
    MAX_SEGMENT,
    PNG_KEYS,
    SEGMENT_HEAD,
    from_png_text,
    iptc_resource,
    without_thumbnails,
)
from vsr.media.picture_exif import adapted_exif, dpi_of, dpi_of_exif, exif_dpi, has_thumbnail

_IPTC, _PHOTOSHOP = 0x83BB, 0x8649
_BT709, _UNKNOWN = 1, 2
"""Colour primaries of ITU-T H.273."""
XMP_KEY = "XML:com.adobe.xmp"
"""Keyword of PNG's text chunk of XMP."""
_TEXTS_BESIDE = (XMP_KEY, "Raw profile type exif", *PNG_KEYS)
"""Keywords of PNG's text chunks with other metadata."""
_COLOUR_CHUNKS = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"tIME")
"""PNG chunks that are copied unchanged."""
_LOST_CHUNKS = {b"mDCV": "mastering display (mDCV)", b"cLLI": "light level (cLLI)"}
_JPEG_SEGMENTS = {
    **{"APP0": b"", "APP1": b"http://ns.adobe.com/xap/1.0/\0", "APP2": b"ICC_PROFILE\0"},
    **{"APP13": b"", "APP14": b"", "COM": b""},
}
"""JPEG segments that are copied or that concern the file alone, with their first bytes."""


@dataclass(frozen=True)
class PictureTags:
    """Metadata beside Exif data and the colour profile."""

    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    """Pixels per inch, horizontally and vertically."""
    comment: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    """PNG's text chunks, by keyword."""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    """PNG's chunks about colour and time, by name."""
    thumbnail: bool = False
    """Whether Exif data has a thumbnail, which is created again for the output."""
    iptc: tuple[bytes, ...] = ()
    """JPEG's APP13 segments."""
    size: tuple[int, int] | None = None
    """(Width, height) of the upright picture in the file."""


def tags_of(
    opened: Any, upright: Image.Image, file: BinaryIO, orientation: int
) -> tuple[PictureTags, list[str]]:
    """Read the metadata of a loaded picture; list what is lost of it, one line each.

    `orientation` is that before the picture was loaded.
    """
    info = upright.info
    lost = []
    xmp = opened.info.get("xmp") or opened.info.get(XMP_KEY)
    comment = info.get("comment")
    texts = [
        (key, str(value))
        for key, value in (getattr(opened, "text", None) or {}).items()
        if key not in _TEXTS_BESIDE
    ]
    if comment is None and "Comment" in dict(texts):
        comment = dict(texts)["Comment"]
        texts = [(key, value) for key, value in texts if key != "Comment"]
    chunks = []
    if opened.format == "PNG":
        for name, content in _png_chunks(file):
            if name in _COLOUR_CHUNKS:
                chunks.append((name, content))
            elif name in _LOST_CHUNKS:
                lost.append(_LOST_CHUNKS[name])
    segments = getattr(opened, "applist", [])
    lost += sorted(
        {f"JPEG segment {name}" for name, content in segments if _is_lost(name, content)}
    )
    iptc = tuple(_segment(content) for name, content in segments if name == "APP13")
    if opened.format == "PNG":
        iptc = _png_iptc(getattr(opened, "text", {}), lost)
    if opened.format == "TIFF":
        iptc = tiff_iptc(tiff_tags(opened), lost)
    nclx = info.get("nclx_profile") or {}
    if "icc_profile" not in info and nclx.get("color_primaries", 1) not in (_BT709, _UNKNOWN):
        lost.append(f"colour primaries {nclx['color_primaries']} of HEIC, without a profile")
    dpi = dpi_of(info) or dpi_of_exif(opened)
    if dpi and orientation in TRANSPOSED:
        dpi = dpi[::-1]
    if dpi is None and _is_anamorphic(info):
        lost.append("pixel aspect")
    tags = PictureTags(
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=dpi,
        comment=comment.encode() if isinstance(comment, str) else comment,
        texts=tuple(texts),
        chunks=tuple(chunks),
        thumbnail=has_thumbnail(opened),
        iptc=iptc,
        size=upright.size,
    )
    return tags, lost


def tiff_iptc(tags: dict[int, Any], lost: list[str]) -> tuple[bytes, ...]:
    """Return Photoshop's resources or IPTC data of a TIFF file as a segment of JPEG.

    Adds a line to `lost` if there are IPTC data that can't be returned so.
    """
    content = tags.get(_PHOTOSHOP)
    if isinstance(content, tuple) and len(content) == 1:
        content = content[0]  # Pillow's value of an undefined type
    if not isinstance(content, bytes):
        records = tiff_records(tags.get(_IPTC))
        content = records and iptc_resource(records)
    if content:
        segment = SEGMENT_HEAD + without_thumbnails(content)
        if len(segment) <= MAX_SEGMENT:
            return (segment,)
    if _PHOTOSHOP in tags or _IPTC in tags:
        lost.append("IPTC data")
    return ()


def tiff_tags(opened: Any) -> dict[int, Any]:
    """Return the tags of a TIFF file; IPTC data as bytes, of which Pillow decodes four."""
    raw = getattr(opened.tag_v2, "_tagdata", {})
    return {**opened.tag_v2, **{tag: raw[tag] for tag in (_IPTC,) if tag in raw}}


def tiff_records(value: Any) -> bytes | None:
    """Return IPTC records in a tag of TIFF, which many files store as 32-bit numbers."""
    if isinstance(value, tuple):
        formats = (f"{order}{len(value)}I" for order in "<>")
        with suppress(struct.error):
            candidates = [struct.pack(form, *value) for form in formats]
            value = next((each for each in candidates if each.startswith(b"\x1c")), None)
    return value.rstrip(b"\0") if isinstance(value, bytes) and value[:1] == b"\x1c" else None


def exif_with_tags(content: bytes, lost: list[str]) -> tuple[bytes | None, PictureTags]:
    """Return Exif data of an upright picture, from a TIFF structure, and its resolution.

    Adds a line to `lost` if they are damaged.
    """
    if not content:
        return None, PictureTags()
    exif = Image.Exif()
    try:
        exif.load(HEADER + content)
        tags = PictureTags(
            dpi=exif_dpi(exif), thumbnail=THUMBNAIL in exif.get_ifd(ExifTags.IFD.IFD1)
        )
        return adapted_exif(HEADER + content, 1, (0, 0), lost), tags
    except Exception:  # malformed data raises many types of error
        lost.append("Exif data, which is damaged")
        return None, PictureTags()


def resources_of(segments: tuple[bytes, ...]) -> bytes:
    """Return Photoshop's resources in JPEG's segments."""
    head = SEGMENT_HEAD
    return b"".join(part[len(head) :] for part in segments if part.startswith(head))


def _segment(content: bytes) -> bytes:
    """Return JPEG's segment of Photoshop's resources without thumbnails; others unchanged."""
    if not content.startswith(SEGMENT_HEAD):
        return content
    return SEGMENT_HEAD + without_thumbnails(content[len(SEGMENT_HEAD) :])


def _png_iptc(texts: dict[str, str], lost: list[str]) -> tuple[bytes, ...]:
    """Return IPTC data in PNG's text chunks as a segment of JPEG."""
    for key in PNG_KEYS:
        if key in texts:
            content = from_png_text(str(texts[key]))
            if content and len(SEGMENT_HEAD) + len(content) <= MAX_SEGMENT:
                return (SEGMENT_HEAD + without_thumbnails(content),)
            lost.append("IPTC data, which is damaged or too long")
    return ()


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the chunks before the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            return
        yield name, file.read(length)
        file.seek(4, 1)


def _is_lost(name: str, content: bytes) -> bool:
    """Whether a JPEG segment is neither copied nor about the file alone."""
    if name == "APP1" and content.startswith(b"Exif\0"):
        return False
    if name == "APP2" and content.startswith((b"MPF\0", b"FPXR\0")):
        return False  # further pictures, which are reported as such
    return name not in _JPEG_SEGMENTS or not content.startswith(_JPEG_SEGMENTS[name])


def _is_anamorphic(info: dict[Any, Any]) -> bool:
    for key in ("aspect", "jfif_density"):
        pair = info.get(key)
        if isinstance(pair, tuple) and len(pair) == 2 and pair[0] != pair[1]:
            return True
    return False
