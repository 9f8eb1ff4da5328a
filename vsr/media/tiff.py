"""Read TIFF files of more than 8 bits per sample, and write all TIFF files.

tifffile decodes what Pillow reduces to 8 bits or doesn't know. The writer uses Pillow's directories
of tags, since neither library writes deep colours together with Exif data.
"""

import logging
import struct
import zlib
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from vsr.errors import MediaError
from vsr.media.exif import (
    EXIF_IFD,
    GPS_IFD,
    INTEROPERABILITY_IFD,
    ORIENTATION,
    RESOLUTION_UNIT,
    TRANSPOSED,
    X_RESOLUTION,
    Y_RESOLUTION,
    restore_types,
)
from vsr.media.picture_exif import encoded_exif, exif_dpi
from vsr.media.picture_memory import check_source
from vsr.media.picture_tags import PictureTags, resources_of, tiff_iptc
from vsr.media.still import (
    Samples,
    Still,
    divide_by_alpha,
    finite_floats,
    full_scale,
    profile_fits,
    profile_space,
    rotate_samples,
)

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its oddities of files

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_PREMULTIPLIED, _ALPHA = 1, 2
_XMP, _PROFILE, _PHOTOSHOP = 0x02BC, 0x8773, 0x8649
_SUBFILE_TYPE, _PAGE_NUMBER = 0x00FE, 0x0129
_REDUCED, _PAGE, _MASK = 1, 2, 4
"""Types of subfiles."""
_DEFLATE, _DIFFERENCES = 8, 2
_HEADER = b"II*\0" + bytes(4)
_BIG_HEADER = b"II+\0" + struct.pack("<2HQ", 8, 0, 0)
STRIP_STARTS, STRIP_COUNTS = 0x0111, 0x0117
STRIP_BYTES = 1 << 20
"""Bytes of a strip before compression."""


def read_tiff(file: BinaryIO, path: Path, number: int = 0) -> Still | None:
    """Read a page of more than 8 bits per sample of a TIFF file, rotated by its orientation.

    Returns None for all other files, and for compressions that can't be decoded in full depth.
    Raises `MediaError`.
    """
    if not is_tiff(file):
        return None
    file.seek(0)
    with tifffile.TiffFile(file) as tif:
        if not tif.pages:
            raise MediaError(f"{path}: can't be read: it has no page")
        page: Any = tif.pages[number]
        if isinstance(page.bitspersample, tuple):
            return None  # differ between channels
        if page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
            return None
        if page.bitspersample <= 8:
            return None
        _check_page(page, file, path)
        samples = _decoded(page, file)
        if samples is None:
            return None
        pages, position = len(tif.pages), page.offset
        tags = {tag.code: tag.value for tag in page.tags}
        photometric, bits = int(page.photometric), int(page.bitspersample)
        extra = [int(use) for use in page.extrasamples]
        if page.axes == "SYX":
            samples = np.moveaxis(samples, 0, 2)
    lost: list[str] = []
    samples = _normalised(samples.reshape(*samples.shape[:2], -1), bits, path)
    if bits > 32:
        lost.append(f"{bits} bits a channel: 32 are read")
    grey = photometric != _RGB
    colours = samples[..., : 1 if grey else 3]
    if photometric == _WHITE_IS_ZERO:
        colours = full_scale(samples.dtype) - colours
    index = next((at for at, use in enumerate(extra) if use in (_PREMULTIPLIED, _ALPHA)), None)
    alpha = None if index is None else samples[..., colours.shape[2] + index]
    if len(extra) > (alpha is not None):
        lost.append(f"{len(extra) - (alpha is not None)} extra channels")
    if alpha is not None and extra[index or 0] == _PREMULTIPLIED:
        colours = divide_by_alpha(colours, alpha)
    profile = _bytes(tags.get(_PROFILE))
    if profile and not profile_fits(profile, grey):
        lost.append(f"colour profile of {profile_space(profile)}")
        profile = None
    iptc = tiff_iptc(tags, lost)
    height, width = colours.shape[:2]
    exif, dpi = _exif(file, position, size=(width, height), lost=lost)
    orientation = tags.get(ORIENTATION, 1)
    rgb = rotate_samples(np.repeat(colours, 3, axis=2) if grey else colours, orientation)
    size = rgb.shape[1], rgb.shape[0]
    return Still(
        rgb=rgb,
        alpha=None if alpha is None else rotate_samples(alpha, orientation),
        icc_profile=profile,
        exif=exif,
        tags=PictureTags(xmp=_bytes(tags.get(_XMP)), dpi=dpi, iptc=iptc, size=size),
        grey=grey,
        bits=bits,
        lost=tuple(lost),
        pages=pages,
    )


def is_tiff(file: BinaryIO) -> bool:
    """Whether a file starts as TIFF does."""
    file.seek(0)
    return file.read(4) in _MAGIC


def list_tiff_pages(file: BinaryIO) -> tuple[list[int], list[str]]:
    """List the numbers of the pages of a TIFF file; describe its other pictures, one line each.

    Thumbnails, pyramids and masks are no pages.
    """
    file.seek(0)
    numbers, reduced, masks = [], 0, 0
    with tifffile.TiffFile(file) as tif:
        for number, page in enumerate(tif.pages):
            tag = page.aspage().tags.get(_SUBFILE_TYPE)
            kind = int(tag.value) if tag else 0
            if number and kind & _REDUCED:
                reduced += 1
            elif number and kind & _MASK:
                masks += 1
            else:
                numbers.append(number)
    counts = {"reduced copies of pages": reduced, "masks of pages": masks}
    return numbers, [f"{count} {name}" for name, count in counts.items() if count]


def append_tiff(
    file: BinaryIO,
    samples: Samples,
    *,
    profile: bytes | None,
    exif: bytes | None,
    tags: PictureTags,
    xmp: bytes | None,
    page: tuple[int, int] | None = None,
    inks: bool = False,
) -> None:
    """Append a page to a file, which may be empty and is open for reading and writing.

    `samples` (H, W, C), C = 1, 2, 3 or 4, are compressed without loss. `exif` and `xmp` are those
    of the output's size. `page` is the page's number, from 0, and that of all pages, `inks`
    whether samples are CMYK.
    """
    height, width, channels = samples.shape
    lines = max(1, STRIP_BYTES // (width * channels * samples.itemsize))
    strips = [compressed(samples[top : top + lines]) for top in range(0, height, lines)]
    directory = directory_for(
        samples.shape,
        samples.dtype,
        lines,
        profile=profile,
        exif=exif,
        tags=tags,
        xmp=xmp,
        inks=inks,
    )
    # Pillow adds the position at which the directory ends.
    directory[STRIP_STARTS] = tuple(accumulate(map(len, strips[:-1]), initial=0))
    directory[STRIP_COUNTS] = tuple(map(len, strips))
    if page:
        directory[_SUBFILE_TYPE], directory[_PAGE_NUMBER] = _PAGE, page
    _link_page(file)
    save_directory(file, directory)
    file.writelines(strips)


def directory_for(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    lines: int,
    *,
    profile: bytes | None,
    exif: bytes | None,
    tags: PictureTags,
    xmp: bytes | None,
    is_big: bool = False,
    inks: bool = False,
) -> ImageFileDirectory_v2:
    """Return the directory of a picture (H, W, C) in strips of `lines`, without their positions.

    `is_big` is for BigTIFF, `inks` for CMYK.
    """
    height, width, channels = shape
    directory = ImageFileDirectory_v2(_BIG_HEADER if is_big else _HEADER)
    _add_exif(directory, exif)
    is_float = dtype == np.float32
    directory[0x0100], directory[0x0101] = width, height
    directory[0x0102] = (8 * dtype.itemsize,) * channels
    directory[0x0103] = _DEFLATE
    colours = _CMYK if inks else _RGB
    directory[0x0106] = colours if channels > 2 else _BLACK_IS_ZERO
    directory[0x0115], directory[0x0116] = channels, lines
    directory[0x013D] = 1 if is_float else _DIFFERENCES
    directory[0x0153] = (3 if is_float else 1,) * channels
    if channels in (2, 4) and not inks:
        directory[0x0152] = _ALPHA
    if tags.dpi:
        directory[X_RESOLUTION], directory[Y_RESOLUTION] = tags.dpi
        directory[RESOLUTION_UNIT] = 2
    for tag, content in ((_PROFILE, profile), (_XMP, xmp), (_PHOTOSHOP, resources_of(tags.iptc))):
        if content:
            directory[tag] = content
    return directory


def _link_page(file: BinaryIO) -> None:
    """Point the last directory of a file, if it has any, to its end; seek to there."""
    end = file.seek(0, 2)
    if not end:
        return
    file.write(bytes(end % 2))  # directories are at even positions
    end += end % 2
    file.seek(0)
    order = "<" if file.read(4) == _MAGIC[0] else ">"
    link = 4
    while True:
        file.seek(link)
        (position,) = struct.unpack(f"{order}I", file.read(4))
        if not position:
            break
        file.seek(position)
        (count,) = struct.unpack(f"{order}H", file.read(2))
        link = position + 2 + 12 * count
    file.seek(link)
    file.write(struct.pack(f"{order}I", end))
    file.seek(end)


def save_directory(file: BinaryIO, directory: ImageFileDirectory_v2) -> None:
    """Write a directory at the end of a file, with the types of Exif's tags."""
    start = file.tell()
    directory.save(file)
    file.seek(start)
    content = restore_types(file.read(), start)
    file.seek(start)
    file.write(content)


def _check_page(page: Any, file: BinaryIO, path: Path) -> None:
    """Raise `MediaError` where a page is too large, cut off, or has other axes."""
    check_source(path, (page.imagewidth, page.imagelength), page.bitspersample)
    if page.axes not in ("YX", "YXS", "SYX"):
        raise MediaError(f"{path}: holds an array of axes {page.axes}, not a picture")
    end = file.seek(0, 2)
    if page.samplesperpixel < (3 if page.photometric == _RGB else 1) + len(page.extrasamples):
        raise MediaError(f"{path}: can't be read: it has {page.samplesperpixel} channels")
    segments = zip(page.dataoffsets, page.databytecounts, strict=False)
    if any(start + count > end for start, count in segments):
        raise MediaError(f"{path}: can't be read: it is cut off")


def _decoded(page: Any, file: BinaryIO) -> NDArray[Any] | None:
    """Decode a page by tifffile, or by OpenCV where tifffile needs imagecodecs for it."""
    try:
        samples: NDArray[Any] = page.asarray(maxworkers=1)
        return samples
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    tag = page.tags.get(ORIENTATION)
    if page.index or page.photometric == _WHITE_IS_ZERO or (tag and tag.value != 1):
        return None  # OpenCV reads the first page, and applies the others
    file.seek(0)
    found = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.shape != page.shape or found.dtype != page.dtype:
        return None
    return found if found.ndim == 2 else found[..., [2, 1, 0, 3][: found.shape[2]]]


def _normalised(samples: NDArray[Any], bits: int, path: Path) -> NDArray[Any]:
    """Convert samples to uint16 of full range, or to float32."""
    if samples.dtype.kind == "f":
        return finite_floats(samples, path)
    if samples.size and (samples.min() < 0 or samples.max() > 65535):
        raise MediaError(
            f"{path}: holds samples of more than 16 bits, or below 0; convert it to 16 bits first"
        )
    if samples.dtype.kind == "u" and bits < 16:
        return np.rint(samples * (65535 / ((1 << bits) - 1))).astype(np.uint16)
    return samples.astype(np.uint16)


def _exif(
    file: BinaryIO, position: int, *, size: tuple[int, int], lost: list[str]
) -> tuple[bytes | None, tuple[float, float] | None]:
    """Return Exif data and the pixels per inch of the directory at `position`, both rotated.

    `size` is the stored (width, height).
    """
    exif = Image.Exif()
    try:
        file.seek(0)
        exif.load_from_fp(file)  # which reads the order of bytes
        file.seek(0)
        exif.load_from_fp(file, position)
        dpi, orientation = exif_dpi(exif), exif.get(ORIENTATION, 1)
        if dpi and orientation in TRANSPOSED:
            dpi = dpi[::-1]
        return encoded_exif(exif, orientation, size, lost), dpi
    except Exception:  # malformed data raises many types of error
        lost.append("Exif data, which is damaged")
        return None, None


def _bytes(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _add_exif(directory: ImageFileDirectory_v2, exif: bytes | None) -> None:
    if not exif:
        return
    source = Image.Exif()
    source.load(exif)
    for inner in (EXIF_IFD, GPS_IFD):
        content = dict(source.get_ifd(inner))
        content.pop(INTEROPERABILITY_IFD, None)
        if content:
            directory[inner] = content
    for tag, value in source.items():
        if tag not in (EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD):
            directory[tag] = value


def compressed(strip: Samples) -> bytes:
    """Compress a strip (n, W, C), integers as differences from the left neighbour."""
    little = strip.dtype.newbyteorder("<")
    if strip.dtype == np.float32:
        return zlib.compress(strip.astype(little).tobytes(), level=1)
    differences = strip.copy()
    differences[:, 1:] -= strip[:, :-1]
    compressor = zlib.compressobj(level=1, strategy=zlib.Z_RLE)  # small and fast on photographs
    return compressor.compress(differences.astype(little).tobytes()) + compressor.flush()
