"""Films that are damaged, strange or hostile."""

import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.helpers.ffmpeg import needs_ffmpeg
from tests.helpers.films import scenes, write_film
from vsr.engine.upscale import upscale_video
from vsr.errors import MediaError
from vsr.media.decode.reader import VideoReader


def test_frames_that_can_not_be_decoded_repeat_the_one_before(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "a.mkv", scenes(64, 48, [12]), codec="mjpeg",
                       pixel_format="yuvj420p")  # fmt: skip
    with av.open(str(whole)) as source, av.open(str(tmp_path / "b.mkv"), "w") as output:
        lane = output.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.size:
                spoilt: Any = av.Packet(bytes(40)) if number in (4, 5) else packet
                spoilt.pts = spoilt.dts = packet.pts
                spoilt.time_base, spoilt.stream = packet.time_base, lane
                output.mux(spoilt)
    with VideoReader(tmp_path / "b.mkv") as reader:
        frames = list(reader.frames())
        assert len(frames) == 12
        assert reader.damage.pts == [frames[4].pts, frames[5].pts]
    for number in (4, 5):
        assert np.array_equal(frames[number].planes[0], frames[3].planes[0])
    assert not np.array_equal(frames[6].planes[0], frames[3].planes[0])
    with VideoReader(whole) as reader:
        assert [frame.pts for frame in reader.frames()] == [frame.pts for frame in frames]


def test_a_size_that_changes_on_the_way_is_scaled_and_reported(
    tmp_path: Path, tiny_model: Path
) -> None:
    coded = b""
    for number, (width, height) in enumerate(((64, 48), (96, 64))):
        part = tmp_path / f"{number}.ts"
        write_film(part, scenes(width, height, [6]), codec="libx264",
                   pts=[number * 6 * 512 + 512 * n for n in range(6)])  # fmt: skip
        coded += part.read_bytes()
    (tmp_path / "both.ts").write_bytes(coded)
    summary = upscale_video(
        tmp_path / "both.ts", tmp_path / "out.mp4", model=str(tiny_model), device="cpu"
    )
    assert (summary.width, summary.height, summary.frames) == (256, 192, 12)
    assert any("frame size changes at" in note and "96x64" in note for note in summary.notes)


def test_frames_of_absurd_size_are_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge.y4m"
    huge.write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(1000))
    with pytest.raises(MediaError, match=r"huge\.y4m: "):
        VideoReader(huge)


def test_a_playlist_that_calls_itself_a_film_reaches_nowhere(tmp_path: Path) -> None:
    bait = tmp_path / "a.mp4"
    bait.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError, match=r"a\.mp4: "):
        list(VideoReader(bait).frames())


def test_paths_in_a_film_write_nowhere(tmp_path: Path, tiny_model: Path) -> None:
    source = tmp_path / "deep" / "a.mkv"
    source.parent.mkdir()
    with av.open(str(source), "w") as container:
        video: Any = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.add_attachment("../../escaped.ttf", "font/ttf", b"not really a font")
        container.metadata["title"] = "../../../escaped"
        for picture in scenes(64, 48, [3]):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
    upscale_video(source, tmp_path / "deep" / "b.mkv", model=str(tiny_model), device="cpu")
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert made == ["deep", "deep/a.mkv", "deep/b.mkv"]


@needs_ffmpeg
def test_telecined_film_loses_no_frame(tmp_path: Path, tiny_model: Path) -> None:
    """Progressive and interlaced frames in turn."""
    source = tmp_path / "a.mkv"
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi"]
    command += ["-i", "testsrc2=size=64x48:rate=24:duration=1", "-vf", "telecine,setfield=tff"]
    command += ["-c:v", "libx264", "-flags", "+ildct+ilme", "-x264-params", "tff=1", str(source)]
    subprocess.run(command, check=True)
    with VideoReader(source) as reader:
        times = [frame.pts for frame in reader.frames()]
    summary = upscale_video(source, tmp_path / "b.mkv", model=str(tiny_model), device="cpu")
    assert len(times) == summary.frames == 30
    with VideoReader(tmp_path / "b.mkv") as reader:
        assert [frame.pts for frame in reader.frames()] == times
    assert any("interlaced frames deinterlaced (bwdif)" in note for note in summary.notes)
