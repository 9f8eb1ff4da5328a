"""HDR pictures, by the descriptions of colour that other libraries write."""

import io
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vsr.media.image import read_still
from vsr.media.jxl_header import read_header
from vsr.media.picture_hdr import hdr_of
from vsr.media.rgb_profile import BT709, rgb_profile

SAMPLES = np.random.default_rng(0).integers(0, 1024, (32, 32, 3), dtype=np.uint16)


def png(transfer: int) -> bytes:
    info, file = PngInfo(), io.BytesIO()
    info.add(b"cICP", bytes([9, transfer, 0, 1]))
    Image.new("RGB", (32, 32)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def png_with_profile(transfer: int) -> bytes:
    """A profile whose first tag is replaced by cicp."""
    profile = bytearray(rgb_profile(BT709))
    start = int.from_bytes(profile[136:140], "big")
    profile[132:136] = b"cicp"
    profile[start : start + 12] = b"cicp" + bytes([0, 0, 0, 0, 9, transfer, 0, 1])
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG", icc_profile=bytes(profile))
    return file.getvalue()


def avif(transfer: int) -> bytes:
    data = imagecodecs.avif_encode(
        SAMPLES, bitspersample=10, pixelformat="444", primaries=9, transfer=transfer, matrix=9
    )
    return bytes(data)


def test_hdr_of_jpeg_xl_is_recognised(tmp_path: Path) -> None:
    """The code of linear light, which imagecodecs writes, differs from that of PQ by one bit."""
    data = bytes(imagecodecs.jpegxl_encode(SAMPLES, lossless=True))
    start = data.index(b"\xff\x0a")
    header = read_header(data[start:])
    found = []
    for bit in range(header.colours_start, header.colours_end):
        changed = bytearray(data)
        changed[start + bit // 8] ^= 1 << bit % 8
        if read_header(bytes(changed[start:])).transfer == 16:
            (tmp_path / "a.jxl").write_bytes(changed)
            found.append(hdr_of(read_still(tmp_path / "a.jxl")))
    assert found == ["PQ"]


@pytest.mark.parametrize("write", [png, png_with_profile, avif])
@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (13, "")])
def test_hdr_pictures_are_recognised(
    write: Callable[[int], bytes], transfer: int, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"  # formats are recognised by their content
    path.write_bytes(write(transfer))
    assert hdr_of(read_still(path)) == name
