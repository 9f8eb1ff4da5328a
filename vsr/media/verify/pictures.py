"""Compare pictures with their sources, singly or in folders."""

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags

from vsr.errors import MediaError
from vsr.media.dicom import dicom_files, is_dicom
from vsr.media.exif import EXIF_IFD, IN_PIXELS, RESOLUTION_TAGS
from vsr.media.linear_light import to_srgb
from vsr.media.picture_colours import in_linear_light
from vsr.media.picture_exif import FILE_TAGS
from vsr.media.picture_options import sized_xmp
from vsr.media.still import Samples, Still, full_scale
from vsr.media.verify.finding import Finding
from vsr.media.verify.measured import verify_measured
from vsr.media.verify.picture_contents import ExifTag, PictureContents, read_picture
from vsr.system.folders import STILL_SUFFIXES, files_in

_CELL = 4
"""Side, in pixels of the smaller picture, of the squares whose means are compared."""
_SHARE, _FLOOR = 0.2, 0.02
"""Largest difference of contents: a share of their standard deviation, and of white."""
_NEUTRAL = 0.01
"""Largest difference of the mean colours of a grey picture that is stored as RGB."""
_ROUNDING = 2
"""Pixels by which sides may differ from the aspect ratio."""
_DPI_TOLERANCE = 0.51
"""JPEG holds whole numbers."""
_DELAY_TOLERANCE = 10.0
"""Milliseconds: GIF holds hundredths of a second."""
_WIDTH, _HEIGHT = (EXIF_IFD, 0xA002), (EXIF_IFD, 0xA003)
_GREYLESS = (".webp", ".avif")
"""Formats that store grey as colours."""
_XMP_ORIENTATION = re.compile(
    rb"tiff:Orientation\s*=\s*[\"'][0-9][\"']|<tiff:Orientation>[0-9]</tiff:Orientation>"
)
_COMPARED = re.compile(r"^palette|bits a channel|colours: RGB|^colour profile")
"""Of lines about what isn't read: those about what is compared by another finding, and palettes,
of which the colours are kept."""
_SRGB_GAMMA = b"\0\0\xb1\x8f"


def is_picture(path: Path) -> bool:
    """Whether a name is that of a picture, or a file is DICOM."""
    return path.suffix.lower() in STILL_SUFFIXES or is_dicom(path)


def verify_picture(source: Path, output: Path) -> list[Finding]:
    """Compare a picture of any size with its source. Raises `MediaError`.

    Samples are compared by their means over squares of 4x4 pixels of the smaller picture. The root
    mean square of the differences may be a fifth of the standard deviation of the source's means,
    or 2% of white. Of animations and pages, the first picture is compared, and their number.

    Exif data are compared tag by tag, without tags about the storage in the file. The size in Exif
    data and XMP must be that of the output, and a thumbnail must have its shape. Other tags that
    are stated in pixels must be there.

    DICOM files and TIFF stacks are compared by `verify_measured`.
    Linear light, as in OpenEXR, is compared with other colours by the curve of sRGB.
    """
    if (measured := verify_measured(source, output)) is not None:
        return measured
    before, after = read_picture(source), read_picture(output)
    return [
        *_samples(_moving(before, after), _moving(after, before), output),
        *_frames(before, after),
        *_unread(before, after),
        *_metadata(before, after),
    ]


def verify_pictures(source: Path, output: Path) -> list[Finding]:
    """Compare the pictures of a folder with those of the same names in another folder.

    The suffix of an output may differ. Findings are named after the picture; one finding stands for
    all properties of a picture that are kept. Raises `MediaError` if the folder has no picture.
    """
    pictures, others = files_in(source, STILL_SUFFIXES, without=output)
    pictures = sorted([*pictures, *dicom_files(others)])
    if not pictures:
        raise MediaError(f"{source}: holds no picture ({', '.join(sorted(STILL_SUFFIXES))})")
    findings: list[Finding] = []
    for path in pictures:
        name = path.relative_to(source)
        findings += _of_folder(str(name), path, _output_of(output / name))
    return findings


def _of_folder(name: str, source: Path, output: Path | None) -> Iterator[Finding]:
    if output is None:
        yield Finding(name, "picture", "none", False)
        return
    try:
        findings = verify_picture(source, output)
    except MediaError as error:
        yield Finding(f"{name}: readable", "", str(error), False)
        return
    lost = [finding for finding in findings if not finding.kept]
    if not lost:
        yield Finding(name, f"{len(findings)} properties", "kept", True)
    for finding in lost:
        yield Finding(f"{name}: {finding.what}", finding.source, finding.output, False)


def _output_of(path: Path) -> Path | None:
    """Find the output of a picture: of its own name, or with another picture's suffix."""
    if path.is_file():
        return path
    if not path.parent.is_dir():
        return None
    others = (path.with_suffix(suffix) for suffix in (".png", ".jpg", *sorted(STILL_SUFFIXES)))
    return next((other for other in others if other.is_file()), None)


def _samples(before: PictureContents, after: PictureContents, output: Path) -> Iterator[Finding]:
    one, other = before.still, after.still
    if one.linear != other.linear:
        one, other = _displayed(one), _displayed(other)
    scale = Fraction(after.size[0], before.size[0])
    has_aspect = _has_shape(after.size, before.size)
    yield Finding(
        "size", _size(before.size), f"{_size(after.size)} (x{float(scale):.4g})", has_aspect
    )
    if before.orientation != 1 or after.orientation != 1:
        yield Finding("orientation", f"{before.orientation}", f"{after.orientation}", has_aspect)
    if has_aspect:
        yield _content("content", _premultiplied(one), _premultiplied(other))
    else:
        yield Finding("content", "", "another shape", False)
    bits = before.still, after.still
    yield Finding("bits", _bits(bits[0]), _bits(bits[1]), _has_bits(*bits))
    colours = after.colours
    if before.colours == "grey" and colours == "RGB":
        stored = output.suffix.lower() in _GREYLESS and _is_neutral(other)
        yield Finding("colours", "grey", "RGB, all grey" if stored else "RGB", stored)
    else:
        yield Finding("colours", before.colours, colours, before.colours == colours)
    alphas = ["none" if still.alpha is None else "yes" for still in (one, other)]
    yield Finding("transparency", alphas[0], alphas[1], alphas[0] == alphas[1])
    if one.alpha is not None and other.alpha is not None and has_aspect:
        yield _content("transparency's content", one.alpha, other.alpha)


def _moving(contents: PictureContents, other: PictureContents) -> PictureContents:
    """Return a picture with its first frame, if the other one is an animation."""
    if contents.first_frame is None or other.plays is None:
        return contents
    return replace(contents, still=contents.first_frame)


def _displayed(still: Still) -> Still:
    """Convert colours by way of linear light to the curve of sRGB, as floats."""
    linear = in_linear_light(still)
    return replace(linear, rgb=to_srgb(linear.rgb.astype(np.float32, copy=False)))


def _has_shape(size: tuple[int, int], of: tuple[int, int]) -> bool:
    (width, height), aspect = size, Fraction(of[0], of[1])
    return abs(width - height * aspect) < _ROUNDING or abs(height - width / aspect) < _ROUNDING


def _content(what: str, one: Samples, other: Samples) -> Finding:
    """Compare the means of two pictures over the same squares, in shares of the source's white."""
    lines, columns = min(one.shape[:2], other.shape[:2])
    grid = max(1, columns // _CELL), max(1, lines // _CELL)
    black, white = _range(one)
    means = [
        (np.asarray(cv2.resize(samples, grid, interpolation=cv2.INTER_AREA), np.float64))
        / full_scale(samples.dtype)
        for samples in (one, other)
    ]
    expected, found = ((values - black) / (white - black) for values in means)
    difference = float(np.sqrt(np.mean((expected - found) ** 2)))
    allowed = max(_FLOOR, _SHARE * float(expected.std()))
    return Finding(
        what, f"differs by at most {allowed:.1%}", f"{difference:.1%}", difference <= allowed
    )


def _range(samples: Samples) -> tuple[float, float]:
    """Return black and white: 0 and 1, or the range of floats beyond."""
    if samples.dtype != np.float32:
        return 0, 1
    return min(0, float(samples.min())), max(1, float(samples.max()))


def _premultiplied(still: Still) -> Samples:
    """Return colours without those that transparency hides."""
    if still.alpha is None:
        return still.rgb
    white, opaque = (np.float32(full_scale(each.dtype)) for each in (still.rgb, still.alpha))
    shares = (still.alpha / opaque).astype(np.float32, copy=False)
    return (still.rgb / white * shares[..., None]).astype(np.float32, copy=False)


def _bits(still: Still) -> str:
    return f"{still.bits}, floating-point" if still.rgb.dtype == np.float32 else f"{still.bits}"


def _has_bits(one: Still, other: Still) -> bool:
    floats = [still.rgb.dtype == np.float32 for still in (one, other)]
    return floats[1] if floats[0] else floats[1] or other.bits >= one.bits


def _is_neutral(still: Still) -> bool:
    """Whether all colours are grey, but for the loss of a codec."""
    means = still.rgb.astype(np.float32).mean(axis=(0, 1)) / full_scale(still.rgb.dtype)
    return bool(np.ptp(means) < _NEUTRAL)


def _frames(before: PictureContents, after: PictureContents) -> Iterator[Finding]:
    if (before.frames, after.frames) == (1, 1):
        return
    counts = before.frames, after.frames
    yield Finding("frames or pages", f"{counts[0]}", f"{counts[1]}", counts[0] == counts[1])
    if before.delays:
        same = len(before.delays) == len(after.delays) and all(
            abs(one - other) <= _DELAY_TOLERANCE
            for one, other in zip(before.delays, after.delays, strict=True)
        )
        yield Finding("delays", _milliseconds(before), _milliseconds(after), same)
        yield Finding("loops", _plays(before), _plays(after), before.plays == after.plays)
    if before.first_frame is not None:
        has_other = after.first_frame is not None
        yield Finding(
            "picture beside the animation", "yes", "yes" if has_other else "none", has_other
        )


def _plays(contents: PictureContents) -> str:
    return "endless" if contents.plays == 0 else _text(contents.plays)


def _unread(before: PictureContents, after: PictureContents) -> Iterator[Finding]:
    """Compare parts of the files that `vsr` doesn't read, and that aren't compared otherwise."""
    for line in before.still.lost:
        if _COMPARED.search(line) or (before.iptc and line.startswith("IPTC")):
            continue
        is_kept = line in after.still.lost
        yield Finding(line, "yes", "yes" if is_kept else "none", is_kept)


def _milliseconds(contents: PictureContents) -> str:
    delays = contents.delays
    return f"{sum(delays):g} ms in {len(delays)} frames" if delays else "none"


def _metadata(before: PictureContents, after: PictureContents) -> Iterator[Finding]:
    if before.icc_profile:
        yield _same_bytes("colour profile", before.icc_profile, after.icc_profile)
    yield from _exif(before, after)
    if before.xmp:
        expected, found = (_normal_xmp(each.xmp, after.size) for each in (before, after))
        is_true = found == _normal_xmp(after.xmp)
        yield Finding("XMP", _length(before.xmp), _length(after.xmp), is_true and found == expected)
    if before.iptc:
        yield _same_bytes("IPTC data", before.iptc, after.iptc)
    if before.dpi:
        same = any(_is_dpi(after.dpi, dpi) for dpi in (before.dpi, before.exif_dpi))
        yield Finding("resolution", _dpi(before.dpi), _dpi(after.dpi), same)
    if before.comment:
        texts = [
            (comment or b"none").decode("utf-8", errors="replace")
            for comment in (before.comment, after.comment)
        ]
        yield Finding("comment", texts[0], texts[1], texts[0] == texts[1])
    for key, value in before.texts.items():
        text = after.texts.get(key)
        yield Finding(f"text {key}", value, _text(text), text == value)
    for name, content in before.chunks.items():
        chunk = after.chunks.get(name)
        is_srgb = name == "cHRM" or (name == "gAMA" and content == _SRGB_GAMMA)
        yield Finding(
            f"colour chunk {name}",
            content.hex(),
            "none" if chunk is None else chunk.hex(),
            chunk == content or (chunk is None and is_srgb),
        )


def _is_dpi(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    if one is None or other is None:
        return False
    return all(abs(a - b) <= _DPI_TOLERANCE for a, b in zip(one, other, strict=True))


def _normal_xmp(xmp: bytes | None, size: tuple[int, int] | None = None) -> bytes:
    """Return XMP of a (width, height) without its orientation, which is applied, and padding."""
    sized = sized_xmp(xmp or b"", size) if size else xmp or b""
    return b" ".join(_XMP_ORIENTATION.sub(b"", sized).replace(b"\0", b"").split())


def _exif(before: PictureContents, after: PictureContents) -> Iterator[Finding]:
    tags = {tag: value for tag, value in before.exif.items() if not _is_storage(tag)}
    lost = []
    for tag, value in tags.items():
        found = after.exif.get(tag)
        if found is None or not (tag in IN_PIXELS or _is_same(value, found)):
            lost.append(Finding(f"Exif {_name(tag)}", _text(value), _text(found), False))
    if tags:
        kept = len(tags) - len(lost)
        yield Finding("Exif data", f"{len(tags)} tags", f"{kept} tags", not lost)
    yield from lost
    sizes = [[contents.exif.get(tag) for tag in (_WIDTH, _HEIGHT)] for contents in (before, after)]
    if any(value is not None for side in sizes for value in side):
        is_true = all(
            value is None or value == side for value, side in zip(sizes[1], after.size, strict=True)
        )
        texts = ["none" if side == [None, None] else "x".join(map(_text, side)) for side in sizes]
        yield Finding("size in Exif data", texts[0], texts[1], is_true)
    if before.thumbnail or after.thumbnail:
        small = after.thumbnail
        names = ["none" if each is None else _size(each) for each in (before.thumbnail, small)]
        fits = small is not None and _has_shape(small, after.size)
        yield Finding("thumbnail", names[0], names[1], fits)


def _is_storage(tag: ExifTag) -> bool:
    """Whether a tag is about the storage in one file, or is compared separately."""
    directory, code = tag
    if directory == 0:
        return code in FILE_TAGS or code in RESOLUTION_TAGS
    return tag in (_WIDTH, _HEIGHT)


def _name(tag: ExifTag) -> str:
    names = ExifTags.TAGS if tag[0] in (0, EXIF_IFD) else ExifTags.GPSTAGS
    return names.get(tag[1], f"0x{tag[1]:04x}")


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal; fractions may be rounded to 32 bits."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-6 * max(1, abs(one)) or (one != one and other != other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)


def _same_bytes(what: str, one: bytes, other: bytes | None) -> Finding:
    text = _length(other)
    if other is not None and len(other) == len(one) and other != one:
        text = f"{text}, changed"
    return Finding(what, _length(one), text, one == other)


def _length(content: bytes | None) -> str:
    return "none" if content is None else f"{len(content)} bytes"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _dpi(dpi: tuple[float, float] | None) -> str:
    return "none" if dpi is None else f"{dpi[0]:.4g}x{dpi[1]:.4g} dpi"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
