"""The filter in VapourSynth itself."""

import gc
import io
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import vsr
from tests.helpers.films import scenes, write_film
from tests.helpers.models import write_model
from vsr.engine.backends import pick_backend
from vsr.engine.backends.base import Backend
from vsr.engine.backends.torch_eager import TorchBackend
from vsr.engine.frame_server import load_generator
from vsr.imaging.colour import ColourSpec, Matrix, Siting

vs = pytest.importorskip(
    "vapoursynth",
    reason="VapourSynth isn't installed; its wheels need Python 3.12: make test PYTHON=python3.12",
)
from vsr import vapoursynth as filter_module  # noqa: E402  (needs VapourSynth)

core = vs.core
WIDTH, HEIGHT, LENGTH = 96, 64, 24


@pytest.fixture(scope="module")
def upscale() -> Any:
    return filter_module.upscale


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Options for a small model, x4, that torch computes in f32."""
    path = write_model(tmp_path_factory.mktemp("model") / "small.safetensors")
    return {"model": str(path), "backend": "torch"}


def rgb_clip(format: Any, pictures: list[NDArray[np.uint8]]) -> Any:
    """A clip of pictures in any RGB or YUV format."""
    height, width = pictures[0].shape[:2]
    blank = core.std.BlankClip(
        width=width, height=height, format=vs.RGB24, length=len(pictures), fpsnum=25
    )

    def fill(n: int, f: Any) -> Any:
        output = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(output[plane]), pictures[n][..., plane])
        return output

    clip = core.std.ModifyFrame(blank, blank, fill)
    if format == vs.RGB24:
        return clip
    matrix = {} if vs.core.get_video_format(format).color_family == vs.RGB else {"matrix_s": "709"}
    return clip.resize.Bicubic(format=format, **matrix)


def film_clip(format: Any = None) -> Any:
    """Two shots, of 14 and 10 frames."""
    return rgb_clip(vs.YUV420P8 if format is None else format, scenes(WIDTH, HEIGHT, [14, 10]))


def planes_of(frame: Any) -> list[NDArray[Any]]:
    return [np.array(frame[plane]) for plane in range(frame.format.num_planes)]


def assert_equal_frames(frame: Any, other: Any) -> None:
    for plane, right in zip(planes_of(frame), planes_of(other), strict=True):
        np.testing.assert_array_equal(plane, right)


@pytest.mark.parametrize("name", ["YUV420P8", "YUV420P10"])
def test_frames_are_those_of_the_backend_in_order(
    upscale: Any, options: dict[str, Any], name: str
) -> None:
    clip = film_clip(getattr(vs, name))
    generator = load_generator(options["model"], None, None, HEIGHT)
    spec = ColourSpec(Matrix.BT709, bit_depth=clip.format.bits_per_sample, siting=Siting.LEFT)
    backend = TorchBackend(generator, torch.device("cpu"), (spec, spec))
    for index, frame in enumerate(upscale(clip, **options).frames()):
        expected = backend.upscale(planes_of(clip.get_frame(index)), index in (0, 14))
        for plane, right in zip(planes_of(frame), expected, strict=True):
            np.testing.assert_array_equal(plane, right)


def test_threads_and_order_of_requests_change_nothing(
    upscale: Any, options: dict[str, Any]
) -> None:
    expected = list(upscale(film_clip(), **options).frames())
    clip = upscale(film_clip(), warm_up=None, **options)
    futures = {index: clip.get_frame_async(index) for index in (7, 23, 3, 0, 15, 8, 14, 22, 1)}
    for index, future in futures.items():
        assert_equal_frames(future.result(), expected[index])


def test_scene_change_properties_are_cuts(upscale: Any, options: dict[str, Any]) -> None:
    still = film_clip()[0] * 4
    marked = core.std.FrameEval(
        still, lambda n: still.std.SetFrameProps(_SceneChangePrev=int(n == 2))
    )
    frames = list(upscale(marked, **options).frames())
    assert_equal_frames(frames[2], frames[0])
    with pytest.raises(AssertionError):
        assert_equal_frames(frames[1], frames[0])


@pytest.mark.parametrize(
    ("property_", "value"), [("_Matrix", 9), ("_Range", 1), ("_ChromaLocation", 2)]
)
def test_colour_properties_are_read_and_kept(
    upscale: Any, options: dict[str, Any], property_: str, value: int
) -> None:
    clip = film_clip()
    other = clip.std.SetFrameProps(**{property_: value})
    frame = upscale(other, **options).get_frame(0)
    assert frame.props[property_] == value
    with pytest.raises(AssertionError):
        assert_equal_frames(frame, upscale(clip, **options).get_frame(0))


def test_unspecified_colours_are_specified(upscale: Any, options: dict[str, Any]) -> None:
    clip = film_clip().std.RemoveFrameProps(["_Matrix", "_Range", "_ChromaLocation"])
    props = upscale(clip, **options).get_frame(0).props
    assert (props["_Matrix"], props["_Range"], props["_ChromaLocation"]) == (6, 0, 0)


def test_other_properties_are_copied(upscale: Any, options: dict[str, Any]) -> None:
    clip = film_clip().std.SetFrameProps(_SARNum=64, _SARDen=45, Title="x")
    frame = upscale(clip, **options).get_frame(1)
    assert (frame.props["_SARNum"], frame.props["_SARDen"], frame.props["Title"]) == (64, 45, "x")
    assert (frame.props["_DurationNum"], frame.props["_DurationDen"]) == (1, 25)


@pytest.mark.parametrize(
    "name",
    ["YUV422P8", "YUV444P16", "YUV420PS", "RGB24", "RGB48", "RGBH", "RGBS", "GRAY8", "GRAYS"],
)
def test_all_formats_are_returned_as_they_are(
    upscale: Any, options: dict[str, Any], name: str
) -> None:
    clip = film_clip(getattr(vs, name))
    output = upscale(clip, **options)
    assert (output.format, output.width, output.height) == (clip.format, 4 * WIDTH, 4 * HEIGHT)
    # Random weights hardly change the picture, which is upscaled bicubically before.
    low = output.resize.Bicubic(WIDTH, HEIGHT).get_frame(0)
    peak = 1.0 if clip.format.sample_type == vs.FLOAT else 2**clip.format.bits_per_sample - 1
    for plane, right in zip(planes_of(low), planes_of(clip.get_frame(0)), strict=True):
        difference = plane.astype(np.float64) - right
        assert np.sqrt(np.mean(difference**2)) < 0.1 * peak


def test_gray_of_full_range_keeps_its_range(upscale: Any, options: dict[str, Any]) -> None:
    clip = film_clip(vs.GRAY8)
    full = upscale(clip.std.SetFrameProps(_Range=1), **options).get_frame(0)
    assert full.props["_Range"] == 1


def test_interlaced_frames_are_reported_once(upscale: Any, options: dict[str, Any]) -> None:
    lines: list[str] = []  # the first one says that the handler is installed
    handler = core.add_log_handler(lambda kind, text: lines.append(text))
    list(upscale(film_clip()[:3].std.SetFrameProps(_FieldBased=2), **options).frames())
    core.remove_log_handler(handler)
    assert lines[1:] == ["vsr: frame 0 is interlaced; deinterlace the clip before it is upscaled"]


def test_a_backend_is_used_again_when_its_clip_is_gone(
    upscale: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Backend] = []

    def pick(**options: Any) -> Backend:
        built.append(pick_backend(**options))
        return built[-1]

    monkeypatch.setattr(filter_module, "pick_backend", pick)
    source = film_clip()[:7]
    expected = [planes_of(frame) for frame in upscale(source, **options).frames()]
    gc.collect()
    clip, another = (upscale(source, **options) for _ in range(2))
    for low, high in zip(clip.frames(), another.frames(), strict=True):
        assert_equal_frames(low, high)
    for plane, right in zip(planes_of(clip.get_frame(6)), expected[6], strict=True):
        np.testing.assert_array_equal(plane, right)
    assert len(built) == 2


def _bad_clips() -> Iterator[tuple[Any, str]]:
    clip = film_clip()
    yield None, "expected a video clip, got NoneType"
    yield core.std.BlankClip(format=vs.YUV410P8), "chroma subsampling of YUV410P8 isn't supported"
    yield core.std.Splice([clip, clip[0].resize.Point(64, 64)], mismatch=True), "several sizes"


def test_clips_that_cannot_be_upscaled_are_one_clear_line(upscale: Any) -> None:
    for clip, message in _bad_clips():
        with pytest.raises(vs.Error, match=message) as caught:
            upscale(clip)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"model": "nope"}, "unknown model 'nope'"),
        ({"scale": 7}, "not by 7"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"backend": "x"}, "vsr: backend = 'x'"),
        ({"scale": "2"}, "vsr: scale = '2'"),
        ({"tiling": "x"}, "vsr: tiling = 'x'"),
        ({"steady": 0.5}, "steady is for models of single pictures"),
        ({"warm_up": -1}, "warm_up is a count of frames or None, not -1"),
    ],
)
def test_wrong_options_are_one_clear_line(
    upscale: Any, option: dict[str, Any], message: str
) -> None:
    with pytest.raises(vs.Error, match=message) as caught:
        upscale(film_clip(), **option)
    assert "\n" not in str(caught.value)


def test_an_unsupported_chroma_location_is_reported(upscale: Any, options: dict[str, Any]) -> None:
    clip = upscale(film_clip().std.SetFrameProps(_ChromaLocation=4), **options)
    with pytest.raises(vs.Error, match="vsr: chroma location 4 isn't supported"):
        clip.get_frame(0)


@pytest.mark.parametrize("name", ["YUV422P8", "YUV444P8", "GRAY8"])
def test_vertical_chroma_locations_matter_only_in_420(
    upscale: Any, options: dict[str, Any], name: str
) -> None:
    clip = film_clip(getattr(vs, name))[0]
    bottom_left = upscale(clip.std.SetFrameProps(_ChromaLocation=4), **options).get_frame(0)
    left = upscale(clip.std.SetFrameProps(_ChromaLocation=0), **options).get_frame(0)
    assert_equal_frames(bottom_left, left)


def test_a_clip_is_written_as_y4m(upscale: Any, options: dict[str, Any], tmp_path: Path) -> None:
    clip = upscale(film_clip(), **options)
    written = io.BytesIO()
    clip.output(written, y4m=True)
    header, rest = written.getvalue().split(b"\n", 1)
    assert b"W384 H256" in header
    assert len(rest) == LENGTH * (len(b"FRAME\n") + 384 * 256 * 3 // 2)


@pytest.mark.parametrize(("height", "output"), [(64, 128), (720, 720)])
def test_the_script_for_mpv_upscales_small_films(upscale: Any, height: int, output: int) -> None:
    film = core.std.BlankClip(format=vs.YUV420P8, width=96, height=height)
    runpy.run_path(str(Path(vsr.__file__).with_name("mpv.vpy")), {"video_in": film})
    assert vs.get_output(0).clip.height == output
    vs.clear_outputs()


def has_vapoursynth(mpv: str | None) -> bool:
    if mpv is None:
        return False
    listed = subprocess.run([mpv, "--vf=help"], capture_output=True, text=True, check=False)
    return "vapoursynth" in listed.stdout


@pytest.mark.slow
def test_mpv_shows_all_frames_upscaled(tmp_path: Path) -> None:
    mpv = shutil.which("mpv")
    if mpv is None or not has_vapoursynth(mpv):
        pytest.skip("there is no mpv in the PATH whose --vf=help lists vapoursynth")
    film = write_film(tmp_path / "in.mp4", scenes(WIDTH, HEIGHT, [14, 10]), codec="libx264")
    script = Path(vsr.__file__).with_name("mpv.vpy")
    options = ["--no-config", "--no-audio", f"--vf=vapoursynth={script}"]
    output = tmp_path / "out.mkv"
    subprocess.run([mpv, *options, f"--o={output}", "--ovc=ffv1", str(film)], check=True)
    with av.open(output) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == [(2 * WIDTH, 2 * HEIGHT)] * LENGTH
