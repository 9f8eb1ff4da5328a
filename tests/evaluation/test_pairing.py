from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.films import scenes, write_film
from vsr.errors import DataError, MediaError
from vsr.evaluation.frame_sequence import find_clips, open_sequence
from vsr.evaluation.pairing import Align, Pairing

CPU = torch.device("cpu")
CODED = {"codec": "libx264", "options": {"crf": "4"}}


def pictures(folder: Path, count: int, first: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(scenes(*size, [count])):
        Image.fromarray(frame).save(folder / f"frame-{number + first:04d}.png")
    return folder


def pairs(output: Path, reference: Path, align: Align = "strict") -> tuple[Pairing, int]:
    pairing = Pairing([open_sequence(output), open_sequence(reference)], align, sizes_agree=True)
    return pairing, sum(1 for _ in pairing.frames(CPU, detect_cuts=False))


def film(path: Path, count: int, **options: object) -> Path:
    return write_film(path, scenes(64, 48, [count]), **CODED, **options)  # type: ignore[arg-type]


def test_the_same_frames_are_paired_whatever_the_clock(tmp_path: Path) -> None:
    # Matroska rounds times to its own millisecond; the second film begins later.
    one = film(tmp_path / "a.mp4", 8, pts=[512 * n for n in range(8)])
    other = film(
        tmp_path / "b.mkv",
        8,
        pts=[1000 * n + 7000 for n in range(8)],
        time_base=Fraction(1, 25_000),
    )
    pairing, count = pairs(one, other)
    assert count == 8
    assert pairing.notes == []


def test_a_film_that_is_shorter_is_reported_and_not_cut_silently(tmp_path: Path) -> None:
    one, other = film(tmp_path / "a.mp4", 8), film(tmp_path / "b.mp4", 6)
    with pytest.raises(DataError, match=r"b\.mp4: has 6 frames, .*a\.mp4 has 8; --align crop"):
        pairs(one, other)
    pairing, count = pairs(one, other, "crop")
    assert count == 6
    assert pairing.notes == ["left out 2 frames of a.mp4 that have no partner"]


def test_beside_a_source_cropping_is_not_advised(tmp_path: Path) -> None:
    clips = [open_sequence(film(tmp_path / f"{n}.mp4", n)) for n in (6, 8)]
    pairing = Pairing(clips, "strict", sizes_agree=False)
    with pytest.raises(DataError, match=r"6\.mp4: has 6 frames, .*8\.mp4 has 8$"):
        list(pairing.frames(CPU, detect_cuts=False))


def test_another_rate_is_reported_at_the_first_frame_that_shows_it(tmp_path: Path) -> None:
    one = film(tmp_path / "a.mp4", 6)
    other = film(tmp_path / "b.mp4", 6, pts=[256 * n for n in range(6)])
    with pytest.raises(DataError, match=r"its frame 1 is shown 0\.040 s after .* 0\.020 s"):
        pairs(one, other)
    pairing, count = pairs(one, other, "crop")
    assert count == 3  # 0, 0.04 and 0.08 s
    assert len(pairing.notes) == 2


def test_films_that_never_meet_are_reported(tmp_path: Path) -> None:
    one = film(tmp_path / "a.mkv", 4)
    other = film(tmp_path / "b.mkv", 4, pts=[512 * n + 12_800 for n in range(4)])
    with pytest.raises(DataError, match="has no frame that is shown at the time of one of"):
        pairs(one, other, "crop")


def test_another_size_is_reported_or_cropped(tmp_path: Path) -> None:
    one = film(tmp_path / "a.mp4", 3)
    other = write_film(tmp_path / "b.mp4", scenes(60, 50, [3]), **CODED)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"a\.mp4: is 64x48, .*b\.mp4 is 60x50; --align crop"):
        pairs(one, other)
    pairing = Pairing([open_sequence(one), open_sequence(other)], "crop", sizes_agree=True)
    for frames in pairing.frames(CPU, detect_cuts=False):
        assert {tuple(frame.picture.shape) for frame in frames} == {(3, 48, 60)}
    assert pairing.notes == ["compared the upper left 60x48 of 64x48 and 60x50"]


def test_a_folder_goes_by_order_and_may_begin_at_any_number(tmp_path: Path) -> None:
    one = pictures(tmp_path / "a", 4)
    other = pictures(tmp_path / "b", 4, first=17)
    pairing = Pairing([open_sequence(one), open_sequence(other)], "strict", sizes_agree=True)
    for ours, theirs in pairing.frames(CPU, detect_cuts=True):
        assert torch.equal(ours.picture, theirs.picture)


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "a", 3)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(folder / "frame-0003.png")
    clip = open_sequence(folder)
    with pytest.raises(MediaError, match=r"frame-0003\.png: is 20x20, the images before it 64x48"):
        list(clip.read(CPU, False))


def test_shots_of_a_folder_are_distinguished(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for number, frame in enumerate(scenes(96, 64, [8, 8])):
        Image.fromarray(frame).save(folder / f"{number}.png")
    begins = [frame.starts_shot for frame in open_sequence(folder).read(CPU, True)]
    assert [number for number, first in enumerate(begins) if first] == [0, 8]


def test_ten_bits_are_compared_as_ten_bits(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", 2, pixel_format="yuv420p10le")
    (first, _) = list(open_sequence(path).read(CPU, False))
    levels = first.picture * 255
    assert (levels - levels.round()).abs().max() > 0.2


def test_sixteen_bits_of_png_are_compared_as_sixteen(tmp_path: Path) -> None:
    grey = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21
    (tmp_path / "deep").mkdir()
    Image.fromarray(grey).save(tmp_path / "deep" / "1.png")
    sequence = open_sequence(tmp_path / "deep")
    (first,) = list(sequence.read(CPU, False))
    assert np.abs(first.picture[0].numpy() * 65535 - grey).max() < 0.1
    assert sequence.notes == set()


@pytest.mark.parametrize("others", [8, 16])
def test_sixteen_bits_of_other_pictures_are_noted_as_eight(tmp_path: Path, others: int) -> None:
    pictures(tmp_path / "eight", 3)
    deep = tmp_path / "deep"
    pictures(deep, 3)
    for number in (1, 2):  # the first may have eight
        (deep / f"frame-{number:04d}.png").unlink()
        samples = b"P6 64 48 65535 " + bytes(64 * 48 * 6)
        (deep / f"frame-{number:04d}.ppm").write_bytes(samples)
    pairing, count = pairs(deep, deep if others == 16 else tmp_path / "eight")
    assert count == 3
    assert pairing.notes == ["deep holds 16 bits a channel, compared as 8"]


def test_folders_of_clips_are_paired_by_name(tmp_path: Path) -> None:
    for place in ("ours", "theirs"):
        pictures(tmp_path / place / "walk", 2)
        film(tmp_path / place / ("run.mp4" if place == "ours" else "run.mkv"), 2)
    found = find_clips(tmp_path / "ours", tmp_path / "theirs")
    assert [(name, a.name, b.name) for name, a, b in found] == [
        ("run", "run.mp4", "run.mkv"),
        ("walk", "walk", "walk"),
    ]
    (tmp_path / "theirs" / "run.mkv").unlink()
    with pytest.raises(DataError, match="theirs: holds no clip 'run'"):
        find_clips(tmp_path / "ours", tmp_path / "theirs")


def test_what_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        find_clips(tmp_path / "a.mp4", tmp_path / "b.mp4")
