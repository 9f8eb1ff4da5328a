"""Read and write OpenEXR pictures of half or full floats, by the package OpenEXR.

Colours are linear light, and premultiplied by alpha in the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vsr.errors import MediaError, first_line
from vsr.media.exif import EXIF_IFD, GPS_IFD, RESOLUTION_TAGS
from vsr.media.picture_exif import dpi_of
from vsr.media.picture_formats import has_format, needs_extra
from vsr.media.picture_memory import check_source
from vsr.media.picture_tags import PictureTags
from vsr.media.rgb_profile import BT709
from vsr.media.still import Still, divide_by_alpha, finite_floats

_MAGIC = b"\x76\x2f\x31\x01"
_MAX_HALF = 65504
_STORAGE = frozenset(
    {
        *("channels", "type", "lineOrder", "tiles", "version", "chunkCount", "name"),
        *("screenWindowCenter", "screenWindowWidth", "dwaCompressionLevel"),
        *("chromaticities", "comments", "xDensity", "maxSamplesPerPixel"),
    }
)
"""Attributes that concern the file alone, or that are kept by other means."""
_DIRECTORIES = (EXIF_IFD, GPS_IFD)
_WINDOWS = ("dataWindow", "displayWindow")
_UNWRITABLE = frozenset({"preview", "idmanifest"})


def read_exr(file: BinaryIO, path: Path) -> Still | None:
    """Read the colours of an OpenEXR file; None for all other files. Raises `MediaError`."""
    file.seek(0)
    if file.read(4) != _MAGIC:
        return None
    if not has_format("OpenEXR"):
        raise MediaError(f"{path}: {needs_extra('OpenEXR')}")
    import OpenEXR

    file.seek(0)
    _check_size(file, path)
    file.seek(0)
    try:
        with OpenEXR.File(file, separate_channels=True) as opened:
            parts = opened.parts
            found = [(dict(part.header), _planes(part.channels)) for part in parts]
    except (RuntimeError, ValueError) as error:
        raise MediaError(f"{path}: can't be read: {first_line(error)}") from error
    if not found:
        raise MediaError(f"{path}: can't be read: its pixels are damaged")
    header, planes = found[0]
    lost = [] if len(found) == 1 else [f"{len(found) - 1} of {len(found)} parts; the first is used"]
    names = _colour_names(planes, path)
    alpha_name = _layer_of(names[0]) + "A"
    used = {*names, alpha_name}
    if others := sorted(set(planes) - used):
        more = ", ..." if len(others) > 4 else ""
        lost.append(f"channels {', '.join(others[:4])}{more}")
    for name in used & planes.keys():
        _check_plane(planes[name], name, path)
    grey = len(names) == 1
    colours = np.stack([planes[names[0 if grey else i]] for i in range(3)], axis=2)
    alpha = planes.get(alpha_name)
    half = all(planes[name].dtype == np.float16 for name in names)
    colours = colours.astype(np.float32)
    if alpha is not None:
        alpha = alpha.astype(np.float32)
        if colours[alpha <= 0].any():
            lost.append("light of transparent pixels")
        colours = divide_by_alpha(colours, alpha)
    if "preview" in header:
        lost.append("preview")
    chromaticities = tuple(header.get("chromaticities", ())) or None
    comment = header.get("comments")
    across = float(header.get("xDensity", 0.0))
    attributes = {key: value for key, value in header.items() if _is_kept(key, value, header)}
    return Still(
        rgb=colours,
        alpha=alpha,
        tags=PictureTags(
            comment=comment.encode() if isinstance(comment, str) else None,
            texts=tuple((key, text) for key, text in header.items() if _is_text(key, text)),
            dpi=dpi_of({"dpi": (across, across * float(header.get("pixelAspectRatio", 1.0)))}),
        ),
        grey=grey,
        bits=16 if half else 32,
        lost=tuple(lost),
        linear=True,
        chromaticities=chromaticities if chromaticities != BT709 else None,
        exr_attributes=attributes,
    )


def write_exr(path: Path, still: Still, samples: NDArray[Any]) -> None:
    """Write samples (H, W, C) in linear light, C = 1, 2, 3 or 4, with the metadata of `still`.

    They are half floats if it has 16 bits.
    """
    import OpenEXR

    height, width, channels = samples.shape
    if channels in (2, 4):
        samples = np.concatenate([samples[..., :-1] * samples[..., -1:], samples[..., -1:]], axis=2)
    if still.bits <= 16:
        samples = samples.clip(-_MAX_HALF, _MAX_HALF).astype(np.float16)
    reserved = {*_STORAGE, *_WINDOWS, "compression", "pixelAspectRatio"}
    header: dict[str, Any] = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        **still.exr_attributes,
        **{(f"text:{key}" if key in reserved else key): text for key, text in still.tags.texts},
    }
    header |= _scaled_windows(header, width, height)
    if still.tags.comment:
        header["comments"] = still.tags.comment.decode("utf-8", errors="replace")
    if still.tags.dpi:
        header["xDensity"] = still.tags.dpi[0]
        header.setdefault("pixelAspectRatio", still.tags.dpi[1] / still.tags.dpi[0])
    if still.chromaticities:
        header["chromaticities"] = still.chromaticities
    names = {1: "Y", 2: "YA", 3: "RGB", 4: "RGBA"}[channels]
    planes = {name: np.ascontiguousarray(samples[..., at]) for at, name in enumerate(names)}
    with OpenEXR.File(header, planes) as made:
        made.write(str(path))


def unsupported_by_exr(still: Still) -> list[str]:
    """List the parts of a picture that OpenEXR can't hold, one line each."""
    tags = still.tags
    exif = Image.Exif()
    if still.exif:
        exif.load(still.exif)
    parts = (
        ("Exif data", any(_says_more(exif, tag) for tag in exif), ".png and .jpg can"),
        ("XMP", tags.xmp, ".png and .jpg can"),
    )
    return [f"{name}: .exr can't hold it, {others}" for name, content, others in parts if content]


def _says_more(exif: Image.Exif, tag: int) -> bool:
    """Whether a tag states more than the resolution, and isn't an empty directory."""
    return tag not in RESOLUTION_TAGS and (tag not in _DIRECTORIES or bool(exif.get_ifd(tag)))


def unsupported_attributes(still: Still, suffix: str) -> list[str]:
    """List the attributes of OpenEXR that another format can't hold, in one line."""
    aspect = still.exr_attributes.get("pixelAspectRatio", 1.0)
    lost = []
    if aspect != 1 and not still.tags.dpi:
        lost.append(f"pixel aspect {aspect:g}: {suffix} can't hold it, .exr can")
    names = [
        key
        for key in still.exr_attributes
        if key not in (*_WINDOWS, "compression", "pixelAspectRatio")
    ]
    if names:
        lost.append(f"attributes {', '.join(names)}: {suffix} can't hold them, .exr can")
    return lost


def _planes(channels: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the samples of each channel; of subsampled ones, an empty array."""
    return {
        name: channel.pixels
        if (channel.xSampling, channel.ySampling) == (1, 1)
        else np.empty((0, 0), np.float16)
        for name, channel in channels.items()
    }


def _colour_names(planes: Mapping[str, Any], path: Path) -> list[str]:
    """Return the channels of red, green and blue, or of grey; of the first layer that has them."""
    layers = sorted({_layer_of(name) for name in planes}, key=lambda layer: (layer != "", layer))
    for layer in layers:
        if {layer + "RY", layer + "BY"} & planes.keys():
            raise MediaError(f"{path}: holds luminance and chroma; convert it to RGB first")
        if {layer + name for name in "RGB"} <= planes.keys():
            return [layer + name for name in "RGB"]
        if layer + "Y" in planes:
            return [layer + "Y"]
    if len(planes) == 1:
        return list(planes)
    raise MediaError(f"{path}: holds neither red, green and blue nor luminance (Y)")


def _layer_of(name: str) -> str:
    return name.rpartition(".")[0] + "." if "." in name else ""


def _check_plane(plane: NDArray[Any], name: str, path: Path) -> None:
    if plane.ndim != 2 or not plane.size or plane.dtype not in (np.float16, np.float32):
        raise MediaError(f"{path}: channel {name} isn't one of floats for each pixel")
    finite_floats(plane, path)


def _check_size(file: BinaryIO, path: Path) -> None:
    """Raise `MediaError` where the data window is too large, before any memory is taken."""
    head = file.read(1 << 16)
    at = head.find(b"dataWindow\0box2i\0\x10\0\0\0")
    if at < 0:
        return
    left, top, right, bottom = np.frombuffer(head[at + 21 : at + 37].ljust(16, b"\0"), "<i4")
    width, height = int(right) - int(left) + 1, int(bottom) - int(top) + 1
    check_source(path, (width, height), bits=32)


def _is_text(key: str, value: Any) -> bool:
    return isinstance(value, str) and key not in _STORAGE


def _is_kept(key: str, value: Any, header: Mapping[str, Any]) -> bool:
    """Whether an attribute is copied to another OpenEXR file."""
    if key in _STORAGE or key in _UNWRITABLE or isinstance(value, str):
        return False
    if key in _WINDOWS:
        windows = [np.ravel(header[name]).tolist() for name in _WINDOWS]
        return windows[0] != windows[1] or any(windows[0][:2])
    return not (key == "pixelAspectRatio" and value == 1)


def _scaled_windows(header: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    """Scale the data and display windows to an output of this size."""
    if not all(name in header for name in _WINDOWS):
        return {}
    (left, top), (right, bottom) = header["dataWindow"]
    across, down = width / (int(right) - int(left) + 1), height / (int(bottom) - int(top) + 1)
    first = np.array([round(int(left) * across), round(int(top) * down)], np.int32)
    size = np.array([width, height], np.int32)
    (left, top), (right, bottom) = header["displayWindow"]
    edges = [round(int(left) * across), round(int(top) * down)]
    ends = [round((int(right) + 1) * across) - 1, round((int(bottom) + 1) * down) - 1]
    return {
        "dataWindow": (first, first + size - 1),
        "displayWindow": (np.array(edges, np.int32), np.array(ends, np.int32)),
    }
