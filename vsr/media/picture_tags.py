"""What a picture says of itself beside its pixels, and which format holds what of it."""

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
_JPEG_SEGMENT = 65533
"""Bytes of one of JPEG's segments, at most."""
_XMP_HEAD = 29
_MOST_SIDES = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}
"""Pixels of a side: libjpeg's and libwebp's limits."""
_MOST_DPI = 65535

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_WIDTH, _HEIGHT = 0xA002, 0xA003
_ORIENTATION, _LYING = 0x0112, range(5, 9)
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_COMPRESSION, _THUMBNAIL, _THUMBNAIL_LENGTH = 0x0103, 0x0201, 0x0202
_THUMBNAIL_SIZE = (160, 160)
_MOST_OF_THUMBNAIL = 1 << 15
"""More bytes than noise of that size takes."""
_OF_THE_FILE = (
    *(0x00FE, 0x00FF, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010A, 0x0111, 0x0112, 0x0115),
    *(0x0116, 0x0117, 0x0118, 0x0119, 0x011C, 0x0120, 0x0121, 0x0122, 0x0123, 0x013D, 0x0140),
    *(0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x0200, 0x0201, 0x0202),
    *(0x0203, 0x0205, 0x0206, 0x0207, 0x0208, 0x0209, 0x0211, 0x0212, 0x0213, 0x0214, 0x02BC),
    *(0x83BB, 0x8649, 0x8773),
)
"""Tags of TIFF 6.0 that tell how one file holds its pixels, the orientation that is applied to
them, and what is kept by itself: XMP, IPTC, the profile."""

_COLOUR_CHUNKS = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"tIME")
"""PNG's chunks that are copied as they are."""
_LOST_CHUNKS = {b"mDCV": "mastering display (mDCV)", b"cLLI": "light level (cLLI)"}
_SRGB_GAMMA = 45455
_JPEG_SEGMENTS = {
    **{"APP0": b"", "APP1": b"http://ns.adobe.com/xap/1.0/\0", "APP2": b"ICC_PROFILE\0"},
    **{"APP13": b"", "APP14": b"", "COM": b""},
}
"""JPEG's segments that are kept or that describe the file alone, with what they begin with."""


@dataclass(frozen=True)
class PictureTags:
    """What is kept beside Exif data and the colour profile."""

    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    """Pixels per inch, across and down."""
    comment: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    """PNG's, by keyword."""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    """PNG's that tell of colour, and its time."""
    thumbnail: bool = False
    """Whether Exif data holds a small copy of the picture, which is made anew."""
    iptc: tuple[bytes, ...] = ()
    """JPEG's segments APP13, as they are."""


def tags_of(opened: Any, upright: Image.Image, file: BinaryIO) -> tuple[PictureTags, list[str]]:
    """What a picture that is loaded says of itself, and what of that is lost, in words."""
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
    dpi = _dpi(info)
    if dpi and opened.getexif().get(_ORIENTATION, 1) in _LYING:
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
        iptc=tuple(content for name, content in segments if name == "APP13"),
    )
    return tags, lost


def load_exif(opened: Image.Image) -> None:
    """Read what Exif data refers to, before the pixels: TIFF's file is then closed."""
    for directory in (_EXIF_IFD, _GPS_IFD):
        opened.getexif().get_ifd(directory)


def exif_of(exif: Image.Exif) -> bytes | None:
    """Exif data without the tags that are true of its file alone, of a picture that is upright."""
    if exif.get(_ORIENTATION, 1) in _LYING and {_X_RESOLUTION, _Y_RESOLUTION} <= exif.keys():
        resolution = exif[_Y_RESOLUTION], exif[_X_RESOLUTION]
        exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = resolution
    for tag in _OF_THE_FILE:
        if tag in exif:
            del exif[tag]
    any_inner = exif.get_ifd(_EXIF_IFD) or exif.get_ifd(_GPS_IFD)
    return exif.tobytes() if len(exif) or any_inner else None


def unheld(tags: PictureTags, suffix: str, exif: bytes | None) -> list[str]:
    """What a format can't hold, in words."""
    lost = []
    if tags.thumbnail and not _has_room(suffix, exif):
        lost.append(f"thumbnail: {suffix} has no room beside so much Exif data")
    png, jpeg = suffix == ".png", suffix in JPEG_SUFFIXES
    if tags.comment and not (png or jpeg):
        lost.append(f"comment: {suffix} can't hold it, .png and .jpg can")
    if tags.texts and not png:
        keys = ", ".join(key for key, _ in tags.texts)
        lost.append(f"texts {keys}: {suffix} can't hold them, .png can")
    if tags.iptc and not jpeg:
        lost.append(f"IPTC data: {suffix} can't hold it, .jpg can")
    for name, content in () if png else tags.chunks:
        is_srgb = name == b"gAMA" and struct.unpack(">I", content) == (_SRGB_GAMMA,)
        if name in (b"gAMA", b"cICP") and not is_srgb:
            lost.append(f"colours by {name.decode()}: {suffix} can't hold it, .png can")
    return lost


def check_holds(suffix: str, size: tuple[int, int], exif: bytes | None, tags: PictureTags) -> None:
    """Raise `OutputError` where a format can't hold a picture of (width, height), or its tags."""
    most = _MOST_SIDES.get(suffix)
    if most is not None and max(size) > most:
        larger = ".png" if most > 65000 else ".png and .jpg"
        raise OutputError(
            f"{size[0]}x{size[1]}: {suffix} holds {most} pixels a side, {larger} more"
        )
    if suffix not in JPEG_SUFFIXES:
        return
    for what, data, room in (
        ("Exif data", exif, _JPEG_SEGMENT),
        ("XMP", tags.xmp, _JPEG_SEGMENT - _XMP_HEAD),
        ("a comment", tags.comment, _JPEG_SEGMENT),
    ):
        if data and len(data) > room:
            raise OutputError(f"{len(data)} bytes of {what}: JPEG holds {room}; .png holds more")


def save_options(
    suffix: str, image: Image.Image, exif: bytes | None, tags: PictureTags
) -> dict[str, Any]:
    """What Pillow's writer of a format is told of a picture."""
    options: dict[str, Any] = {}
    size = image.size
    has_thumbnail = tags.thumbnail and _has_room(suffix, exif)
    exif = _sized_exif(exif, size, tags.dpi if suffix == ".webp" else None)
    if has_thumbnail:
        exif = _with_thumbnail(exif or Image.Exif().tobytes(), image)
    xmp = tags.xmp and _sized_xmp(tags.xmp, size)
    if exif:
        options["exif"] = exif
    if tags.dpi and suffix != ".webp":
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
    """Whether a PNG file holds grey, with or without alpha, by its colour type."""
    file.seek(0)
    return file.read(26)[25] in (0, 4)


def bits_of(opened: Any, file: BinaryIO) -> int:
    """Bits of a sample in the file of a picture that is loaded; Pillow may have cut it to eight."""
    file.seek(0)
    match opened.format:
        case "PNG":
            return file.read(25)[24]
        case "TIFF":
            bits = opened.tag_v2.get(0x0102, (8,))
            return max(bits) if isinstance(bits, tuple) else int(bits)
        case "PPM":
            words = re.sub(rb"#[^\n]*\n", b" ", file.read(4096)).split(maxsplit=4)
            return 16 if words[0] not in (b"P1", b"P4") and int(words[3]) > 255 else 8
        case "SGI":
            return 8 * file.read(4)[3]
        case "AVIF":
            head = file.read(1 << 16)
            place = head.find(b"pixi")
            return head[place + 9] if 0 <= place < len(head) - 9 else 8
        case "JPEG2000":
            head = file.read(1 << 16)
            place = head.find(b"\xff\x51")
            return (head[place + 40] & 0x7F) + 1 if 0 <= place < len(head) - 40 else 8
    return 8


def _png_info(tags: PictureTags, xmp: bytes | None) -> PngInfo:
    made = PngInfo()
    for name, content in tags.chunks:
        made.add(name, content)
    if xmp:
        made.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", errors="replace"))
    if tags.comment:
        made.add_text("Comment", tags.comment.decode("utf-8", errors="replace"))
    for key, value in tags.texts:
        made.add_text(key, value)
    return made


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The chunks before the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            return
        yield name, file.read(length)
        file.seek(4, 1)


def _is_lost(name: str, content: bytes) -> bool:
    """Whether a segment of a JPEG file is neither kept nor about that file alone."""
    if name == "APP1" and content.startswith(b"Exif\0"):
        return False
    if name == "APP2" and content.startswith((b"MPF\0", b"FPXR\0")):
        return False  # further pictures, which are told of as such
    return name not in _JPEG_SEGMENTS or not content.startswith(_JPEG_SEGMENTS[name])


def _dpi(info: dict[Any, Any]) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    sane = all(math.isfinite(value) and 1 <= value <= _MOST_DPI for value in (across, down))
    return (across, down) if sane else None


def _is_anamorphic(info: dict[Any, Any]) -> bool:
    for key in ("aspect", "jfif_density"):
        pair = info.get(key)
        if isinstance(pair, tuple) and len(pair) == 2 and pair[0] != pair[1]:
            return True
    return False


def _sized_exif(
    exif: bytes | None, size: tuple[int, int], dpi: tuple[float, float] | None
) -> bytes | None:
    """Exif data with the picture's new size where it tells one, and a resolution if given."""
    made = Image.Exif()
    if exif:
        made.load(exif)
    inner = made.get_ifd(_EXIF_IFD)
    for tag, value in ((_WIDTH, size[0]), (_HEIGHT, size[1])):
        if tag in inner:
            inner[tag] = value
    if dpi and _X_RESOLUTION not in made:
        made[_X_RESOLUTION], made[_Y_RESOLUTION] = dpi
        made[_RESOLUTION_UNIT] = 2  # inch
    return made.tobytes() if exif or len(made) else None


def _has_thumbnail(opened: Any) -> bool:
    """Whether Exif data holds a thumbnail; in TIFF, its directory is the next picture's."""
    try:
        return opened.format != "TIFF" and _THUMBNAIL in opened.getexif().get_ifd(ExifTags.IFD.IFD1)
    except Exception:  # of damaged data, of which `exif_of` tells
        return False


def _has_room(suffix: str, exif: bytes | None) -> bool:
    """Whether a thumbnail finds room beside other Exif data."""
    return suffix not in JPEG_SUFFIXES or len(exif or b"") <= _JPEG_SEGMENT - _MOST_OF_THUMBNAIL


def _with_thumbnail(exif: bytes, image: Image.Image) -> bytes:
    """Exif data with a thumbnail of a picture, in a directory behind the first one."""
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
    """XMP with the picture's new size where it tells one, as an attribute or as an element."""
    for names, value in (
        (b"PixelXDimension|ImageWidth", size[0]),
        (b"PixelYDimension|ImageLength", size[1]),
    ):
        name = rb"(?:exif|tiff):(?:" + names + rb")"
        xmp = re.sub(rb"(" + name + rb"\s*=\s*[\"'])\d+", rb"\g<1>%d" % value, xmp)
        xmp = re.sub(rb"(<" + name + rb">)\s*\d+\s*(?=</)", rb"\g<1>%d" % value, xmp)
    return xmp
