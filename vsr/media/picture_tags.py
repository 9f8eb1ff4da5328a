"""Read and write picture metadata, and determine which formats can hold it."""

import io
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from vsr.errors import OutputError

JPEG_SUFFIXES = (".jpg", ".jpeg")
TIFF_SUFFIXES = (".tif", ".tiff")
MAX_SEGMENT = 65533
"""Maximum bytes of a JPEG segment."""
_XMP_HEADER = 29
_MAX_SIDES = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383, ".avif": 65536}
"""Maximum pixels of a side in libjpeg and libwebp."""
_NO_DPI = (".webp", ".avif", ".jxl")
"""Formats whose resolution is that of Exif data."""
_MAX_DPI = 65535

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_WIDTH, _HEIGHT = 0xA002, 0xA003
_ORIENTATION, _TRANSPOSED = 0x0112, range(5, 9)
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_INCHES = {2: 1.0, 3: 2.54}
"""Resolution units in an inch."""
_COMPRESSION, _THUMBNAIL, _THUMBNAIL_LENGTH = 0x0103, 0x0201, 0x0202
_THUMBNAIL_SIZE = (160, 160)
_IPTC, _PHOTOSHOP = 0x83BB, 0x8649
PHOTOSHOP_HEAD = b"Photoshop 3.0\0"
"""First bytes of JPEG's APP13 segment of Photoshop's resources, of which IPTC data are one."""
_BT709, _UNKNOWN = 1, 2
"""Colour primaries of ITU-T H.273."""
_MAX_THUMBNAIL_BYTES = 1 << 15
"""More than a thumbnail of pure noise takes."""
# fmt: off
_FILE_TAGS = (
    0x00FE, 0x00FF, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0112, 0x0115,
    0x0116, 0x0117, 0x0118, 0x0119, 0x011C, 0x0120, 0x0121, 0x0122, 0x0123, 0x013D, 0x0140,
    0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x0200, 0x0201, 0x0202,
    0x0203, 0x0205, 0x0206, 0x0207, 0x0208, 0x0209, 0x0211, 0x0212, 0x0213, 0x0214, 0x02BC,
    *(0x83BB, 0x8649, 0x8773),
)
# fmt: on
"""Tags of TIFF 6.0 that concern the storage of pixels in one file, or that are handled separately:
the orientation, which is applied to the pixels, XMP, IPTC, the profile."""

_COLOUR_CHUNKS = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"tIME")
"""PNG chunks that are copied unchanged."""
_LOST_CHUNKS = {b"mDCV": "mastering display (mDCV)", b"cLLI": "light level (cLLI)"}
_SRGB_GAMMA = 45455
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


def tags_of(opened: Any, upright: Image.Image, file: BinaryIO) -> tuple[PictureTags, list[str]]:
    """Read the metadata of a loaded picture; list what is lost of it, one line each."""
    info = upright.info
    lost = []
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    comment = info.get("comment")
    texts = [
        (key, str(value))
        for key, value in (getattr(opened, "text", None) or {}).items()
        if key not in ("XML:com.adobe.xmp", "Raw profile type exif")
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
    iptc = tuple(content for name, content in segments if name == "APP13")
    if opened.format == "TIFF":
        iptc = tiff_iptc(dict(opened.tag_v2), lost)
    nclx = info.get("nclx_profile") or {}
    if "icc_profile" not in info and nclx.get("color_primaries", 1) not in (_BT709, _UNKNOWN):
        lost.append(f"colour primaries {nclx['color_primaries']} of HEIC, without a profile")
    dpi = dpi_of(info)
    if dpi and opened.getexif().get(_ORIENTATION, 1) in _TRANSPOSED:
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
    )
    return tags, lost


def tiff_iptc(tags: dict[int, Any], lost: list[str]) -> tuple[bytes, ...]:
    """Return Photoshop's resources of a TIFF file as a segment of JPEG.

    Adds a line to `lost` if there are IPTC data that can't be returned so.
    """
    content = tags.get(_PHOTOSHOP)
    if isinstance(content, tuple) and len(content) == 1:
        content = content[0]  # Pillow's value of an undefined type
    if isinstance(content, bytes) and len(content) + len(PHOTOSHOP_HEAD) <= MAX_SEGMENT:
        return (PHOTOSHOP_HEAD + content,)
    if _PHOTOSHOP in tags or _IPTC in tags:
        lost.append("IPTC data")
    return ()


def load_exif(opened: Image.Image) -> None:
    """Read the directories of Exif data. Must precede the pixels, which close a TIFF file."""
    for directory in (_EXIF_IFD, _GPS_IFD):
        opened.getexif().get_ifd(directory)


def exif_with_tags(content: bytes, lost: list[str]) -> tuple[bytes | None, PictureTags]:
    """Return Exif data of an upright picture, from a TIFF structure, and its resolution.

    Adds a line to `lost` if they are damaged.
    """
    if not content:
        return None, PictureTags()
    exif = Image.Exif()
    try:
        exif.load(b"Exif\0\0" + content)
        exif[_ORIENTATION] = 1
        scale = _INCHES.get(exif.get(_RESOLUTION_UNIT, 2), 0.0)
        dpi = [float(exif[tag]) * scale for tag in (_X_RESOLUTION, _Y_RESOLUTION) if tag in exif]
        has_thumbnail = _THUMBNAIL in exif.get_ifd(ExifTags.IFD.IFD1)
        return exif_of(exif), PictureTags(dpi=dpi_of({"dpi": dpi}), thumbnail=has_thumbnail)
    except Exception:  # malformed data raises many types of error
        lost.append("Exif data, which is damaged")
        return None, PictureTags()


def exif_of(exif: Image.Exif) -> bytes | None:
    """Return Exif data of a rotated picture, without the tags about its file alone."""
    if exif.get(_ORIENTATION, 1) in _TRANSPOSED and {_X_RESOLUTION, _Y_RESOLUTION} <= exif.keys():
        resolution = exif[_Y_RESOLUTION], exif[_X_RESOLUTION]
        exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = resolution
    for tag in _FILE_TAGS:
        if tag in exif:
            del exif[tag]
    any_inner = exif.get_ifd(_EXIF_IFD) or exif.get_ifd(_GPS_IFD)
    return exif.tobytes() if len(exif) or any_inner else None


def unsupported_tags(tags: PictureTags, suffix: str, exif: bytes | None) -> list[str]:
    """List the metadata that a format can't hold, one line each."""
    lost = []
    if tags.thumbnail and suffix in TIFF_SUFFIXES:
        lost.append(f"thumbnail: {suffix} can't hold it, .png and .jpg can")
    elif tags.thumbnail and not _has_room(suffix, exif):
        lost.append(f"thumbnail: {suffix} has no room beside so much Exif data")
    png, jpeg = suffix == ".png", suffix in JPEG_SUFFIXES
    exr = suffix == ".exr"
    if tags.comment and not (png or jpeg or exr):
        lost.append(f"comment: {suffix} can't hold it, .png and .jpg can")
    if tags.texts and not (png or exr):
        keys = ", ".join(key for key, _ in tags.texts)
        lost.append(f"texts {keys}: {suffix} can't hold them, .png can")
    if tags.iptc and not (jpeg or suffix in TIFF_SUFFIXES):
        lost.append(f"IPTC data: {suffix} can't hold it, .jpg and .tif can")
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
    suffix: str, image: Image.Image, exif: bytes | None, tags: PictureTags
) -> dict[str, Any]:
    """Return the options of Pillow's writer for a picture's metadata."""
    options: dict[str, Any] = {}
    size = image.size
    has_thumbnail = tags.thumbnail and suffix not in TIFF_SUFFIXES and _has_room(suffix, exif)
    exif = _sized_exif(exif, size, tags.dpi if suffix in _NO_DPI else None)
    if has_thumbnail:
        exif = _with_thumbnail(exif or Image.Exif().tobytes(), image)
    xmp = tags.xmp and _sized_xmp(tags.xmp, size)
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
    return info


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
    """Return the pixels per inch of Pillow's information; None if they aren't plausible."""
    try:
        across, down = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    is_valid = all(math.isfinite(value) and 1 <= value <= _MAX_DPI for value in (across, down))
    return (across, down) if is_valid else None


def _is_anamorphic(info: dict[Any, Any]) -> bool:
    for key in ("aspect", "jfif_density"):
        pair = info.get(key)
        if isinstance(pair, tuple) and len(pair) == 2 and pair[0] != pair[1]:
            return True
    return False


def _sized_exif(
    exif: bytes | None, size: tuple[int, int], dpi: tuple[float, float] | None
) -> bytes | None:
    """Update the size in Exif data, and set the resolution if `dpi` is given."""
    result = Image.Exif()
    if exif:
        result.load(exif)
    inner = result.get_ifd(_EXIF_IFD)
    for tag, value in ((_WIDTH, size[0]), (_HEIGHT, size[1])):
        if tag in inner:
            inner[tag] = value
    if dpi and _X_RESOLUTION not in result:
        result[_X_RESOLUTION], result[_Y_RESOLUTION] = dpi
        result[_RESOLUTION_UNIT] = 2  # inch
    return result.tobytes() if exif or len(result) else None


def _has_thumbnail(opened: Any) -> bool:
    """Whether Exif data has a JPEG thumbnail; in TIFF, the directory is the next picture."""
    try:
        return opened.format != "TIFF" and _THUMBNAIL in opened.getexif().get_ifd(ExifTags.IFD.IFD1)
    except Exception:  # damaged data, which `exif_of` reports
        return False


def _has_room(suffix: str, exif: bytes | None) -> bool:
    """Whether a thumbnail fits beside other Exif data."""
    return suffix not in JPEG_SUFFIXES or len(exif or b"") <= MAX_SEGMENT - _MAX_THUMBNAIL_BYTES


def _with_thumbnail(exif: bytes, image: Image.Image) -> bytes:
    """Add a thumbnail of a picture to Exif data, in a directory after the first one."""
    small = image.convert("RGB")
    small.thumbnail(_THUMBNAIL_SIZE)
    file = io.BytesIO()
    small.save(file, "JPEG")
    order = "<" if exif[6:8] == b"II" else ">"
    tiff = bytearray(exif[6:])
    tiff += bytes(len(tiff) % 2)
    start = len(tiff)
    (first,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    struct.pack_into(f"{order}I", tiff, first + 2 + 12 * count, start)
    content = file.getvalue()
    tiff += struct.pack(f"{order}H", 3)
    tiff += struct.pack(f"{order}2HI2H", _COMPRESSION, 3, 1, 6, 0)  # a short: JPEG
    tiff += struct.pack(f"{order}2H2I", _THUMBNAIL, 4, 1, start + 2 + 3 * 12 + 4)
    tiff += struct.pack(f"{order}2H2I", _THUMBNAIL_LENGTH, 4, 1, len(content))
    return bytes(exif[:6] + tiff + bytes(4) + content)


def _sized_xmp(xmp: bytes, size: tuple[int, int]) -> bytes:
    """Update the size in XMP, in attributes and elements."""
    for names, value in (
        (b"PixelXDimension|ImageWidth", size[0]),
        (b"PixelYDimension|ImageLength", size[1]),
    ):
        name = rb"(?:exif|tiff):(?:" + names + rb")"
        xmp = re.sub(rb"(" + name + rb"\s*=\s*[\"'])\d+", rb"\g<1>%d" % value, xmp)
        xmp = re.sub(rb"(<" + name + rb">)\s*\d+\s*(?=</)", rb"\g<1>%d" % value, xmp)
    return xmp
