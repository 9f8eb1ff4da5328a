"""Compare files of measured values, DICOM and TIFF stacks, with their sources.

No finding contains a value of a DICOM data set: these may identify a patient.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsr.errors import MediaError
from vsr.media.dicom import Dicom, changed_tags, is_dicom, read_dicom
from vsr.media.tiff_stack import TiffStack, described, open_stack
from vsr.media.verify.finding import Finding

_CELL = 4
"""Side, in pixels of the smaller plane, of the squares whose means are compared."""
_SHARE, _FLOOR = 0.2, 0.02
"""Largest difference of contents: a share of their standard deviation, and of their range."""
_ROUNDING = 2
"""Pixels by which sides may differ from the aspect ratio."""
_PRECISION = 1e-6
"""Largest relative difference of resolutions, which TIFF stores as fractions."""

Plane = NDArray[np.float64]
"""Grey (H, W) or RGB (H, W, 3); NaN where there is no value."""


def verify_measured(source: Path, output: Path) -> list[Finding] | None:
    """Compare a DICOM file or TIFF stack with its source; None if `source` is another file.

    Planes are compared one by one, by their means over squares of 4x4 pixels of the smaller plane:
    the root mean square of the differences may be a fifth of the standard deviation of the source's
    means, or 2% of the plane's range. No value may be outside that range. Tags must be those that
    `vsr image` writes for a picture of the output's size. Raises `MediaError`.
    """
    if is_dicom(source):
        if not output.exists():
            raise MediaError(f"{output}: no such file")
        if not is_dicom(output):
            raise MediaError(f"{output}: is no DICOM file, but {source} is one")
        return list(_dicom_findings(read_dicom(source), read_dicom(output)))
    with open_stack(source) as before:
        if before is None:
            return None
        if not output.exists():
            raise MediaError(f"{output}: no such file")
        with open_stack(output) as after:
            if after is None:
                raise MediaError(f"{output}: is no stack of measured values, but {source} is one")
            return list(_stack_findings(before, after))


def _dicom_findings(before: Dicom, after: Dicom) -> Iterator[Finding]:
    yield Finding("frames", f"{before.frames}", f"{after.frames}", before.frames == after.frames)
    yield _size((before.width, before.height), (after.width, after.height))
    types = [
        f"{dicom.bits} bits, {'' if dicom.signed else 'un'}signed" for dicom in (before, after)
    ]
    yield Finding("samples", types[0], types[1], types[0] == types[1])
    colours = [_colours(dicom.colour, dicom.inverted) for dicom in (before, after)]
    yield Finding("colours", colours[0], colours[1], colours[0] == colours[1])
    if before.frames == after.frames and before.colour == after.colour:
        planes = (_frames(before), _frames(after))
        yield from _content(zip(*planes, strict=True))
    count, changed = changed_tags(before, after)
    kept = count - len(changed)
    yield Finding("tags", f"{count}", f"{kept} as expected", not changed)
    for name, fault in changed.items():
        yield Finding(f"tag {name}", "expected", fault, False)
    yield from _lost(before.lost, after.lost)


def _stack_findings(before: TiffStack, after: TiffStack) -> Iterator[Finding]:
    kinds = before.kind, after.kind
    yield Finding("type of stack", kinds[0], kinds[1], kinds[0] == kinds[1])
    axes = [
        ", ".join(f"{a} {n}" for a, n in zip(stack.axes, stack.lengths, strict=True)) or "1 plane"
        for stack in (before, after)
    ]
    yield Finding("axes", axes[0], axes[1], axes[0] == axes[1])
    yield _size((before.width, before.height), (after.width, after.height))
    types = str(before.dtype), str(after.dtype)
    yield Finding("samples", types[0], types[1], types[0] == types[1])
    colours = [_colours(stack.colour, stack.white_is_zero) for stack in (before, after)]
    yield Finding("colours", colours[0], colours[1], colours[0] == colours[1])
    if before.planes == after.planes and before.colour == after.colour:
        numbers = range(before.planes)
        yield from _content((_finite(before, n), _finite(after, n)) for n in numbers)
    size = after.height, after.width
    expected, found = described(before, size), described(after, size)
    for name, value in expected.items():
        same = _is_same(value, found.get(name))
        text = "as expected" if same else "none" if name not in found else "another"
        yield Finding(name, "expected", text, same)
    yield from _lost(before.lost, after.lost)


def _frames(dicom: Dicom) -> Iterator[Plane]:
    for frame in dicom.samples():
        plane = frame.astype(np.float64)
        padding = dicom.padding(frame)
        if padding is not None:
            plane[padding] = np.nan
        yield plane


def _finite(stack: TiffStack, index: int) -> Plane:
    plane = stack.plane(index).astype(np.float64)
    plane[~np.isfinite(plane)] = np.nan
    return plane


def _size(before: tuple[int, int], after: tuple[int, int]) -> Finding:
    aspect, (width, height) = Fraction(before[0], before[1]), after
    kept = abs(width - height * aspect) < _ROUNDING or abs(height - width / aspect) < _ROUNDING
    scale = width / before[0]
    texts = [f"{side[0]}x{side[1]}" for side in (before, after)]
    return Finding("size", texts[0], f"{texts[1]} (x{scale:.4g})", kept)


def _colours(colour: bool, inverted: bool) -> str:
    return "RGB" if colour else "grey, lowest is white" if inverted else "grey"


def _content(pairs: Iterable[tuple[Plane, Plane]]) -> Iterator[Finding]:
    """Compare planes; the finding about their content is that of the worst one."""
    worst, allowed, outside, missing = 0.0, _FLOOR, 0, [0.0, 0.0]
    for before, after in pairs:
        shares = [float(np.isnan(plane).mean()) for plane in (before, after)]
        missing = [a + b for a, b in zip(missing, shares, strict=True)]
        if 1 in shares:
            continue
        lowest, highest = float(np.nanmin(before)), float(np.nanmax(before))
        outside += bool(np.nanmin(after) < lowest or np.nanmax(after) > highest)
        difference, limit = _difference(before, after, (highest - lowest) or 1)
        if difference / limit > worst / allowed:
            worst, allowed = difference, limit
    yield Finding("content", f"differs by at most {allowed:.1%}", f"{worst:.1%}", worst <= allowed)
    text = "within" if not outside else f"{outside} planes outside"
    yield Finding("range of values", "of each plane", text, not outside)
    if any(missing):
        same = abs(missing[0] - missing[1]) <= _FLOOR * max(missing)
        texts = [f"{share:.4g} planes" for share in missing]
        yield Finding("samples without a value", texts[0], texts[1], same)


def _difference(before: Plane, after: Plane, extent: float) -> tuple[float, float]:
    """Return the root mean square of differences, and the largest permitted, in shares."""
    lines, columns = (min(a, b) for a, b in zip(before.shape[:2], after.shape[:2], strict=True))
    grid = max(1, columns // _CELL), max(1, lines // _CELL)
    one, other = (
        np.asarray(cv2.resize(plane, grid, interpolation=cv2.INTER_AREA)) / extent
        for plane in (before, after)
    )
    known = np.isfinite(one) & np.isfinite(other)
    if not known.any():
        return 0, _FLOOR
    difference = float(np.sqrt(np.mean((one[known] - other[known]) ** 2)))
    return difference, max(_FLOOR, _SHARE * float(one[known].std()))


def _lost(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Finding]:
    for what in before:
        if what not in after:
            yield Finding(what, "yes", "none", False)


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(_is_same, one, other))
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return abs(one - other) <= _PRECISION * one
    return bool(np.array_equal(one, other))
