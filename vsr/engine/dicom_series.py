"""Upscale DICOM files; those of a series with one range of values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vsr.engine.planes import Upscale, ValueRange, range_of, upscale_plane
from vsr.errors import MediaError
from vsr.media.dicom import Dicom, is_dicom, read_dicom

Pairs = list[tuple[Path, Path]]


@dataclass
class _Series:
    """What is known of the files of a series."""

    first: Dicom
    paths: list[Path] = field(default_factory=list)
    values: ValueRange | None = None
    instances: dict[str, Path] = field(default_factory=dict)
    fault: str | None = None

    def add(self, dicom: Dicom) -> None:
        """Add a file, whose pixels are decoded."""
        self.paths.append(dicom.path)
        one, other = ((d.width, d.height, d.colour) for d in (self.first, dicom))
        twin = self.instances.setdefault(dicom.instance, dicom.path)
        if one != other:
            self.fault = self.fault or (
                f"{self.first.path} and {dicom.path}: one series, but pictures of "
                f"{one[0]}x{one[1]} and {other[0]}x{other[1]}; upscale them one by one"
            )
        elif twin != dicom.path:
            self.fault = self.fault or f"{twin} and {dicom.path}: are one picture; remove one file"
        elif found := measured_range(dicom):
            self.values = found.joined(self.values)


def survey_series(pairs: Sequence[tuple[Path, Path]]) -> tuple[Pairs, list[str], dict[Path, Any]]:
    """Examine the DICOM files among inputs and their outputs.

    Returns the pairs that can be upscaled, a line for each inconsistent series, whose files are not
    among them, and the range of measured values of the series of each file. Files that can't be
    read remain among the pairs.
    """
    all_series: dict[str, _Series] = {}
    for path in (source for source, _ in pairs if len(pairs) > 1 and is_dicom(source)):
        try:
            dicom = read_dicom(path)
            if dicom.series:
                all_series.setdefault(dicom.series, _Series(dicom)).add(dicom)
        except MediaError:
            continue  # reported when the file is upscaled
    faults = [series.fault for series in all_series.values() if series.fault]
    faulty = {path for series in all_series.values() if series.fault for path in series.paths}
    ranges = {path: series.values for series in all_series.values() for path in series.paths}
    return [pair for pair in pairs if pair[0] not in faulty], faults, ranges


def measured_range(dicom: Dicom) -> ValueRange | None:
    """Return the range of the measured values of a grey file without padding; None if empty."""
    if dicom.colour:
        return None
    values = None
    for index, frame in enumerate(dicom.samples()):
        if found := range_of(frame, dicom.padding(frame)):
            slope, intercept = dicom.rescale(index)
            ends = sorted(slope * end + intercept for end in (found.lowest, found.highest))
            values = ValueRange(*ends).joined(values)
    return values


def upscaled_frames(
    dicom: Dicom, upscale: Upscale, values: ValueRange | None
) -> Iterator[NDArray[Any]]:
    """Upscale the frames of a file, grey ones within the measured `values`."""
    for index, frame in enumerate(dicom.samples()):
        samples = ValueRange(*dicom.type_range)
        if not dicom.colour:
            slope, intercept = dicom.rescale(index)
            ends = (values.lowest, values.highest) if values else (0.0, 0.0)
            samples = ValueRange(*sorted((end - intercept) / slope for end in ends))
        yield upscale_plane(
            frame,
            upscale,
            values_range=samples,
            missing=dicom.padding(frame),
            inverted=dicom.inverted,
        )
