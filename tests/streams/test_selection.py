"""`--video`, `--audio` and `--subtitles`: what is upscaled, copied, converted or dropped."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import av
import numpy as np
import pytest
from av.packet import Packet
from numpy.typing import NDArray

from tests.helpers.cli import complaint, vsr
from tests.helpers.ffmpeg import (
    X264,
    ffmpeg,
    ffmpeg_output,
    needs_ffmpeg,
    packets,
    pictures,
    probe,
    streams,
    times,
    tone,
)
from vsr.engine.plan import plan_video
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import MediaError, OutputError
from vsr.media.decode.part import Part
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.media.mux.copy_plan import Selection
from vsr.media.mux.sound_conversion import Conversion, SoundConverter
from vsr.media.mux.stream_copy import plan_copy
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

FAST = EncoderSettings(preset="ultrafast")


def upscaled(source: Path, output: Path, model: Path, **more: object) -> UpscaleResult:
    options = {"device": "cpu", "settings": FAST, **more}
    return upscale_video(source, output, str(model), **options)  # type: ignore[arg-type]


def sizes(path: Path) -> list[tuple[int, int]]:
    return [(stream["width"], stream["height"]) for stream in streams(path, "video")]


def hashes(path: Path, size: tuple[int, int]) -> list[str]:
    """Hashes of the packets of the video stream of a size."""
    index = next(s["index"] for s in streams(path, "video") if (s["width"], s["height"]) == size)
    return [packet["data_hash"] for packet in packets(path, index)]


def lost(source: Path, output: Path, **options: object) -> list[str]:
    findings = verify_film(source, output, **options)  # type: ignore[arg-type]
    return [finding.what for finding in findings if not finding.kept]


@pytest.fixture(scope="module")
def two_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of 32x24, the default stream, and of 48x32, in German, behind a cover picture."""
    path = tmp_path_factory.mktemp("videos") / "in.mp4"
    ffmpeg(*pictures(0.04, "16x16"), *pictures(0.2, "32x24"), *pictures(0.2, "48x32"),
           "-map", "0", "-map", "1", "-map", "2", *X264, "-c:v:0", "png",
           "-disposition:v:0", "attached_pic", "-disposition:v:1", "default",
           "-disposition:v:2", "0", "-metadata:s:v:2", "language=deu", path)  # fmt: skip
    return path


@pytest.mark.parametrize("number", [1, 2])
def test_the_chosen_video_is_upscaled_and_the_other_is_copied(
    tmp_path: Path, two_videos: Path, tiny_model: Path, number: int
) -> None:
    output = tmp_path / "out.mp4"
    summary = upscaled(two_videos, output, tiny_model, video=number, strict=True)
    chosen, other = ((128, 96), (48, 32)) if number == 1 else ((192, 128), (32, 24))
    assert (summary.width, summary.height) == chosen
    assert sorted(sizes(output)) == sorted([(16, 16), chosen, other])
    before, after = (hashes(path, other) for path in (two_videos, output))
    assert before == after
    assert lost(two_videos, output, video=number) == []


def test_verify_compares_the_default_video_unless_asked(
    tmp_path: Path, two_videos: Path, tiny_model: Path
) -> None:
    upscaled(two_videos, tmp_path / "out.mp4", tiny_model, video=2)
    assert "frame size" not in lost(two_videos, tmp_path / "out.mp4", video=2)
    assert vsr("verify", two_videos, tmp_path / "out.mp4", "--video", 2).returncode == 0
    assert vsr("verify", two_videos, tmp_path / "out.mp4").returncode == 1


def test_the_run_and_the_plan_say_which_video_they_take(
    tmp_path: Path, two_videos: Path, tiny_model: Path
) -> None:
    reported = "video 2 of 2: h264 48x32, deu"
    assert upscaled(two_videos, tmp_path / "a.mp4", tiny_model, video=2).notes == (reported,)
    options = UpscaleOptions(str(tiny_model), video=2)
    plan = plan_video(two_videos, ".mp4", options)
    assert (plan.notes, plan.width, plan.frames) == ((reported,), 192, 5)
    by_default = "video 1 of 2: h264 32x24, default; --video chooses another"
    assert upscaled(two_videos, tmp_path / "b.mp4", tiny_model).notes == (by_default,)


def test_an_unknown_video_is_one_line_that_lists_what_there_is(
    tmp_path: Path, two_videos: Path, tiny_model: Path
) -> None:
    command = (two_videos, tmp_path / "out.mp4", "--model", tiny_model, "--video", 3)
    available = "it has 1 (h264 32x24, default), 2 (h264 48x32, deu)"
    assert f"in.mp4: has no video 3; {available}\n" in complaint("upscale", *command)
    assert list(tmp_path.iterdir()) == []
    refused = vsr("upscale", two_videos, tmp_path / "out.mp4", "--video", 0)
    assert refused.returncode == 2
    assert "0 is not in the range x>=1" in refused.stderr
    with pytest.raises(MediaError, match="has no video 0; it has 1"):
        upscaled(two_videos, tmp_path / "out.mp4", tiny_model, video=0)


def fed(folder: Path, source: Path, output: Path, model: Path, **options: object) -> UpscaleResult:
    """Upscale a file through a named pipe."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=pipe.write_bytes, args=[source.read_bytes()])
    feeder.start()
    summary = upscaled(pipe, output, model, **options)
    feeder.join()
    return summary


def test_a_video_is_chosen_in_a_pipe(tmp_path: Path, two_videos: Path, tiny_model: Path) -> None:
    ffmpeg("-i", two_videos, "-map", "0:v", "-c", "copy", tmp_path / "in.mkv")
    summary = fed(tmp_path, tmp_path / "in.mkv", tmp_path / "out.mkv", tiny_model, video=2)
    assert (summary.frames, summary.width, summary.height) == (5, 192, 128)


def broken_run(
    monkeypatch: pytest.MonkeyPatch, source: Path, output: Path, model: Path, **options: object
) -> None:
    """Start a run that fails when all of its frames are encoded."""

    def failing(*arguments: object, **named: object) -> NoReturn:
        raise OutputError("broke")

    with monkeypatch.context() as patched:
        patched.setattr("vsr.engine.file_mode._join", failing)
        with pytest.raises(OutputError, match="broke"):
            upscaled(source, output, model, **options)


def test_a_run_resumes_with_the_same_video_only(
    tmp_path: Path, two_videos: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.mp4"
    upscaled(two_videos, tmp_path / "whole.mp4", tiny_model, video=2)
    broken_run(monkeypatch, two_videos, output, tiny_model, video=2)
    with pytest.raises(OutputError, match=r"of other settings \(.*video 2, now None\)"):
        upscaled(two_videos, output, tiny_model)
    assert upscaled(two_videos, output, tiny_model, video=2).resumed_frames == 5
    assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


# Sound

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def sounding(path: Path, codec: str, channels: int = 2, rate: int = 48_000, *more: object) -> Path:
    """Ten frames with a click at 0.1 s in the first channel, and 20 ms later in each other."""
    starts = [0.1 + 0.02 * channel for channel in range(channels)]
    waves = "|".join(f"between(t\\,{s}\\,{s + 0.002})*0.8*sin(2*PI*1000*t)" for s in starts)
    sound = f"aevalsrc={waves}:s={rate}:d=0.4:c={LAYOUTS[channels]}"
    ffmpeg(*pictures(0.4, "32x24"), "-f", "lavfi", "-i", sound, *X264, "-c:a", codec, *more, path)
    return path


def heard(path: Path) -> tuple[float, int, NDArray[np.float32]]:
    """Time of the first sample, samples per second, and samples, by Debian's ffmpeg."""
    found = probe(path, "streams", "frames")
    stream = next(s for s in found["streams"] if s["codec_type"] == "audio")
    first = next(f for f in found["frames"] if f["media_type"] == "audio")
    data = ffmpeg_output("-i", path, "-map", "0:a:0", "-f", "f32le", "-")
    samples = np.frombuffer(data, np.float32).reshape(-1, stream["channels"])
    return float(first["pts_time"]), int(stream["sample_rate"]), samples


def clicks(path: Path) -> list[float]:
    """Time in seconds at which each channel first exceeds a quarter of full scale."""
    start, rate, samples = heard(path)
    return [start + float(np.argmax(abs(channel) > 0.25)) / rate for channel in samples.T]


LOSSY = [
    ("in.mkv", "wmav2", 2, 44_100, "out.mp4", "aac, 320 kb/s"),
    ("in.mov", "adpcm_ima_qt", 1, 22_050, "out.mkv", "opus, 128 kb/s"),
    ("in.mkv", "pcm_s16le", 6, 48_000, "out.webm", "opus, 768 kb/s"),
    ("in.mkv", "libspeex", 1, 16_000, "out.mp4", "aac, 96 kb/s"),
]


@pytest.mark.parametrize(("name", "codec", "channels", "rate", "output_name", "reported"), LOSSY)
def test_sound_that_a_container_can_not_hold_is_converted_in_sync(
    tmp_path: Path,
    tiny_model: Path,
    name: str,
    codec: str,
    channels: int,
    rate: int,
    output_name: str,
    reported: str,
) -> None:
    source, output = sounding(tmp_path / name, codec, channels, rate), tmp_path / output_name
    settings = EncoderSettings("av1", preset="13") if output.suffix == ".webm" else FAST
    lines: list[str] = []
    summary = upscaled(source, output, tiny_model, settings=settings, tell=lines.append)
    before, after = (streams(path, "audio")[0] for path in (source, output))
    assert lines == [f"audio 1: {before['codec_name']} is converted to {reported}"]
    assert (summary.left_out, summary.audio_tracks) == ((), 1)
    assert after["codec_name"] == reported.split(",")[0]
    assert (after["channels"], after["channel_layout"]) == (channels, LAYOUTS[channels])
    precision = 1e-3 if output.suffix in (".mkv", ".webm") else 1.5 / rate  # Matroska's clock
    assert clicks(output) == pytest.approx(clicks(source), abs=precision)
    assert lost(source, output) == []
    assert len(lost(source, output, selection=Selection(audio="copy"))) == 1


def test_each_container_gets_a_codec_that_it_can_hold(tmp_path: Path) -> None:
    found = {}
    with VideoReader(sounding(tmp_path / "in.mov", "adpcm_ima_qt", 1, 16_000)) as reader:
        for suffix in (".mp4", ".mov", ".mkv", ".webm", ".nut"):
            found[suffix] = plan_copy(reader, suffix).conversions
    assert {suffix: lines[0].split(" to ")[1] for suffix, lines in found.items() if lines} == {
        ".mp4": "aac, 96 kb/s",
        ".mkv": "opus, 128 kb/s",
        ".webm": "opus, 128 kb/s",
        ".nut": "pcm_f32le, lossless",
    }


@pytest.mark.parametrize(
    ("name", "codec", "output_name", "kept"),
    [
        ("in.mkv", "pcm_u8", "out.mp4", "flac"),
        ("in.mkv", "tta", "out.mov", "alac"),
        ("in.mov", "pcm_mulaw", "out.mp4", "pcm_s16le"),
    ],
)
def test_exact_sound_keeps_its_samples(
    tmp_path: Path, tiny_model: Path, name: str, codec: str, output_name: str, kept: str
) -> None:
    source, output = sounding(tmp_path / name, codec), tmp_path / output_name
    notes = upscaled(source, output, tiny_model, strict=True).notes
    assert notes == (f"audio 1: {codec} is converted to {kept}, lossless",)
    with av.open(str(output)) as film:  # ffmpeg 5.1 takes all PCM in MP4 for 16 bits
        assert film.streams.audio[0].codec_context.name == kept
    assert np.array_equal(decoded(source), decoded(output))
    assert lost(source, output) == []


def decoded(path: Path) -> NDArray[np.int64]:
    """Samples as integers of 32 bits."""
    with av.open(str(path)) as film:
        frames = [frame.to_ndarray() for frame in film.decode(audio=0)]
        planar = film.streams.audio[0].codec_context.format.is_planar
    samples = np.concatenate([(f.T if planar else f.reshape(-1, 2)) for f in frames])
    if samples.dtype == np.uint8:
        return (samples.astype(np.int64) - 128) << 24
    return samples.astype(np.int64) << (32 - 8 * samples.dtype.itemsize)


def samples_of(path: Path) -> bytes:
    """Samples as integers of 32 bits, by Debian's ffmpeg."""
    return ffmpeg_output("-i", path, "-map", "0:a:0", "-f", "s32le", "-")


def test_exact_sound_of_eight_channels_keeps_its_samples(tmp_path: Path, tiny_model: Path) -> None:
    source, output = sounding(tmp_path / "in.mkv", "flac", 8), tmp_path / "out.mov"
    notes = upscaled(source, output, tiny_model, strict=True).notes
    assert notes == ("audio 1: flac is converted to pcm_s24le, lossless",)  # ALAC has no 7.1
    assert samples_of(output) == samples_of(source)
    assert lost(source, output) == []


def test_channels_without_positions_get_the_usual_ones(tmp_path: Path, tiny_model: Path) -> None:
    source, output = sounding(tmp_path / "in.mkv", "pcm_s24le", 8), tmp_path / "out.mp4"
    notes = upscaled(source, output, tiny_model, strict=True).notes
    reported = "pcm_s24le, lossless, with 8 channels taken for 7.1"
    assert notes == (f"audio 1: pcm_s24le is converted to {reported}",)
    with av.open(str(output)) as film:  # ffmpeg 5.1 takes all PCM in MP4 for 16 bits
        context = film.streams.audio[0].codec_context
        assert (context.name, context.layout.name) == ("pcm_s24le", "7.1")
        data = b"".join(frame.to_ndarray().tobytes() for frame in film.decode(audio=0))
    assert data == samples_of(source)
    assert lost(source, output) == []


def test_channels_of_a_pipe_get_positions_too(tmp_path: Path, tiny_model: Path) -> None:
    source, output = sounding(tmp_path / "in.mkv", "pcm_s24le", 8), tmp_path / "out.mp4"
    fed(tmp_path, source, output, tiny_model)
    assert lost(source, output) == []


def test_verify_compares_converted_sound_of_a_part(tmp_path: Path, tiny_model: Path) -> None:
    source, output = tmp_path / "in.mkv", tmp_path / "out.mp4"
    ffmpeg(*pictures(2, "32x24", "10"), *tone(2), *X264, "-c:a", "wmav2", source)
    upscaled(source, output, tiny_model, part=Part.parse("0.5", "1.2"))
    assert lost(source, output, part=Part.parse("0.5", "1.2")) == []
    assert "audio 1 (wmav2) converted" in lost(source, output)


@pytest.mark.parametrize(
    ("codec", "seconds"), [("pcm_u8", 0.3), ("pcm_u8", 1.5), ("pcm_s16le", 1.5)]
)
def test_a_gap_in_sound_stays_as_long(
    tmp_path: Path, tiny_model: Path, codec: str, seconds: float
) -> None:
    """The first is converted to FLAC, the second is copied as PCM, of which MP4 has no times."""
    source, output = tmp_path / "in.mkv", tmp_path / "out.mp4"
    clicks_at = f"lt(mod(t\\,{seconds + 0.2})\\,0.002)*0.8"
    ffmpeg(*pictures(seconds + 0.4, "32x24", "5"), "-f", "lavfi", "-i",
           f"aevalsrc={clicks_at}:s=8000:d={seconds + 0.4}", *X264,
           "-af", f"asetnsamples=80,aselect='not(between(t,0.1,{seconds + 0.09}))'",
           "-c:a", codec, source)  # fmt: skip
    assert max(np.diff(times(source, 1))) == pytest.approx(seconds + 0.01)
    upscaled(source, output, tiny_model)
    with av.open(str(output)) as film:
        track = film.streams.audio[0]
        loud = [
            float(frame.time or 0) + index / 8000
            for frame in film.decode(track)
            for index in np.flatnonzero(frame.to_ndarray()[0] > 8000)
        ]
    assert (loud[0], loud[-1]) == pytest.approx((0, seconds + 0.2 + 0.0019), abs=2e-4)
    assert lost(source, output) == []


def test_sound_that_changes_its_rate_and_channels_is_converted_in_sync(
    tmp_path: Path, tiny_model: Path
) -> None:
    whole = b""
    for number, (channels, rate) in enumerate(((2, 44_100), (1, 48_000))):
        shift = ("-muxdelay", 0, "-muxpreload", 0, "-output_ts_offset", 0.4 * number)
        whole += sounding(tmp_path / f"{number}.ts", "mp2", channels, rate, *shift).read_bytes()
    source, output = tmp_path / "in.ts", tmp_path / "out.webm"
    source.write_bytes(whole)
    upscaled(source, output, tiny_model, settings=EncoderSettings("av1", preset="13"))
    starts = []
    for path in (source, output):
        with av.open(str(path)) as film:
            loud = [
                float(frame.time or 0) + index / frame.sample_rate
                for frame in film.decode(audio=0)
                for index in np.flatnonzero(abs(as_float(frame.to_ndarray()[0])) > 0.25)
            ]
        starts.append((loud[0], next(time for time in loud if time > 0.4)))
    assert starts[1] == pytest.approx(starts[0], abs=2e-3)
    assert lost(source, output) == []


def as_float(samples: NDArray[Any]) -> NDArray[np.float64]:
    return samples / 2.0**15 if samples.dtype == np.int16 else samples.astype(np.float64)


def test_copied_sound_starts_at_its_own_sample(tmp_path: Path, tiny_model: Path) -> None:
    source, output = tmp_path / "in.mkv", tmp_path / "out.mp4"
    late = ("-itsoffset", 0.0569, "-f", "lavfi", "-i", "sine=r=44100:d=0.4")
    ffmpeg(*pictures(0.4, "32x24"), *late, *X264, "-c:a", "libmp3lame", source)
    upscaled(source, output, tiny_model)
    assert times(output, 1)[0] == pytest.approx(times(source, 1)[0], abs=1 / 44_100)
    assert lost(source, output) == []


def test_each_converted_track_is_named_by_its_number(tmp_path: Path, tiny_model: Path) -> None:
    source, output = tmp_path / "in.mkv", tmp_path / "out.mp4"
    ffmpeg(*pictures(0.2, "32x24"), *tone(0.2), *tone(0.2), "-map", 0, "-map", 1, "-map", 2, *X264,
           "-c:a:0", "aac", "-c:a:1", "wmav2", "-metadata:s:a:1", "language=fra",
           source)  # fmt: skip
    reported = "audio 2: wmav2 is converted to aac, 160 kb/s"
    plan = plan_video(source, ".mp4", UpscaleOptions(str(tiny_model)))
    assert (plan.notes, plan.left_out) == ((reported,), ())
    assert upscaled(source, output, tiny_model).audio_tracks == 2
    assert [s["tags"].get("language") for s in streams(output, "audio")] == ["und", "fra"]
    refused = "would lack audio 2 as wmav2: .mp4 can't hold it, .mkv can"
    assert refused in complaint("upscale", source, output, "--model", tiny_model, "--overwrite",
                                "--strict")  # fmt: skip
    copied = upscaled(source, tmp_path / "c.mp4", tiny_model, audio="copy")
    assert copied.left_out == ("stream 2, wmav2 audio (fra): .mp4 can't hold it, .mkv can",)
    assert (copied.audio_tracks, copied.notes) == (1, ())


@pytest.mark.parametrize("audio", ["auto", "copy"])
def test_a_film_does_not_lose_its_only_sound_unasked(
    tmp_path: Path, tiny_model: Path, audio: str
) -> None:
    source, output = sounding(tmp_path / "in.mkv", "wavpack"), tmp_path / "out.mp4"
    if audio == "auto":  # of a codec without a decoder
        source.write_bytes(source.read_bytes().replace(b"A_WAVPACK4", b"A_UNKNOWN4"))
    reported = complaint("upscale", source, output, "--model", tiny_model, "--audio", audio)
    assert "would lose its sound (stream 1, " in reported
    assert "--audio none drops it" in reported
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
    summary = upscaled(source, output, tiny_model, audio="none", strict=True)
    assert (summary.left_out, summary.notes, summary.audio_tracks) == ((), (), 0)
    assert streams(output, "audio") == []
    assert lost(source, output, selection=Selection(audio="none")) == []
    assert len(lost(source, output)) == 1


def test_subtitles_are_dropped_if_asked(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nwords\n")
    source, output = tmp_path / "in.mkv", tmp_path / "out.mp4"
    ffmpeg(*pictures(0.4, "32x24"), *tone(0.4), "-i", tmp_path / "s.srt", "-map", 0, "-map", 1,
           "-map", 2, *X264, "-c:a", "aac", "-c:s", "ass", source)  # fmt: skip
    assert len(upscaled(source, output, tiny_model).left_out) == 1
    options = {"subtitles": "none", "strict": True, "overwrite": True}
    assert upscaled(source, output, tiny_model, **options).left_out == ()
    assert [stream["codec_type"] for stream in streams(output)] == ["video", "audio"]
    assert vsr("verify", source, output, "--subtitles", "none").returncode == 0
    assert vsr("verify", source, output).returncode == 1


def test_a_resumed_run_converts_sound_to_the_same_bytes(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = sounding(tmp_path / "in.mkv", "wmav2"), tmp_path / "out.mp4"
    upscaled(source, tmp_path / "whole.mp4", tiny_model)
    broken_run(monkeypatch, source, output, tiny_model)
    with pytest.raises(OutputError, match=r"other settings \(audio None, now none\)"):
        upscaled(source, output, tiny_model, audio="none")
    assert upscaled(source, output, tiny_model).resumed_frames == 10
    assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_sound_from_a_pipe_is_converted(tmp_path: Path, tiny_model: Path) -> None:
    source = sounding(tmp_path / "in.mkv", "wmav2")
    summary = fed(tmp_path, source, tmp_path / "out.mp4", tiny_model)
    assert summary.notes == ("audio 1: wmav2 is converted to aac, 320 kb/s",)
    assert clicks(tmp_path / "out.mp4") == pytest.approx(clicks(source), abs=1e-3)


def test_sound_is_not_asked_of_y4m(tmp_path: Path, tiny_model: Path) -> None:
    source = sounding(tmp_path / "in.mkv", "aac")
    command = ("upscale", source, "-", "--format", "y4m", "--model", tiny_model)
    reported = complaint(*command, "--audio", "copy")
    assert reported == "vsr: -: y4m holds video alone; --audio copy needs --format nut\n"


@pytest.mark.parametrize("broken", [None, 4])
def test_a_broken_packet_of_converted_sound_becomes_silence(
    tmp_path: Path, broken: int | None
) -> None:
    to = Conversion("flac", sample_format="s16", rate=44_100, layout="mono")
    lengths = []
    with av.open(str(sounding(tmp_path / "in.mkv", "wmav2", 1, 44_100))) as film:
        converter = SoundConverter(film.streams.audio[0], to)
        packets_read: Iterable[Any] = film.demux(audio=0)
        for number, packet in enumerate(packets_read):
            if number == broken:
                part: Any = Packet(bytes(packet)[:9])
                part.pts, part.dts, part.time_base = packet.pts, packet.dts, packet.time_base
                packet = part
            if packet.size:
                lengths += [coded.duration or 0 for coded in converter.packets(packet)]
        lengths += [coded.duration or 0 for coded in converter.packets(None)]
    assert converter.undecodable == (broken is not None)
    assert sum(lengths) == pytest.approx(8 * 2048, abs=50)
