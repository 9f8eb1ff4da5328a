"""Frames that stay where they were decoded; without a GPU, raw film is laid out like NVDEC's."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame

from tests.helpers.films import scenes, write_film
from vsr.engine.backends import GraphBackend, TorchBackend
from vsr.engine.upscale import upscale_video
from vsr.frames.gpu_surface import is_on_device, small_planes, surface_planes
from vsr.frames.shots import mark_cuts
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.media.decode.hw_surface import Surface
from vsr.media.decode.reader import VideoReader
from vsr.media.fingerprint import fingerprint_of
from vsr.media.frame import Frame, PixelLayout
from vsr.media.pyav import planes_of
from vsr.zoo.model_file import load_generator

CPU = torch.device("cpu")
NV12, P010 = "nv12", "p010le"


def both_ways(
    pixel_format: str, lengths: list[int], size: tuple[int, int]
) -> tuple[list[Frame], list[Frame]]:
    """Frames of scenes as they are left by a decoder, and as they come to memory."""
    layout = PixelLayout(8 if pixel_format == NV12 else 10)
    stay, come = [], []
    for pts, picture in enumerate(scenes(*size, lengths)):
        decoded = VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixel_format)
        assert Surface.fits(decoded, layout)
        stay.append(Frame(Surface(decoded, layout), pts))
        come.append(Frame(planes_of(decoded, layout), pts))
    return stay, come


def surface_of(frame: Frame) -> Surface:
    assert isinstance(frame.planes, Surface)
    return frame.planes


def is_fetched(surface: Surface) -> bool:
    return "_fetched" in surface.__dict__


@pytest.mark.parametrize("pixel_format", [NV12, P010])
def test_samples_are_the_same_where_they_are_and_in_memory(pixel_format: str) -> None:
    stay, come = both_ways(pixel_format, [3], (64, 48))
    for here, there in zip(stay, come, strict=True):
        surface = surface_of(here)
        assert surface.size == (48, 64)
        assert len(surface) == 3
        seen = [plane.numpy() for plane in surface_planes(surface)]
        assert not is_fetched(surface)
        for plane, fetched, wanted in zip(seen, surface, there.planes, strict=True):
            assert plane.dtype == (np.uint8 if pixel_format == NV12 else np.int16)
            assert np.array_equal(plane.astype(int), wanted.astype(int))
            assert fetched.dtype == wanted.dtype
            assert np.array_equal(fetched, wanted)
        assert is_fetched(surface)
        assert fingerprint_of(here) == fingerprint_of(there)
    assert len({fingerprint_of(frame) for frame in stay}) == 3


def raw_film(path: Path, pixel_format: str, size: tuple[int, int]) -> Path:
    times, rate = range(3), Fraction(1, 25)
    raw = {"codec": "rawvideo", "pixel_format": pixel_format}
    return write_film(path, scenes(*size, [3]), pts=times, time_base=rate, **raw)  # type: ignore[arg-type]


def test_a_reader_leaves_frames_on_the_gpu_if_asked(tmp_path: Path) -> None:
    path = raw_film(tmp_path / "a.nut", NV12, (64, 48))
    with VideoReader(path, keep_on_gpu=True) as one, VideoReader(path) as other:
        for here, there in zip(one.frames(), other.frames(), strict=True):
            assert not is_fetched(surface_of(here))
            assert isinstance(there.planes, tuple)
            assert fingerprint_of(here) == fingerprint_of(there)


@pytest.mark.parametrize(
    ("pixel_format", "size"), [(NV12, (63, 48)), (NV12, (64, 47)), ("yuv420p", (64, 48))]
)
def test_what_does_not_fit_comes_to_memory(
    tmp_path: Path, pixel_format: str, size: tuple[int, int]
) -> None:
    """Odd sizes, whose last row of chroma isn't exported, and other layouts."""
    path = raw_film(tmp_path / "a.nut", pixel_format, size)
    with VideoReader(path, keep_on_gpu=True) as one, VideoReader(path) as other:
        for here, there in zip(one.frames(), other.frames(), strict=True):
            assert isinstance(here.planes, tuple)
            assert fingerprint_of(here) == fingerprint_of(there)


@pytest.mark.parametrize("pixel_format", [NV12, P010])
def test_small_pictures_are_means_of_areas(pixel_format: str) -> None:
    stay, come = both_ways(pixel_format, [1], (64, 48))
    y, cb, cr = small_planes(surface_of(stay[0]), (12, 16))
    wanted = come[0].planes[0].astype(float).reshape(12, 4, 16, 4).mean(axis=(1, 3))
    assert y.dtype == np.uint8
    assert np.abs(y - wanted / (1 if pixel_format == NV12 else 4)).max() <= 0.5
    assert cb.shape == cr.shape == (12, 16)


@pytest.mark.parametrize("pixel_format", [NV12, P010])
def test_cuts_are_found_where_frames_are(pixel_format: str) -> None:
    stay, come = both_ways(pixel_format, [9, 8, 10], (256, 192))
    for frames in (stay, come):
        assert [number for number, (_, cut) in enumerate(mark_cuts(frames)) if cut] == [0, 9, 17]
    assert not any(is_fetched(surface_of(frame)) for frame in stay)


@pytest.mark.parametrize("pixel_format", [NV12, P010])
def test_a_backend_takes_frames_from_where_they_are(tiny_model: Path, pixel_format: str) -> None:
    stay, come = both_ways(pixel_format, [5], (64, 48))
    spec = ColourSpec(Matrix.BT709, bit_depth=8 if pixel_format == NV12 else 10)
    one, other = (
        GraphBackend(load_generator(tiny_model), CPU, (spec, spec), (48, 64), "f32")
        for _ in range(2)
    )
    for number, (here, there) in enumerate(zip(stay, come, strict=True)):
        made = [b.upscale(f.planes, number == 0) for b, f in ((one, here), (other, there))]
        assert all(map(np.array_equal, *made))
        assert not is_fetched(surface_of(here))
    eager = TorchBackend(load_generator(tiny_model), CPU, (spec, spec))
    assert len(eager.upscale(stay[0].planes, True)) == 3
    assert is_fetched(surface_of(stay[0]))  # any other asks for them


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_a_card_keeps_what_it_decodes(tmp_path: Path, tiny_model: Path, pixel_format: str) -> None:
    """The whole way: the same film comes of it as of the CPU's decoder."""
    film = write_film(
        tmp_path / "a.mkv", scenes(256, 192, [12, 9]), codec="libx265", pixel_format=pixel_format
    )
    device = torch.device("cuda", 0)
    with VideoReader(film, decoder="gpu", keep_on_gpu=True) as one, VideoReader(film) as other:
        if not one.on_gpu:
            pytest.skip("this GPU doesn't decode it")
        for here, there in zip(one.frames(), other.frames(), strict=True):
            surface = surface_of(here)
            assert is_on_device(surface, device)
            torch.cuda.synchronize()
            for plane, wanted in zip(surface_planes(surface), there.planes, strict=True):
                assert plane.device == device
                assert np.array_equal(plane.cpu().numpy().astype(int), wanted.astype(int))
            assert fingerprint_of(here) == fingerprint_of(there)
    made = []
    for decoder in ("cpu", "gpu"):
        path = tmp_path / f"{decoder}.mkv"
        upscale_video(film, path, str(tiny_model), decoder=decoder, device="cuda")
        with VideoReader(path) as reader:
            made.append([fingerprint_of(frame) for frame in reader.frames()])
    assert made[0] == made[1]
    assert len(made[0]) == 21
