"""Files of several pages, created by tifffile or Pillow."""

from pathlib import Path

import numpy as np
import tifffile

from vsr.media.image import read_still


def test_any_page_of_a_tiff_file_is_read_with_its_own_depth_and_resolution(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    grey = random.integers(0, 65536, (12, 16), np.uint16)
    colours = random.integers(0, 256, (9, 20, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(colours, photometric="rgb", resolution=(150, 150), resolutionunit="INCH")
        file.write(grey, photometric="minisblack", resolution=(600, 300), resolutionunit="INCH")
    first, second = (read_still(tmp_path / "a.tif", page) for page in (0, 1))
    assert (first.pages, second.pages) == (2, 2)
    assert np.array_equal(first.rgb, colours)
    assert np.array_equal(second.rgb[..., 0], grey)
    assert (first.tags.dpi, second.tags.dpi) == ((150, 150), (600, 300))
    assert (first.grey, second.grey, second.bits) == (False, True, 16)
