"""Bit depth above 10: kept where the codec holds it, else named before any work."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.ffmpeg import ffmpeg, ffmpeg_output, needs_ffmpeg
from vsr.engine.plan import plan_video
from vsr.engine.upscale import upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import OutputError
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

_SOURCE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.12")


def film(path: Path, pixel_format: str, codec: str = "ffv1") -> Path:
    ffmpeg(*_SOURCE, "-c:v", codec, "-strict", "-2", "-pix_fmt", pixel_format, str(path))
    return path


def pixel_format_of(path: Path) -> str:
    command = ["ffprobe", "-loglevel", "error", "-of", "json", "-show_streams", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["streams"][0]["pix_fmt"])


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["ffv1", "hevc"])
@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_twelve_bits_are_kept_by_codecs_that_hold_them(
    tmp_path: Path, tiny_model: Path, codec: str, chroma: str
) -> None:
    source, output = film(tmp_path / "a.mkv", f"yuv{chroma}p12le"), tmp_path / "b.mkv"
    settings = EncoderSettings(codec)  # type: ignore[arg-type]
    upscale_video(source, output, model=str(tiny_model), settings=settings, strict=True)
    assert pixel_format_of(output) == f"yuv{chroma}p12le"
    assert all(finding.kept for finding in verify_film(source, output))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pixel_format", "codec", "line"),
    [
        ("yuv420p12le", "h264", "12 bit depth (h264 is written with 10; hevc and ffv1 hold 12)"),
        ("yuv422p16le", "ffv1", "16 bit depth (ffv1 is written with 12)"),
        ("yuv444p14le", "hevc", "14 bit depth (hevc is written with 12)"),
        ("rgb48le", "ffv1", "16 bit depth (ffv1 is written with 12)"),
        ("gbrp12le", "h264", "12 bit depth (h264 is written with 10; hevc and ffv1 hold 12)"),
        ("gray16le", "ffv1", "16 bit depth (ffv1 is written with 12)"),
        ("yuva420p16le", "ffv1", "16 bit depth (ffv1 is written with 10)"),
        ("gray12le", "ffv1", ""),
        ("yuv420p9le", "h264", ""),
    ],
)
def test_depth_that_is_lost_is_named_before_any_work(
    tmp_path: Path, tiny_model: Path, pixel_format: str, codec: str, line: str
) -> None:
    source, output = film(tmp_path / "a.mkv", pixel_format), tmp_path / "b.mkv"
    settings = EncoderSettings(codec)  # type: ignore[arg-type]
    planned = plan_video(source, ".mkv", UpscaleOptions(model=str(tiny_model), settings=settings))
    assert planned.left_out == ((line,) if line else ())
    if line:
        with pytest.raises(OutputError, match="bit depth"):
            upscale_video(source, output, model=str(tiny_model), settings=settings, strict=True)
        assert not output.exists()
    summary = upscale_video(source, output, model=str(tiny_model), settings=settings)
    assert summary.left_out == planned.left_out
    lost = [finding.what for finding in verify_film(source, output) if not finding.kept]
    assert lost == (["bit depth"] if line else [])


def test_twelve_bits_with_alpha_are_stored_as_older_decoders_know_them(
    tmp_path: Path, tiny_model: Path
) -> None:
    """Debian's ffmpeg has no twelve bits with alpha in FFV1: sixteen hold them."""
    source, output = tmp_path / "a.mov", tmp_path / "b.mkv"
    ffmpeg(*_SOURCE, "-c:v", "prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le",
           str(source))  # fmt: skip
    upscale_video(
        source, output, model=str(tiny_model), settings=EncoderSettings("ffv1"), strict=True
    )
    assert pixel_format_of(output) == "yuva444p16le"
    assert ffmpeg("-i", str(output), "-f", "md5", "-")


@pytest.mark.parametrize("pixel_format", ["yuva422p16le", "yuva444p16le"])
def test_sixteen_bits_with_alpha_are_named_with_the_format_that_stores_twelve_of_them(
    tmp_path: Path, tiny_model: Path, pixel_format: str
) -> None:
    source, output = film(tmp_path / "a.mkv", pixel_format), tmp_path / "b.mkv"
    summary = upscale_video(source, output, str(tiny_model), settings=EncoderSettings("ffv1"))
    line = f"16 bit depth (ffv1 is written with 12, stored as {pixel_format})"
    assert summary.left_out == (line,)
    assert pixel_format_of(output) == pixel_format
    raw = ffmpeg_output("-i", str(output), "-frames:v", "1", "-f", "rawvideo", "-")
    with VideoReader(output) as reader:
        luma = reader.info.width * reader.info.height
    assert not (np.frombuffer(raw, np.uint16)[:luma] & 15).any()


def test_twelve_bits_with_alpha_and_overlapping_subtitles_are_kept(
    tmp_path: Path, tiny_model: Path
) -> None:
    cues = [(0.0, 0.1, "long"), (0.04, 0.08, "at once"), (0.08, 0.12, "last")]
    (tmp_path / "s.srt").write_text(
        "".join(
            f"{number}\n00:00:00,{start * 1000:03.0f} --> 00:00:00,{end * 1000:03.0f}\n{text}\n\n"
            for number, (start, end, text) in enumerate(cues, 1)
        )
    )
    source = tmp_path / "in.mkv"
    ffmpeg(*_SOURCE, "-i", str(tmp_path / "s.srt"), "-map", "0", "-map", "1", "-c:v", "prores_ks",
           "-profile:v", "4", "-pix_fmt", "yuva444p10le", "-c:s", "srt", str(source))  # fmt: skip
    with VideoReader(source) as reader:  # as FFmpeg decodes ProRes 4444
        assert reader.info.layout.name == "yuva444p12le"
    for name, codec, text in (("out.mkv", "ffv1", "srt"), ("out.mov", "prores", "mov_text")):
        output, settings = tmp_path / name, EncoderSettings(codec)  # type: ignore[arg-type]
        upscale_video(source, output, str(tiny_model), settings=settings, strict=True)
        with VideoReader(output) as reader:
            assert reader.info.layout.alpha
            assert reader.info.layout.bit_depth == 12
        probe = ["ffprobe", "-loglevel", "error", "-of", "json", "-show_packets", "-select_streams"]
        done = subprocess.run([*probe, "s", str(output)], capture_output=True, check=True)
        shown = [packet for packet in json.loads(done.stdout)["packets"] if int(packet["size"]) > 2]
        starts = [float(packet["pts_time"]) for packet in shown]
        assert starts == pytest.approx([start for start, _, _ in cues], abs=0.002), text
        assert all(finding.kept for finding in verify_film(source, output))


def test_xyz_is_read_as_ffmpeg_converts_it(tmp_path: Path) -> None:
    source = film(tmp_path / "a.nut", "xyz12le", "rawvideo")
    with VideoReader(source) as reader:
        assert reader.info.layout.name == "yuv444p12le"
        planes = next(reader.frames()).planes
    scale = "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p12le"
    raw = ffmpeg_output("-i", str(source), "-vf", scale, "-frames:v", "1", "-f", "rawvideo", "-")
    expected = np.frombuffer(raw, np.uint16).reshape(3, 48, 64)
    assert np.abs(expected - np.stack(planes).astype(int)).mean() < 16  # of 4096


def test_palettes_are_read_by_the_matrix_that_is_written(tmp_path: Path) -> None:
    """From 720 lines up, where an unnamed matrix would be taken for BT.709."""
    source = tmp_path / "a.gif"
    ffmpeg("-f", "lavfi", "-i", "color=red:size=64x720:rate=10:duration=0.2", str(source))
    with VideoReader(source) as reader:
        assert reader.info.colour.matrix == 1
        y, cb, cr = (int(np.median(plane)) for plane in next(reader.frames()).planes[:3])
    assert (y, cb, cr) == pytest.approx((63, 102, 240), abs=2)  # BT.709-6 of pure red
