"""What lies beside the pixels: kept, or named before any work, and found by `vsr verify`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from tests.helpers.ffmpeg import X264, ffmpeg, needs_ffmpeg, probe, side_data_types
from tests.helpers.side_data import (
    CAPTION,
    HDR10_PLUS,
    captioned,
    captioned_mpeg2,
    dolby_vision,
    hdr10_plus,
    side_by_side,
    spherical,
)
from vsr.engine.plan import plan_video
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import OutputError
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.side_data import HDR10_PLUS as PLUS
from vsr.media.decode.side_data import side_data_of
from vsr.media.decode.survey import survey_film
from vsr.media.encode.sei import with_messages
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Message
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

_CAPTIONS = "ATSC A53 Part 4 Closed Captions"


def upscaled(
    source: Path, output: Path, model: Path, codec: str = "h264", **more: Any
) -> UpscaleResult:
    preset = {"h264": "ultrafast", "hevc": "ultrafast", "av1": "13"}.get(codec)
    settings = EncoderSettings(codec, preset=preset)  # type: ignore[arg-type]
    return upscale_video(source, output, model=str(model), settings=settings, **more)


def lost(source: Path, output: Path) -> list[str]:
    return [finding.what for finding in verify_film(source, output) if not finding.kept]


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "h264"), (".mov", "h264"), (".mkv", "hevc"), (".mp4", "av1"), (".webm", "av1")],
)
def test_captions_are_kept_in_the_pictures(
    tmp_path: Path, tiny_model: Path, suffix: str, codec: str
) -> None:
    source, output = captioned(tmp_path / "in.mp4", "-bf", "2"), tmp_path / f"out{suffix}"
    upscaled(source, output, tiny_model, codec, strict=True)
    if codec != "av1":  # of which Debian's dav1d reads some only, where frames are hidden
        assert side_data_types(output)[_CAPTIONS] == 20
    with VideoReader(output) as reader:
        for frame in reader.frames():
            assert any(CAPTION in message.payload for message in frame.messages)
    assert lost(source, output) == []
    assert ffmpeg("-i", str(output), "-f", "md5", "-")


def test_captions_are_kept_with_the_pictures_they_came_with(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = captioned(tmp_path / "in.mkv", "-bf", "3", first=7)
    output = tmp_path / "out.mkv"
    upscaled(source, output, tiny_model)
    held = [
        {_CAPTIONS} & {data["side_data_type"] for data in frame.get("side_data_list", [])}
        for frame in probe(output, "frames")["frames"]
    ]
    assert held == [set()] * 7 + [{_CAPTIONS}] * 13


def test_captions_of_recordings_joined_end_to_end_are_not_called_lost(
    tmp_path: Path, tiny_model: Path
) -> None:
    first = captioned(tmp_path / "a.ts", "-bf", "0")
    other = CAPTION[:-1] + bytes([CAPTION[-1] ^ 3])
    second = captioned(tmp_path / "b.ts", "-bf", "0", "-output_ts_offset", "0.4", caption=other)
    source, output = tmp_path / "in.ts", tmp_path / "out.mkv"
    source.write_bytes(first.read_bytes() + second.read_bytes())
    upscaled(source, output, tiny_model)
    assert side_data_types(output)[_CAPTIONS] == 40
    assert lost(source, output) == []


def test_captions_of_a_film_that_is_moved_are_compared_where_they_are_moved_to(
    tmp_path: Path,
) -> None:
    wraps = ("-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset", "95443.317689")
    source = captioned(tmp_path / "in.ts", "-bf", "0", *wraps)
    assert [float(time) for time in survey_film(source).captions][:2] == [0.0, 0.04]


def test_captions_of_mpeg2_are_kept(tmp_path: Path, tiny_model: Path) -> None:
    raw, source = captioned_mpeg2(tmp_path / "in.m2v"), tmp_path / "in.ts"
    ffmpeg("-fflags", "+genpts", "-f", "mpegvideo", "-i", str(raw), "-c", "copy", str(source))
    upscaled(source, tmp_path / "out.mp4", tiny_model, strict=True)
    assert side_data_types(tmp_path / "out.mp4")[_CAPTIONS] == 20


def captions(folder: Path) -> Path:
    return captioned(folder / "in.mkv")


def plus(folder: Path) -> Path:
    return hdr10_plus(folder / "in.mp4")


def vision(folder: Path) -> Path:
    return dolby_vision(folder / "in.mp4")


def vision_5(folder: Path) -> Path:
    return dolby_vision(folder / "in.mp4", profile=5)


def stereo(folder: Path) -> Path:
    return side_by_side(folder / "in.mp4")


def sphere(folder: Path) -> Path:
    return spherical(folder / "in.mp4")


def timecode(folder: Path) -> Path:
    path = folder / "in.ts"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.4", "-c:v", "mpeg2video",
           "-timecode", "10:00:00:05", str(path))  # fmt: skip
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "suffix", "codec", "line"),
    [
        (captions, ".mkv", "ffv1", "closed captions in the pictures (ffv1 holds none; h264, hevc"),
        (captions, ".mov", "prores", "closed captions in the pictures (prores holds none"),
        (plus, ".mkv", "h264", "HDR10+ metadata (h264 holds none; hevc and av1 do)"),
        (vision, ".mp4", "hevc", "Dolby Vision metadata"),
        (vision_5, ".mp4", "hevc", "Dolby Vision metadata (profile 5: without it, colours are"),
        (stereo, ".mov", "hevc", "3D layout (.mov can't hold it; .mkv may)"),
        (sphere, ".mov", "h264", "360 degree projection (.mov can't hold it; .mp4 and .mkv can)"),
        (timecode, ".mp4", "h264", "timecodes in the pictures"),
    ],
)
def test_what_is_lost_is_named_before_any_work(
    tmp_path: Path,
    tiny_model: Path,
    make: Callable[[Path], Path],
    suffix: str,
    codec: str,
    line: str,
) -> None:
    source, output = make(tmp_path), tmp_path / f"out{suffix}"
    with pytest.raises(OutputError, match="would lack"):
        upscaled(source, output, tiny_model, codec, strict=True)
    assert not output.exists()
    settings = EncoderSettings(codec)  # type: ignore[arg-type]
    planned = plan_video(source, suffix, UpscaleOptions(model=str(tiny_model), settings=settings))
    assert len(planned.left_out) == 1
    assert planned.left_out[0].startswith(line)
    assert upscaled(source, output, tiny_model, codec).left_out == planned.left_out
    assert lost(source, output) == [planned.left_out[0].split(" (")[0]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "h264"), (".mp4", "hevc"), (".mov", "h264"), (".mkv", "hevc"), (".webm", "av1")],
)
def test_a_3d_layout_is_kept(tmp_path: Path, tiny_model: Path, suffix: str, codec: str) -> None:
    source, output = stereo(tmp_path), tmp_path / f"out{suffix}"
    upscaled(source, output, tiny_model, codec, strict=True)
    assert side_data_types(output)["Stereo 3D"] > 0
    with VideoReader(output) as reader:
        assert reader.info.stereo_mode == 1
    assert lost(source, output) == []


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "h264"), (".mkv", "hevc"), (".webm", "av1")]
)
def test_a_spherical_projection_is_kept(
    tmp_path: Path, tiny_model: Path, suffix: str, codec: str
) -> None:
    source, output = sphere(tmp_path), tmp_path / f"out{suffix}"
    upscaled(source, output, tiny_model, codec, strict=True)
    before, after = (probe(path)["streams"][0]["side_data_list"] for path in (source, output))
    assert before[0]["projection"] == "equirectangular"
    assert after == before
    assert lost(source, output) == []


def test_a_view_order_that_mp4_cannot_say_is_named(tmp_path: Path, tiny_model: Path) -> None:
    source = tmp_path / "in.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x48:rate=25:duration=0.2", *X264,
           "-metadata:s:v", "stereo_mode=right_left", str(source))  # fmt: skip
    assert upscaled(source, tmp_path / "out.mkv", tiny_model).left_out == ()
    assert upscaled(source, tmp_path / "out.mp4", tiny_model).left_out
    with pytest.raises(OutputError, match="3D layout"):
        upscaled(source, tmp_path / "no.mp4", tiny_model, strict=True)
    assert lost(source, tmp_path / "out.mkv") == []
    assert lost(source, tmp_path / "out.mp4") == ["3D layout"]


def test_a_turned_picture_loses_its_3d_layout(tmp_path: Path, tiny_model: Path) -> None:
    flat, source = stereo(tmp_path), tmp_path / "turned.mp4"
    ffmpeg("-i", str(flat), "-c", "copy", "-metadata:s:v", "rotate=90", str(source))
    kept = upscaled(source, tmp_path / "kept.mp4", tiny_model)
    assert kept.left_out == ()
    applied = upscaled(source, tmp_path / "applied.mp4", tiny_model, rotate="apply")
    reason = "can't be rotated with the picture by --rotate apply"
    assert applied.left_out == (f"3D layout ({reason})",)


def test_a_turned_picture_loses_its_projection(tmp_path: Path, tiny_model: Path) -> None:
    flat, source = sphere(tmp_path), tmp_path / "turned.mp4"
    ffmpeg("-i", str(flat), "-c", "copy", "-strict", "unofficial", "-metadata:s:v", "rotate=90",
           str(source))  # fmt: skip
    assert "Spherical Mapping" in side_data_types(source)
    assert upscaled(source, tmp_path / "kept.mp4", tiny_model).left_out == ()
    for suffix in (".mp4", ".mov"):
        output = tmp_path / f"applied{suffix}"
        applied = upscaled(source, output, tiny_model, rotate="apply")
        reason = "can't be rotated with the picture by --rotate apply"
        assert applied.left_out == (f"360 degree projection ({reason})",)


def test_films_of_common_encoders_lack_nothing(tmp_path: Path, tiny_model: Path) -> None:
    """Pan-scan and a clock from zero in MPEG-2, and encoders that name themselves."""
    for name, codec in (("a.ts", "mpeg2video"), ("b.mkv", "libx264"), ("c.mp4", "libx265")):
        source = tmp_path / name
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.6", "-c:v", codec,
               "-g", "6", "-pix_fmt", "yuv420p", str(source))  # fmt: skip
        assert upscaled(source, tmp_path / f"out-{name}.mkv", tiny_model, strict=True).frames == 15
        with VideoReader(source) as reader:  # all that is known of a pipe before any work
            assert reader.side_data == {}


def test_user_data_of_others_is_kept(tmp_path: Path, tiny_model: Path) -> None:
    source, plain = tmp_path / "in.mp4", tmp_path / "plain.mp4"
    reported = "086f3693b7b34f2c965321492feee5b8+telemetry"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.2", *X264, str(plain))
    ffmpeg("-i", str(plain), "-c", "copy", "-bsf:v", f"h264_metadata=sei_user_data={reported}",
           str(source))  # fmt: skip
    upscaled(source, tmp_path / "out.mkv", tiny_model, "hevc", strict=True)
    assert b"telemetry" in (tmp_path / "out.mkv").read_bytes()
    assert (
        upscaled(source, tmp_path / "lost.mkv", tiny_model, "ffv1")
        .left_out[0]
        .startswith("user data in the bitstream (ffv1 holds none")
    )
    assert lost(source, tmp_path / "lost.mkv") == ["user data in the bitstream"]


def test_side_data_that_pyav_does_not_know_is_named(tmp_path: Path, tiny_model: Path) -> None:
    """Exif in Motion JPEG, which FFmpeg 8.1 gives a type of its own."""
    from io import BytesIO

    from PIL import Image

    exif, raw = Image.Exif(), b""
    exif[0x10E] = "by the sea"
    for grey in range(0, 250, 50):
        picture = BytesIO()
        Image.new("L", (64, 48), grey).convert("RGB").save(picture, "JPEG", exif=exif)
        raw += picture.getvalue()
    (tmp_path / "in.mjpeg").write_bytes(raw)
    source = tmp_path / "in.avi"
    ffmpeg("-f", "mjpeg", "-i", str(tmp_path / "in.mjpeg"), "-c", "copy", str(source))
    summary = upscaled(source, tmp_path / "out.mkv", tiny_model)
    assert summary.frames == 5
    assert any("side data that can't be read" in line for line in summary.left_out)


def test_captions_that_begin_late_are_found_before_any_work(
    tmp_path: Path, tiny_model: Path
) -> None:
    """Behind a hundred frames of one group of pictures."""
    source = captioned(tmp_path / "in.mkv", "-g", "250", frames=150, first=100)
    with pytest.raises(OutputError, match="closed captions"):
        upscaled(source, tmp_path / "out.mkv", tiny_model, "ffv1", strict=True)


def test_captions_in_a_part_that_was_not_looked_through_are_reported(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.media.decode.survey._MAX_FIRST", 4)
    monkeypatch.setattr("vsr.media.decode.survey._PLACES", 0)
    source = captioned(tmp_path / "in.mkv", first=12)
    summary = upscaled(source, tmp_path / "out.mkv", tiny_model, "ffv1")
    assert summary.left_out == ()
    assert any("not kept, from 0.52 s on: closed caption" in line for line in summary.notes), (
        summary.notes
    )
    assert "closed captions in the pictures" in lost(source, tmp_path / "out.mkv")


def test_the_second_of_late_side_data_is_that_of_the_output(tmp_path: Path) -> None:
    """Of a film that begins at -0.6 s and is moved to zero."""
    wrap = ("-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset", "95443.1")
    with VideoReader(captioned(tmp_path / "in.ts", *wrap, first=12)) as reader:
        assert len(list(reader.frames())) == 20
        assert reader.lead > 0
        assert reader.side_data["A53_CC"] == pytest.approx(0.48, abs=0.03)


def test_start_codes_do_not_occur_in_messages() -> None:
    message = Message(5, bytes(16) + b"\x00\x00\x01\x00\x00\x02\x00\x00\x03" * 40)
    picture = b"\x00\x00\x01\x65picture"
    coded = with_messages("h264", picture, [message])
    assert coded.endswith(picture)
    unit = coded[: -len(picture)]
    assert unit.startswith(b"\x00\x00\x00\x01\x06\x05\xff")
    assert b"\x00\x00\x01" not in unit[4:]
    assert b"\x00\x00\x00" not in unit[4:]


def test_messages_follow_an_access_unit_delimiter() -> None:
    message = Message(4, b"captions")
    for codec, delimiter in (("h264", b"\x09\xf0"), ("hevc", b"\x46\x01\x50")):
        coded = b"\x00\x00\x00\x01" + delimiter + b"\x00\x00\x00\x01\x65picture"
        marked = with_messages(codec, coded, [message])
        assert marked.startswith(b"\x00\x00\x00\x01" + delimiter + b"\x00\x00\x00\x01")
        assert marked.endswith(b"\x00\x00\x00\x01\x65picture")
        assert b"captions" in marked


def full_hdr10_plus() -> str:
    """HDR10+ metadata with all of its fields, in bits (SMPTE ST 2094-40)."""
    grid = f"1{2:05b}{3:05b}" + "".join(f"{value:04b}" for value in (1, 3, 5, 7, 11, 15))
    light = "".join(f"{value:017b}" for value in (99_999, 12_345, 7, 4321))
    percentiles = "".join(f"{11 * n + 1:07b}{9_000 * n + 77:017b}" for n in range(9))
    curve = f"1{1500:012b}{4095:012b}{15:04b}" + "".join(f"{65 * n + 31:010b}" for n in range(15))
    display = f"{1:02b}{4000:027b}{grid}"
    return f"{display}{light}{9:04b}{percentiles}{123:010b}{grid}{curve}1{37:06b}"


def hdr10_plus_items(path: Path) -> list[dict[str, Any]]:
    """The HDR10+ metadata of each frame, by ffprobe."""
    return [
        data
        for frame in probe(path, "frames")["frames"]
        for data in frame.get("side_data_list", [])
        if "SMPTE2094-40" in data["side_data_type"]
    ]


@pytest.mark.parametrize("bits", [HDR10_PLUS, full_hdr10_plus()], ids=["short", "full"])
def test_hdr10_plus_is_kept_in_each_picture(tmp_path: Path, tiny_model: Path, bits: str) -> None:
    source, output = hdr10_plus(tmp_path / "in.mkv", bits), tmp_path / "out.mp4"
    upscaled(source, output, tiny_model, "hevc", strict=True)
    items = hdr10_plus_items(source)
    assert len(items) == 10
    assert hdr10_plus_items(output) == items
    assert lost(source, output) == []


def test_av1_keeps_hdr10_plus(tmp_path: Path, tiny_model: Path) -> None:
    source, output = hdr10_plus(tmp_path / "in.mkv", full_hdr10_plus()), tmp_path / "out.webm"
    upscaled(source, output, tiny_model, "av1", strict=True)
    kept = []  # Debian's decoder of AV1 doesn't report it
    for path in (source, output):
        with av.open(str(path)) as film:
            frames = [side_data_of(frame) for frame in film.decode(video=0)]
        kept.append([[i.payload for i in items if i.type == PLUS] for items in frames])
    assert kept[0] == kept[1]
    assert [len(items) for items in kept[0]] == [1] * 10
    assert lost(source, output) == []


def test_hdr10_plus_of_windows_is_named(tmp_path: Path, tiny_model: Path) -> None:
    """Their places are in pixels of the source."""
    place = f"{0:016b}{0:016b}{31:016b}{31:016b}{16:016b}{16:016b}{0:08b}" + f"{8:016b}" * 3 + "0"
    light = "".join(f"{value:017b}" for value in (400, 300, 200, 100)) + f"{0:04b}{3:010b}"
    bits = f"{2:02b}{place}{1000:027b}0{light}{light}00000"
    source = hdr10_plus(tmp_path / "in.mkv", bits)
    assert hdr10_plus_items(source)[0]["num_windows"] == 2
    summary = upscaled(source, tmp_path / "out.mkv", tiny_model, "hevc")
    assert summary.left_out == ("HDR10+ metadata of windows in the picture",)
    assert lost(source, tmp_path / "out.mkv") == list(summary.left_out)
