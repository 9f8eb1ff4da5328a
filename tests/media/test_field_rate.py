"""Every field becomes a frame, in the right order and at its time."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from tests.helpers.ffmpeg import ffmpeg, needs_ffmpeg
from tests.helpers.fields import interlaced, lumas, original, psnr
from tests.helpers.side_data import captioned
from vsr.media.decode.reader import VideoReader
from vsr.media.frame import Frame

pytestmark = needs_ffmpeg


def doubled(path: Path, **more: Any) -> tuple[list[Frame], list[Fraction]]:
    """The frames of a film's fields, and their times in seconds."""
    with VideoReader(path, "double", **more) as reader:
        frames = list(reader.frames())
        return frames, [frame.pts * reader.info.time_base for frame in frames]


@pytest.mark.parametrize("order", ["top", "bottom"])
@pytest.mark.parametrize("is_flagged", [True, False])
def test_a_film_of_fields_gives_back_each_moment(
    tmp_path: Path, order: str, is_flagged: bool
) -> None:
    flag = f"{order[0]}ff" if is_flagged else "prog"
    film = interlaced(tmp_path / "in.mkv", order=order, flag=flag)
    frames, times = doubled(film.path, is_bottom_first=order == "bottom")
    assert times == [Fraction(index, 50) for index in range(40)]
    found = np.array([frame.planes[0] for frame in frames]).astype(np.int16)
    moments = lumas(film.original)
    for index in range(3, 37):  # at the ends, a neighbour is missing
        quality = [psnr(found[index], moments[index + step]) for step in (-1, 0, 1)]
        assert quality[1] == max(quality) > 24


def test_fields_of_ntsc_video_have_exact_times(tmp_path: Path) -> None:
    codec = ("-c:v", "libx264", "-crf", "10", "-bf", "0")
    film = interlaced(tmp_path / "in.mp4", 8, rate="60000/1001", codec=codec)
    with VideoReader(film.path, "double") as reader:
        assert reader.info.frame_rate == Fraction(60000, 1001)
        assert reader.info.frame_count == 16
    _, times = doubled(film.path)
    assert times == [Fraction(1001 * index, 60000) for index in range(16)]


def write(path: Path, pts: list[int], duration: int = 0) -> Path:
    """A lossless film with frames at these milliseconds."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        for index, time in enumerate(pts):
            frame = VideoFrame.from_ndarray(np.full((72, 64), index, np.uint8), format="yuv420p")
            frame.pts, frame.time_base, frame.duration = time, Fraction(1, 1000), duration
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def test_fields_of_a_variable_frame_rate_are_half_way_between_frames(tmp_path: Path) -> None:
    _, times = doubled(write(tmp_path / "in.mkv", [0, 40, 90, 120], duration=40))
    assert [float(1000 * time) for time in times] == [0, 20, 40, 65, 90, 105, 120, 140]


def test_a_field_before_a_pause_follows_by_half_a_frame(tmp_path: Path) -> None:
    _, times = doubled(write(tmp_path / "in.mkv", [0, 40, 1000, 1040], duration=40))
    assert [float(1000 * time) for time in times] == [0, 20, 40, 60, 1000, 1020, 1040, 1060]


def test_one_frame_gives_two(tmp_path: Path) -> None:
    frames, times = doubled(original(tmp_path / "in.mkv", "25", 1))
    assert len(frames) == 2
    assert times == [0, Fraction(1, 50)]


def test_film_before_time_zero_is_moved_as_a_whole(tmp_path: Path) -> None:
    film = interlaced(tmp_path / "in.mkv", 6)
    early = tmp_path / "early.mkv"
    ffmpeg("-itsoffset", "-0.08", "-i", film.path, "-c", "copy", "-copyts",
           "-avoid_negative_ts", "disabled", early)  # fmt: skip
    with VideoReader(early) as reader:
        assert reader.lead == Fraction(2, 25)
    assert doubled(early)[1] == [Fraction(index, 50) for index in range(12)]


def test_captions_go_with_one_of_two_fields(tmp_path: Path) -> None:
    film = captioned(tmp_path / "in.mp4", frames=8)
    with VideoReader(film) as reader:
        once = [frame.messages for frame in reader.frames()]
    frames, _ = doubled(film)
    assert [frame.messages for frame in frames] == [
        messages for given in once for messages in (given, ())
    ]


@pytest.mark.parametrize("pixels", ["yuv422p10le", "yuv444p", "yuva420p"])
def test_fields_keep_the_pixel_format(tmp_path: Path, pixels: str) -> None:
    codec = ("-c:v", "ffv1", "-strict", "-2", "-pix_fmt", pixels)
    film = interlaced(tmp_path / "in.mkv", 5, codec=codec)
    with VideoReader(film.path, "double") as reader:
        assert reader.info.layout.name == pixels
        assert len(list(reader.frames())) == 10


def test_reading_resumes_at_either_field(tmp_path: Path) -> None:
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10")
    film = interlaced(tmp_path / "in.mp4", 80, codec=codec)
    check_resuming(film.path, range(140, 143), deinterlace="double")


def test_reading_resumes_between_interlaced_recordings(tmp_path: Path) -> None:
    """The filter restarts with the second one, but not in a run from the start."""
    codec = ("-c:v", "mpeg2video", "-q:v", "4", "-g", "10", "-bf", "0")
    fields = interlaced(tmp_path / "fields.ts", 10, codec=(*codec, "-flags", "+ildct+ilme"))
    film = original(tmp_path / "film.mkv", "25", 125)
    ffmpeg("-i", film, *codec, tmp_path / "film.ts")
    parts = [fields.path, tmp_path / "film.ts", fields.path]
    (tmp_path / "list").write_text("".join(f"file {part}\n" for part in parts))
    joined = tmp_path / "in.mkv"
    ffmpeg("-f", "concat", "-safe", 0, "-i", tmp_path / "list", "-c", "copy", joined)
    check_resuming(joined, range(120, 121), deinterlace="auto")
    recordings = tmp_path / "in.ts"
    recordings.write_bytes(b"".join(part.read_bytes() for part in parts))
    check_resuming(recordings, range(120, 121), deinterlace="auto")


def check_resuming(path: Path, places: range, **mode: Any) -> None:
    """Whether reading from a place in mid-film gives the same frames as from the start."""
    from vsr.media.fingerprint import fingerprint_of

    with VideoReader(path, **mode) as reader:
        whole = [fingerprint_of(frame) for frame in reader.frames()]
    for place in places:
        with VideoReader(path, **mode) as reader:
            marked = [fingerprint_of(f) for f in reader.resume_after(whole[place - 3 : place])]
            assert marked == whole[place - 3 : place]
            assert [fingerprint_of(frame) for frame in reader.frames()] == whole[place:]


def test_lost_frames_are_repeated_before_their_fields_are_taken(tmp_path: Path) -> None:
    film = original(tmp_path / "in.mkv", "25", 20)
    coded = tmp_path / "coded.mkv"
    ffmpeg("-i", film, "-c:v", "mpeg4", "-g", "20", "-q:v", "2", coded)
    data = bytearray(coded.read_bytes())
    for position, size in _packets(coded)[6:8]:
        data[position : position + size] = bytes(size)
    coded.write_bytes(data)
    with VideoReader(coded) as reader:
        plain = list(reader.frames())
        lost = len(reader.damage.pts)
    assert lost
    frames, times = doubled(coded)
    assert len(frames) == 2 * len(plain) == 40
    assert times == [Fraction(index, 50) for index in range(40)]


def _packets(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        data = path.read_bytes()
        return [
            (data.index(bytes(packet)), packet.size) for packet in container.demux() if packet.size
        ]
