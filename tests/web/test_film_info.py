"""What a file holds, as the page shows it."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.ffmpeg import ffmpeg, needs_ffmpeg, probe
from tests.helpers.films import AudioTrack, broken_inputs, scenes, write_film
from vsr.errors import MediaError
from vsr.web import filmstrip
from vsr.web.film_info import FilmInfo, PictureInfo, describe_film, describe_picture
from vsr.web.filmstrip import STRIP, make_filmstrip

CODED: dict[str, Any] = {"codec": "libx264", "options": {"g": "12", "crf": "16"}}


def described(path: Path) -> FilmInfo:
    return FilmInfo(file="films/a", name="a", **describe_film(path.parent, path))


@needs_ffmpeg
def test_streams_and_losses_of_a_film_are_listed(tmp_path: Path) -> None:
    plain = write_film(
        tmp_path / "plain.mp4", scenes(96, 64, [10]), audio=[AudioTrack("aac", 440)], **CODED
    )
    chapters = tmp_path / "chapters.txt"
    chapters.write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=100\nEND=200\ntitle=Second\n"
    )
    words = tmp_path / "a.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:00,200\nHello\n")
    font = tmp_path / "font.ttf"
    font.write_bytes(b"font")
    film = tmp_path / "a.mkv"
    ffmpeg("-i", plain, "-i", words, "-i", chapters, "-map", "0", "-map", "1", "-map_metadata", "2",
           "-c", "copy", "-c:s", "subrip", "-metadata:s:a", "language=deu", "-attach", font,
           "-metadata:s:3", "mimetype=application/x-truetype-font", film)  # fmt: skip
    info = described(film)
    stream = probe(film, "streams")["streams"][0]
    assert (info.codec, info.width, info.height) == ("h264", stream["width"], stream["height"])
    assert (info.frames, info.frame_rate, info.chroma, info.bits) == (10, 25.0, "4:2:0", 8)
    assert info.seconds == pytest.approx(0.4)
    assert [(a.codec, a.language, a.sample_rate) for a in info.audio] == [("aac", "deu", 44_100)]
    assert [track.codec for track in info.subtitles] == ["subrip"]
    assert [(chapter.start, chapter.title) for chapter in info.chapters] == [(0.1, "Second")]
    assert info.attachments == ["font.ttf"]
    assert any("attachment" in line and ".mkv can" in line for line in info.left_out)


@needs_ffmpeg
def test_rotation_aspect_and_hdr_are_described(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(96, 64, [6]), **CODED)
    turned = tmp_path / "turned.mp4"
    ffmpeg("-i", film, "-c", "copy", "-aspect", "2:1", "-metadata:s:v", "rotate=90", turned)
    info = described(turned)
    (turn,) = probe(turned, "streams")["streams"][0]["side_data_list"]
    assert (info.rotation, info.pixel_aspect) == (-turn["rotation"] % 360, "4/3")
    assert (info.display_width, info.display_height) == (64, 128)
    hdr = tmp_path / "hdr.mp4"
    ffmpeg("-i", film, "-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-color_primaries", "bt2020",
           "-color_trc", "smpte2084", "-colorspace", "bt2020nc", hdr)  # fmt: skip
    info = described(hdr)
    assert (info.hdr, info.bits) == ("PQ", 10)
    assert info.colour == "matrix BT.2020, primaries BT.2020, transfer PQ, limited range"
    assert info.left_out == []


def test_a_film_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for path, message in broken_inputs(tmp_path):
        for function in (lambda p: describe_film(tmp_path, p), lambda p: _strip(tmp_path, p)):
            with pytest.raises(MediaError, match=message) as caught:
                function(path)
            assert "\n" not in str(caught.value)


def _strip(folder: Path, path: Path) -> None:
    make_filmstrip(folder, path, 4)


def test_pictures_are_described(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (30, 20)).save(path)
    info = PictureInfo(file="films/a.png", name="a.png", **describe_picture(tmp_path, path))
    assert (info.width, info.height, info.alpha, info.pages) == (30, 20, True, 1)


def grey_film(path: Path, frames: int) -> Path:
    """Frame n has the grey 2n."""
    pictures = [np.full((64, 96, 3), 2 * index, np.uint8) for index in range(frames)]
    return write_film(path, pictures, time_base=Fraction(1, 12_800), **CODED)


@pytest.mark.parametrize("seeks", [False, True])
def test_a_filmstrip_shows_frames_of_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeks: bool
) -> None:
    film = grey_film(tmp_path / "a.mp4", 100)
    if seeks:
        monkeypatch.setattr(filmstrip, "_PIXELS_IN_ORDER", 0)
    strip = make_filmstrip(tmp_path, film, 8)
    assert (strip["tile_width"], strip["tile_height"]) == (135, 90)
    pixels = np.asarray(Image.open(io.BytesIO((tmp_path / STRIP).read_bytes())).convert("L"))
    assert pixels.shape == (90, 8 * 135)
    for index, time in enumerate(strip["times"]):
        assert time == pytest.approx((index + 0.5) / 8 * 4, abs=0.041)
        shown = pixels[:, 135 * index : 135 * (index + 1)].mean()
        assert shown == pytest.approx(2 * round(25 * time), abs=4)


def test_a_filmstrip_has_no_more_tiles_than_frames(tmp_path: Path) -> None:
    strip = make_filmstrip(tmp_path, grey_film(tmp_path / "a.mp4", 3), 12)
    assert strip["times"] == [0, 0.04, 0.08]
