"""DICOM files and series, written by pydicom, with pixels of scikit-image; judged by numpy."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from skimage import data

from tests.helpers.cli import complaint, vsr
from tests.helpers.dicom import NAME, block_means, item, write_dicom
from vsr.media import dicom

_CAMERA = data.camera()[96:128, 208:256]
_OPTIONS = ("--scale", 2, "--device", "cpu")


def _upscaled(source: Path, *options: object) -> pydicom.Dataset:
    output = source.parent / "output.dcm"
    done = vsr("image", source, output, *_OPTIONS, "--overwrite", *options)
    assert done.returncode == 0, done.stderr
    assert NAME not in done.stdout + done.stderr
    return dcmread(output)


def _slice() -> NDArray[np.int16]:
    """Signed values of a round body, of which the padding around it is -2000."""
    values: NDArray[np.int16] = (_CAMERA.astype(np.float64) * 12 - 1024).astype(np.int16)
    rows, columns = np.ogrid[:32, :48]
    values[np.hypot(rows - 15.5, columns - 23.5) > 15] = -2000
    return values


def test_values_and_geometry_of_a_slice_are_true(tmp_path: Path) -> None:
    values = _slice()
    inside = values != -2000
    source = write_dicom(
        tmp_path / "slice.dcm",
        values,
        PixelPaddingValue=-2000,
        RescaleSlope=0.5,
        RescaleIntercept=-10,
        WindowCenter=40,
        WindowWidth=400,
        PixelSpacing=[0.8, 0.6],
        ImagerPixelSpacing=[1.6, 1.2],
        SliceThickness=3,
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
        ImagePositionPatient=[-7.5, -100, 50],
        SmallestImagePixelValue=-2000,
        LargestImagePixelValue=int(values.max()),
        SeriesDescription="Thorax",
        ShutterLeftVerticalEdge=1,
        ShutterRightVerticalEdge=48,
        InstanceCreationDate="20200101",
    )
    output = _upscaled(source)
    samples = output.pixel_array
    assert samples.dtype == np.int16
    np.testing.assert_array_equal(samples == -2000, ~inside.repeat(2, axis=0).repeat(2, axis=1))
    assert samples[samples != -2000].min() >= values[inside].min()
    assert samples.max() <= values.max()
    error = np.abs(block_means(samples) - values)[inside].mean()
    assert error < 0.02 * np.ptp(values[inside])
    assert (output.Rows, output.Columns) == (64, 96)
    assert (output.PixelSpacing, output.ImagerPixelSpacing) == ([0.4, 0.3], [0.8, 0.6])
    # Rows are along +Y and columns along -Z: the first centre moves by a quarter of the spacing
    # towards the edge, which stays in its place.
    np.testing.assert_allclose(output.ImagePositionPatient, [-7.5, -100 - 0.15, 50 + 0.2])
    assert list(output.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert (output.ShutterLeftVerticalEdge, output.ShutterRightVerticalEdge) in ((1, 96), (2, 96))
    assert output.LargestImagePixelValue == samples.max()
    assert output.SmallestImagePixelValue == -2000
    assert output.SeriesDescription == "Thorax (upscaled)"
    assert "not for diagnosis" in output.DerivationDescription
    assert output.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert "InstanceCreationDate" not in output
    kept = {"PatientName": NAME, "WindowCenter": 40, "WindowWidth": 400, "RescaleSlope": 0.5}
    kept |= {"RescaleIntercept": -10, "SliceThickness": 3, "StudyInstanceUID": "1.2.3"}
    for name, value in kept.items():
        assert output[name].value == value, name
    assert output.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert output.file_meta.MediaStorageSOPInstanceUID == output.SOPInstanceUID != "1.2.3.4.5"


def test_frames_of_an_enhanced_picture_have_positions_of_their_own(tmp_path: Path) -> None:
    values = np.stack([_CAMERA, 255 - _CAMERA])
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[2, 2], SliceThickness=1)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
    frames = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, z])],
            MRImageFrameTypeSequence=[item(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"])],
        )
        for z in (0, 5)
    ]
    source = write_dicom(
        tmp_path / "enhanced.dcm",
        values,
        PhotometricInterpretation="MONOCHROME1",
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )
    output = _upscaled(source)
    assert (output.PhotometricInterpretation, output.NumberOfFrames) == ("MONOCHROME1", 2)
    assert np.abs(block_means(output.pixel_array) - values).mean() < 4
    measures = output.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.PixelSpacing, measures.SliceThickness) == ([1, 1], 1)
    for frame, z in zip(output.PerFrameFunctionalGroupsSequence, (0, 5), strict=True):
        assert frame.PlanePositionSequence[0].ImagePositionPatient == [-0.5, -0.5, z]
        assert frame.MRImageFrameTypeSequence[0].FrameType[:2] == ["DERIVED", "SECONDARY"]


def test_compressed_pictures_equal_those_that_are_not(tmp_path: Path) -> None:
    values = (_CAMERA.astype(np.uint16) * 16).astype(np.uint16)
    tags: Any = {"BitsStored": 12}
    plain = _upscaled(write_dicom(tmp_path / "plain.dcm", values, **tags)).pixel_array
    assert plain.max() <= values.max()
    encoded = {
        JPEGLSLossless: imagecodecs.jpegls_encode(values),
        JPEGLosslessSV1: imagecodecs.ljpeg_encode(values, bitspersample=12),
        JPEG2000Lossless: imagecodecs.jpeg2k_encode(values, level=0, codecformat="j2k"),
    }
    for syntax, content in encoded.items():
        path = tmp_path / "compressed.dcm"
        write_dicom(path, values, syntax=syntax, encoded=[bytes(content)], **tags)
        np.testing.assert_array_equal(_upscaled(path).pixel_array, plain, err_msg=syntax.name)
    by_run_length = dcmread(tmp_path / "plain.dcm")
    by_run_length.compress(RLELossless, generate_instance_uid=False)
    by_run_length.save_as(tmp_path / "compressed.dcm")
    np.testing.assert_array_equal(_upscaled(tmp_path / "compressed.dcm").pixel_array, plain)


def test_colours_are_written_as_rgb(tmp_path: Path) -> None:
    rgb = np.ascontiguousarray(data.astronaut()[:32, 200:248])
    jpeg = imagecodecs.jpeg_encode(rgb, level=98, subsampling="444")
    for tags in (
        {"samples": rgb},
        {"samples": rgb, "syntax": JPEGBaseline8Bit, "encoded": [jpeg]}
        | {"PhotometricInterpretation": "YBR_FULL"},
    ):
        output = _upscaled(write_dicom(tmp_path / "colour.dcm", **tags))
        assert output.PhotometricInterpretation == "RGB"
        means = np.stack([block_means(output.pixel_array[..., c]) for c in range(3)], axis=2)
        assert np.abs(means - rgb).mean() < 6


def test_overlays_and_ultrasound_regions_are_scaled(tmp_path: Path) -> None:
    marked = _CAMERA > 128
    region = item(
        RegionLocationMinX0=4,
        RegionLocationMinY0=0,
        RegionLocationMaxX1=47,
        RegionLocationMaxY1=31,
        PhysicalDeltaX=0.05,
        PhysicalDeltaY=0.04,
        ReferencePixelX0=10,
        ReferencePixelPhysicalValueX=0.0,
    )
    source = write_dicom(tmp_path / "a.dcm", _CAMERA, SequenceOfUltrasoundRegions=[region])
    dataset = dcmread(source)
    for tag, vr, value in (
        (0x0010, "US", 32),
        (0x0011, "US", 48),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", np.packbits(marked, bitorder="little").tobytes()),
    ):
        dataset.add_new((0x6000, tag), vr, value)
        if tag < 0x1000:
            dataset.add_new((0x6002, tag), vr, value)  # an overlay in the bits of pixels
    dataset.save_as(source)
    done = vsr("image", source, tmp_path / "b.dcm", *_OPTIONS)
    assert "not kept: overlay 2" in done.stderr
    output = dcmread(tmp_path / "b.dcm")
    expected = marked.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(output.overlay_array(0x6000).astype(bool), expected)
    assert (0x6002, 0x0010) not in output
    scaled = output.SequenceOfUltrasoundRegions[0]
    assert (scaled.RegionLocationMinX0, scaled.RegionLocationMaxX1) == (8, 95)
    assert (scaled.PhysicalDeltaX, scaled.PhysicalDeltaY) == (0.025, 0.02)
    # Pixel 10, which was at 0, has its centre at 20.5 now.
    place, value = scaled.ReferencePixelX0, scaled.ReferencePixelPhysicalValueX
    assert value == pytest.approx((place - 20.5) * 0.025)


def test_the_files_of_a_series_stay_one_series_with_one_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, output = Path("series"), Path("larger")
    folder.mkdir()
    faint = (_slice() // 4).astype(np.int16)
    for name, values, number in (("IM1", _slice(), 1), ("IM2.dcm", faint, 2)):
        path = write_dicom(folder / name, values, InstanceNumber=number)
        dataset = dcmread(path)
        dataset.SOPInstanceUID = f"1.2.3.4.{number}"
        dataset.save_as(path)
    (folder / "DICOMDIR").write_bytes((folder / "IM1").read_bytes())
    (folder / "notes").write_text("nothing")
    done = vsr("image", folder, output, *_OPTIONS)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in output.iterdir()) == ["IM1", "IM2.dcm"]
    first, second = dcmread(output / "IM1"), dcmread(output / "IM2.dcm")
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != "1.2.3.4"
    assert first.SOPInstanceUID != second.SOPInstanceUID
    alone = _upscaled(folder / "IM2.dcm")
    assert alone.SOPInstanceUID == second.SOPInstanceUID
    ours, own = (np.asarray(d.pixel_array, float) for d in (second, alone))
    assert 0 < np.abs(ours - own).mean() < 0.02 * np.ptp(faint)


def test_bad_files_are_refused_in_one_line_without_names(tmp_path: Path) -> None:
    good = write_dicom(tmp_path / "good.dcm", _CAMERA)
    bad: dict[str, str] = {}

    def changed(name: str, expected: str, **tags: Any) -> None:
        dataset = dcmread(good)
        for tag, value in tags.items():
            if value is None:
                delattr(dataset, tag)
            else:
                setattr(dataset, tag, value)
        dataset.save_as(tmp_path / name)
        bad[name] = expected

    changed("none.dcm", "holds no picture", PixelData=None)
    changed("short.dcm", "pixel data are cut off", PixelData=b"\0" * 100)
    changed("palette.dcm", "convert it to RGB", PhotometricInterpretation="PALETTE COLOR")
    changed("mask.dcm", "holds a segmentation", SegmentSequence=[])
    changed("bits.dcm", "pixels of other than 8, 16 or 32 bits", BitsAllocated=1)
    write_dicom(tmp_path / "film.dcm", _CAMERA, syntax=MPEG2MPML, encoded=[b"\0\0"])
    bad["film.dcm"] = "can't be decoded here"
    write_dicom(tmp_path / "broken.dcm", _CAMERA, syntax=JPEGLSLossless, encoded=[b"\xff\xd8\0\0"])
    bad["broken.dcm"] = "its pixel data can't be decoded"
    (tmp_path / "text.dcm").write_text(NAME)
    bad["text.dcm"] = "is no DICOM file"
    for name, expected in bad.items():
        line = complaint("image", tmp_path / name, tmp_path / "out.dcm", *_OPTIONS)
        assert expected in line, name
        assert NAME not in line
    assert "name a .dcm" in complaint("image", good, tmp_path / "out.png", *_OPTIONS)
    line = complaint("image", good, tmp_path / "out.dcm", *_OPTIONS, "--grain", "0.2")
    assert "holds measured values" in line


def test_an_inconsistent_series_is_one_line_and_other_files_are_upscaled(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_dicom(folder / "a.dcm", _CAMERA)
    write_dicom(folder / "b.dcm", _CAMERA[:24], SOPInstanceUID="1.2.3.4.6")
    write_dicom(folder / "c.dcm", _CAMERA, SeriesInstanceUID="1.2.3.5")
    done = vsr("image", folder, output, *_OPTIONS)
    assert done.returncode == 1
    assert done.stderr.count("vsr: ") == 1
    assert done.stdout.startswith(f"{output}: 1 picture, x2")
    assert "one series, but pictures of 48x32 and 48x24" in done.stderr
    assert ": 1 picture," in done.stdout
    assert [path.name for path in output.iterdir()] == ["c.dcm"]


def test_dicom_without_pydicom_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_dicom(tmp_path / "a.dcm", _CAMERA)
    assert "\nmedical  DICOM\n" in vsr("doctor").stdout
    monkeypatch.setattr(dicom, "has_pydicom", lambda: False)
    assert "pip install 'vsr[medical]'" in complaint("image", source, tmp_path / "b.dcm")
