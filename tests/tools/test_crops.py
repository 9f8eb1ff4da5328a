"""`tools/crops.py`: which squares it shows, and the picture that it writes."""

import sys
from pathlib import Path

import crops
import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.films import write_film
from vsr.errors import VsrError


def test_the_most_detailed_square_comes_first_and_the_others_are_apart() -> None:
    frame = torch.full((3, 320, 320), 0.5)
    random = torch.Generator().manual_seed(0)
    frame[:, 192:288, 16:112] = torch.rand(3, 96, 96, generator=random)
    frame[:, 16:112, 208:304] += 0.2 * torch.rand(3, 96, 96, generator=random)
    corners = crops.chosen_corners(frame)
    assert corners[:2] == [(192, 16), (16, 208)]
    pairs = [(corners[0], corners[1]), (corners[0], corners[2]), (corners[1], corners[2])]
    assert all(crops.distance(one, other) >= crops.SIDE for one, other in pairs)


def test_in_a_small_film_squares_overlap_as_little_as_possible() -> None:
    frame = torch.rand(3, 96, 144, generator=torch.Generator().manual_seed(0))
    lefts = [left for _, left in crops.chosen_corners(frame)]
    assert {abs(lefts[0] - left) for left in lefts[1:2]} == {max(lefts[0], 48 - lefts[0])}


def test_films_that_have_no_such_square_or_frame_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_film(tmp_path / "a.mp4", [np.zeros((80, 128, 3), np.uint8)] * 3)
    for frame, message in (("2", "smaller than 96 pixels"), ("40", "has no frame 28")):
        monkeypatch.setattr(sys, "argv", ["crops.py", str(film), str(tmp_path), "--frame", frame])
        with pytest.raises(VsrError, match=rf"a\.mp4: {message}"):
            crops.main()


@pytest.mark.slow
def test_each_film_gets_a_picture_with_a_column_for_each_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    frames = random.integers(0, 255, (3, 112, 128, 3), np.uint8)
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films" / "a.mp4", list(frames))
    output = tmp_path / "output"
    arguments = [str(tmp_path / "films"), str(output), "--frame", "2", "--before", "1"]
    monkeypatch.setattr(sys, "argv", ["crops.py", *arguments])
    crops.main()
    side = 2 * crops.SIDE + crops.GAP
    with Image.open(output / "a.jpg") as picture:
        assert picture.size == (4 * side, crops.CAPTION + 3 * side)
        columns = np.asarray(picture, np.float32)[crops.CAPTION :].reshape(3 * side, 4, side, 3)
    # The last column has more detail than the first, bicubic interpolation.
    detail = np.abs(np.diff(columns, axis=2)).mean(axis=(0, 2, 3))
    assert detail[3] > detail[0]
