"""The muxer itself says what it holds."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.cli import vsr
from tests.helpers.ffmpeg import X264, ffmpeg, needs_ffmpeg, pictures, samples, streams, tone
from vsr.engine.upscale import upscale_video
from vsr.errors import OutputError
from vsr.media.encode.settings import EncoderSettings
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

FAST = EncoderSettings(preset="ultrafast")


def upscaled(source: Path, output: Path, model: Path) -> Path:
    """Upscale with `strict`: nothing may be lost."""
    upscale_video(source, output, str(model), device="cpu", settings=FAST, strict=True)
    return output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [
        (".wmv", ("wmv2", "wmav2")),
        (".wmv", ("wmv2", "wmav1")),
        (".avi", ("mpeg4", "adpcm_ms")),
        (".avi", ("mpeg4", "pcm_mulaw")),
        (".mov", ("mpeg4", "pcm_alaw")),
    ],
)
def test_matroska_holds_sound_by_its_windows_tag(
    tmp_path: Path, tiny_model: Path, suffix: str, codecs: tuple[str, str]
) -> None:
    source = tmp_path / f"in{suffix}"
    ffmpeg(*pictures(), *tone(), "-c:v", codecs[0], "-q:v", "3", "-c:a", codecs[1], source)
    output = upscaled(source, tmp_path / "out.mkv", tiny_model)
    assert [stream["codec_name"] for stream in streams(output, "audio")] == [codecs[1]]
    assert samples(output) == samples(source)
    assert all(finding.kept for finding in verify_film(source, output))


@pytest.mark.slow
@pytest.mark.parametrize("output_suffix", [".mkv", ".mov", ".mp4"])
@pytest.mark.parametrize("depth", [16, 24])
def test_pcm_of_discs_is_repacked_sample_for_sample(
    tmp_path: Path, tiny_model: Path, output_suffix: str, depth: int
) -> None:
    source = tmp_path / "in.m2ts"
    format_of = {16: "s16", 24: "s32"}
    ffmpeg(*pictures(), *tone(), *X264, "-c:a", "pcm_bluray", "-sample_fmt", format_of[depth],
           "-ac", "2", "-f", "mpegts", "-mpegts_m2ts_mode", "1", source)  # fmt: skip
    output = upscaled(source, tmp_path / f"out{output_suffix}", tiny_model)
    if (output_suffix, depth) != (".mp4", 24):  # ffmpeg 5.1 takes all PCM in MP4 for 16 bits
        assert [stream["codec_name"] for stream in streams(output, "audio")] == [f"pcm_s{depth}le"]
        assert samples(output) == samples(source)
    assert all(finding.kept for finding in verify_film(source, output))


def test_sound_that_a_container_refuses_is_named_with_one_that_takes_it(
    tmp_path: Path, tiny_model: Path
) -> None:
    ffmpeg(*pictures(), *tone(), "-c:v", "wmv2", "-c:a", "wmav2", tmp_path / "in.wmv")
    with pytest.raises(OutputError, match=r"lack audio 1 as wmav2: \.mp4 can't hold it, \.mkv can"):
        upscaled(tmp_path / "in.wmv", tmp_path / "out.mp4", tiny_model)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wmv"]


@pytest.mark.slow
def test_a_folder_of_windows_films_keeps_its_sound(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "in").mkdir()
    ffmpeg(*pictures(), *tone(), "-c:v", "wmv2", "-c:a", "wmav2", tmp_path / "in" / "a.wmv")
    done = vsr("upscale", tmp_path / "in", tmp_path / "out", "--model", tiny_model, "--strict")
    assert done.returncode == 0, done.stderr
    assert samples(tmp_path / "out" / "a.mkv") == samples(tmp_path / "in" / "a.wmv")


def test_verify_finds_pcm_that_differs(tmp_path: Path, tiny_model: Path) -> None:
    source, output, other = (tmp_path / name for name in ("in.mov", "out.mov", "other.mov"))
    ffmpeg(*pictures(), *tone(), *X264, "-c:a", "pcm_s16be", source)
    upscaled(source, output, tiny_model)
    assert all(finding.kept for finding in verify_film(source, output))
    ffmpeg("-i", output, "-map", "0", "-c", "copy", "-c:a", "pcm_s16be", "-af", "volume=0.9", other)
    lost = [finding.what for finding in verify_film(source, other) if not finding.kept]
    assert lost == ["audio 1 (pcm) packets"]


@pytest.mark.slow
def test_debian_reads_each_copy_that_strict_allows(tmp_path: Path, tiny_model: Path) -> None:
    """Sound of codecs that this ffmpeg writes to .mov, into each container or refused."""
    refused = []
    codecs = ("ac3", "alac", "mp2", "adpcm_ima_qt", "pcm_s24be", "pcm_s8", "pcm_f32le")
    for codec in codecs:
        source = tmp_path / f"{codec}.mov"
        ffmpeg(*pictures(0.4), *tone(0.4), *X264, "-c:a", codec, source)
        for suffix in (".mkv", ".mp4", ".mov"):
            output = tmp_path / f"{codec}-out{suffix}"
            try:
                upscaled(source, output, tiny_model)
            except OutputError as error:
                refused.append((codec, suffix, str(error).rpartition(": ")[2]))
                continue
            assert [s["codec_type"] for s in streams(output)] == ["video", "audio"]
            if codec.startswith("pcm") and suffix == ".mp4":
                continue  # ffmpeg 5.1 takes all PCM in MP4 for 16 bits
            command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(output), "-f", "null", "-"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
            assert not done.stderr
            if codec.startswith("pcm"):  # lossy sound may end later where there is no edit list
                assert samples(output) == samples(source), (codec, suffix)
    assert refused == [
        ("adpcm_ima_qt", ".mkv", ".mkv can't hold it, .mov can"),
        ("adpcm_ima_qt", ".mp4", ".mp4 can't hold it, .mov can"),
    ]


def test_a_muxer_that_takes_sound_and_spoils_it_does_not_hold_it(
    tmp_path: Path, tiny_model: Path
) -> None:
    """QuickTime's takes wmav1 and leaves out the size of its blocks."""
    ffmpeg(*pictures(), *tone(), "-c:v", "wmv2", "-c:a", "wmav1", tmp_path / "in.wmv")
    with pytest.raises(OutputError, match=r"audio 1 as wmav1: \.mov can't hold it, \.mkv can"):
        upscaled(tmp_path / "in.wmv", tmp_path / "out.mov", tiny_model)


def test_tags_of_streams_that_mp4_has_no_place_for_are_named(
    tmp_path: Path, tiny_model: Path
) -> None:
    ffmpeg(*pictures(), *tone(), *X264, "-c:a", "aac", "-metadata:s:a:0", "MICROPHONE=left",
           tmp_path / "in.mkv")  # fmt: skip
    with pytest.raises(OutputError, match=r"would lack tag MICROPHONE of stream 1: \.mp4 can't"):
        upscaled(tmp_path / "in.mkv", tmp_path / "out.mp4", tiny_model)
    upscaled(tmp_path / "in.mkv", tmp_path / "out.mkv", tiny_model)
    assert streams(tmp_path / "out.mkv", "audio")[0]["tags"]["MICROPHONE"] == "left"


def test_languages_are_stored_or_named(tmp_path: Path, tiny_model: Path) -> None:
    """QuickTime has one code of each language and none of some; ffmpeg writes no other ones."""
    source, output = tmp_path / "in.mkv", tmp_path / "out.mov"
    languages = ("ger", "deu", "fre", "swe", "hrv")
    mapped = [word for n in range(5) for word in ("-map", 1, f"-metadata:s:a:{n}",
                                                  f"language={languages[n]}")]  # fmt: skip
    ffmpeg(*pictures(0.2), *tone(0.2), "-map", 0, *mapped, *X264, "-c:a", "aac", source)
    result = upscale_video(source, output, str(tiny_model), device="cpu")
    assert result.left_out == ("language hrv of stream 5: .mov can't hold it, .mkv can",)
    found = [stream["tags"].get("language") for stream in streams(output, "audio")]
    assert found == ["ger", "ger", "fra", "sve", None]
    lost = [finding.what for finding in verify_film(source, output) if not finding.kept]
    assert lost == ["audio 5 (aac) language"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("flag", ["forced", "comment", "original", "hearing_impaired"])
def test_flags_of_tracks_are_kept_or_named(
    tmp_path: Path, tiny_model: Path, suffix: str, flag: str
) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nwords\n")
    source, output = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    ffmpeg(*pictures(0.4), *tone(0.4), "-i", tmp_path / "s.srt", "-map", "0", "-map", "1",
           "-map", "2", *X264, "-c:a", "aac", "-c:s", "srt", "-disposition:v", "default",
           "-disposition:a", flag, "-disposition:s", flag, source)  # fmt: skip
    summary = upscale_video(source, output, str(tiny_model), device="cpu", settings=FAST)
    flags = [stream["disposition"][flag] for stream in streams(output)]
    lines = [
        f"flag {flag} of stream {index}: {suffix} can't hold it, .mkv can"
        for index in (1, 2)
        if not flags[index]
    ]
    assert summary.left_out == tuple(lines)
    assert bool(lines) == (suffix == ".mov" or (suffix == ".mp4" and flag == "original"))


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_cover_picture_is_kept_or_named(tmp_path: Path, tiny_model: Path, suffix: str) -> None:
    source, output = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    ffmpeg(*pictures(0.4), *pictures(0.04, "32x24"), "-map", "0", "-map", "1", *X264,
           "-c:v:1", "mjpeg", "-disposition:v:1", "attached_pic", source)  # fmt: skip
    summary = upscale_video(source, output, str(tiny_model), device="cpu", settings=FAST)
    pictured = [stream for stream in streams(output) if stream["disposition"]["attached_pic"]]
    named = ("stream 1, mjpeg video: .mov can't hold it, .mkv can",)
    assert summary.left_out == (() if pictured else named)
    assert len(pictured) == (suffix == ".mp4")


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
def test_attachments_are_kept_or_named(tmp_path: Path, tiny_model: Path, suffix: str) -> None:
    (tmp_path / "a.ttf").write_bytes(bytes(range(200)))
    source, output = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    ffmpeg(*pictures(0.2), *X264, "-attach", tmp_path / "a.ttf",
           "-metadata:s:t", "mimetype=application/x-truetype-font", source)  # fmt: skip
    settings = EncoderSettings("av1", preset="13") if suffix == ".webm" else FAST
    summary = upscale_video(source, output, str(tiny_model), device="cpu", settings=settings)
    kept = len(streams(output, "attachment"))
    assert kept == (suffix == ".mkv")
    assert [line.split(":")[0] for line in summary.left_out] == (
        [] if kept else ["stream 1, a.ttf attachment"]
    )
