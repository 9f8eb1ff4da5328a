"""What picture formats can hold: sizes and metadata."""

import struct

from vsr.errors import OutputError
from vsr.media.photoshop import MAX_SEGMENT
from vsr.media.picture_formats import JPEG_SUFFIXES, TIFF_SUFFIXES
from vsr.media.picture_tags import PictureTags

_XMP_HEADER = 29
_MAX_SIDES = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383, ".avif": 65536, ".gif": 65535}
"""Maximum pixels of a side in libjpeg and libwebp."""
_MAX_THUMBNAIL_BYTES = 1 << 15
"""More than a thumbnail of pure noise takes."""
MAX_TIFF_BYTES = 0xFFFF_FFFF - (1 << 24)
"""Offsets in TIFF have 32 bits."""
_SRGB_GAMMA = 45455


def unsupported_tags(tags: PictureTags, suffix: str, exif: bytes | None) -> list[str]:
    """List the metadata that a format can't hold, one line each."""
    lost = []
    if tags.thumbnail and suffix in TIFF_SUFFIXES:
        lost.append(f"thumbnail: {suffix} can't hold it, .png and .jpg can")
    elif tags.thumbnail and not fits_thumbnail(suffix, exif):
        lost.append(f"thumbnail: {suffix} has no room beside so much Exif data")
    png, jpeg = suffix == ".png", suffix in JPEG_SUFFIXES
    exr = suffix == ".exr"
    if tags.comment and not (png or jpeg or exr or suffix == ".gif"):
        lost.append(f"comment: {suffix} can't hold it, .png and .jpg can")
    if tags.texts and not (png or exr):
        keys = ", ".join(key for key, _ in tags.texts)
        lost.append(f"texts {keys}: {suffix} can't hold them, .png can")
    if tags.iptc and not (png or jpeg or suffix in TIFF_SUFFIXES):
        lost.append(f"IPTC data: {suffix} can't hold it, .png, .jpg and .tif can")
    for name, content in () if png else tags.chunks:
        is_srgb = name == b"gAMA" and struct.unpack(">I", content) == (_SRGB_GAMMA,)
        if name in (b"gAMA", b"cICP") and not is_srgb:
            lost.append(f"colour chunk {name.decode()}: {suffix} can't hold it, .png can")
    return lost


def check_holds(suffix: str, size: tuple[int, int], exif: bytes | None, tags: PictureTags) -> None:
    """Raise `OutputError` where a format can't hold a picture of (width, height) or its tags."""
    limit = _MAX_SIDES.get(suffix)
    if limit is not None and max(size) > limit:
        larger = ".png" if limit > 65000 else ".png and .jpg"
        raise OutputError(
            f"{size[0]}x{size[1]}: {suffix} holds {limit} pixels a side, {larger} more"
        )
    if suffix not in JPEG_SUFFIXES:
        return
    for what, data, room in (
        ("Exif data", exif, MAX_SEGMENT),
        ("XMP", tags.xmp, MAX_SEGMENT - _XMP_HEADER),
        ("a comment", tags.comment, MAX_SEGMENT),
    ):
        if data and len(data) > room:
            raise OutputError(f"{len(data)} bytes of {what}: JPEG holds {room}; .png holds more")


def fits_thumbnail(suffix: str, exif: bytes | None) -> bool:
    """Whether a thumbnail fits beside other Exif data."""
    return suffix not in JPEG_SUFFIXES or len(exif or b"") <= MAX_SEGMENT - _MAX_THUMBNAIL_BYTES
