"""Picture formats that are available here: those of Pillow, and those of optional packages."""

import importlib.util
import io
from functools import lru_cache
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import features

JPEG_SUFFIXES = (".jpg", ".jpeg")
TIFF_SUFFIXES = (".tif", ".tiff")

_FORMATS = {
    **{"PNG": "zlib", "JPEG": "jpg", "WebP": "webp", "TIFF": None, "AVIF": "avif"},
    **{"GIF": None, "BMP": None, "JPEG 2000": "jpg_2000", "PPM": None, "TGA": None, "SGI": None},
    **{"PCX": None, "QOI": None},
}
"""Formats that are read, and Pillow's feature that each needs."""
DEEP_AVIF = "AVIF of 10 and 12 bits"
_PACKAGES = {
    **{"HEIC": "pi_heif", "JPEG XL": "imagecodecs", "OpenEXR": "OpenEXR"},
    **{DEEP_AVIF: "imagecodecs"},
}
"""Formats that are read by the packages of the extra `pictures`."""
_WRITTEN = ("PNG", "JPEG", "WebP", "TIFF", "AVIF", "JPEG XL", "OpenEXR", DEEP_AVIF)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@lru_cache(maxsize=1)
def has_heif() -> bool:
    """Register HEIC with Pillow, once; whether pi-heif is installed."""
    try:
        import pi_heif
    except ImportError:
        return False
    pi_heif.register_heif_opener()
    return True


def readable_formats() -> list[str]:
    """List the formats that can be read."""
    names = [name for name, needed in _FORMATS.items() if needed is None or features.check(needed)]
    return [*names, *filter(has_format, _PACKAGES)]


def missing_formats() -> list[str]:
    """List the formats that need a package that isn't installed."""
    return [name for name in _PACKAGES if not has_format(name)]


def has_format(name: str) -> bool:
    """Whether the package of a format of `_PACKAGES` is installed."""
    return importlib.util.find_spec(_PACKAGES[name]) is not None


def needs_extra(*names: str) -> str:
    """Say what to install for formats."""
    return f"{', '.join(names)} {'need' if len(names) > 1 else 'needs'} pip install 'vsr[pictures]'"


def writable_formats() -> list[str]:
    """List the formats that can be written."""
    return [name for name in readable_formats() if name in _WRITTEN]


def hint_for(head: bytes) -> str | None:
    """Say what the format of a file that can't be read needs, by its first bytes."""
    if not head:
        return "is empty"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and not has_heif():
        return needs_extra("HEIC")
    return None


def read_heif16(file: BinaryIO, bits: int) -> NDArray[np.uint16]:
    """Decode HEIC of more than 8 bits to samples of full range (H, W, C), rotated."""
    import pi_heif

    file.seek(0)
    image = pi_heif.open_heif(io.BytesIO(file.read()), convert_hdr_to_8bit=False)
    values = (np.asarray(image) >> (16 - bits)) * (65535 / ((1 << bits) - 1))
    samples: NDArray[np.uint16] = np.rint(values).astype(np.uint16)
    return samples
