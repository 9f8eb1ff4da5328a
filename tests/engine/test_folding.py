"""Scales below a network's own equal its output, resampled."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import vsr
from tests.helpers.films import shifted
from tests.helpers.planes import SPECS, Planes, farthest
from vsr.engine.backends import OpenVinoBackend, TorchBackend
from vsr.engine.backends.base import Backend
from vsr.engine.backends.cuda_graph import GraphBackend
from vsr.engine.backends.tiling import TiledBackend
from vsr.engine.backends.yuv_step import build_yuv_step
from vsr.frames.yuv import planes_to_rgb, rgb_to_planes
from vsr.imaging.colour import ColourSpec
from vsr.models import Recurrent, SrresnetConfig, build_generator
from vsr.models.folding import with_scale
from vsr.models.int8 import quantise
from vsr.system.machine import computes_int8
from vsr.zoo.model_file import load_generator

CPU = torch.device("cpu")
_BEYOND = 3
"""Low-resolution pixels beyond the border that the reference computes."""


class Reference(torch.nn.Module):
    """The larger picture, computed beyond the border and resampled by `torch.interpolate`."""

    def __init__(self, generator: Recurrent, scale: int) -> None:
        super().__init__()
        self.generator, self.scale = generator, scale
        self.state: Any = None

    def forward(self, low: Tensor, begins_shot: bool) -> Tensor:
        generator = self.generator
        if begins_shot:
            self.state = generator.start(low)
        features, low = generator.features(low, self.state)
        self.state = generator.state_type(low, features[:, : generator.memory])
        inputs = F.pad(torch.cat((features, low), 1), [_BEYOND + 1] * 4, mode="replicate")
        head = generator.head
        high = F.pixel_shuffle(F.conv2d(inputs, head.weight, head.bias), generator.scale)
        size = tuple(side * self.scale // generator.scale for side in high.shape[-2:])
        resized = F.interpolate(high, size=size, mode="bicubic", antialias=True)
        beyond = _BEYOND * self.scale
        return resized[..., beyond:-beyond, beyond:-beyond]


def unfolded(generator: Recurrent, scale: int, films: list[Planes], spec: ColourSpec) -> Any:
    reference = Reference(generator, scale)
    with torch.inference_mode():
        for number, planes in enumerate(films):
            low = planes_to_rgb(planes, spec, CPU)[None]
            yield rgb_to_planes(reference(low, number == 0)[0], spec)


def views(spec: ColourSpec, width: int, height: int, frames: int) -> list[Planes]:
    """A photograph under a moving camera, as planes."""
    return [
        rgb_to_planes(shifted(3 * number)[:, -height:, :width], spec) for number in range(frames)
    ]


def assert_equals_the_unfolded_way(
    backend: Backend,
    name: str,
    scale: int,
    spec: ColourSpec,
    size: tuple[int, int] = (26, 38),
) -> None:
    films = views(spec, size[1], size[0], 3)
    generator = vsr.load(name)
    assert isinstance(generator, Recurrent)
    for number, wanted in enumerate(unfolded(generator, scale, films, spec)):
        found = backend.upscale(films[number], number == 0)
        assert [plane.shape for plane in found] == [plane.shape for plane in wanted]
        assert int(wanted[0].max()) - int(wanted[0].min()) > 100  # a picture, not a surface
        assert farthest(found, wanted) <= 1


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("colours", SPECS)
@pytest.mark.parametrize(
    ("scale", "size"), [(1, (24, 36)), (1, (26, 38)), (2, (26, 38)), (3, (26, 38))]
)
def test_a_folded_head_equals_the_resampled_picture(
    scale: int, size: tuple[int, int], colours: str
) -> None:
    """Planes of each layout, to the border; four pixels share a cell, or two."""
    spec = SPECS[colours]
    generator = with_scale(vsr.load("tiny-x4"), scale)
    backend = GraphBackend(generator, CPU, (spec, spec), size, "f32")
    assert_equals_the_unfolded_way(backend, "tiny-x4", scale, spec, size)


@pytest.mark.parametrize(("name", "scale"), [("tiny-x4", 3), ("tiny-x2", 1)])
def test_torch_computes_folded_scales(name: str, scale: int) -> None:
    spec = SPECS["left"]
    backend = TorchBackend(with_scale(vsr.load(name), scale), CPU, (spec, spec))
    assert_equals_the_unfolded_way(backend, name, scale, spec)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "colours"), [(1, "left"), (3, "top left, 10 bit")])
def test_openvino_computes_folded_scales(scale: int, colours: str) -> None:
    spec = SPECS[colours]
    backend = OpenVinoBackend(with_scale(vsr.load("tiny-x4"), scale), (spec, spec), (26, 38))
    assert_equals_the_unfolded_way(backend, "tiny-x4", scale, spec)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_rounded_to_eight_bits_both_ways_are_equal(scale: int) -> None:
    """Except at the border, where the reference stops."""
    spec = SPECS["left"]
    generator = vsr.load("tiny-x4")
    assert isinstance(generator, Recurrent)
    folded, rounded = (
        quantise(network, generator.int8_ranges)
        for network in (with_scale(generator, scale), generator)
    )
    (planes,) = views(spec, 38, 26, 1)
    found = GraphBackend(folded, CPU, (spec, spec), (26, 38), "f32").upscale(planes, True)
    low = planes_to_rgb(planes, spec, CPU)[None]
    with torch.inference_mode():
        high, _ = rounded.step(low, rounded.start(low))
        size = (26 * scale, 38 * scale)
        wanted = rgb_to_planes(F.interpolate(high, size, mode="bicubic", antialias=True)[0], spec)
    edge = 3 * scale
    assert (
        farthest(*(tuple(p[edge:-edge, edge:-edge] for p in film) for film in (found, wanted))) <= 1
    )


@pytest.mark.slow
@pytest.mark.skipif(not computes_int8(), reason="needs a processor with VNNI")
def test_openvino_computes_folded_scales_in_eight_bits() -> None:
    spec = SPECS["left"]
    generator = with_scale(vsr.load("tiny-x4"), 1)
    twin = quantise(generator, generator.int8_ranges)
    (planes,) = views(spec, 38, 26, 1)
    expected = TorchBackend(twin, CPU, (spec, spec)).upscale(planes, True)
    found = OpenVinoBackend(twin, (spec, spec), (26, 38), "int8").upscale(planes, True)
    assert farthest(found, expected) <= 1


def test_no_sample_of_the_larger_picture_is_computed(tiny_model: Path) -> None:
    spec = SPECS["left"]
    generator = with_scale(load_generator(tiny_model), 1)
    step, layout = build_yuv_step(generator, (spec, spec), (26, 38))
    sizes = [output.numel() for output in step(*layout.frame, *layout.state)[:2]]
    assert sum(sizes) <= 1.5 * 26 * (38 + 1)


@pytest.mark.parametrize(("scale", "odd"), [(1, 0), (3, 0), (1, 1)])
def test_tiles_of_folded_scales_equal_the_frame(scale: int, odd: int, tiny_model: Path) -> None:
    spec = SPECS["left"]
    generator = with_scale(load_generator(tiny_model), scale)

    def build(size: tuple[int, int], tiled: bool) -> Backend:
        return GraphBackend(generator, CPU, (spec, spec), size, "f32", tiled=tiled)

    height, width = 128 - odd, 320 - odd
    tiled = TiledBackend(build, (height, width), 256, scale, (spec, spec), generator.flow)
    whole = build((height, width), False)
    sizes = (height, width), *2 * [(64, 160)]
    film = [
        tuple(np.tile(p, (1, 2))[:h, :w] for p, (h, w) in zip(planes, sizes, strict=True))
        for planes in views(spec, 160, 128, 2)
    ]
    for number, planes in enumerate(film):
        one, other = (backend.upscale(planes, number == 0) for backend in (tiled, whole))
        assert farthest(one, other) <= 1


def test_frames_of_odd_sides_are_computed_as_rgb(tiny_model: Path) -> None:
    """Their last chroma sample belongs to half a cell."""
    spec = SPECS["left"]
    generator = with_scale(load_generator(tiny_model), 1)
    (planes,) = views(spec, 37, 25, 1)
    found = GraphBackend(generator, CPU, (spec, spec), (25, 37), "f32").upscale(planes, True)
    wanted = TorchBackend(generator, CPU, (spec, spec)).upscale(planes, True)
    assert farthest(found, wanted) <= 1


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_output_of_other_networks_is_resampled(scale: int) -> None:
    torch.manual_seed(0)
    generator = build_generator(SrresnetConfig(channels=4, blocks=1)).eval()
    low = torch.rand(2, 3, 9, 8)
    with torch.inference_mode():
        high, _ = generator.step(low, generator.start(low))
        wanted = F.interpolate(high, (9 * scale, 8 * scale), mode="bicubic", antialias=True)
        resampled = with_scale(generator, scale)
        found, _ = resampled.step(low, resampled.start(low))
    assert found.shape == wanted.shape
    inside = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    assert torch.allclose(found[inside], wanted[inside], atol=1e-5)


def test_a_scale_above_the_network_is_an_error(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match=r"scale 5 is not in 1\.\.4"):
        with_scale(load_generator(tiny_model), 5)
