"""Read and write DICOM files with pydicom, which is an optional extra.

No message contains a value of a data set: these may identify a patient.
"""

import copy
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsr.errors import MediaError, OutputError
from vsr.media.dicom_tags import describe_output, lost_tags
from vsr.media.picture_memory import check_source
from vsr.system.address import is_pipe
from vsr.system.files import atomic_path, check_output_path

DICOM_SUFFIXES = frozenset({"", ".dcm", ".dicom", ".ima"})
"""Suffixes that DICOM files are written with; those of archives often have none."""
_PREAMBLE, _MAGIC = 128, b"DICM"
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_OTHERS = {
    "TotalPixelMatrixColumns": "tiles of a whole slide",
    "SegmentSequence": "a segmentation",
    "DoseGridScaling": "a radiation dose",
    "RTImagePlane": "a radiotherapy image",
    "FloatPixelData": "floating-point pixels",
    "DoubleFloatPixelData": "floating-point pixels",
}
"""Attributes of pictures that aren't upscaled."""
_ENCAPSULATION = (
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "EncapsulatedPixelDataValueTotalLength",
)
_PIXEL_TAGS = frozenset(
    {
        *("PixelData", "BitsAllocated", "BitsStored", "HighBit", "PhotometricInterpretation"),
        *("PlanarConfiguration", "SmallestImagePixelValue", "LargestImagePixelValue"),
        *_ENCAPSULATION,
    }
)
"""Tags that follow from the samples of an output."""
_INDEX = "DICOMDIR"
"""Name of the file that lists the DICOM files of a medium."""
_MAX_SIDE, _MAX_BYTES = 0xFFFF, 0xFFFF_FFFE


def has_pydicom() -> bool:
    """Whether pydicom is installed."""
    return find_spec("pydicom") is not None


def is_dicom(path: Path) -> bool:
    """Whether a file has the preamble of DICOM, or a suffix of its own for it."""
    if is_pipe(path) or not path.is_file():
        return False
    if path.suffix.lower() in DICOM_SUFFIXES - {""}:
        return True
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        return False


def dicom_files(paths: Iterable[Path]) -> list[Path]:
    """List the DICOM files among the files of a folder, without the index of a medium."""
    return [path for path in paths if path.name != _INDEX and is_dicom(path)]


@dataclass(frozen=True)
class Dicom:
    """A DICOM file with a picture, or several frames of one size."""

    path: Path
    height: int
    width: int
    frames: int
    colour: bool
    """Whether frames are RGB, (H, W, 3), rather than grey, (H, W)."""
    inverted: bool
    """Whether the lowest value is shown as white: MONOCHROME1."""
    bits: int
    """Significant bits of a sample."""
    signed: bool
    lost: tuple[str, ...]
    """Parts of the file that can't be kept, one line each."""
    _dataset: Any

    @property
    def series(self) -> str:
        """The identifier of the series; empty if there is none."""
        return str(self._dataset.get("SeriesInstanceUID") or "")

    @property
    def instance(self) -> str:
        """The identifier of the picture."""
        return str(self._dataset.SOPInstanceUID)

    @property
    def type_range(self) -> tuple[int, int]:
        """The lowest and highest sample that the file can hold."""
        lowest = -(1 << (self.bits - 1)) if self.signed else 0
        return lowest, lowest + (1 << self.bits) - 1

    def samples(self) -> Iterator[NDArray[Any]]:
        """Decode the frames. Raises `MediaError`."""
        from pydicom.pixels.utils import pixel_array

        try:
            for index in range(self.frames):
                # `iter_pixels` fails where a sign has to be corrected.
                with _without_warnings():
                    frame = pixel_array(self._dataset, index=index)
                if frame.shape[:2] != (self.height, self.width):
                    raise ValueError
                yield frame
        except MediaError:
            raise
        except Exception as error:  # decoders raise many types of error; texts may have values
            raise MediaError(f"{self.path}: its pixel data can't be decoded") from error

    def padding(self, frame: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return where a grey frame is padding; None if nowhere."""
        first = self._dataset.get("PixelPaddingValue")
        if first is None or self.colour:
            return None
        last = self._dataset.get("PixelPaddingRangeLimit")
        ends = sorted(
            value - (1 << 16) if self.signed and value > 0x7FFF else value  # stored as unsigned
            for value in (int(first), int(first if last is None else last))
        )
        found = (frame >= ends[0]) & (frame <= ends[1])
        return found if found.any() else None

    def rescale(self, frame: int) -> tuple[float, float]:
        """Return slope and intercept of a frame: measured values are slope x sample + intercept."""
        item = self._dataset
        for name, index in (
            ("SharedFunctionalGroupsSequence", 0),
            ("PerFrameFunctionalGroupsSequence", frame),
        ):
            groups = self._dataset.get(name) or []
            if index < len(groups) and groups[index].get("PixelValueTransformationSequence"):
                item = groups[index].PixelValueTransformationSequence[0]
        slope, intercept = item.get("RescaleSlope"), item.get("RescaleIntercept")
        return (float(slope) if slope else 1.0), float(intercept or 0)


def read_dicom(path: Path) -> Dicom:
    """Read a file, without decoding its pixels. Raises `MediaError`."""
    if not has_pydicom():
        raise MediaError(f"{path}: DICOM needs pydicom: pip install 'vsr[medical]'")
    try:
        with _without_warnings():
            return _described(path, _loaded(path))
    except MediaError:
        raise
    except Exception as error:  # pydicom raises many types of error; texts may have values
        raise MediaError(f"{path}: can't be read: its DICOM data are damaged") from error


def check_dicom_output(path: Path, dicom: Dicom, size: tuple[int, int], overwrite: bool) -> None:
    """Raise `OutputError` where a file of `size` = (height, width) can't be written to `path`."""
    if path.suffix.lower() not in DICOM_SUFFIXES and not _is_dotted(path):
        raise OutputError(f"{path}: DICOM stays DICOM, with its tags and values; name a .dcm")
    check_output_path(path, "DICOM", suffixes={path.suffix.lower()}, overwrite=overwrite)
    samples = size[0] * size[1] * dicom.frames * (3 if dicom.colour else 1)
    if max(size) > _MAX_SIDE:
        raise OutputError(f"{path}: {size[1]}x{size[0]}: DICOM holds {_MAX_SIDE} pixels a side")
    if samples * (int(dicom._dataset.BitsAllocated) // 8) > _MAX_BYTES:
        raise OutputError(f"{path}: {size[1]}x{size[0]}, {dicom.frames} frames: DICOM holds 4 GB")


def write_dicom(path: Path, dicom: Dicom, frames: Sequence[NDArray[Any]], *, made_by: str) -> None:
    """Write upscaled frames as Explicit VR Little Endian, whole or not at all.

    `made_by` describes the upscaling in one line. Raises `OutputError`.
    """
    with atomic_path(path) as partial, _without_warnings():
        try:
            dataset = copy.deepcopy(dicom._dataset)
            describe_output(dataset, frames[0].shape[:2], made_by=made_by)
            _set_pixels(dataset, frames, dicom)
            _set_file_meta(dataset)
            dataset.save_as(partial, enforce_file_format=True)
        except OSError:
            raise
        except Exception as error:  # pydicom raises many types of error; texts may have values
            raise OutputError(f"{path}: can't be written: its tags are damaged") from error


def changed_tags(dicom: Dicom, output: Dicom) -> tuple[int, dict[str, str]]:
    """Compare the tags of an output of `dicom`, but those that follow from its samples.

    Returns the count of tags that an output of its size has, and what is wrong with some of them,
    by the names of the attributes.
    """
    with _without_warnings():
        expected, found = copy.deepcopy(dicom._dataset), output._dataset
        made_by = str(found.get("DerivationDescription") or "")
        if earlier := expected.get("DerivationDescription"):
            made_by = made_by.removeprefix(f"{earlier}; ")
        describe_output(expected, (output.height, output.width), made_by=made_by)
        count, changed = 0, {}
        for element in expected:
            if element.keyword in _PIXEL_TAGS or element.tag.element == 0:
                continue
            count += 1
            name = element.keyword or f"({element.tag.group:04x},{element.tag.element:04x})"
            if element.tag not in found:
                changed[name] = "none"
            elif found[element.tag].value != element.value:
                changed[name] = "another value"
        return count, changed


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence pydicom's warnings, which quote values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_dotted(path: Path) -> bool:
    """Whether the name of a file is a UID, such as 1.2.840.1."""
    return path.name.replace(".", "").isdigit()


def _loaded(path: Path) -> Any:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    from vsr.media import dicom_codecs

    dicom_codecs.register()
    try:
        dataset = dcmread(path)
    except InvalidDicomError:
        dataset = dcmread(path, force=True)
        if "SOPClassUID" not in dataset:
            raise MediaError(f"{path}: is no DICOM file") from None
    if "TransferSyntaxUID" not in dataset.file_meta:  # guessed from the first elements
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

        implicit, little = dataset.original_encoding
        if little:
            guessed = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            dataset.file_meta.TransferSyntaxUID = guessed
    for _ in dataset.iterall():  # decodes the elements, which are read raw
        pass
    return dataset


def _described(path: Path, dataset: Any) -> Dicom:
    from pydicom.pixels.decoders.base import get_decoder

    for name, what in _OTHERS.items():
        if name in dataset:
            raise MediaError(f"{path}: holds {what}, which can't be upscaled")
    if not dataset.get("PixelData") or not dataset.get("Rows") or not dataset.get("Columns"):
        raise MediaError(f"{path}: holds no picture")
    if not dataset.get("SOPInstanceUID") or not dataset.get("SOPClassUID"):
        raise MediaError(f"{path}: lacks the identifiers of a picture")
    photometric = str(dataset.get("PhotometricInterpretation") or "")
    if photometric not in (*_GREY, *_COLOURS):
        raise MediaError(f"{path}: has colours that can't be upscaled; convert it to RGB first")
    if int(dataset.get("BitsAllocated") or 0) not in (8, 16, 32):
        raise MediaError(f"{path}: pixels of other than 8, 16 or 32 bits can't be upscaled")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_transfer_syntax or syntax.is_private:
        raise MediaError(f"{path}: states no known transfer syntax")
    if not syntax.is_little_endian:
        raise MediaError(f"{path}: is big-endian; convert it to Explicit VR Little Endian first")
    if syntax.is_encapsulated and not _can_decode(get_decoder, syntax):
        raise MediaError(
            f"{path}: {syntax.name} can't be decoded here; convert it to Explicit VR Little Endian "
            "first, or pip install 'vsr[medical]'"
        )
    height, width = int(dataset.Rows), int(dataset.Columns)
    check_source(path, (width, height), bits=32)
    colour = photometric in _COLOURS
    if int(dataset.get("SamplesPerPixel") or 1) != (3 if colour else 1):
        raise MediaError(f"{path}: its samples a pixel contradict its colours")
    dicom = Dicom(
        path=path,
        height=height,
        width=width,
        frames=int(dataset.get("NumberOfFrames") or 1),
        colour=colour,
        inverted=photometric == "MONOCHROME1",
        bits=int(dataset.get("BitsStored") or dataset.BitsAllocated),
        signed=int(dataset.get("PixelRepresentation") or 0) == 1,
        lost=tuple(lost_tags(dataset)),
        _dataset=dataset,
    )
    if not syntax.is_encapsulated:
        samples = height * width * dicom.frames * (3 if colour else 1)
        share = 2 if photometric == "YBR_FULL_422" else 3
        if len(dataset.PixelData) < samples * (int(dataset.BitsAllocated) // 8) * share // 3:
            raise MediaError(f"{path}: its pixel data are cut off")
    return dicom


def _can_decode(get_decoder: Any, syntax: Any) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _set_pixels(dataset: Any, frames: Sequence[NDArray[Any]], dicom: Dicom) -> None:
    dtype = frames[0].dtype
    bits = 8 * dtype.itemsize
    content = b"".join(np.ascontiguousarray(f, dtype.newbyteorder("<")).tobytes() for f in frames)
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    dataset["PixelData"].is_undefined_length = False
    for name in _ENCAPSULATION:
        if name in dataset:
            delattr(dataset, name)
    dataset.BitsAllocated = bits
    dataset.BitsStored = min(dicom.bits, bits)
    dataset.HighBit = dataset.BitsStored - 1
    if dicom.colour:
        dataset.PhotometricInterpretation = "RGB"
        dataset.PlanarConfiguration = 0
        return
    if "SmallestImagePixelValue" in dataset:
        dataset.SmallestImagePixelValue = min(int(frame.min()) for frame in frames)
    if "LargestImagePixelValue" in dataset:
        dataset.LargestImagePixelValue = max(int(frame.max()) for frame in frames)


def _set_file_meta(dataset: Any) -> None:
    from pydicom.uid import ExplicitVRLittleEndian

    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    for name in ("ImplementationClassUID", "ImplementationVersionName"):
        if name in dataset.file_meta:
            delattr(dataset.file_meta, name)  # pydicom writes its own
