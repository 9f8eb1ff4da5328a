"""Options of Pillow's writers for the metadata of a picture."""

import io
import re
import struct
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vsr.media.exif import sized_exif, with_thumbnail
from vsr.media.photoshop import PNG_KEYS, to_png_text
from vsr.media.picture_formats import JPEG_SUFFIXES, TIFF_SUFFIXES
from vsr.media.picture_limits import fits_thumbnail
from vsr.media.picture_tags import XMP_KEY, PictureTags, resources_of

_NO_DPI = (".webp", ".avif", ".jxl")
"""Formats whose resolution is that of Exif data."""
_THUMBNAIL_SIZE = (160, 160)
_XMP_THUMBNAILS = re.compile(rb"<(xmp|xap):Thumbnails>.*?</\1:Thumbnails>", re.DOTALL)


def save_options(
    suffix: str,
    image: Image.Image,
    exif: bytes | None,
    tags: PictureTags,
    size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Return the options of Pillow's writer for a picture's metadata.

    `size` is the (width, height) of the file where that isn't the size of `image`.
    """
    options: dict[str, Any] = {}
    size = size or image.size
    has_thumbnail = tags.thumbnail and suffix not in TIFF_SUFFIXES and fits_thumbnail(suffix, exif)
    dpi = tags.dpi if suffix in _NO_DPI else None
    if exif or dpi or has_thumbnail:
        exif = sized_exif(exif or Image.Exif().tobytes(), size, tags.size, dpi)
    if has_thumbnail:
        exif = with_thumbnail(exif or b"", _thumbnail(image))
    xmp = tags.xmp and sized_xmp(tags.xmp, size)
    if exif:
        options["exif"] = exif
    if tags.dpi and suffix not in _NO_DPI:
        options["dpi"] = tags.dpi
    if suffix == ".png":
        options["pnginfo"] = _png_info(tags, xmp)
        return options
    if xmp:
        options["xmp"] = xmp
    if suffix in JPEG_SUFFIXES:
        if tags.comment:
            options["comment"] = tags.comment
        options["extra"] = b"".join(
            b"\xff\xed" + struct.pack(">H", len(content) + 2) + content for content in tags.iptc
        )
    return options


def _png_info(tags: PictureTags, xmp: bytes | None) -> PngInfo:
    info = PngInfo()
    for name, content in tags.chunks:
        info.add(name, content)
    if xmp:
        info.add_itxt(XMP_KEY, xmp.decode("utf-8", errors="replace"))
    if tags.comment:
        info.add_text("Comment", tags.comment.decode("utf-8", errors="replace"))
    for key, value in tags.texts:
        info.add_text(key, value)
    if tags.iptc:
        info.add_text(PNG_KEYS[0], to_png_text(resources_of(tags.iptc)), zip=True)
    return info


def _thumbnail(image: Image.Image) -> bytes:
    small = image.convert("RGB")
    small.thumbnail(_THUMBNAIL_SIZE)
    file = io.BytesIO()
    small.save(file, "JPEG")
    return file.getvalue()


def sized_xmp(xmp: bytes, size: tuple[int, int]) -> bytes:
    """Update size and orientation in XMP, in attributes and elements, and drop thumbnails."""
    xmp = _XMP_THUMBNAILS.sub(b"", xmp)
    for names, value in (
        (b"PixelXDimension|ImageWidth", size[0]),
        (b"PixelYDimension|ImageLength", size[1]),
        (b"Orientation", 1),
    ):
        name = rb"(?:exif|tiff):(?:" + names + rb")"
        xmp = re.sub(rb"(" + name + rb"\s*=\s*[\"'])\d+", rb"\g<1>%d" % value, xmp)
        xmp = re.sub(rb"(<" + name + rb">)\s*\d+\s*(?=</)", rb"\g<1>%d" % value, xmp)
    return xmp
