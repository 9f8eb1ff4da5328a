"""Read and write JPEG XL pictures of 8 and 16 bits and floats, by the package imagecodecs.

imagecodecs has the samples alone. Exif data and XMP are boxes (ISO/IEC 18181-2), and a colour
profile is part of the codestream's header. Profiles that aren't described by numbers are read by
pillow-jxl-plugin, if it is installed.
"""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vsr.errors import MediaError, first_line
from vsr.media.boxes import box, boxes
from vsr.media.jxl_header import JxlHeader, read_header, with_colours
from vsr.media.picture_formats import has_format, needs_extra
from vsr.media.picture_memory import check_source
from vsr.media.picture_tags import PictureTags, exif_with_tags
from vsr.media.rgb_profile import BT709, rgb_profile
from vsr.media.still import Samples, Still, divide_by_alpha, finite_floats, full_scale

_HEADS = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_FILE_TYPE = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
_PICTURE_BOXES = (b"JXL ", b"ftyp", b"jxlc", b"jxlp", b"jxll", b"jxli", b"jbrd", b"Exif", b"xml ")
_EFFORT = 3
"""Of 1 to 9: lossless, and as fast as PNG."""
_EXIF_HEAD = b"Exif\0\0"


def read_jxl(file: BinaryIO, path: Path) -> Still | None:
    """Read a JPEG XL file, upright; None for all other files. Raises `MediaError`."""
    file.seek(0)
    if not file.read(8).startswith(_HEADS):
        return None
    if not has_format("JPEG XL"):
        raise MediaError(f"{path}: {needs_extra('JPEG XL')}")
    import imagecodecs

    file.seek(0)
    data = file.read()
    try:
        codestream, parts = _parts(data)
        header = read_header(codestream)
        _check(header, path)
        samples = imagecodecs.jpegxl_decode(data, index=0, numthreads=1)
    except (ValueError, RuntimeError) as error:
        raise MediaError(f"{path}: can't be read: {first_line(error)}") from error
    lost = [f"box {name}" for name in sorted(parts) if name.encode() not in _PICTURE_BOXES]
    if header.animated:
        lost.append("frames of an animation; the first is used")
    samples = _full_range(samples.reshape(*samples.shape[:2], -1), header, path)
    colours = samples[..., : 1 if header.grey else 3]
    alpha = None
    if header.alpha is not None and colours.shape[2] + header.alpha < samples.shape[2]:
        alpha = np.ascontiguousarray(samples[..., colours.shape[2] + header.alpha])
        if header.premultiplied:
            colours = divide_by_alpha(colours, alpha)
    if others := len(header.extra) - (alpha is not None):
        lost.append(f"{others} extra channels")
    profile = _profile(header, data, lost)
    linear = header.is_float and header.gamma == 1.0 and header.chromaticities is not None
    exif, tags = exif_with_tags(_tiff_of(parts.get("Exif", b"")), lost)
    return Still(
        rgb=np.repeat(colours, 3, axis=2) if header.grey else np.ascontiguousarray(colours),
        alpha=alpha,
        icc_profile=None if linear else profile,
        exif=exif,
        tags=PictureTags(xmp=parts.get("xml ") or None, dpi=tags.dpi, thumbnail=tags.thumbnail),
        grey=header.grey,
        bits=header.bits,
        lost=tuple(lost),
        transfer=header.transfer,
        linear=linear,
        chromaticities=header.chromaticities if linear and profile else None,
    )


def write_jxl(path: Path, samples: Samples, options: dict[str, Any]) -> None:
    """Write samples (H, W, C), C = 1, 2, 3 or 4, without loss.

    `options` are those of Pillow for the profile, Exif data and XMP.
    """
    import imagecodecs

    pixels = samples[..., 0] if samples.shape[2] == 1 else samples
    data = imagecodecs.jpegxl_encode(
        np.ascontiguousarray(pixels), lossless=True, effort=_EFFORT, numthreads=1
    )
    codestream, parts = _parts(bytes(data))
    codestream = with_colours(codestream, options.get("icc_profile"))
    level = [box(b"jxll", parts["jxll"])] if "jxll" in parts else []
    exif = options.get("exif", b"").removeprefix(_EXIF_HEAD)
    with path.open("wb") as file:
        file.writelines([_FILE_TYPE, *level])
        if exif:
            file.write(box(b"Exif", bytes(4), exif))
        if options.get("xmp"):
            file.write(box(b"xml ", options["xmp"]))
        file.write(box(b"jxlc", codestream))


def _parts(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return the codestream of a file, and the contents of its other boxes by type."""
    if data.startswith(_HEADS[0]):
        return data, {}
    parts: dict[str, bytes] = {}
    pieces: list[bytes] = []
    for kind, start, end in boxes(data):
        content = data[start:end]
        if kind == b"brob":
            import imagecodecs

            kind, content = content[:4], bytes(imagecodecs.brotli_decode(content[4:]))
        if kind == b"jxlc":
            pieces.append(content)
        elif kind == b"jxlp":
            pieces.append(content[4:])
        else:
            parts.setdefault(kind.decode("latin-1"), content)
    return b"".join(pieces), parts


def _tiff_of(content: bytes) -> bytes:
    """Return the TIFF structure of a box of Exif data; some writers omit its position."""
    if content.startswith((b"II*\0", b"MM\0*")):
        return content
    return content[4 + int.from_bytes(content[:4], "big") :]


def _check(header: JxlHeader, path: Path) -> None:
    bits = 32 if header.is_float else header.bits
    check_source(path, (header.width, header.height), bits)
    if header.has_black:
        raise MediaError(f"{path}: holds CMYK, which can't be read; convert it to TIFF first")


def _full_range(samples: NDArray[Any], header: JxlHeader, path: Path) -> NDArray[Any]:
    """Return samples of full range as uint8, uint16 or float32."""
    if samples.dtype.kind == "f":
        return finite_floats(samples, path)
    highest = full_scale(samples.dtype)
    if header.bits >= 8 * samples.itemsize:
        return samples
    values = samples * (highest / ((1 << header.bits) - 1))
    return np.rint(values).clip(0, highest).astype(samples.dtype)


def _profile(header: JxlHeader, data: bytes, lost: list[str]) -> bytes | None:
    """Return the profile of a picture, or None if it is sRGB or can't be described."""
    is_simple = not header.has_profile and not header.has_other_curve
    if is_simple and header.gamma is None and header.chromaticities in (BT709, None):
        return None
    if is_simple and header.chromaticities:
        try:
            return rgb_profile(header.chromaticities, header.gamma)
        except ValueError:
            lost.append("colour profile, which is damaged")
            return None
    try:
        import pillow_jxl
    except ImportError:
        lost.append("colour profile: reading it needs pip install pillow-jxl-plugin")
        return None
    try:
        profile = bytes(pillow_jxl.Decoder(num_threads=0)(data)[3])
    except Exception as error:  # the plug-in raises many types of error
        lost.append(f"colour profile: {str(error) or type(error).__name__}")
        return None
    return profile
