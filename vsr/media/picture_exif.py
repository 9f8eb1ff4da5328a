"""Read Exif data by Pillow, and adapt it to the upright picture."""

import math
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image

from vsr.media.exif import (
    EXIF_IFD,
    GPS_IFD,
    HEADER,
    ORIENTATION,
    RESOLUTION_UNIT,
    THUMBNAIL,
    TRANSPOSED,
    X_RESOLUTION,
    Y_RESOLUTION,
    has_position,
    restore_types,
    sized_exif,
    upright_exif,
)

_MAX_DPI = 65535
_INCHES = {2: 1.0, 3: 2.54}
"""Resolution units in an inch."""
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


def orientation_of(opened: Image.Image) -> int:
    """Return the orientation in Exif data, before the picture is loaded, which applies it to TIFF.

    Also reads the directories of Exif data, since loading closes a TIFF file.
    """
    try:
        exif = opened.getexif()
        for directory in (EXIF_IFD, GPS_IFD):
            exif.get_ifd(directory)
        orientation = opened.info.get("original_orientation") or exif.get(ORIENTATION, 1)
    except Exception:  # damaged data, which `exif_of` reports
        return 1
    return orientation if orientation in range(1, 9) else 1


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
                return adapted_exif(content, orientation, size, lost)
        return encoded_exif(opened.getexif(), orientation, size, lost)
    except Exception:  # malformed data raises many types of error
        lost.append("Exif data, which is damaged")
        return None


def stored_size(upright: Image.Image, orientation: int) -> tuple[int, int]:
    """Return the (width, height) in the file of a picture that has been rotated."""
    return upright.size[::-1] if orientation in TRANSPOSED else upright.size


def encoded_exif(
    exif: Image.Exif, orientation: int, size: tuple[int, int], lost: list[str]
) -> bytes | None:
    """Encode Exif data as `exif_of` does. Raises many types of error for malformed data."""
    for tag in FILE_TAGS:
        if tag in exif:
            del exif[tag]
    if not (len(exif) or exif.get_ifd(EXIF_IFD) or exif.get_ifd(GPS_IFD)):
        return None
    return adapted_exif(restore_types(exif.tobytes()), orientation, size, lost)


def adapted_exif(
    content: bytes, orientation: int, size: tuple[int, int], lost: list[str]
) -> bytes | None:
    """Adapt Exif data to the upright picture; raises ValueError and others for damaged data."""
    upright = upright_exif(content, orientation, size, FILE_TAGS)
    if upright:
        readable = Image.Exif()
        readable.load(upright)
        for directory in (EXIF_IFD, GPS_IFD):
            readable.get_ifd(directory)
        sized_exif(upright, (2, 2), (1, 1), None)  # so that damage is reported before the work
    if orientation != 1 and has_position(content):
        lost.append("position of GeoTIFF: the picture is rotated")
    return upright


def has_thumbnail(opened: Any) -> bool:
    """Whether Exif data has a JPEG thumbnail; in TIFF, the directory is the next picture."""
    try:
        return opened.format != "TIFF" and THUMBNAIL in opened.getexif().get_ifd(ExifTags.IFD.IFD1)
    except Exception:  # damaged data, which `exif_of` reports
        return False


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


def dpi_of_exif(opened: Any) -> tuple[float, float] | None:
    """Return the pixels per inch in a picture's Exif data; None if they are missing or damaged."""
    try:
        return exif_dpi(opened.getexif())
    except Exception:  # damaged data, which `exif_of` reports
        return None


def exif_dpi(exif: Image.Exif) -> tuple[float, float] | None:
    """Return the pixels per inch that Exif data state; None if they aren't plausible."""
    scale = _INCHES.get(exif.get(RESOLUTION_UNIT, 2), 0.0)
    try:
        sides = float(exif[X_RESOLUTION]) * scale, float(exif[Y_RESOLUTION]) * scale
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return dpi_of({"dpi": sides})
