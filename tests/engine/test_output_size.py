"""Any size of the output: a scale, a side or a screen, judged by ffprobe and numpy."""

import json
import re
import subprocess
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from tests.helpers.cli import complaint, vsr
from tests.helpers.films import shifted, write_film
from tests.helpers.planes import farthest
from tests.helpers.read_back import frames_of
from vsr.engine import session
from vsr.engine.backend_options import Tiling
from vsr.engine.image_array import upscale_image
from vsr.engine.output_size import InputFrame, OutputSize, SizeRequest
from vsr.engine.resume import segments
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale import upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import Interrupted, OutputError
from vsr.imaging.tensors import to_float
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import ColourTags, PixelLayout, StreamInfo
from vsr.media.resample import Resampler
from vsr.models.folding import with_scale
from vsr.models.still import still_network
from vsr.zoo import choose_model, default_detail
from vsr.zoo.model_file import load_generator

LOSSLESS = EncoderSettings("ffv1")


def views(width: int, height: int, frames: int = 3) -> list[Any]:
    """A photograph under a moving camera, (height, width, 3)."""
    tensors = [shifted(2 * n)[:, -height:, :width] for n in range(frames)]
    return [
        np.ascontiguousarray((tensor * 255).byte().permute(1, 2, 0).numpy()) for tensor in tensors
    ]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of 32x24."""
    return write_film(tmp_path_factory.mktemp("sizes") / "a.mkv", views(32, 24), codec="ffv1")


def anamorphic(path: Path, width: int, height: int, aspect: str) -> Path:
    """Frames with a pixel aspect ratio, by Debian's ffmpeg."""
    plain = write_film(path.with_name("plain.mkv"), views(width, height), codec="ffv1")
    command = ["ffmpeg", "-v", "error", "-i", str(plain), "-vf", f"setsar={aspect}", "-qp", "0"]
    subprocess.run([*command, str(path)], check=True)
    return path


def upright(path: Path, width: int, height: int) -> Path:
    """Frames with a tag by which players rotate them by a quarter."""
    plain = write_film(path.with_name("plain.mp4"), views(width, height))
    with av.open(str(plain)) as source, av.open(str(path), "w") as output:
        copy: Any = output.add_stream_from_template(source.streams.video[0])
        copy.set_display_matrix((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
        for packet in source.demux():
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    return path


def probed(path: Path) -> tuple[int, int, str, int]:
    """Width, height, pixel aspect ratio and frames, by ffprobe."""
    entries = "stream=width,height,sample_aspect_ratio,nb_read_frames"
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-count_frames", "-of", "json"]
    output = subprocess.run(
        [*command, "-show_entries", entries, str(path)], check=True, capture_output=True
    )
    (stream,) = json.loads(output.stdout)["streams"]
    aspect = stream.get("sample_aspect_ratio", "1:1")
    return stream["width"], stream["height"], aspect, int(stream["nb_read_frames"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--scale", "1"], (32, 24)),
        (["--scale", "1.5"], (48, 36)),
        (["--scale", "3"], (96, 72)),
        (["--scale", "6"], (192, 144)),
        (["--scale", "0.5"], (16, 12)),
        (["--width", "100"], (100, 76)),
        (["--height", "50"], (66, 50)),
        (["--width", "85", "--height", "64"], (86, 64)),
        (["--size", "720p"], (960, 720)),
    ],
)
def test_any_size_is_written(
    tmp_path: Path, film: Path, tiny_model: Path, options: list[str], size: tuple[int, int]
) -> None:
    output = tmp_path / "b.mp4"
    preset = ("--preset", "ultrafast")
    done = vsr("upscale", film, output, "--model", tiny_model, "--device", "cpu", *preset, *options)
    assert done.returncode == 0, done.stderr
    assert f"3 frames of {size[0]}x{size[1]}" in done.stdout
    assert probed(output) == (*size, "1:1", 3)
    verified = vsr("verify", film, output)
    rows = [line for line in verified.stdout.splitlines() if "frame size" in line]
    assert [row.split()[0] for row in rows] == ["ok"]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_film_by_a_folded_scale_equals_the_resampled_network(
    tmp_path: Path, film: Path, tiny_model: Path, scale: int
) -> None:
    """Away from the border, within the rounding of chroma and RGB."""
    upscale_video(film, tmp_path / "b.mkv", str(tiny_model), scale, settings=LOSSLESS, device="cpu")
    upscale_video(film, tmp_path / "x4.mkv", str(tiny_model), 4, settings=LOSSLESS, device="cpu")
    edge = 3 * scale
    for small, large in zip(
        frames_of(tmp_path / "b.mkv"), frames_of(tmp_path / "x4.mkv"), strict=True
    ):
        luma = torch.from_numpy(large.planes[0]).float()[None, None]
        size = (24 * scale, 32 * scale)
        wanted = F.interpolate(luma, size, mode="bicubic", antialias=True)[0, 0].numpy()
        difference = np.abs(small.planes[0] - wanted)[edge:-edge, edge:-edge]
        assert difference.max() <= 1


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
def test_resampling_keeps_chroma_where_it_is(siting: Any) -> None:
    """A plane that rises with its position has the value of the position afterwards."""
    across, down = {"left": (0, 0.5), "center": (0.5, 0.5), "topleft": (0, 0)}[siting]
    info = stream(60, 45 + 1, siting=siting)

    def rising(width: int, height: int, ratio: float) -> Any:
        x = (2 * np.arange(width // 2) + 0.5 + across) * ratio
        y = (2 * np.arange(height // 2) + 0.5 + down) * ratio
        return 4096 + 64 * (x + y[:, None])

    luma = np.full((92, 120), 8192, np.uint16)
    chroma = rising(120, 92, 1).round().astype(np.uint16)
    _, cb, cr = Resampler((120, 92), info).resample((luma, chroma, chroma))
    wanted = rising(60, 46, 2) / 64
    assert np.abs(cb - wanted)[4:-4, 4:-4].max() <= 0.51
    assert np.array_equal(cb, cr)


@pytest.mark.parametrize("size", [(70, 90), (150, 190)])
def test_resampling_is_antialiased_bicubic_and_rounds_once(size: tuple[int, int]) -> None:
    """As by torch, away from the border."""
    luma = ((0.15 + 0.6 * shifted(0)[0]) * 16383).round()
    planes = (luma.numpy().astype(np.uint16), *2 * [np.full((80, 100), 8192, np.uint16)])
    wanted = F.interpolate(luma[None, None], size, mode="bicubic", antialias=True)[0, 0]
    for depth, full_range in ((8, False), (10, False), (8, True)):
        info = stream(size[1], size[0], depth, full_range=full_range)
        found, cb, cr = Resampler((200, 160), info).resample(planes)
        factor = (2**depth - 1) / 16383 if full_range else 2**depth / 16384
        errors = np.abs(found - wanted.numpy() * factor)[4:-4, 4:-4]
        assert errors.max() < 0.5 + 4 * factor  # four codes of 14 bits
        assert found.dtype == cr.dtype == (np.uint8 if depth == 8 else np.uint16)
        assert (cb == 2 ** (depth - 1)).all()


def stream(
    width: int, height: int, depth: int = 8, siting: Any = "left", full_range: bool = False
) -> StreamInfo:
    return StreamInfo(
        width=width,
        height=height,
        layout=PixelLayout(depth),
        colour=ColourTags(1, full_range=full_range, siting=siting),
        time_base=Fraction(1, 25),
        frame_rate=Fraction(25),
        frame_count=None,
        sample_aspect_ratio=Fraction(1),
    )


def test_odd_sides_become_even_and_that_is_reported(tmp_path: Path, tiny_model: Path) -> None:
    odd = write_film(tmp_path / "odd.mkv", views(33, 25), codec="ffv1")
    done = vsr("upscale", odd, tmp_path / "b.mp4", "--model", tiny_model, "--scale", "1")
    assert "vsr: the size is rounded from 33x25 to 34x26" in done.stderr
    assert probed(tmp_path / "b.mp4")[:2] == (34, 26)


@pytest.mark.slow
def test_square_pixels_widen_and_lose_no_line(tmp_path: Path, tiny_model: Path) -> None:
    source = anamorphic(tmp_path / "a.mkv", 36, 24, "4/3")
    keep, square, both = (tmp_path / name for name in ("keep.mp4", "square.mp4", "both.mp4"))
    model = ("--model", tiny_model, "--device", "cpu")
    vsr("upscale", source, keep, *model, "--scale", "1")
    vsr("upscale", source, square, *model, "--scale", "1", "--square-pixels")
    vsr("upscale", source, both, *model, "--width", "96", "--height", "48")
    identities = []
    for options in (UpscaleOptions(scale=1), UpscaleOptions(scale=1, square_pixels=True)):
        one = UpscaleSession(source, replace(options, model=str(tiny_model)), ".mp4")
        one.reader.close()
        identities.append(one.identity())
    assert "aspect" not in identities[0]
    assert identities[1]["aspect"] == "1"
    assert probed(keep)[:3] == (36, 24, "4:3")
    assert probed(square)[:3] == (48, 24, "1:1")
    assert probed(both)[:3] == (96, 48, "1:1")  # the aspect ratio that players show
    for output in (keep, square, both):
        findings = vsr("verify", source, output).stdout.splitlines()
        rows = [row.split()[0] for row in findings if "frame size" in row or "pixel asp" in row]
        assert rows == ["ok", "ok"]


def test_a_distorted_output_is_not_ok(tmp_path: Path, film: Path) -> None:
    distorted = write_film(tmp_path / "b.mkv", views(48, 24), codec="ffv1")
    (row,) = [r for r in vsr("verify", film, distorted).stdout.splitlines() if "frame size" in r]
    assert row.split()[0] != "ok"


def test_height_is_that_which_players_show(tmp_path: Path, tiny_model: Path) -> None:
    source = upright(tmp_path / "a.mp4", 32, 24)
    for rotate, size in (("keep", (64, 48)), ("apply", (48, 64))):
        output = tmp_path / f"{rotate}.mp4"
        vsr("upscale", source, output, "--model", tiny_model, "--height", "64", "--rotate", rotate)
        assert probed(output)[:2] == size


@pytest.mark.parametrize(
    ("frame", "request_", "size"),
    [
        (InputFrame(640, 360), SizeRequest(screen="4k"), (3840, 2160)),
        (InputFrame(360, 640), SizeRequest(screen="1080P"), (1080, 1920)),
        (InputFrame(640, 360, is_turned=True), SizeRequest(screen="1080p"), (1920, 1080)),
        (InputFrame(720, 576, Fraction(64, 45)), SizeRequest(screen="1080p"), (1350, 1080)),
        (
            InputFrame(720, 576, Fraction(64, 45)),
            SizeRequest(screen="1080p", square_pixels=True),
            (1920, 1080),
        ),
        (InputFrame(720, 576, Fraction(8, 9)), SizeRequest(1, square_pixels=True), (720, 648)),
        (InputFrame(1920, 1038), SizeRequest(width=1280), (1280, 692)),
        (InputFrame(333, 111, steps=(2, 1)), SizeRequest(1), (334, 111)),
        (InputFrame(1920, 1080), SizeRequest(2 / 3), (1280, 720)),
    ],
)
def test_sizes_keep_the_aspect_ratio(
    frame: InputFrame, request_: SizeRequest, size: tuple[int, int]
) -> None:
    found = request_.resolve(frame, 4)
    assert (found.width, found.height) == size


@pytest.mark.parametrize(
    ("scale", "expected"), [(0.2, 1), (1, 1), (1.5, 2), (2, 2), (2.1, 3), (3.5, 4), (9, 4)]
)
def test_the_network_is_the_smallest_that_covers_the_size(scale: float, expected: int) -> None:
    frame = InputFrame(100, 60)
    assert SizeRequest(scale).resolve(frame, 4).network_scale(frame) == expected
    odd = InputFrame(101, 61, steps=(2, 2))
    assert OutputSize(101, 61).network_scale(odd) == 2  # no half cell of chroma


@pytest.mark.parametrize("scale", [1, 1.5])
def test_any_size_resumes_to_the_same_bytes(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 4)
    source = write_film(tmp_path / "a.mkv", views(32, 24, 12), codec="ffv1")
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    options: dict[str, Any] = {"model": str(tiny_model), "scale": scale, "device": "cpu"}
    upscale_video(source, whole, **options, settings=LOSSLESS)
    stop = threading.Event()
    with pytest.raises(Interrupted):
        upscale_video(
            *(source, resumed),
            **options,
            settings=LOSSLESS,
            stop=stop,
            watch=lambda progress: stop.set() if progress.frames == 5 else None,
        )
    assert upscale_video(source, resumed, **options, settings=LOSSLESS).resumed_frames > 0
    assert resumed.read_bytes() == whole.read_bytes()


def test_another_size_does_not_resume_the_work_of_the_first(film: Path, tiny_model: Path) -> None:
    identities = []
    for scale in (4, 4.0, 1.5, 1.25, 1):
        options = UpscaleOptions(model=str(tiny_model), scale=scale, device="cpu")
        one = UpscaleSession(film, options, ".mkv")
        one.reader.close()
        identities.append(json.dumps(one.identity(), sort_keys=True))
    assert identities[0] == identities[1]
    assert len(set(identities)) == 4


def test_a_plan_knows_the_size(film: Path, tiny_model: Path) -> None:
    model = ("--model", tiny_model, "--device", "cpu")
    done = vsr("plan", film, *model, "--height", "50", "--json")
    plan = json.loads(done.stdout)
    assert (plan["width"], plan["height"]) == (66, 50)
    enlarged = vsr("plan", film, *model, "--scale", "5")
    assert f"note    {tiny_model} upscales by 4: enlarged to 160x120" in enlarged.stdout


@pytest.mark.slow
def test_a_pipe_gets_the_size(film: Path, tiny_model: Path) -> None:
    command = [sys.executable, "-m", "vsr", "upscale", str(film), "-", "--format", "y4m", "--size"]
    command += ["720p", "--model", str(tiny_model), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.startswith(b"YUV4MPEG2 W960 H720 ")


@pytest.mark.slow
def test_tiles_of_a_resampled_film_equal_the_whole(tmp_path: Path, tiny_model: Path) -> None:
    wide = [np.tile(view, (1, 2, 1)) for view in views(200, 150, 2)]
    source = write_film(tmp_path / "a.mkv", wide, codec="ffv1")
    options: dict[str, Any] = {"model": str(tiny_model), "scale": 1.25, "device": "cpu"}
    tilings: dict[str, Tiling] = {"whole": "off", "tiles": 256}
    for name, tiling in tilings.items():
        output = tmp_path / f"{name}.mkv"
        result = upscale_video(source, output, **options, tiling=tiling, settings=LOSSLESS)
        assert ("tiles" in result.backend) == (name == "tiles")
    for one, other in zip(
        frames_of(tmp_path / "whole.mkv"), frames_of(tmp_path / "tiles.mkv"), strict=True
    ):
        assert farthest(tuple(one.planes), tuple(other.planes)) <= 1


def test_transparency_gets_the_size(tmp_path: Path, tiny_model: Path) -> None:
    source = write_film(tmp_path / "a.mkv", views(32, 24), codec="ffv1", pixel_format="yuva420p")
    upscale_video(source, tmp_path / "b.mkv", str(tiny_model), 1.5, settings=LOSSLESS)
    (frame, *_) = frames_of(tmp_path / "b.mkv")
    assert [plane.shape for plane in frame.planes] == [(36, 48), (18, 24), (18, 24), (36, 48)]
    assert (frame.planes[3] == 255).all()


@pytest.mark.slow
def test_a_picture_gets_any_size(tmp_path: Path, tiny_model: Path) -> None:
    """The folded still network, and its output resampled, as torch does it."""
    (pixels,) = views(40, 30, 1)
    Image.fromarray(np.dstack((pixels, np.full((30, 40), 99, np.uint8)))).save(tmp_path / "a.png")
    for options, size in (
        (("--scale", "1"), (40, 30)),
        (("--scale", "2.5"), (100, 75)),
        (("--width", "33"), (33, 25)),
        (("--size", "720p"), (960, 720)),
    ):
        output = tmp_path / "b.png"
        done = vsr(
            "image", tmp_path / "a.png", output, "--model", tiny_model, *options, "--overwrite"
        )
        assert done.returncode == 0, done.stderr
        with Image.open(output) as picture:
            assert picture.size == size
            assert (np.asarray(picture)[..., 3] == 99).all()
    low = to_float(torch.from_numpy(pixels)).permute(2, 0, 1)[None]
    for scale, network in ((2, 2), (2.5, 3)):
        still = still_network(with_scale(load_generator(tiny_model), network))
        with torch.inference_mode():
            cells = still(low).unflatten(1, (network**2, 3)).transpose(1, 2).flatten(1, 2)
        high = F.pixel_shuffle(cells, network)
        size = (int(30 * scale), int(40 * scale))
        wanted = F.interpolate(high, size, mode="bicubic", antialias=True)
        found = upscale_image(pixels, str(tiny_model), scale, device="cpu")
        expected = (255 * wanted).clamp(0, 255)[0].permute(1, 2, 0).numpy()
        assert np.abs(found - expected).max() <= 0.51


def test_the_model_is_that_of_the_scale_or_that_of_four() -> None:
    assert [choose_model("fast", scale, 0) for scale in (1, 2, 3, 4, 9)] == [
        *("tiny-x4", "tiny-x2", "tiny-x4", "tiny-x4", "tiny-x4")
    ]
    assert {choose_model("best", scale, 0) for scale in (1, 3, 4, 9)} == {"base-x4"}
    assert choose_model("best", 2, 0) == "base-x2"
    assert choose_model("best", 2, 0, detail=0.5) == "base-x2"
    assert default_detail("base-x4") > 0 == default_detail("base-x4", 2)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"scale": 0}, "--scale 0: use a number above 0"),
        ({"scale": -2}, "--scale -2: use a number above 0"),
        ({"scale": 1e-9}, "smaller than a pixel; use a larger size"),
        (
            {"scale": 1000},
            "h264 supports frames of up to 16384 pixels a side, not 32000x24000; use a smaller",
        ),
        (
            {"scale": 700, "settings": EncoderSettings("ffv1"), "suffix": ".mkv"},
            "frames of 22400x16800 are too large for FFmpeg; use a smaller size",
        ),
        ({"width": 0}, "--width 0: use a number of pixels above 0"),
        ({"height": -5}, "--height -5: use a number of pixels above 0"),
        ({"width": 64, "height": 64}, "width 64 keeps it with height 48, not 64; give one of them"),
        ({"scale": 2, "width": 64}, "--scale and --width or --height exclude each other"),
        ({"size": "4k", "height": 64}, "--width or --height and --size exclude each other"),
        ({"size": "5k"}, "--size 5k: unknown; use one of 720p, 1080p, 1440p"),
    ],
)
def test_sizes_that_make_no_sense_get_one_line(
    tmp_path: Path, film: Path, tiny_model: Path, options: dict[str, Any], line: str
) -> None:
    output = tmp_path / f"b{options.pop('suffix', '.mp4')}"
    output.write_text("precious")
    with pytest.raises(OutputError, match=re.escape(line)):
        upscale_video(film, output, str(tiny_model), **options, overwrite=True, device="cpu")
    assert output.read_text() == "precious"


def test_frames_beyond_the_memory_are_refused(
    tmp_path: Path, film: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "memory_bytes", lambda device: 3 * 10**9)
    with pytest.raises(OutputError, match=r"16000x12000 need about 4\.6 GB of memory, .* has 3\.0"):
        upscale_video(film, tmp_path / "b.mp4", str(tiny_model), 500, device="cpu")


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "inf", "x", "2x", "1,5", ""])
def test_scales_that_are_no_numbers_are_wrong_usage(film: Path, scale: str) -> None:
    for command in ("upscale", "image"):
        done = vsr(command, film, "b.mp4", "--scale", scale)
        assert done.returncode == 2
        assert "isn't a number above 0, such as 2 or 1.5" in done.stderr


def test_both_sides_that_contradict_are_one_line_on_the_command_line(
    tmp_path: Path, film: Path
) -> None:
    sides = ("--width", "64", "--height", "64")
    assert "contradict the aspect ratio" in complaint("upscale", film, tmp_path / "b.mp4", *sides)
    assert "contradict the aspect ratio" in complaint("plan", film, *sides)


def test_a_named_model_of_another_scale_is_resampled_not_refused(
    tmp_path: Path, film: Path, tiny_model: Path
) -> None:
    result = upscale_video(film, tmp_path / "b.mkv", "tiny-x2", 3, device="cpu", settings=LOSSLESS)
    assert (result.width, result.height) == (96, 72)
    assert "tiny-x2 upscales by 2: enlarged to 96x72" in result.notes
