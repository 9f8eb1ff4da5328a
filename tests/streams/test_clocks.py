"""Clocks that step back, wrap or begin before zero: all packets are kept, in step."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.ffmpeg import film, needs_ffmpeg, packets, streams, times
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.fingerprint import fingerprint_of
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

FAST = EncoderSettings(preset="ultrafast")


def upscaled(source: Path, output: Path, model: Path) -> UpscaleResult:
    return upscale_video(source, output, str(model), device="cpu", settings=FAST, strict=True)


def joined(folder: Path, suffix: str, *recordings: tuple[str, ...], sound: str = "aac") -> Path:
    """Recordings of 0.8 s each, one file after another."""
    path = folder / f"in{suffix}"
    data = b""
    for number, more in enumerate(recordings):
        data += film(folder / f"{number}{suffix}", *more, sound=sound).read_bytes()
    path.write_bytes(data)
    return path


def check_join(source: Path, output: Path, frames: int, parts: int) -> None:
    """Frame times rise, no packet of sound is lost, and each part is moved as its picture is."""
    video, sound = (streams(output, kind)[0]["index"] for kind in ("video", "audio"))
    shown, heard = times(output, video), times(output, sound)
    assert len(shown) == frames
    assert np.diff(shown).min() > 0.02
    before = packets(source, streams(source, "audio")[0]["index"])
    assert len(heard) == len(before)
    raw = [float(packet["pts_time"]) for packet in before]
    shift = np.array(heard) - np.array(raw)
    steps = np.flatnonzero(np.diff(raw) < 0) + 1
    assert len(steps) == parts - 1
    for part, number in zip(np.split(shift, steps), range(parts), strict=True):
        assert np.ptp(part) < 0.002, number
        picture = shown[number * frames // parts] - video_starts(source)[number]
        assert abs(picture - part[0]) < 0.002, number
    assert all(finding.kept for finding in verify_film(source, output))


def video_starts(source: Path) -> list[float]:
    """The first picture's time of each part, as the file tells it."""
    index = streams(source, "video")[0]["index"]
    found = packets(source, index)
    raw = [float(packet["dts_time"]) for packet in found]
    steps = [0, *(int(n) + 1 for n in np.flatnonzero(np.diff(raw) < 0)), len(raw)]
    return [
        min(float(p["pts_time"]) for p in found[here:there] if "pts_time" in p)
        for here, there in pairwise(steps)
    ]


LATER = ("-g", "10", "-output_ts_offset", "0.3")


@pytest.mark.slow
@pytest.mark.parametrize("output", ["out.mkv", "out.mp4"])
def test_recordings_joined_end_to_end_stay_in_step(
    tmp_path: Path, tiny_model: Path, output: str
) -> None:
    source = joined(tmp_path, ".ts", ("-g", "10"), LATER)
    summary = upscaled(source, tmp_path / output, tiny_model)
    assert summary.notes == ()
    check_join(source, tmp_path / output, 40, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "sound", "recordings"),
    [
        (".ts", "mp2", (("-bf", "3", "-g", "10"), ("-bf", "0"))),
        (".ts", "ac3", ((), ("-output_ts_offset", "0.1"), ("-output_ts_offset", "0.2"))),
        (".mpg", "mp2", (("-c:v", "mpeg2video", "-bf", "0"), ("-c:v", "mpeg2video", "-bf", "2"))),
        (".mkv", "aac", (("-g", "10"), ("-g", "10"))),
    ],
)
def test_each_kind_of_file_that_joins_is_read_on_one_clock(
    tmp_path: Path, tiny_model: Path, suffix: str, sound: str, recordings: tuple[tuple[str, ...]]
) -> None:
    source = joined(tmp_path, suffix, *recordings, sound=sound)
    upscaled(source, tmp_path / "out.mkv", tiny_model)
    check_join(source, tmp_path / "out.mkv", 20 * len(recordings), len(recordings))


def test_a_pipe_is_read_on_one_clock(tmp_path: Path) -> None:
    source = joined(tmp_path, ".ts", ("-g", "10"), LATER)
    with VideoReader(source) as reader:
        shown = [frame.pts * reader.info.time_base for frame in reader.frames()]
    with VideoReader(source, probe_first_frame=True) as reader:
        again = [item.pts * reader.info.time_base for item in reader.frames()]
    assert shown == again
    assert min(after - before for before, after in pairwise(shown)) > Fraction(1, 50)


def test_going_on_in_a_later_recording_gives_the_frames_of_the_whole(tmp_path: Path) -> None:
    source = joined(tmp_path, ".ts", ("-g", "10"), LATER)
    with VideoReader(source) as reader:
        frames = list(reader.frames())
    for place in (12, 19, 20, 21, 33):
        with VideoReader(source, probe_first_frame=True) as reader:
            reader.resume_after([fingerprint_of(frame) for frame in frames[place - 2 : place]])
            assert [frame.pts for frame in reader.frames()] == [f.pts for f in frames[place:]]


@pytest.mark.slow
@pytest.mark.parametrize("output", ["out.mkv", "out.mp4", "out.mov"])
def test_pictures_before_time_zero_are_moved_with_all_of_the_film(
    tmp_path: Path, tiny_model: Path, output: str
) -> None:
    """A transport stream whose clock wraps begins at -0.8 s."""
    wrap = ("-g", "10", "-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset", "95442.9")
    source = film(tmp_path / "in.ts", *wrap, seconds=1.6, sound="mp2")
    summary = upscaled(source, tmp_path / output, tiny_model)
    assert [note for note in summary.notes if "before time zero: all its times are moved" in note]
    shown, heard = (times(tmp_path / output, index) for index in (0, 1))
    assert len(shown) == 40
    assert np.allclose(np.diff(shown), 0.04, atol=0.0011)
    raw = [times(source, index) for index in (0, 1)]
    assert len(heard) == len(raw[1])
    assert abs((heard[0] - shown[0]) - (raw[1][0] - raw[0][0])) < 0.002
    assert all(finding.kept for finding in verify_film(source, tmp_path / output))


def test_sound_that_begins_before_the_picture_stays_before_zero(
    tmp_path: Path, tiny_model: Path
) -> None:
    """What decoders settle with isn't a reason to move the picture."""
    source = film(tmp_path / "in.mp4")
    assert times(source, 1)[0] < 0
    upscaled(source, tmp_path / "out.mkv", tiny_model)
    assert times(tmp_path / "out.mkv", 0)[0] == 0
    assert times(tmp_path / "out.mkv", 1)[0] < 0


def test_a_single_time_that_steps_back_moves_nothing_else(tmp_path: Path) -> None:
    whole, source = film(tmp_path / "a.ts"), tmp_path / "in.nut"
    with av.open(str(whole)) as container, av.open(str(source), "w") as output:
        lane = output.add_stream_from_template(container.streams.video[0], opaque=True)
        for number, packet in enumerate(container.demux(container.streams.video[0])):
            if packet.size:
                packet.stream = lane
                if number == 9:
                    packet.pts = (packet.pts or 0) + 1700  # late, so that the next one seems early
                output.mux(packet)
    with VideoReader(source) as reader, VideoReader(whole) as other:
        late = [
            float(mine.pts * reader.info.time_base - theirs.pts * other.info.time_base)
            for mine, theirs in zip(reader.frames(), other.frames(), strict=True)
        ]
    assert max(late) - min(late) < 0.05
    assert late[-1] == pytest.approx(late[0], abs=0.001)
