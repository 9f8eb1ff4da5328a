"""Read and write picture metadata, and determine which formats can hold it."""

import io
import math
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import tifffile
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from vsr.errors import OutputError
from vsr.media.exif import (
    EXIF_IFD,
    GPS_IFD,
    HEADER,
    has_position,
    restore_types,
    sized_exif,
    upright_exif,
    with_thumbnail,
)
from vsr.media.photoshop import (
    PNG_KEYS,
    SEGMENT_HEAD,
    from_png_text,
    iptc_resource,
    to_png_text,
    without_thumbnails,
)

JPEG_SUFFIXES = (".jpg", ".jpeg")
TIFF_SUFFIXES = (".tif", ".tiff")
MAX_SEGMENT = 65533
"""Maximum bytes of a JPEG segment."""
_XMP_HEADER = 29
_MAX_SIDES = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383, ".avif": 65536, ".gif": 65535}
"""Maximum pixels of a side in libjpeg and libwebp."""
_NO_DPI = (".webp", ".avif", ".jxl")
"""Formats whose resolution is that of Exif data."""
_MAX_DPI = 65535

_ORIENTATION, _TRANSPOSED = 0x0112, range(5, 9)
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_INCHES = {2: 1.0, 3: 2.54}
"""Resolution units in an inch."""
_WIDTH, _LENGTH = 0x0100, 0x0101
_THUMBNAIL = 0x0201
_THUMBNAIL_SIZE = (160, 160)
_IPTC, _PHOTOSHOP = 0x83BB, 0x8649
_BT709, _UNKNOWN = 1, 2
"""Colour primaries of ITU-T H.273."""
_MAX_THUMBNAIL_BYTES = 1 << 15
"""More than a thumbnail of pure noise takes."""
# fmt: off
FILE_TAGS = (
    0x00FE, 0x00FF, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0112, 0x0115,
    0x0116, 0x0117, 0x0118, 0x0119, 0x011C, 0x0120, 0x0121, 0x0122, 0x0123, 0x013D, 0x0140,
    0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x0200, 0x0201, 0x0202,
    0x0203, 0x0205, 0x0206, 0x0207, 0x0208, 0x0209, 0x0211, 0x0212, 0x0213, 0x0214, 0x02BC,
    *(0x83BB, 0x8649, 0x8773),
)
# fmt: on
"""Tags of TIFF 6.0 that concern the storage of pixels in one file, or that are handled separately:
the orientation, which is applied to the pixels, XMP, IPTC, the profile."""
_XMP_KEY = "XML:com.adobe.xmp"
_TEXTS_BESIDE = (_XMP_KEY, "Raw profile type exif", *PNG_KEYS)
"""Keywords of PNG's text chunks with other metadata."""

_COLOUR_CHUNKS = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"tIME")
"""PNG chunks that are copied unchanged."""
_LOST_CHUNKS = {b"mDCV": "mastering display (mDCV)", b"cLLI": "light level (cLLI)"}
_SRGB_GAMMA = 45455
_JPEG_SEGMENTS = {
    **{"APP0": b"", "APP1": b"http://ns.adobe.com/xap/1.0/\0", "APP2": b"ICC_PROFILE\0"},
    **{"APP13": b"", "APP14": b"", "COM": b""},
}
"""JPEG segments that are copied or that concern the file alone, with their first bytes."""


_XMP_THUMBNAILS = re.compile(rb"<(xmp|xap):Thumbnails>.*?</\1:Thumbnails>", re.DOTALL)


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
    xmp = opened.info.get("xmp") or opened.info.get(_XMP_KEY)
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
    dpi = dpi_of(info) or exif_dpi(opened)
    if dpi and orientation in _TRANSPOSED:
        dpi = dpi[::-1]
    if dpi is None and _is_anamorphic(info):
        lost.append("pixel aspect")
    tags = PictureTags(
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=dpi,
        comment=comment.encode() if isinstance(comment, str) else comment,
        texts=tuple(texts),
        chunks=tuple(chunks),
        thumbnail=_has_thumbnail(opened),
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


def exif_with_tags(content: bytes, lost: list[str]) -> tuple[bytes | None, PictureTags]:
    """Return Exif data of an upright picture, from a TIFF structure, and its resolution.

    Adds a line to `lost` if they are damaged.
    """
    if not content:
        return None, PictureTags()
    exif = Image.Exif()
    try:
        exif.load(HEADER + content)
        scale = _INCHES.get(exif.get(_RESOLUTION_UNIT, 2), 0.0)
        dpi = [float(exif[tag]) * scale for tag in (_X_RESOLUTION, _Y_RESOLUTION) if tag in exif]
        has_thumbnail = _THUMBNAIL in exif.get_ifd(ExifTags.IFD.IFD1)
        upright = _upright(HEADER + content, 1, (0, 0), lost)
        return upright, PictureTags(dpi=dpi_of({"dpi": dpi}), thumbnail=has_thumbnail)
    except Exception:  # malformed data raises many types of error
        lost.append("Exif data, which is damaged")
        return None, PictureTags()


def tiff_records(value: Any) -> bytes | None:
    """Return IPTC records in a tag of TIFF, which many files store as 32-bit numbers."""
    if isinstance(value, tuple):
        formats = (f"{order}{len(value)}I" for order in "<>")
        with suppress(struct.error):
            candidates = [struct.pack(form, *value) for form in formats]
            value = next((each for each in candidates if each.startswith(b"\x1c")), None)
    return value.rstrip(b"\0") if isinstance(value, bytes) and value[:1] == b"\x1c" else None


def orientation_of(opened: Image.Image) -> int:
    """Return the orientation in Exif data, before the picture is loaded, which applies it to TIFF.

    Also reads the directories of Exif data, since loading closes a TIFF file.
    """
    try:
        exif = opened.getexif()
        for directory in (EXIF_IFD, GPS_IFD):
            exif.get_ifd(directory)
        orientation = opened.info.get("original_orientation") or exif.get(_ORIENTATION, 1)
    except Exception:  # damaged data, which `exif_of` reports
        return 1
    return orientation if orientation in range(1, 9) else 1


def frames_of(opened: Any, lost: list[str]) -> int:
    """Count frames or pages; a line is added to `lost` if further ones can't be read."""
    try:
        return int(getattr(opened, "n_frames", 1))
    except Exception:  # damaged data, or pages of TIFF that Pillow doesn't know
        opened.seek(0)
        if opened.format == "TIFF" and (count := _tiff_pages(opened.fp)):
            return count
        lost.append("further frames or pages, which can't be read")
        return 1


def _tiff_pages(file: BinaryIO) -> int:
    """Count the pages of a TIFF file by their directories; 0 if any is damaged."""
    file.seek(0)
    try:
        pages = [page.aspage() for page in tifffile.TiffFile(file).pages]
        return (
            len(pages) if all({_WIDTH, _LENGTH} <= set(page.tags.keys()) for page in pages) else 0
        )
    except Exception:  # damaged data raises many types of error
        return 0


def exif_of(opened: Any, orientation: int, size: tuple[int, int], lost: list[str]) -> bytes | None:
    """Return Exif data for the upright picture, without tags about the file alone.

    `orientation` is that of the file, and `size` the stored (width, height). Lines about what isn't
    kept are added to `lost`.
    """
    raw = opened.info.get("exif")
    try:
        if opened.format != "TIFF" and raw:
            with suppress(ValueError):
                content = raw if raw.startswith(HEADER) else HEADER + raw
                return _upright(content, orientation, size, lost)
        return encoded_exif(opened.getexif(), orientation, size, lost)
    except Exception:  # malformed data raises many types of error
        lost.append("Exif data, which is damaged")
        return None


def stored_size(upright: Image.Image, orientation: int) -> tuple[int, int]:
    """Return the (width, height) in the file of a picture that has been rotated."""
    return upright.size[::-1] if orientation in _TRANSPOSED else upright.size


def encoded_exif(
    exif: Image.Exif, orientation: int, size: tuple[int, int], lost: list[str]
) -> bytes | None:
    """Encode Exif data as `exif_of` does. Raises many types of error for malformed data."""
    for tag in FILE_TAGS:
        if tag in exif:
            del exif[tag]
    if not (len(exif) or exif.get_ifd(EXIF_IFD) or exif.get_ifd(GPS_IFD)):
        return None
    return _upright(restore_types(exif.tobytes()), orientation, size, lost)


def _upright(
    content: bytes, orientation: int, size: tuple[int, int], lost: list[str]
) -> bytes | None:
    upright = upright_exif(content, orientation, size, FILE_TAGS)
    if upright:
        readable = Image.Exif()
        readable.load(upright)
        for directory in (EXIF_IFD, GPS_IFD):
            readable.get_ifd(directory)
        sized_exif(upright, (2, 2), (1, 1), None)  # so that it is damaged before the work
    if orientation != 1 and has_position(content):
        lost.append("position of GeoTIFF: the picture is rotated")
    return upright


def unsupported_tags(tags: PictureTags, suffix: str, exif: bytes | None) -> list[str]:
    """List the metadata that a format can't hold, one line each."""
    lost = []
    if tags.thumbnail and suffix in TIFF_SUFFIXES:
        lost.append(f"thumbnail: {suffix} can't hold it, .png and .jpg can")
    elif tags.thumbnail and not _has_room(suffix, exif):
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
    has_thumbnail = tags.thumbnail and suffix not in TIFF_SUFFIXES and _has_room(suffix, exif)
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


def is_grey_png(file: BinaryIO) -> bool:
    """Whether a PNG file is greyscale, with or without alpha, by its colour type."""
    file.seek(0)
    return file.read(26)[25] in (0, 4)


def bits_of(opened: Any, file: BinaryIO) -> int:
    """Return the bits per sample in the file of a loaded picture; Pillow may reduce them to 8."""
    file.seek(0)
    match opened.format:
        case "PNG":
            return file.read(25)[24]
        case "TIFF":
            bits = opened.tag_v2.get(0x0102, (8,))
            return max(bits) if isinstance(bits, tuple) else int(bits)
        case "PPM":
            fields = re.sub(rb"#[^\n]*\n", b" ", file.read(4096)).split(maxsplit=4)
            return 16 if fields[0] not in (b"P1", b"P4") and int(fields[3]) > 255 else 8
        case "SGI":
            return 8 * file.read(4)[3]
        case "HEIF":
            return int(opened.info.get("bit_depth", 8))
        case "AVIF":
            head = file.read(1 << 16)
            position = head.find(b"pixi")
            return head[position + 9] if 0 <= position < len(head) - 9 else 8
        case "JPEG2000":
            head = file.read(1 << 16)
            position = head.find(b"\xff\x51")
            return (head[position + 40] & 0x7F) + 1 if 0 <= position < len(head) - 40 else 8
    return 8


def _png_info(tags: PictureTags, xmp: bytes | None) -> PngInfo:
    info = PngInfo()
    for name, content in tags.chunks:
        info.add(name, content)
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", errors="replace"))
    if tags.comment:
        info.add_text("Comment", tags.comment.decode("utf-8", errors="replace"))
    for key, value in tags.texts:
        info.add_text(key, value)
    if tags.iptc:
        info.add_text(PNG_KEYS[0], to_png_text(resources_of(tags.iptc)), zip=True)
    return info


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


def dpi_of(info: dict[Any, Any]) -> tuple[float, float] | None:
    """Return the pixels per inch of Pillow's information; None if they aren't plausible.

    TIFF files without a resolution state one pixel.
    """
    try:
        across, down = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    is_valid = all(math.isfinite(value) and 1 < value <= _MAX_DPI for value in (across, down))
    return (across, down) if is_valid else None


def exif_dpi(opened: Any) -> tuple[float, float] | None:
    """Return the pixels per inch in a picture's Exif data; None if they aren't plausible."""
    try:
        exif = opened.getexif()
        scale = _INCHES.get(exif.get(_RESOLUTION_UNIT, 2), 0.0)
        pair = float(exif[_X_RESOLUTION]) * scale, float(exif[_Y_RESOLUTION]) * scale
    except Exception:  # missing or damaged data, which `exif_of` reports
        return None
    return dpi_of({"dpi": pair})


def _is_anamorphic(info: dict[Any, Any]) -> bool:
    for key in ("aspect", "jfif_density"):
        pair = info.get(key)
        if isinstance(pair, tuple) and len(pair) == 2 and pair[0] != pair[1]:
            return True
    return False


def _has_thumbnail(opened: Any) -> bool:
    """Whether Exif data has a JPEG thumbnail; in TIFF, the directory is the next picture."""
    try:
        return opened.format != "TIFF" and _THUMBNAIL in opened.getexif().get_ifd(ExifTags.IFD.IFD1)
    except Exception:  # damaged data, which `exif_of` reports
        return False


def _has_room(suffix: str, exif: bytes | None) -> bool:
    """Whether a thumbnail fits beside other Exif data."""
    return suffix not in JPEG_SUFFIXES or len(exif or b"") <= MAX_SEGMENT - _MAX_THUMBNAIL_BYTES


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
