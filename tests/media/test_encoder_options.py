"""`--encoder-option`: what reaches the encoder, what it refuses, and what vsr keeps to itself."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from tests.formats.media import make
from tests.helpers.cli import complaint, vsr
from tests.helpers.ffmpeg import needs_ffmpeg, packets, side_data_types, streams
from tests.helpers.films import scenes, write_film
from tests.helpers.side_data import captioned
from vsr.engine.plan import plan_video
from vsr.engine.upscale import upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import OutputError
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.encoder_options import parse_encoder_options
from vsr.media.encode.settings import EncoderSettings, check_options, with_film_grain
from vsr.media.encode.trial import check_encoder
from vsr.media.frame import StreamInfo


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("options") / "a.mp4"
    return write_film(path, scenes(32, 24, [6]), codec="libx264", options={"crf": "10"})


def refusal(film: Path, codec: str, *words: str, **more: Any) -> str:
    """What is reported before any work of an encoder with these options."""
    settings = EncoderSettings(
        codec,  # type: ignore[arg-type]
        options=parse_encoder_options(words),
        **more,
    )
    with VideoReader(film) as reader:
        info = replace(reader.info, layout=settings.layout_for(reader.info.layout))
    with pytest.raises(OutputError) as error:
        _check(info, settings, ".mov" if codec == "prores" else ".mkv")
    assert "\n" not in str(error.value)
    return str(error.value)


def _check(info: StreamInfo, settings: EncoderSettings, suffix: str) -> None:
    check_options(settings, suffix)
    check_encoder(info, settings)


@needs_ffmpeg
def test_options_reach_x264(film: Path, tmp_path: Path, tiny_model: Path) -> None:
    output = tmp_path / "b.mkv"
    words = ["tune=grain", "g=2", "x264-params=bframes=0", "x264-params=me=dia"]
    options = [word for option in words for word in ("--encoder-option", option)]
    done = vsr("upscale", film, output, "--model", tiny_model, "--device", "cpu", *options)
    assert done.returncode == 0, done.stderr
    coded = output.read_bytes()
    for setting in (b"deblock=1:-2:-2", b"keyint=2", b"bframes=0", b"me=dia", b"crf=16.0"):
        assert setting in coded, setting
    assert [packet["flags"][0] for packet in packets(output, 0)] == ["K", "_"] * 3


@needs_ffmpeg
def test_options_reach_prores_and_the_plan(film: Path, tmp_path: Path, tiny_model: Path) -> None:
    output = tmp_path / "b.mov"
    settings = EncoderSettings("prores", options={"profile": "proxy"})
    upscale_video(film, output, str(tiny_model), device="cpu", settings=settings)
    assert streams(output)[0]["profile"] == "Proxy"
    options = UpscaleOptions(
        str(tiny_model), device="cpu", settings=replace(settings, options={"profile": "zz"})
    )
    with pytest.raises(OutputError, match="profile=zz: prores_ks refuses it: Undefined constant"):
        plan_video(film, ".mov", options)


@needs_ffmpeg
def test_hdr10_survives_parameters_of_x265(tmp_path: Path, tiny_model: Path) -> None:
    source, output = make(".mkv", "HDR10", tmp_path), tmp_path / "out.mkv"
    settings = EncoderSettings(
        "hevc", preset="ultrafast", options={"x265-params": "aq-mode=3:bframes=1"}
    )
    upscale_video(source, output, str(tiny_model), settings=settings, strict=True)
    shown = ("color_space", "color_primaries", "color_transfer", "color_range", "pix_fmt")
    before, after = (streams(path)[0] for path in (source, output))
    assert [after[name] for name in shown] == [before[name] for name in shown]
    assert b"aq-mode=3" in output.read_bytes()
    types = side_data_types(output)
    assert types["Mastering display metadata"] >= 1
    assert types["Content light level metadata"] >= 1


@needs_ffmpeg
def test_captions_survive_options(tmp_path: Path, tiny_model: Path) -> None:
    source, output = captioned(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    settings = EncoderSettings(preset="ultrafast", options={"x264-params": "aud=1:bframes=3"})
    upscale_video(source, output, str(tiny_model), settings=settings, strict=True)
    assert side_data_types(output)["ATSC A53 Part 4 Closed Captions"] == 20


@needs_ffmpeg
def test_a_bit_rate_takes_the_place_of_the_constant_quality(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    output = tmp_path / "b.mkv"
    settings = EncoderSettings(options={"b": "200k"})
    upscale_video(film, output, str(tiny_model), device="cpu", settings=settings)
    coded = output.read_bytes()
    assert b"rc=abr" in coded
    assert b"bitrate=200" in coded
    reported = refusal(film, "h264", "b=200k", crf=20)
    assert reported == "--crf and --encoder-option b contradict each other; leave one out"
    assert "svtav1-params=rc" in refusal(film, "av1", "svtav1-params=rc=1:tbr=500", crf=20)


@pytest.mark.parametrize(
    ("codec", "word", "reason"),
    [
        ("h264", "tunne=film", "libx264 has no option tunne; did you mean tune?"),
        ("h264", "x265-params=sao=0", "libx264 has no option x265-params"),
        ("h264", "skip_frame=all", "libx264 has no option skip_frame"),
        ("h264", "pixel_format=yuv444p", "pixel_format can't be set here: vsr sets it from the"),
        ("h264", "color_primaries=bt2020", "color_primaries can't be set here: vsr sets it from"),
        ("h264", "crf=18.5", "crf can't be set here: use --crf"),
        ("h264", "x264-params=me=dia:colorprim=bt2020", "colorprim can't be set here: vsr sets"),
        ("h264", "x264-params=pass=1", "pass can't be set here: each frame is encoded once"),
        ("hevc", "x265-params=max_cll=1,2", "max-cll can't be set here: vsr sets it from the film"),
        ("hevc", "x265-params=no-repeat-headers=1", "repeat-headers can't be set here"),
        ("av1", "svtav1-params=color-primaries=9", "color-primaries can't be set here: vsr sets"),
    ],
)
def test_names_that_the_encoder_lacks_or_vsr_sets_are_refused(
    film: Path, codec: str, word: str, reason: str
) -> None:
    assert refusal(film, codec, word).startswith(f"--encoder-option {word}: {reason}")


@pytest.mark.parametrize(
    ("codec", "word", "reason"),
    [
        ("h264", "tune=foo", "refuses it: invalid tune 'foo'; Possible tunes: film animation"),
        ("h264", "x264-params=me=banana", "refuses it: Error parsing option 'me = banana'"),
        ("h264", "flags=cgop", "would change the global headers"),
        ("h264", "flags=+ildct", "would change the interlacing"),
        ("hevc", "x265-params=sao=0:foo=1", "refuses it: Unknown option: foo"),
        ("av1", "svtav1-params=tune=99", "refuses it: Invalid tune flag [0 - "),
        ("av1", "svtav1-params=foo=1", "refuses it: Error parsing option foo: 1"),
        ("ffv1", "coder=zz", "refuses it: Undefined constant or missing '(' in 'zz'"),
    ],
)
def test_values_that_the_encoder_refuses_are_reported_with_its_reason(
    film: Path, codec: str, word: str, reason: str
) -> None:
    reported = refusal(film, codec, word)
    assert reported.startswith(f"--encoder-option {word}: ")
    assert reason in reported


def test_of_several_options_the_one_at_fault_is_named(film: Path) -> None:
    reported = refusal(film, "h264", "g=12", "profile=warp", "bf=2")
    assert reported.startswith("--encoder-option profile=warp: libx264 refuses it: invalid profile")


def test_an_encoder_that_crashes_or_hangs_is_one_line(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert refusal(film, "h264", "bf=2").endswith("libx264 refuses it: it crashed (exit code 1)")


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (["tune"], "--encoder-option tune: is not KEY=VALUE, such as tune=film"),
        (["=film"], "--encoder-option =film: is not KEY=VALUE, such as tune=film"),
        (["tune="], "--encoder-option tune=: is not KEY=VALUE, such as tune=film"),
        (["tune=film", "tune=grain"], "--encoder-option tune: is given twice; leave one out"),
        (["tune=nonsense"], "--encoder-option tune=nonsense: libx264 refuses it: invalid tune"),
    ],
)
def test_a_bad_option_is_one_line_before_any_work(
    film: Path, tmp_path: Path, tiny_model: Path, words: list[str], reported: str
) -> None:
    output = tmp_path / "b.mp4"
    output.write_bytes(b"kept")
    options = [word for option in words for word in ("--encoder-option", option)]
    line = complaint("upscale", film, output, "--model", tiny_model, "--overwrite", *options)
    assert reported in line
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]
    assert output.read_bytes() == b"kept"


def test_an_unknown_option_is_reported_once_for_a_folder(tmp_path: Path, film: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.mp4").write_bytes(film.read_bytes())
    line = complaint("upscale", folder, tmp_path / "out", "--encoder-option", "tunne=film")
    assert "libx264 has no option tunne; did you mean tune?" in line
    assert not (tmp_path / "out").exists()


def test_a_pipe_of_raw_video_has_no_encoder_options(film: Path) -> None:
    line = complaint("upscale", film, "-", "--encoder-option", "tune=film")
    assert "-: a pipe gets raw video; omit --codec, --crf, --preset, --encoder and" in line


@needs_ffmpeg
def test_svt_av1_describes_grain_and_codes_the_same_picture(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = write_film(tmp_path / "a.mkv", scenes(96, 72, [4]), codec="ffv1")
    shown: dict[float, list[Any]] = {}
    for grain in (0.0, 1.0):
        output = tmp_path / f"{grain}.mkv"
        settings = EncoderSettings("av1", preset="10")
        upscale_video(source, output, str(tiny_model), settings=settings, grain=grain)
        for apply in (0, 1):
            with av.open(str(output)) as container:
                decoder: Any = av.CodecContext.create("libdav1d", "r")
                decoder.options = {"filmgrain": str(apply)}
                decoder.extradata = container.streams.video[0].codec_context.extradata
                packets = list(container.demux(video=0))
                frames = [frame for packet in packets for frame in decoder.decode(packet)]
                shown[grain + apply / 2] = [frame.to_ndarray().astype(int) for frame in frames]
    for plain, undone, grained in zip(shown[0.0], shown[1.0], shown[1.5], strict=True):
        assert abs(undone - plain).max() <= 3
        assert (grained - undone)[: plain.shape[0] * 2 // 3].std() > 0.3


def test_grain_of_two_options_is_refused() -> None:
    settings = EncoderSettings("av1", options={"svtav1-params": "film-grain=8"})
    with pytest.raises(OutputError, match="both set the film grain; leave one out"):
        with_film_grain(settings, 0.5)
