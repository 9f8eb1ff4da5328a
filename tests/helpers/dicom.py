"""DICOM files, written by pydicom."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

NAME = "Secret^Person"
"""Of every patient."""


def write_dicom(
    path: Path,
    samples: NDArray[Any],
    *,
    syntax: UID = ExplicitVRLittleEndian,
    encoded: list[bytes] | None = None,
    **tags: Any,
) -> Path:
    """Write frames (H, W), (N, H, W) or (H, W, 3), or `encoded` ones of their shape."""
    dataset = Dataset()
    colour = samples.shape[-1] == 3
    plane = samples.shape[:-1] if colour else samples.shape
    dataset.SOPClassUID = CTImageStorage
    dataset.PatientName, dataset.PatientID = NAME, "4711"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.SOPInstanceUID = "1.2.3.4.5"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = plane[-2:]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * samples.itemsize
    dataset.PixelRepresentation = int(samples.dtype.kind == "i")
    if len(plane) == 3:
        dataset.NumberOfFrames = plane[0]
    dataset.PixelData = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    if encoded is not None:
        dataset.PixelData = encapsulate(encoded)
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset["PixelData"].VR = "OB" if encoded or dataset.BitsAllocated == 8 else "OW"
    dataset["PixelData"].is_undefined_length = encoded is not None
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def item(**tags: Any) -> Dataset:
    """An item of a sequence."""
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def block_means(samples: NDArray[Any]) -> NDArray[np.float64]:
    """Means of blocks of 2x2 of (..., 2H, 2W)."""
    *rest, height, width = samples.shape
    blocks = samples.astype(np.float64).reshape(*rest, height // 2, 2, width // 2, 2)
    return np.asarray(blocks.mean(axis=(-3, -1)))
