"""Reader and writer together: what goes through them is what comes out."""

import contextlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.films import AudioTrack, broken_inputs, scenes, write_film
from tests.helpers.read_back import audio_packets, frames_of, pts_of
from vsr.errors import MediaError, OutputError
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings, output_info
from vsr.media.frame import LAYOUTS, PixelLayout
from vsr.media.mux.copy_plan import Selection
from vsr.media.mux.stream_copy import plan_copy
from vsr.media.mux.writer import VideoWriter, check_output

LOSSLESS = EncoderSettings("ffv1")


def copy(
    source: Path, output: Path, settings: EncoderSettings = LOSSLESS, overwrite: bool = False
) -> None:
    """Decode and encode again, unchanged."""
    with VideoReader(source) as reader:
        size = (reader.info.width, reader.info.height)
        info = output_info(reader.info, size, reader.info.colour.matrix, settings)
        with VideoWriter(output, info, reader, settings, overwrite) as writer:
            for item in reader:
                writer.write(item)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_planes_go_through_untouched(tmp_path: Path, name: str) -> None:
    """Odd sizes, every depth and subsampling; the encoder is lossless."""
    source = write_film(
        tmp_path / "a.mkv", scenes(51, 37, [3]), codec="ffv1", pixel_format=name,
        time_base=Fraction(1, 1000), pts=[0, 40, 80],
    )  # fmt: skip
    copy(source, tmp_path / "b.mkv")
    before, after = frames_of(source), frames_of(tmp_path / "b.mkv")
    assert len(before) == len(after) == 3
    layout = LAYOUTS[name]
    for one, other in zip(before, after, strict=True):
        assert one.planes[1].shape == (-(-37 // layout.down), -(-51 // layout.across))
        assert one.planes[0].dtype == (np.uint8 if layout.bit_depth == 8 else np.uint16)
        for plane, same in zip(one.planes, other.planes, strict=True):
            assert np.array_equal(plane, same)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_variable_rate_and_time_base_are_kept(tmp_path: Path, suffix: str) -> None:
    base = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 90_000)
    pts = [0, 40, 77, 78, 200, 201, 1000]
    frames = scenes(64, 48, [7])
    source = write_film(tmp_path / f"a{suffix}", frames, codec="libx264", pts=pts, time_base=base)
    copy(source, tmp_path / f"b{suffix}", EncoderSettings("h264"))
    assert pts_of(source) == (pts, base)
    assert pts_of(tmp_path / f"b{suffix}") == (pts, base)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_all_audio_tracks_are_copied_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    tracks = [AudioTrack("aac", 440), AudioTrack("aac", 880, 48_000)]
    source = write_film(tmp_path / f"a{suffix}", scenes(64, 48, [20]), audio=tracks)
    copy(source, tmp_path / f"b{suffix}", EncoderSettings("h264"))
    before, after = audio_packets(source), audio_packets(tmp_path / f"b{suffix}")
    assert len(before) == 2
    assert min(len(track) for track in before) > 20
    assert before == after


def test_colour_tags_and_pixel_aspect_are_kept(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", scenes(64, 48, [2]), codec="libx264", matrix=6)
    with VideoReader(source) as reader:
        info = replace(
            reader.info,
            sample_aspect_ratio=Fraction(4, 3),
            colour=replace(reader.info.colour, primaries=9, transfer=16, full_range=True),
        )
        with VideoWriter(tmp_path / "b.mp4", info) as writer:
            for frame in reader.frames():
                writer.write(frame)
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert reader.info.colour == info.colour
        assert reader.info.colour.matrix == 6
        assert reader.info.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(
    ("codec", "suffix", "wanted", "held"),
    [
        ("h264", ".mov", "yuv422p10le", "yuv422p10le"),
        ("hevc", ".mp4", "yuv420p10le", "yuv420p10le"),
        ("av1", ".mp4", "yuv444p10le", "yuv420p10le"),
        ("prores", ".mov", "yuv420p", "yuv422p10le"),
        ("ffv1", ".mkv", "yuv444p", "yuv444p"),
    ],
)
def test_each_codec_holds_the_layout_nearest_to_what_is_wanted(
    tmp_path: Path, codec: str, suffix: str, wanted: str, held: str
) -> None:
    settings = EncoderSettings(codec)  # type: ignore[arg-type]
    layout = settings.layout_for(LAYOUTS[wanted])
    assert layout.name == held
    source = write_film(tmp_path / "a.mkv", scenes(64, 48, [3]), codec="ffv1", pixel_format=held)
    copy(source, tmp_path / f"b{suffix}", settings)
    with VideoReader(tmp_path / f"b{suffix}") as reader:
        assert reader.info.layout == layout
        assert len(list(reader.frames())) == 3


@pytest.mark.parametrize(
    ("pixel_format", "codec", "nearest"),
    [
        ("gray", "ffv1", PixelLayout(8, 2, 2)),
        ("bgr0", "ffv1", PixelLayout(8, 1, 1)),
        ("yuv444p12le", "ffv1", PixelLayout(12, 1, 1)),
        ("yuv411p", "ffv1", PixelLayout(8, 2, 1)),
        ("yuvj420p", "mjpeg", PixelLayout(8, 2, 2)),
    ],
)
def test_other_pixel_formats_become_the_nearest_layout(
    tmp_path: Path, pixel_format: str, codec: str, nearest: PixelLayout
) -> None:
    frames = scenes(64, 48, [2])
    source = write_film(tmp_path / "a.mkv", frames, codec=codec, pixel_format=pixel_format)
    with VideoReader(source) as reader:
        assert reader.info.layout == nearest
        planes = next(reader.frames()).planes
        assert planes[0].shape == (48, 64)
        assert planes[1].shape == (48 // nearest.down, 64 // nearest.across)
        low, high = (0, 255) if reader.info.colour.full_range else (16, 235)
        luma = planes[0].astype(float) / 2 ** (nearest.bit_depth - 8)
        brightness = frames[0].astype(float) @ [0.299, 0.587, 0.114]
        assert np.abs((luma - low) / (high - low) * 255 - brightness).mean() < 12


def test_a_cover_picture_is_not_the_film(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=44_100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        silence.sample_rate = 44_100
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(MediaError, match=r"no video stream, only audio \(aac\)"):
        VideoReader(path)


def test_a_closed_reader_still_says_whether_its_count_is_exact(small_film: Path) -> None:
    with VideoReader(small_film) as reader:
        assert reader.is_indexed
    reader._demuxer.stream = None  # type: ignore[assignment]  # FFmpeg has freed it
    assert reader.is_indexed


def test_broken_inputs_are_distinguished(tmp_path: Path) -> None:
    for path, reason in broken_inputs(tmp_path):
        with pytest.raises(MediaError, match=reason) as caught:
            VideoReader(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_unfinished_file_leaves_nothing_behind(tmp_path: Path, small_film: Path) -> None:
    output = tmp_path / "b.mp4"
    with (
        contextlib.suppress(RuntimeError),
        VideoReader(small_film) as reader,
        VideoWriter(output, reader.info) as writer,
    ):
        writer.write(next(reader.frames()))
        raise RuntimeError("halfway")
    assert list(tmp_path.iterdir()) == []


def test_the_file_appears_under_its_name_only_when_whole(tmp_path: Path, small_film: Path) -> None:
    output = tmp_path / "b.mp4"
    with VideoReader(small_film) as reader, VideoWriter(output, reader.info) as writer:
        for frame in reader.frames():
            writer.write(frame)
            assert not output.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]


def test_what_exists_is_replaced_only_when_asked(tmp_path: Path, small_film: Path) -> None:
    output = tmp_path / "b.mkv"
    output.write_text("precious")
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        copy(small_film, output)
    assert output.read_text() == "precious"
    copy(small_film, output, overwrite=True)
    assert len(frames_of(output)) == 12


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("a.avi", EncoderSettings(), r"unknown film format; use .mkv, .mov, .mp4"),
        ("a.mp4", EncoderSettings("prores"), "doesn't support prores"),
        ("a.mkv", EncoderSettings("ffv1", crf=3), "ffv1 has no --crf"),
        ("a.mkv", EncoderSettings("ffv1", preset="fast"), "ffv1 has no --preset"),
        ("a.mkv", EncoderSettings("h264", crf=52), "--crf 52: h264 has 0 to 51"),
        ("a.mkv", EncoderSettings("av1", crf=64), "--crf 64: av1 has 0 to 63"),
        ("a.mkv", EncoderSettings(preset="warp"), "unknown preset 'warp' for h264; use one of "),
        ("a.mkv", EncoderSettings("av1", preset="slow"), "unknown preset 'slow' for av1"),
        ("none/a.mp4", EncoderSettings(), "no such folder"),
    ],
)
def test_outputs_that_can_not_be_are_refused_beforehand(
    tmp_path: Path, name: str, settings: EncoderSettings, reason: str
) -> None:
    with pytest.raises(OutputError, match=reason):
        check_output(tmp_path / name, settings, overwrite=False)


def test_audio_that_the_container_does_not_hold_is_named_with_one_that_does(
    tmp_path: Path,
) -> None:
    source = write_film(
        tmp_path / "a.mkv", scenes(64, 48, [9]), audio=[AudioTrack("libopus", 440, 48_000)]
    )
    refused = r"stream 1, opus audio: \.mov can't hold it, \.mkv can"
    with VideoReader(source) as reader:
        with pytest.raises(OutputError, match=refused):
            plan_copy(reader, ".mov", Selection(audio="copy"))
        assert plan_copy(reader, ".mkv").left_out == ()


def test_webm_with_opus_becomes_mp4(tmp_path: Path) -> None:
    source = write_film(
        tmp_path / "a.webm",
        scenes(64, 48, [9]),
        codec="libvpx-vp9",
        audio=[AudioTrack("libopus", 440, 48_000)],
    )
    copy(source, tmp_path / "b.mp4", EncoderSettings("h264"))
    before, after = audio_packets(source), audio_packets(tmp_path / "b.mp4")
    assert [data for _, data in before[0]] == [data for _, data in after[0]]
