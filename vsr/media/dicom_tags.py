"""Make the tags of a DICOM data set true for an upscaled picture.

Names of attributes and rules are those of DICOM PS3.3. Rows come before columns, as in DICOM.
"""

import uuid
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

_SPACINGS = (
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "ObjectPixelSpacingInCenterOfBeam",
)
"""Distances between the centres of rows and of columns."""
_EDGES = {
    **dict.fromkeys(("ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge"), 0),
    **dict.fromkeys(("ShutterLeftVerticalEdge", "ShutterRightVerticalEdge"), 1),
    **dict.fromkeys(("CollimatorUpperHorizontalEdge", "CollimatorLowerHorizontalEdge"), 0),
    **dict.fromkeys(("CollimatorLeftVerticalEdge", "CollimatorRightVerticalEdge"), 1),
    **dict.fromkeys(("RadiusOfCircularShutter", "RadiusOfCircularCollimator"), 1),
}
"""Positions in pixels, and the axis of each."""
_POINTS = (
    "CenterOfCircularShutter",
    "VerticesOfThePolygonalShutter",
    "CenterOfCircularCollimator",
    "VerticesOfThePolygonalCollimator",
)
"""Positions in pixels, as pairs of row and column."""
_REGION_STARTS = {"RegionLocationMinY0": 0, "RegionLocationMinX0": 1}
_REGION_ENDS = {"RegionLocationMaxY1": 0, "RegionLocationMaxX1": 1}
_REGION_PIXELS = {
    "DopplerSampleVolumeYPosition": 0,
    "DopplerSampleVolumeXPosition": 1,
    **dict.fromkeys(("TMLinePositionY0", "TMLinePositionY1"), 0),
    **dict.fromkeys(("TMLinePositionX0", "TMLinePositionX1"), 1),
}
"""Positions in an ultrasound picture, of which 0 is the first pixel, and the axis of each."""
_OVERLAYS = range(0x6000, 0x6020, 2)
_SIGNATURES = ("DigitalSignaturesSequence", "MACParametersSequence")
_CREATION = ("InstanceCreationDate", "InstanceCreationTime", "InstanceCreatorUID")
_DESCRIPTION_LENGTH, _SERIES_LENGTH = 1024, 64
_MARK = " (upscaled)"
_NAMESPACE = uuid.UUID("1d6c2c52-2f5e-4b8f-9a53-7b5d1c0f6f0e")
"""Of the identifiers of outputs."""


class Scale(NamedTuple):
    """Output size over input size."""

    down: Fraction
    across: Fraction


def lost_tags(dataset: Any) -> Iterator[str]:
    """List the parts of a data set that can't be kept, one line each; no values."""
    for group in _OVERLAYS:
        if (group, 0x0010) in dataset and not _can_scale_overlay(dataset, group):
            yield f"overlay {(group - 0x6000) // 2 + 1}, which is not a picture of its own"
    if any(name in dataset for name in _SIGNATURES):
        yield "digital signatures, which are those of the original"


def describe_output(dataset: Any, size: tuple[int, int], *, made_by: str) -> None:
    """Change all tags but those of the samples to those of an output of `size` = (rows, columns).

    `made_by` describes the upscaling. The identifiers of the picture and its series follow from it
    and from the old ones, so that equal runs have equal outputs, and the pictures of a series stay
    one.
    """
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    scale = Scale(Fraction(size[0], rows), Fraction(size[1], columns))
    _scale_overlays(dataset, size, scale)
    _move_positions(dataset, scale)
    for item in _items(dataset):
        _scale_lengths(item, scale)
    for region in dataset.get("SequenceOfUltrasoundRegions", []):
        _scale_region(region, scale)
    dataset.Rows, dataset.Columns = size
    _derive(dataset, made_by)
    for name in (*_SIGNATURES, *_CREATION):
        if name in dataset:
            delattr(dataset, name)


def new_uid(old: str, made_by: str) -> str:
    """Return the identifier of what `made_by` describes, derived from the UID `old`."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{old} {made_by}').int}"


def _items(dataset: Any) -> Iterator[Any]:
    """Iterate over a data set, and over the macros of its functional groups."""
    yield dataset
    for group in _groups(dataset):
        for element in group:
            if element.VR == "SQ":
                yield from element.value


def _groups(dataset: Any) -> Iterator[Any]:
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        yield from dataset.get(name) or []


def _scale_lengths(item: Any, scale: Scale) -> None:
    """Scale distances and positions in pixels."""
    for name in _SPACINGS:
        if _has_values(item, name, 2):
            old = getattr(item, name)
            setattr(item, name, [_decimal(v / float(s)) for v, s in zip(old, scale, strict=True)])
    for name, axis in _EDGES.items():
        if _has_values(item, name, 1):
            setattr(item, name, _scaled_place(int(getattr(item, name)), scale[axis]))
    for name in _POINTS:
        if name in item and len(item[name].value or ()) % 2 == 0:
            places = enumerate(item[name].value or ())
            moved = [_scaled_place(int(v), scale[at % 2]) for at, v in places]
            setattr(item, name, moved)
    for name in ("ImageType", "FrameType"):
        if name in item and item[name].value:
            old = item[name].value
            rest = [] if isinstance(old, str) else [str(part) for part in old][2:]
            setattr(item, name, ["DERIVED", "SECONDARY", *rest])


def _has_values(item: Any, name: str, count: int) -> bool:
    return name in item and int(item[name].VM) == count


def _scaled_place(place: int, scale: Fraction) -> int:
    """Scale a position in pixels, of which 1 is the first."""
    return round((place - Fraction(1, 2)) * scale + Fraction(1, 2))


def _decimal(value: float) -> str:
    """Format a number as a decimal string of at most 16 characters."""
    for digits in range(16, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(value)


def _move_positions(dataset: Any, scale: Scale) -> None:
    """Move the centre of the first pixel, since the picture's edges stay in their places.

    The centre is half a pixel from the edges, along rows and along columns, see
    `ImagePositionPatient` in PS3.3 C.7.6.2.1.1.
    """
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or []), None)
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    _move_position(dataset, dataset, dataset, scale)
    for group in (*([shared] if shared is not None else []), *frames):
        both = [group, shared] if shared is not None else [group]
        plane = _macro([group], "PlanePositionSequence")
        orientation = _macro(both, "PlaneOrientationSequence")
        measures = _macro(both, "PixelMeasuresSequence")
        if plane is not None and orientation is not None and measures is not None:
            _move_position(plane, orientation, measures, scale)


def _macro(groups: list[Any], name: str) -> Any:
    """Return the first item of a sequence in the first of some groups that has it."""
    return next((group.get(name)[0] for group in groups if group.get(name)), None)


def _move_position(plane: Any, orientation: Any, measures: Any, scale: Scale) -> None:
    has_all = (
        _has_values(plane, "ImagePositionPatient", 3)
        and _has_values(orientation, "ImageOrientationPatient", 6)
        and _has_values(measures, "PixelSpacing", 2)
    )
    if not has_all:
        return
    directions = np.array(orientation.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, measures.PixelSpacing)
    along_row = directions[0] * between_columns * float(1 / scale.across - 1) / 2
    along_column = directions[1] * between_rows * float(1 / scale.down - 1) / 2
    moved = np.array(plane.ImagePositionPatient, float) + along_row + along_column
    plane.ImagePositionPatient = [_decimal(value) for value in moved.tolist()]


def _scale_region(region: Any, scale: Scale) -> None:
    """Scale a calibrated region of an ultrasound picture."""
    for name, axis in _REGION_STARTS.items():
        if _has_values(region, name, 1):
            setattr(region, name, round(int(getattr(region, name)) * scale[axis]))
    for name, axis in _REGION_ENDS.items():
        if _has_values(region, name, 1):
            setattr(region, name, round((int(getattr(region, name)) + 1) * scale[axis]) - 1)
    for name, axis in _REGION_PIXELS.items():
        if _has_values(region, name, 1):
            setattr(region, name, _scaled_place(int(getattr(region, name)) + 1, scale[axis]) - 1)
    for letter, part in (("Y", scale.down), ("X", scale.across)):
        delta, place, value = (
            f"PhysicalDelta{letter}",
            f"ReferencePixel{letter}0",
            f"ReferencePixelPhysicalValue{letter}",
        )
        if _has_values(region, delta, 1):
            setattr(region, delta, float(getattr(region, delta)) / float(part))
        if _has_values(region, place, 1):
            exact = (int(getattr(region, place)) + Fraction(1, 2)) * part - Fraction(1, 2)
            setattr(region, place, round(exact))
            if _has_values(region, value, 1) and _has_values(region, delta, 1):
                shift = float(round(exact) - exact) * getattr(region, delta)
                setattr(region, value, float(getattr(region, value)) + shift)


def _can_scale_overlay(dataset: Any, group: int) -> bool:
    """Whether an overlay is a single plane of bits of its own."""
    frames = dataset.get((group, 0x0015))
    return (group, 0x3000) in dataset and (frames is None or int(frames.value or 1) == 1)


def _scale_overlays(dataset: Any, size: tuple[int, int], scale: Scale) -> None:
    """Repeat the bits of overlays; overlays that can't be scaled are removed."""
    for group in _OVERLAYS:
        if (group, 0x0010) not in dataset:
            continue
        if not _can_scale_overlay(dataset, group):
            for element in [element for element in dataset if element.tag.group == group]:
                del dataset[element.tag]
            continue
        bits = dataset.overlay_array(group)
        sides = [max(1, round(n * s)) for n, s in zip(bits.shape, scale, strict=True)]
        rows, columns = (
            (2 * np.arange(m) + 1) * n // (2 * m) for m, n in zip(sides, bits.shape, strict=True)
        )
        packed = np.packbits(bits[np.ix_(rows, columns)].ravel(), bitorder="little").tobytes()
        dataset[group, 0x0010].value, dataset[group, 0x0011].value = sides
        if (group, 0x0050) in dataset:
            old = dataset[group, 0x0050].value
            dataset[group, 0x0050].value = [
                round((int(v) - 1) * s) + 1 for v, s in zip(old, scale, strict=True)
            ]
        dataset[group, 0x3000].value = packed + b"\0" * (len(packed) % 2)


def _derive(dataset: Any, made_by: str) -> None:
    """State what the picture was derived from, and how."""
    from pydicom.dataset import Dataset

    source = Dataset()
    source.ReferencedSOPClassUID = dataset.SOPClassUID
    source.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SourceImageSequence = [source]
    earlier = str(dataset.get("DerivationDescription") or "")
    text = f"{earlier}; {made_by}" if earlier else made_by
    dataset.DerivationDescription = text if len(text) <= _DESCRIPTION_LENGTH else made_by
    dataset.SOPInstanceUID = new_uid(dataset.SOPInstanceUID, made_by)
    if dataset.get("SeriesInstanceUID"):
        dataset.SeriesInstanceUID = new_uid(dataset.SeriesInstanceUID, made_by)
    series = str(dataset.get("SeriesDescription") or "")
    dataset.SeriesDescription = (series[: _SERIES_LENGTH - len(_MARK)] + _MARK).strip()
