"""Mistaken options of the Python API."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vsr

TYPES: list[tuple[dict[str, Any], str]] = [
    ({"audio": "typo"}, "audio = 'typo': Input should be 'copy', 'auto' or 'none'"),
    ({"deinterlace": "x"}, "deinterlace = 'x': Input should be 'auto', 'on', 'off' or 'double'"),
    ({"tiling": "x"}, "tiling = 'x': Input should be a valid integer or 'auto' or 'off'"),
    ({"pipe_format": "x"}, "pipe_format = 'x': Input should be 'nut' or 'y4m'"),
    ({"scale": "2"}, "scale = '2': Input should be a valid number"),
    ({"scale": float("inf")}, "scale = inf: Input should be a finite number"),
    ({"width": 12.5}, "width = 12.5: Input should be a valid integer"),
    ({"size": 1080}, "size = 1080: Input should be a valid string"),
    ({"square_pixels": "no"}, "square_pixels = 'no': Input should be a valid boolean"),
    ({"denoise": 2}, "denoise = 2: Input should be less than or equal to 1"),
    ({"deblock": float("nan")}, "deblock = nan: Input should be a finite number"),
    ({"grain": -1}, "grain = -1: Input should be greater than or equal to 0"),
    ({"part": "1:30"}, "part = '1:30': Input should be an instance of Part"),
    ({"settings": "h264"}, "settings = 'h264': Input should be an instance of EncoderSettings"),
]


@pytest.mark.parametrize(("options", "line"), TYPES)
def test_an_option_of_a_wrong_type_or_range_is_one_line(
    tmp_path: Path, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(vsr.VsrError) as error:
        vsr.upscale_video(tmp_path / "none.mp4", tmp_path / "a.mp4", **options)
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"codec": "x"}, "codec = 'x': Input should be 'h264', 'hevc', 'av1', 'prores', "),
        ({"encoder": "x"}, "encoder = 'x': Input should be 'cpu', 'gpu', 'nvenc', "),
        ({"crf": -3}, "crf = -3: Input should be greater than or equal to 0"),
        ({"options": {"threads": 1}}, "options.threads = 1: Input should be a valid string"),
        ({"options": "tune=film"}, "options = 'tune=film': Input should be a valid dictionary"),
    ],
)
def test_a_mistaken_setting_of_the_encoder_is_one_line(options: dict[str, Any], line: str) -> None:
    with pytest.raises(vsr.VsrError) as error:
        vsr.EncoderSettings(**options)
    assert str(error.value).startswith(line)


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(vsr.VsrError, match="is a folder; name a file in it"):
        vsr.upscale_video(tmp_path / "a.mp4", tmp_path)


def test_mistaken_options_of_pictures_and_models_are_one_line() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(vsr.VsrError, match="grain is between 0 and 1, not 7"):
        vsr.upscale_image(pixels, grain=7)
    with pytest.raises(vsr.VsrError, match=r"not by 1\.5"):
        vsr.load("tiny-x4", scale=1.5)  # type: ignore[arg-type]


def test_a_part_takes_seconds_as_numbers() -> None:
    assert vsr.Part.parse(start=90, end=91.5) == vsr.Part.parse(start="1:30", end="1:31.5")
