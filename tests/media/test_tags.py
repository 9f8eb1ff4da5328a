"""What frames say of their pixels: against their container, and where it changes in mid-film."""

import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.ffmpeg import ffmpeg, needs_ffmpeg
from vsr.engine.plan import plan_video
from vsr.engine.upscale import upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.survey import survey_film
from vsr.media.encode.settings import EncoderSettings
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-pix_fmt", "yuv420p")
_FULL = ("-vf", "scale=out_range=full", "-color_range", "pc")
_BARS = "smptebars=size=64x48:rate=25:duration=0.4"


def bars(path: Path, *more: str) -> Path:
    ffmpeg("-f", "lavfi", "-i", _BARS, *_H264, *more, str(path))
    return path


def joined(folder: Path, first: tuple[str, ...], second: tuple[str, ...]) -> Path:
    """A transport stream whose second half is encoded otherwise."""
    parts = [bars(folder / "a.ts", *first)]
    parts.append(bars(folder / "b.ts", *second, "-output_ts_offset", "0.4"))
    film = folder / "in.ts"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    return film


def luma_codes(path: Path) -> list[Any]:
    """The luma of each frame in limited range, by Debian's ffmpeg."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(path), "-fps_mode"]
    command += ["passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    with VideoReader(path) as reader:
        width, height = reader.info.width, reader.info.height
    frames = np.frombuffer(raw, np.uint8).reshape(-1, height * width * 3 // 2)
    return [frame[: height * width].reshape(height, width) for frame in frames]


def probed(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-loglevel", "error", "-of", "json", "-show_streams", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)["streams"][0]
    return found


def lossless(source: Path, output: Path, model: Path) -> tuple[str, ...]:
    settings = EncoderSettings("ffv1")
    return upscale_video(source, output, model=str(model), settings=settings).notes


@pytest.mark.parametrize("full_first", [False, True])
def test_a_range_that_changes_in_mid_film_leaves_the_picture_as_it_was(
    tmp_path: Path, tiny_model: Path, full_first: bool
) -> None:
    limited = ("-color_range", "tv", "-colorspace", "bt709")
    full = ("-vf", "scale=out_range=full", "-color_range", "pc", "-colorspace", "bt709")
    film = joined(tmp_path, *((full, limited) if full_first else (limited, full)))
    notes = lossless(film, tmp_path / "out.mkv", tiny_model)
    frames = luma_codes(tmp_path / "out.mkv")
    assert len(frames) == 20
    assert np.abs(frames[2].astype(int) - frames[-2]).mean() < 1.5
    assert any("colour range changes at 1.8" in note for note in notes)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("-color_range", "pc"), "colour range changes at 1.80 s, from limited to full: converted"),
        (("-s", "80x60"), "frame size changes at 1.80 s, from 64x48 to 80x60: scaled"),
    ],
)
def test_converted_changes_are_noted_once_and_before_any_work(
    tmp_path: Path, tiny_model: Path, more: tuple[str, ...], line: str
) -> None:
    film = joined(tmp_path, ("-color_range", "tv"), more)
    planned = plan_video(film, ".mkv", UpscaleOptions(model=str(tiny_model)))
    assert [note for note in planned.notes if note.startswith(line)] == list(planned.notes)
    events: list[str] = []
    summary = upscale_video(
        *(film, tmp_path / "out.mkv", str(tiny_model)),
        tell=events.append,
        watch=lambda now: events.append("frame"),
    )
    assert events[:2] == [planned.notes[0], "frame"]
    assert [note for note in summary.notes if "changes" in note] == list(planned.notes)


def test_changes_behind_a_step_of_the_clock_are_noted_by_the_time_of_the_output(
    tmp_path: Path,
) -> None:
    parts = [bars(tmp_path / "a.ts", "-color_range", "tv"), bars(tmp_path / "b.ts", *_FULL)]
    film = tmp_path / "in.ts"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert survey_film(film).changes["colour range"].where == "at 1.80 s"


def test_changes_of_a_film_that_begins_before_zero_are_noted_by_the_time_of_the_output(
    tmp_path: Path, tiny_model: Path
) -> None:
    wrap = ("-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset")
    parts = [bars(tmp_path / "a.ts", "-color_range", "tv", *wrap, "95442.9")]
    parts.append(bars(tmp_path / "b.ts", *_FULL, *wrap, "95443.3"))
    film = tmp_path / "in.ts"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    with VideoReader(film) as reader:
        first = next(reader.frames()).pts
        assert reader.lead > 0
    assert first == 0
    notes = lossless(film, tmp_path / "out.mkv", tiny_model)
    assert any("colour range changes at 0.40 s" in note for note in notes)
    with VideoReader(film) as reader:
        assert len(list(reader.frames())) == 20
        assert any("colour range changes at 0.40 s" in note for note in reader.notes)


def test_changes_seen_in_samples_are_noted_as_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.media.decode.survey._MAX_FIRST", 4)
    film = joined(tmp_path, ("-color_range", "tv", "-g", "2"), (*_FULL, "-g", "2"))
    assert survey_film(film).changes["colour range"].where.startswith("by about 1.")


def test_a_matrix_that_changes_in_mid_film_leaves_the_colours_as_they_were(tmp_path: Path) -> None:
    def tagged(matrix: str) -> tuple[str, ...]:
        return "-vf", f"scale=out_color_matrix={matrix}", "-colorspace", matrix

    film = joined(tmp_path, tagged("bt709"), tagged("smpte170m"))
    with VideoReader(film) as reader:
        assert reader.info.colour.matrix == 1
        frames = list(reader.frames())
        notes = reader.notes
    for first, last in zip(frames[2].planes, frames[-2].planes, strict=True):
        # Where bars meet, chroma is interpolated.
        assert np.median(np.abs(first.astype(int) - last)) <= 2
    assert any("colour matrix changes" in note and "BT.601: converted" in note for note in notes)


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ((), ("-pix_fmt", "yuv444p"), "pixel format changes at 1.80 s, from yuv420p to yuv444p"),
        ((), ("-pix_fmt", "yuv420p10le"), "from yuv420p to yuv420p10le: converted to the first"),
        (("-vf", "setsar=1"), ("-vf", "setsar=4/3"), "pixel aspect changes at 1.80 s, from 1 to"),
        ((), ("-color_trc", "smpte2084"), "colour transfer changes at 1.80 s, from unspecified to"),
        ((), ("-color_primaries", "bt2020"), "colour primaries change at 1.80 s"),
        ((), ("-s", "80x60"), "frame size changes at 1.80 s, from 64x48 to 80x60: scaled"),
    ],
)
def test_each_property_that_changes_in_mid_film_is_noted(
    tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...], line: str
) -> None:
    with VideoReader(joined(tmp_path, first, second)) as reader:
        assert len(list(reader.frames())) == 20
        assert any(line in note for note in reader.notes), reader.notes


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("-colorspace", "smpte170m"), ("-colorspace", "bt470bg")),
        (("-color_trc", "bt709"), ("-color_trc", "smpte170m")),
        ((), ("-color_range", "tv")),
    ],
)
def test_tags_that_mean_the_same_are_no_change(
    tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    with VideoReader(joined(tmp_path, first, second)) as reader:
        assert len(list(reader.frames())) == 20
        assert reader.notes == []


def test_another_size_of_the_same_shape_changes_no_aspect(tmp_path: Path) -> None:
    film = joined(tmp_path, (), ("-vf", "scale=96:48,setsar=2/3"))
    with VideoReader(film) as reader:
        assert len(list(reader.frames())) == 20
        assert [note.split(" at ")[0] for note in reader.notes] == ["frame size changes"]


def test_a_stream_without_times_has_its_changes_noted(tmp_path: Path) -> None:
    parts = [bars(tmp_path / "a.h264"), bars(tmp_path / "b.h264", "-color_range", "pc")]
    film = tmp_path / "in.h264"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    with VideoReader(film) as reader:
        assert len(list(reader.frames())) == 20
        assert any("colour range changes in mid-film" in note for note in reader.notes)


def disagreeing(path: Path) -> None:
    """BT.709 in the bitstream, BT.601 in the container."""
    ffmpeg("-f", "lavfi", "-i", _BARS, *_H264, "-x264-params",
           "colorprim=bt709:transfer=bt709:colormatrix=bt709", "-colorspace", "smpte170m",
           "-color_primaries", "smpte170m", "-color_trc", "smpte170m", str(path))  # fmt: skip


def disagreeing_hdr(path: Path) -> None:
    """PQ and BT.2020 in the bitstream, BT.470BG in the container."""
    ffmpeg("-f", "lavfi", "-i", _BARS, "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt",
           "yuv420p10le", "-x265-params", "log-level=none:colorprim=bt2020:transfer=smpte2084:"
           "colormatrix=bt2020nc", "-colorspace", "bt470bg", "-color_primaries", "bt470bg",
           "-color_trc", "gamma28", str(path))  # fmt: skip


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("make", [disagreeing, disagreeing_hdr])
def test_decoded_frames_are_believed_where_the_container_says_otherwise(
    tmp_path: Path, tiny_model: Path, suffix: str, make: Callable[[Path], None]
) -> None:
    film, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    make(film)
    settings = EncoderSettings("hevc" if make is disagreeing_hdr else "h264", preset="ultrafast")
    upscale_video(film, output, model=str(tiny_model), settings=settings)
    before, after = probed(film), probed(output)
    for key in ("color_space", "color_primaries", "color_transfer"):
        assert after[key] == before[key]
    assert all(finding.kept for finding in verify_film(film, output))


@pytest.mark.parametrize("matrix", ["bt470bg", "smpte240m", "ycgco"])
def test_the_matrix_is_written_by_the_code_of_the_source(
    tmp_path: Path, tiny_model: Path, matrix: str
) -> None:
    film, output = bars(tmp_path / "in.mp4", "-colorspace", matrix), tmp_path / "out.mp4"
    upscale_video(film, output, model=str(tiny_model))
    assert probed(output)["color_space"] == probed(film)["color_space"]
    assert all(finding.kept for finding in verify_film(film, output))


def test_verify_knows_codes_that_mean_the_same(tmp_path: Path) -> None:
    tags = ("-colorspace", "bt470bg", "-color_trc", "bt709", "-color_primaries", "smpte170m")
    film = bars(tmp_path / "a.mkv", *tags)
    tags = ("-colorspace", "smpte170m", "-color_trc", "smpte170m", "-color_primaries", "smpte240m")
    copy = bars(tmp_path / "b.mkv", *tags)
    colours = [finding for finding in verify_film(film, copy) if "colour" in finding.what]
    assert len(colours) == 5
    assert all(finding.kept for finding in colours)


def test_verify_finds_codes_that_mean_another_colour(tmp_path: Path) -> None:
    film = bars(tmp_path / "a.mkv", "-colorspace", "bt709", "-color_trc", "smpte2084")
    copy = bars(tmp_path / "b.mkv", "-colorspace", "smpte170m", "-color_trc", "bt709")
    lost = {finding.what for finding in verify_film(film, copy) if not finding.kept}
    assert lost == {"colour matrix", "colour transfer"}


def test_a_trial_from_the_middle_begins_there(tmp_path: Path) -> None:
    film = bars(tmp_path / "a.mp4", "-g", "2")
    with VideoReader(film) as reader:
        reader.seek_to_middle()
        first = next(reader.frames())
        assert first.pts * reader.info.time_base >= Fraction(1, 10)
