"""Film comes back from 3:2 pulldown: its frames, their count, and regular times."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.ffmpeg import ffmpeg, needs_ffmpeg
from tests.helpers.fields import LOSSLESS, interlaced, lumas, original, psnr, telecined
from tests.helpers.side_data import captioned
from tests.media.test_field_rate import check_resuming
from vsr.errors import ConfigError, MediaError
from vsr.media.decode.pulldown import repeated_frame
from vsr.media.decode.reader import VideoReader
from vsr.media.frame import Frame

pytestmark = needs_ffmpeg

_FRAME = Fraction(1001, 24000)


def film_of(path: Path, **more: Any) -> tuple[list[Frame], list[Fraction]]:
    """The frames of a film without pulldown, and their times in seconds."""
    with VideoReader(path, "auto", inverse_telecine=True, **more) as reader:
        frames = list(reader.frames())
        return frames, [frame.pts * reader.info.time_base for frame in frames]


def found_lumas(frames: list[Frame]) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.array([frame.planes[0] for frame in frames]).astype(np.int16)


@pytest.mark.parametrize("order", ["top", "bottom"])
@pytest.mark.parametrize("is_flagged", [True, False])
def test_the_frames_of_film_come_back_exactly(tmp_path: Path, order: str, is_flagged: bool) -> None:
    flag = f"{order[0]}ff" if is_flagged else "prog"
    film = telecined(tmp_path / "in.nut", 24, order=order, flag=flag)
    frames, times = film_of(film.path, is_bottom_first=order == "bottom")
    assert times == [index * _FRAME for index in range(24)]
    assert np.array_equal(found_lumas(frames), lumas(film.original))


def test_compressed_film_comes_back_with_the_error_of_its_compression(tmp_path: Path) -> None:
    codec = ("-c:v", "mpeg2video", "-q:v", "4")
    film = telecined(tmp_path / "in.mkv", 40, flag="tff", codec=codec)
    frames, times = film_of(film.path)
    assert len(frames) == 40
    assert max(abs(time - index * _FRAME) for index, time in enumerate(times)) < 0.001
    assert psnr(found_lumas(frames), lumas(film.original)) > 30


def test_the_rate_and_the_count_are_those_of_film(tmp_path: Path) -> None:
    codec = ("-c:v", "libx264", "-crf", "10")
    film = telecined(tmp_path / "in.mp4", 24, codec=codec)
    with VideoReader(film.path, "auto", inverse_telecine=True) as reader:
        assert reader.info.frame_rate == Fraction(24000, 1001)
        assert reader.info.frame_count == 24


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_film_may_start_and_end_anywhere_in_a_cycle(tmp_path: Path, cut: int) -> None:
    film = telecined(tmp_path / "in.nut", 24)
    part = tmp_path / "part.nut"
    ffmpeg("-i", film.path, "-vf", f"trim=start_frame={cut}:end_frame={26 + cut}", *LOSSLESS, part)
    frames, times = film_of(part)
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert steps[5:] == [_FRAME] * len(steps[5:])  # the first frame's repeat may be cut off
    assert 20 <= len(frames) <= 22
    inner = found_lumas(frames)[1:-1]  # at a cut, half of a frame is missing
    moments = [picture.tobytes() for picture in lumas(film.original)]
    places = [
        moments.index(picture.tobytes()) if picture.tobytes() in moments else -1
        for picture in inner
    ]
    assert places == list(range(places[0], places[0] + len(inner)))


@pytest.mark.parametrize("pixels", ["yuv422p", "yuv422p10le"])
def test_film_keeps_its_pixel_format(tmp_path: Path, pixels: str) -> None:
    codec = ("-c:v", "ffv1", "-strict", "-2", "-pix_fmt", pixels)
    film = telecined(tmp_path / "in.mkv", 12, codec=codec)
    with VideoReader(film.path, "auto", inverse_telecine=True) as reader:
        assert reader.info.layout.name == pixels
        frames = list(reader.frames())
    shift = 2 if "10" in pixels else 0
    assert np.array_equal(found_lumas(frames) >> shift, lumas(film.original))


def joined(path: Path, *parts: Path) -> Path:
    """Films one after the other, at one frame rate."""
    inputs = [word for part in parts for word in ("-i", part)]
    both = f"concat=n={len(parts)},fps=30000/1001"
    ffmpeg(*inputs, "-filter_complex", both, *LOSSLESS, path)
    return path


def test_video_amid_film_keeps_all_frames_and_the_sound_in_step(tmp_path: Path) -> None:
    parts = [
        telecined(tmp_path / "a.nut", 24).path,
        original(tmp_path / "b.nut", "30000/1001", 30),
        telecined(tmp_path / "c.nut", 24).path,
    ]
    frames, times = film_of(joined(tmp_path / "in.nut", *parts))
    assert len(frames) == 24 + 30 + 24
    starts = [0, 24, 54]
    assert [times[index] for index in starts] == [
        Fraction(1001 * index, 30000) for index in (0, 30, 60)
    ]
    assert np.array_equal(found_lumas(frames[24:54]), lumas(parts[1]))


def test_frames_that_stay_combed_are_deinterlaced(tmp_path: Path) -> None:
    film = interlaced(tmp_path / "in.nut", 20, rate="60000/1001", flag="tff")
    combed = found_lumas(list(_frames(film.path, "off")))
    frames = found_lumas(film_of(film.path)[0])
    assert len(frames) == 20
    assert combing(combed[1:-1]) > 5 * combing(frames[1:-1])
    kept = found_lumas(list(_frames(film.path, "off", inverse_telecine=True)))
    assert combing(kept[1:-1]) > 3 * combing(frames[1:-1])


def _frames(path: Path, deinterlace: Any, **more: Any) -> list[Frame]:
    with VideoReader(path, deinterlace, **more) as reader:
        return list(reader.frames())


def combing(pictures: np.ndarray[Any, np.dtype[np.int16]]) -> float:
    """Mean second difference between rows."""
    return float(np.abs(pictures[:, :-2] - 2 * pictures[:, 1:-1] + pictures[:, 2:]).mean())


def test_still_film_has_its_frame_rate_too(tmp_path: Path) -> None:
    film = tmp_path / "in.nut"
    picture = ("-f", "lavfi", "-i", "color=gray:size=64x48:rate=30000/1001")
    ffmpeg(*picture, "-frames:v", "20", *LOSSLESS, film)
    assert film_of(film)[1] == [index * _FRAME for index in range(16)]


def test_no_caption_is_lost_with_a_frame(tmp_path: Path) -> None:
    film = captioned(tmp_path / "in.mp4", "-r", "30000/1001", frames=15)
    with VideoReader(film) as reader:
        captions = [message for frame in reader.frames() for message in frame.messages]
    frames, _ = film_of(film)
    assert [message for frame in frames for message in frame.messages] == captions


def test_reading_resumes_anywhere_in_a_cycle(tmp_path: Path) -> None:
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "13")
    film = telecined(tmp_path / "in.mp4", 80, codec=codec)
    check_resuming(film.path, range(70, 74), deinterlace="auto", inverse_telecine=True)


def test_other_frame_rates_are_refused(tmp_path: Path) -> None:
    film = original(tmp_path / "in.mkv", "25", 3)
    with pytest.raises(MediaError, match="has 25 frames per second"):
        VideoReader(film, "auto", inverse_telecine=True)


@pytest.mark.parametrize("deinterlace", ["on", "double"])
def test_contradictions_are_refused(tmp_path: Path, deinterlace: Any) -> None:
    with pytest.raises(ConfigError, match="contradict each other"):
        VideoReader(tmp_path / "none.mkv", deinterlace, inverse_telecine=True)


@pytest.mark.parametrize(
    ("differences", "is_film", "expected"),
    [
        ([9.0, 8.0, 0.5, 9.0, 7.0], False, 2),  # a clear repeat
        ([9.0, 8.0, 7.5, 9.0, 7.0], True, None),  # clearly distinct
        ([2.0, 1.9, 1.8, 2.0, 2.1], True, 2),  # noise: as in the cycle before
        ([2.0, 1.9, 1.8, 2.0, 2.1], False, None),
        ([3.0, 3.1, 1.5, 3.0, 3.2], False, 2),  # a repeat under noise
        ([0.0, 0.0, 0.0, 0.0, 0.0], False, 0),
    ],
)
def test_a_repeat_is_distinguished_from_motion(
    differences: list[float], is_film: bool, expected: int | None
) -> None:
    assert repeated_frame(differences, is_film) == expected
