"""Metadata of pictures, written and judged by Exiv2."""

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyexiv2
import pytest
import tifffile
from PIL import Image
from skimage import data

from vsr.media.exif import sized_exif, upright_exif
from vsr.media.image import read_still
from vsr.media.image_writer import still_losses, write_still
from vsr.media.verify import verify_picture

PICTURE = data.coffee()[80:140, 200:300]
TURN = 6
"""Orientation: rotated a quarter, so that the upright picture has 60x100 pixels."""
EXIF = {
    "Exif.Image.Make": "Canon",
    "Exif.Image.Orientation": str(TURN),
    "Exif.Image.Copyright": "(c) me",
    "Exif.Image.XPTitle": "65 0 66 0 0 0",
    "Exif.Photo.PixelXDimension": "100",
    "Exif.Photo.PixelYDimension": "60",
    "Exif.Photo.ExifVersion": "48 50 51 50",
    "Exif.Photo.DateTimeOriginal": "2001:02:03 04:05:06",
    "Exif.Photo.UserComment": "charset=Ascii hello",
    "Exif.Photo.ExposureTime": "1/250",
    "Exif.Photo.ExposureBiasValue": "-1/3",
    "Exif.Photo.SceneType": "1",
    "Exif.Photo.SubjectArea": "50 20 10 8",
    "Exif.Photo.FocalPlaneXResolution": "3000/1",
    "Exif.Photo.FocalPlaneYResolution": "2000/1",
    "Exif.GPSInfo.GPSLatitudeRef": "N",
    "Exif.GPSInfo.GPSLatitude": "52/1 30/1 1234/100",
    "Exif.GPSInfo.GPSProcessingMethod": "charset=Ascii GPS",
}
XMP = {
    "Xmp.tiff.Orientation": str(TURN),
    "Xmp.tiff.ImageWidth": "100",
    "Xmp.tiff.ImageLength": "60",
    "Xmp.exif.PixelXDimension": "100",
    "Xmp.exif.PixelYDimension": "60",
    "Xmp.dc.title": {'lang="x-default"': "tïtle"},
    "Xmp.dc.subject": ["a", "b"],
    "Xmp.photoshop.City": "Zürich",
}
IPTC = {
    "Iptc.Envelope.CharacterSet": "\x1b%G",
    "Iptc.Application2.Caption": "cäption",
    "Iptc.Application2.Keywords": ["x", "y"],
}
NOTE = bytes(range(256)) * 2
"""A maker note of unknown content."""


class Metadata(NamedTuple):
    """What Exiv2 finds in a file."""

    exif: dict[str, str]
    xmp: dict[str, Any]
    iptc: dict[str, Any]
    thumbnail: bytes


@pytest.fixture(autouse=True)
def _quiet() -> None:
    pyexiv2.set_log_level(4)


def judged(path: Path) -> Metadata:
    with pyexiv2.Image(str(path)) as image:
        return Metadata(
            image.read_exif(), image.read_xmp(), image.read_iptc(), image.read_thumbnail()
        )


def tagged(path: Path, thumbnail: bool = True) -> Path:
    """A picture with metadata of all types."""
    if path.name == "deep.tif":
        tifffile.imwrite(path, PICTURE.astype(np.uint16) * 257, photometric="rgb", metadata=None)
    else:
        Image.fromarray(PICTURE).save(path)
    note = " ".join(str(value) for value in NOTE)
    with pyexiv2.Image(str(path)) as image:
        image.modify_exif({**EXIF, "Exif.Photo.MakerNote": note})
        image.modify_xmp(XMP)
        if path.suffix != ".webp":
            image.modify_iptc(IPTC)
        if thumbnail:
            small = io.BytesIO()
            Image.fromarray(PICTURE).resize((50, 30)).save(small, "JPEG")
            image.modify_thumbnail(small.getvalue())
    return path


def doubled(source: Path, target: Path) -> list[str]:
    """Write a picture at twice its size, and return what is reported as lost."""
    still = read_still(source)
    lost = still_losses(target, still)
    large = np.repeat(np.repeat(still.rgb, 2, axis=0), 2, axis=1)
    write_still(target, replace(still, rgb=large))
    return lost


@pytest.mark.parametrize("target", ["b.jpg", "b.png", "b.webp", "b.tif", "b.avif"])
@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.tif", "deep.tif"])
def test_metadata_are_kept_and_true_of_the_output(tmp_path: Path, source: str, target: str) -> None:
    has_thumbnail = not source.endswith(".tif")
    before = judged(tagged(tmp_path / source, has_thumbnail))
    lost = doubled(tmp_path / source, tmp_path / target)
    after = judged(tmp_path / target)
    changed = {
        "Exif.Photo.PixelXDimension": "120",
        "Exif.Photo.PixelYDimension": "200",
        "Exif.Photo.SubjectArea": "80 100 16 20",
        "Exif.Photo.FocalPlaneXResolution": "4000/1",
        "Exif.Photo.FocalPlaneYResolution": "6000/1",
    }
    for key in EXIF.keys() - {"Exif.Image.Orientation", "Exif.GPSInfo.GPSLatitude"}:
        assert after.exif.get(key) == changed.get(key, before.exif[key]), key
    assert after.exif["Exif.Photo.MakerNote"] == before.exif["Exif.Photo.MakerNote"]
    assert after.exif["Exif.GPSInfo.GPSLatitude"].startswith("52/1 30/1 ")
    assert after.exif.get("Exif.Image.Orientation", "1") == "1"
    assert after.xmp.pop("Xmp.tiff.Orientation", "1") == "1"
    widths = dict.fromkeys(("Xmp.tiff.ImageWidth", "Xmp.exif.PixelXDimension"), "120")
    heights = dict.fromkeys(("Xmp.tiff.ImageLength", "Xmp.exif.PixelYDimension"), "200")
    del before.xmp["Xmp.tiff.Orientation"]
    assert after.xmp == {**before.xmp, **widths, **heights}
    holds_iptc = target not in ("b.webp", "b.avif")
    assert after.iptc == (before.iptc if holds_iptc else {})
    assert ("IPTC data" in "".join(lost)) == (bool(before.iptc) and not holds_iptc)
    if has_thumbnail and target != "b.tif":
        with Image.open(io.BytesIO(after.thumbnail)) as small:
            assert small.size == (96, 160)
    else:
        assert after.thumbnail == b""
        assert ("thumbnail" in "".join(lost)) == has_thumbnail
    named = [
        finding.what
        for finding in verify_picture(tmp_path / source, tmp_path / target)
        if not finding.kept
    ]
    expected = ["bits"] * (source == "deep.tif" and target in ("b.jpg", "b.webp", "b.avif"))
    expected += ["thumbnail"] * (has_thumbnail and target == "b.tif")
    expected += ["IPTC data"] * (bool(before.iptc) and not holds_iptc)
    assert named == expected


def test_maker_notes_stay_where_they_are(tmp_path: Path) -> None:
    with Image.open(tagged(tmp_path / "a.jpg")) as opened:
        place = opened.info["exif"].index(NOTE)
    for target in ("b.jpg", "b.png", "b.webp", "b.avif"):
        doubled(tmp_path / "a.jpg", tmp_path / target)
        with Image.open(tmp_path / target) as opened:
            content = opened.info["exif"]
        assert content.removeprefix(b"Exif\0\0").index(NOTE) == place - 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_subject_stays_in_its_place(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x9214] = (50, 20, 10, 8)
    picture = np.zeros((60, 100), np.uint8)
    picture[16:24, 45:55] = 255
    # Pillow rotates.
    source = Image.fromarray(picture)
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    shown = np.asarray(source.transpose(method) if method is not None else source)
    shown = np.repeat(np.repeat(shown, 3, axis=0), 3, axis=1)
    upright = upright_exif(exif.tobytes(), orientation, (100, 60), (0x0112,))
    assert upright is not None
    size = shown.shape[1], shown.shape[0]
    found = Image.Exif()
    found.load(sized_exif(upright, size, (size[0] // 3, size[1] // 3), None))
    x, y, width, height = found.get_ifd(0x8769)[0x9214]
    lines, columns = np.nonzero(shown)
    assert (x, y) == ((columns.min() + columns.max() + 1) / 2, (lines.min() + lines.max() + 1) / 2)
    assert (width, height) == (np.ptp(columns) + 1, np.ptp(lines) + 1)


def test_positions_of_geotiff_are_scaled(tmp_path: Path) -> None:
    position = (0.0, 0.0, 0.0, 4e5, 5e6, 0.0, 50.0, 30.0, 0.0, 400_100.0, 4_999_940.0, 0.0)
    tags: list[tuple[int, str, int, Any, bool]] = [
        (0x830E, "d", 3, (2.0, 2.0, 0.0), True),
        (0x8482, "d", 12, position, True),
    ]
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, photometric="rgb", extratags=tags)
    assert doubled(tmp_path / "a.tif", tmp_path / "b.tif") == []
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        page: Any = tif.pages[0]
        assert page.tags[0x830E].value == (1.0, 1.0, 0.0)
        expected = (*position[:6], 100.0, 60.0, *position[8:])
        assert page.tags[0x8482].value == expected
    turned = (*tags, (0x0112, "H", 1, 6, True))
    tifffile.imwrite(tmp_path / "c.tif", PICTURE, photometric="rgb", extratags=turned)
    lost = doubled(tmp_path / "c.tif", tmp_path / "d.tif")
    assert lost == ["position of GeoTIFF: the picture is rotated"]


def test_no_thumbnail_of_the_source_remains(tmp_path: Path) -> None:
    stale = b"a stale thumbnail!"
    resources = b"8BIM\x04\x0c\0\0" + struct.pack(">I", len(stale)) + stale
    resources += b"8BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x05\0\x03abc"
    segment = b"Photoshop 3.0\0" + resources
    xmp = b"<x:xmpmeta><xmp:Thumbnails><i>%s</i></xmp:Thumbnails><a/></x:xmpmeta>" % stale
    Image.fromarray(PICTURE).save(
        tmp_path / "a.jpg",
        xmp=xmp,
        extra=b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment,
    )
    tagged(tmp_path / "b.jpg")
    thumbnail = judged(tmp_path / "b.jpg").thumbnail
    for target in ("c.jpg", "c.tif", "c.png"):
        assert doubled(tmp_path / "a.jpg", tmp_path / target) == []
        content = (tmp_path / target).read_bytes()
        assert stale not in content
        assert b"<x:xmpmeta><a/></x:xmpmeta>" in content
        assert judged(tmp_path / target).iptc == {"Iptc.Application2.ObjectName": "abc"}
    doubled(tmp_path / "b.jpg", tmp_path / "d.jpg")
    assert thumbnail[-200:] not in (tmp_path / "d.jpg").read_bytes()


def test_pages_that_can_not_be_read_are_reported(tmp_path: Path) -> None:
    # Exiv2 stores the thumbnail of a TIFF file as a page without a size.
    assert doubled(tagged(tmp_path / "a.tif"), tmp_path / "b.png") == [
        "further frames or pages, which can't be read"
    ]
