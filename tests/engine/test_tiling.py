"""Frames computed in tiles equal those computed whole."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch.nn.functional import avg_pool2d

import vsr
from tests.helpers.films import scenes, write_film
from tests.helpers.planes import film_planes
from vsr.engine.backends import (
    AdaptiveTilingBackend,
    Backend,
    GraphBackend,
    OpenVinoBackend,
    TiledBackend,
    TorchBackend,
    pick_backend,
    tile_size,
)
from vsr.engine.backends.coarse_motion import CoarseMotion
from vsr.engine.backends.tile_size import pick_tile_size
from vsr.engine.backends.tiling import OVERLAP_PIXELS, spans
from vsr.engine.upscale import upscale_video
from vsr.errors import VsrError
from vsr.frames.yuv import planes_to_rgb
from vsr.imaging.colour import ColourSpec, Matrix, Subsampling, from_rgb
from vsr.imaging.tensors import to_float
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Plane

CPU = torch.device("cpu")


class Doubler(Backend):
    """Repeats each sample, and adds up luma in its state."""

    name = "doubler"

    def __init__(self, size: tuple[int, int], tiled: bool = False) -> None:
        self.size, self.state = size, torch.zeros(1, *size, 1)

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: torch.Tensor | None = None
    ) -> tuple[Plane, ...]:
        assert planes[0].shape == self.size
        luma = torch.from_numpy(planes[0]).float()[None, :, :, None]
        self.state = luma if begins_shot else self.state + luma
        return tuple(np.repeat(np.repeat(plane, 2, 0), 2, 1) for plane in planes)

    def get_state(self) -> tuple[torch.Tensor, ...]:
        return (self.state,)

    def set_state(self, kept: tuple[torch.Tensor, ...]) -> None:
        (self.state,) = kept


@pytest.mark.parametrize(("length", "tile"), [(1080, 296), (641, 257), (1920, 256), (300, 284)])
def test_tiles_cover_a_side_and_overlap(length: int, tile: int) -> None:
    found = spans(length, tile)
    assert found[0].start == found[0].inner == 0
    assert found[-1].start + tile == found[-1].inner_end == length
    for one, other in pairwise(found):
        assert one.inner_end == other.inner
        assert one.start + tile - other.start >= OVERLAP_PIXELS
        assert other.start % 16 == other.inner % 2 == 0
        # Each seam has half the overlap on either side.
        assert one.start + tile - one.inner_end >= OVERLAP_PIXELS // 2 - 1
        assert other.inner - other.start >= OVERLAP_PIXELS // 2 - 1


def test_tiles_are_as_small_as_does_with_as_few() -> None:
    """24 tiles of 768 x 768 would be half as much again."""
    tiled = TiledBackend(Doubler, (2160, 3840), 768, 2, (SPEC, SPEC))
    assert tiled.name.endswith("in tiles of 720x608")


@pytest.mark.parametrize("subsampling", [(2, 2), (2, 1), (1, 1)])
def test_every_sample_is_put_in_its_place(subsampling: tuple[int, int]) -> None:
    """A backend that looks at nothing around gives the same in tiles."""
    spec = ColourSpec(Matrix.BT709, subsampling=Subsampling(*subsampling))
    across, down = subsampling
    height, width = 520, 770
    random = np.random.default_rng(0)
    planes = [
        random.integers(0, 255, shape, dtype=np.uint8)
        for shape in ((height, width), *[(-(-height // down), -(-width // across))] * 2)
    ]
    tiled = TiledBackend(Doubler, (height, width), 256, 2, (spec, spec))
    whole = Doubler((height, width)).upscale(planes, True)
    for begins in (True, False, False):
        for one, other in zip(tiled.upscale(planes, begins), whole, strict=True):
            assert np.array_equal(one, other)
    (state,) = tiled.get_state()
    assert np.array_equal(state[0, :, :, 0], 3.0 * planes[0])


def sweeping_planes(frames: int, speed: int, width: int, height: int) -> list[tuple[Plane, ...]]:
    """A photograph that a camera sweeps across, by `speed` pixels a frame, and back."""
    picture = cv2.resize(
        data.astronaut(), (width + 6 * speed, height), interpolation=cv2.INTER_AREA
    )
    planes = []
    for number in range(frames):
        left = speed * abs((number + 6) % 12 - 6)
        rgb = to_float(torch.from_numpy(picture[:, left : left + width].copy()))
        planes.append(tuple(plane.numpy() for plane in from_rgb(rgb.permute(2, 0, 1), SPEC)))
    return planes


def built(kind: str, name: str) -> Callable[[tuple[int, int], bool], Backend]:
    generator = vsr.load(name)

    def build(size: tuple[int, int], tiled: bool) -> Backend:
        if kind == "openvino":
            return OpenVinoBackend(generator, (SPEC, SPEC), size, tiled=tiled)
        if kind == "graphs":
            return GraphBackend(generator, CPU, (SPEC, SPEC), size, "f32", tiled=tiled)
        return TorchBackend(vsr.load(name), CPU, (SPEC, SPEC))

    return build


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch", "openvino", "graphs"])
@pytest.mark.parametrize(("name", "speed"), [("tiny-x4", 2), ("tiny-x2", 18)])
def test_seams_stay_within_two_code_values(kind: str, name: str, speed: int) -> None:
    """Shipped models on what moves little and much; odd sides, chroma too."""
    films = sweeping_planes(7, speed, 561, 303)
    build, generator = built(kind, name), vsr.load(name)
    whole = build((303, 561), False)
    tiled = TiledBackend(build, (303, 561), 256, generator.scale, (SPEC, SPEC), generator.flow)
    assert len(tiled._tiles) == 6
    for number, planes in enumerate(films):
        pairs = zip(
            whole.upscale(planes, number == 0), tiled.upscale(planes, number == 0), strict=True
        )
        for one, other in pairs:
            assert np.abs(one.astype(int) - other.astype(int)).max() <= 2


def test_coarse_motion_of_strips_is_that_of_the_frame() -> None:
    flow = vsr.load("tiny-x4").flow
    assert flow is not None
    first, second = sweeping_planes(2, 9, 201, 303)
    before, here = (planes_to_rgb(planes, SPEC, CPU)[None] for planes in (first, second))
    with torch.inference_mode():
        pair = [flow.padded_luma(frame) for frame in (here, before)]
        for _ in range(flow.coarse_level):
            pair = [avg_pool2d(luma, 2) for luma in pair]
        wanted = flow.coarse(*pair)
        whole = flow(here, before)
    motion = CoarseMotion(flow, SPEC)
    assert motion._rows == 256
    found = motion.estimate(second, before)
    assert torch.allclose(found, wanted, atol=1e-5)
    # And a tile that is the whole frame finds what the frame does.
    part = motion.crop(found, (0, 0), (303, 201))
    assert torch.allclose(flow(here, before, part), whole, atol=1e-4)


def test_memory_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = vsr.load("tiny-x4")

    def picked(tiling: Any, memory: int) -> int | None:
        monkeypatch.setattr(tile_size, "memory_bytes", lambda device: memory)
        return pick_tile_size(tiling, generator, CPU, (1080, 1920))

    assert picked("auto", 20 * 10**9) is None
    side = picked("auto", 2 * 10**9)
    assert side is not None
    assert 300 < side < 700
    assert picked("off", 10**6) is None
    assert picked(512, 0) == 512
    assert picked(4000, 0) is None
    with pytest.raises(VsrError, match="not enough memory on cpu"):
        picked("auto", 10**6)
    with pytest.raises(VsrError, match="tiles of 100 pixels are too small; use 256 or more"):
        picked(100, 0)


@pytest.mark.slow
def test_a_film_in_tiles_goes_on_as_any(tmp_path: Path, tiny_model: Path) -> None:
    source = write_film(tmp_path / "a.mkv", scenes(320, 280, [4]))
    summary = upscale_video(
        *(source, tmp_path / "b.mkv", str(tiny_model)),
        tiling=256,
        settings=EncoderSettings("ffv1"),
    )
    assert "in tiles of 208x184" in summary.backend
    whole = upscale_video(
        *(source, tmp_path / "c.mkv", str(tiny_model)), settings=EncoderSettings("ffv1")
    )
    assert "tiles" not in whole.backend
    report = vsr.evaluate(tmp_path / "b.mkv", tmp_path / "c.mkv", metrics=["psnr_y"])
    assert report["psnr_y"].mean > 50


@pytest.mark.slow
def test_states_of_tiles_are_kept_and_taken_up() -> None:
    spec = ColourSpec(Matrix.BT601)
    generator = vsr.load("tiny-x4")
    films = film_planes(spec, 300, 260, 4)

    def backend() -> Any:
        return pick_backend(
            *("torch", "f32", generator, CPU, (spec, spec), (260, 300), None), tiling=256
        )

    whole, first, second = backend(), backend(), backend()
    wanted = [whole.upscale(planes, number == 0) for number, planes in enumerate(films)]
    for number, planes in enumerate(films[:2]):
        first.upscale(planes, number == 0)
    second.set_state(first.get_state())
    for planes, want in zip(films[2:], wanted[2:], strict=True):
        for one, other in zip(second.upscale(planes, False), want, strict=True):
            assert np.array_equal(one, other)


class Greedy(Backend):
    """Fails for want of memory at some frame, where frames exceed some size."""

    def __init__(self, size: tuple[int, int], most: int, fails_at: int, error: Exception) -> None:
        self.inner = TorchBackend(vsr.load("tiny-x2"), CPU, (SPEC, SPEC))
        self.name, self.frames = "greedy", 0
        self.fails_at, self.error = fails_at, error
        self.is_large = size[0] * size[1] > most
        if self.is_large and fails_at < 0:
            raise error

    def upscale(
        self, planes: Sequence[Plane], begins_shot: bool, coarse: torch.Tensor | None = None
    ) -> tuple[Plane, ...]:
        if self.is_large and self.frames == self.fails_at:
            raise self.error
        self.frames += 1
        return self.inner.upscale(planes, begins_shot, coarse)

    def get_state(self) -> tuple[torch.Tensor, ...]:
        return self.inner.get_state()

    def set_state(self, kept: tuple[torch.Tensor, ...]) -> None:
        self.inner.set_state(kept)


SPEC = ColourSpec(Matrix.BT601)
OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"
    ),
    "openvino": RuntimeError("Exception from src/inference: std::bad_alloc"),
    "python": MemoryError(),
}


@pytest.fixture(scope="module")
def whole_frames() -> list[tuple[Plane, ...]]:
    """The frames that tiles are compared with, upscaled whole by tiny-x2."""
    backend = TorchBackend(vsr.load("tiny-x2"), CPU, (SPEC, SPEC))
    films = film_planes(SPEC, 600, 280, 5)
    return [backend.upscale(planes, number == 0) for number, planes in enumerate(films)]


@pytest.mark.parametrize(
    ("error", "fails_at"),
    [
        ("cuda", 3),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("cuda", -1), ("cuda", 0), ("cpu", 3), ("openvino", 0), ("python", 0))
        ),
    ],
)
def test_without_memory_it_goes_on_in_smaller_tiles(
    whole_frames: list[tuple[Plane, ...]], error: str, fails_at: int
) -> None:
    """No frame is lost or made twice, and all are what whole frames would be."""
    films = film_planes(SPEC, 600, 280, 5)
    fitting = AdaptiveTilingBackend(
        lambda size, tiled: Greedy(size, 100_000, fails_at, OUT_OF_MEMORY[error]),
        *((280, 600), None, 2, (SPEC, SPEC), vsr.load("tiny-x2").flow),
    )
    for number, planes in enumerate(films):
        tiled = fitting.upscale(planes, number == 0)
        for one, other in zip(whole_frames[number], tiled, strict=True):
            assert np.abs(one.astype(int) - other.astype(int)).max() <= 2
    where = f"at frame {fails_at}" if fails_at > 0 else "at the start"
    assert fitting.notes() == (f"out of memory {where}: continued with tiles of 300 pixels",)


def test_a_released_backend_has_no_notes() -> None:
    """Those of the workers take their place."""
    fitting = AdaptiveTilingBackend(
        lambda size, tiled: Greedy(size, 100_000, -1, OUT_OF_MEMORY["cuda"]),
        *((280, 600), None, 2, (SPEC, SPEC), vsr.load("tiny-x2").flow),
    )
    assert fitting.notes()
    fitting.release()
    assert fitting.notes() == ()


def test_where_not_even_tiles_fit_one_line_says_so() -> None:
    def build(size: tuple[int, int], tiled: bool) -> Backend:
        return Greedy(size, 0, -1, MemoryError())

    with pytest.raises(VsrError, match="not enough memory for tiles of 256 pixels"):
        AdaptiveTilingBackend(build, (720, 1280), None, 2, (SPEC, SPEC))
    with pytest.raises(VsrError, match="not enough memory for whole frames; use --tile auto"):
        AdaptiveTilingBackend(build, (720, 1280), None, 2, (SPEC, SPEC), shrinks=False)


def test_other_errors_are_passed_on() -> None:
    def build(size: tuple[int, int], tiled: bool) -> Backend:
        return Greedy(size, 0, 0, RuntimeError("expected 3 channels"))

    backend = AdaptiveTilingBackend(build, (64, 64), None, 2, (SPEC, SPEC))
    with pytest.raises(RuntimeError, match="expected 3 channels"):
        backend.upscale(film_planes(SPEC, 64, 64, 1)[0], True)
