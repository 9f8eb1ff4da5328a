"""The way that frames go on a GPU; here on a CPU as well, without streams and graphs."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import vsr
from tests.helpers.planes import SPECS, Planes, assert_equal_but_for_rounding, farthest, film_planes
from vsr.engine.backends import GraphBackend, TorchBackend, pick_backend
from vsr.engine.backends.yuv_step import build_yuv_step
from vsr.errors import VsrError
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.models import GeneratorConfig, RrdbnetConfig, SrresnetConfig, build_generator
from vsr.models.half import to_half
from vsr.zoo.model_file import load_generator

BT601 = ColourSpec(Matrix.BT601)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(request.param)


def small_backend(model: Path, device: torch.device, precision: str) -> GraphBackend:
    return GraphBackend(load_generator(model), device, (BT601, BT601), (48, 64), precision)


def test_planes_equal_those_of_torch_within_one_code_value(device: torch.device) -> None:
    """Odd sizes, and a cut."""
    generator = vsr.load("tiny-x4")
    for spec in SPECS.values():
        films = film_planes(spec, 71, 45, 4)
        eager = TorchBackend(generator, torch.device("cpu"), (spec, spec))
        graphs = GraphBackend(vsr.load("tiny-x4"), device, (spec, spec), (45, 71), "f32")
        for number, planes in enumerate(films):
            one, other = (b.upscale(planes, number in (0, 3)) for b in (eager, graphs))
            assert_equal_but_for_rounding(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-x4", "tiny-x2"])
@pytest.mark.parametrize("kind", ["left", "top left, 10 bit"])
def test_halves_change_no_sample_by_more_than_one(
    device: torch.device, name: str, kind: str
) -> None:
    spec = SPECS[kind]
    backends = [
        GraphBackend(vsr.load(name), device, (spec, spec), (96, 128), precision)
        for precision in ("f32", "f16")
    ]
    beyond = samples = 0
    for number, planes in enumerate(film_planes(spec, 128, 96, 12)):
        one, other = (b.upscale(planes, number == 0) for b in backends)
        for a, b in zip(one, other, strict=True):
            beyond += int((np.abs(a.astype(int) - b.astype(int)) > 1).sum())
            samples += a.size
    assert beyond <= samples / 1000


@pytest.mark.slow
@pytest.mark.parametrize("what", ["black", "white", "noise"])
def test_nothing_becomes_infinite(device: torch.device, what: str) -> None:
    spec = SPECS["top left, 10 bit"]
    random = np.random.default_rng(0)
    backend = GraphBackend(vsr.load("tiny-x4"), device, (spec, spec), (32, 48), "f16")
    for number in range(30):
        shapes = ((32, 48), (16, 24), (16, 24))
        if what == "noise":
            planes = tuple(random.integers(0, 1024, shape, dtype=np.uint16) for shape in shapes)
        else:
            luma = 0 if what == "black" else 1023
            planes = tuple(
                np.full(shape, value, np.uint16)
                for shape, value in zip(shapes, (luma, 512, 512), strict=True)
            )
        luma_made = backend.upscale(planes, number == 0)[0]
        state = backend.get_state()
        assert all(bool(torch.isfinite(part).all()) for part in state)
    if what != "noise":
        assert luma_made.min() >= 1000 if what == "white" else luma_made.max() <= 20


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_frames_begun_before_others_are_fetched_are_the_same(
    device: torch.device, precision: str, tiny_model: Path
) -> None:
    films = film_planes(BT601, 64, 48, 8)
    one_by_one, ahead = (small_backend(tiny_model, device, precision) for _ in range(2))
    wanted = [one_by_one.upscale(planes, number == 0) for number, planes in enumerate(films)]
    waiting = [ahead.submit(planes, number == 0) for number, planes in enumerate(films)]
    made = [wait() for wait in waiting]
    assert all(farthest(one, other) == 0 for one, other in zip(made, wanted, strict=True))
    assert any(farthest(one, other) for one, other in pairwise(made))
    # Fetched frames leave their buffers to those that follow.
    assert (len(ahead._free), len(one_by_one._free)) == (8, 1)


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_a_state_that_was_kept_goes_on_exactly(
    device: torch.device, precision: str, tiny_model: Path
) -> None:
    films = film_planes(BT601, 64, 48, 7)
    whole, first, second = (small_backend(tiny_model, device, precision) for _ in range(3))
    assert first.get_state() == ()
    wanted = [whole.upscale(planes, number == 0) for number, planes in enumerate(films)]
    for number, planes in enumerate(films[:3]):
        first.upscale(planes, number == 0)
    second.set_state(first.get_state())
    for planes, want in zip(films[3:], wanted[3:], strict=True):
        assert farthest(second.upscale(planes, False), want) == 0


@pytest.mark.parametrize(
    "config",
    [SrresnetConfig(channels=8, blocks=1), RrdbnetConfig(channels=8, growth=4, blocks=1)],
    ids=["srresnet", "rrdbnet"],
)
def test_still_image_networks_go_that_way_too(
    device: torch.device, config: GeneratorConfig
) -> None:
    generator = build_generator(config).eval()
    planes = film_planes(BT601, 34, 22, 1)[0]
    eager = TorchBackend(generator, torch.device("cpu"), (BT601, BT601)).upscale(planes, True)
    for precision in ("f32", "f16"):
        graphs = GraphBackend(generator, device, (BT601, BT601), (22, 34), precision)
        assert graphs.get_state() == ()
        assert farthest(eager, graphs.upscale(planes, True)) <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_in_halves_unless_asked() -> None:
    for precision, named in (("auto", "f16"), ("f32", "f32")):
        backend = pick_backend(
            *("auto", precision, vsr.load("tiny-x4"), torch.device("cuda")),  # type: ignore[arg-type]
            specs=(BT601, BT601),
            size=(48, 64),
            frames=10,
        )
        assert backend.name.split()[-1] == named


def test_halves_are_for_gpus() -> None:
    with pytest.raises(VsrError, match="f16 is for GPUs, and slower than f32 on cpu; use f32"):
        pick_backend(
            *("auto", "f16", vsr.load("tiny-x4"), torch.device("cpu")),
            specs=(BT601, BT601),
            size=(48, 64),
            frames=10,
        )


def test_frames_made_stay_as_they_are(device: torch.device) -> None:
    backend = GraphBackend(vsr.load("tiny-x2"), device, (BT601, BT601), (48, 64))
    films = film_planes(BT601, 64, 48, 3)
    first = backend.upscale(films[0], True)
    held: Planes = tuple(plane.copy() for plane in first)
    for planes in films[1:]:
        backend.upscale(planes, False)
    assert farthest(first, held) == 0


class Recorder(TorchDispatchMode):
    """The names of all operations, beneath autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ) -> Any:
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", [card.name for card in vsr.list_models()])
@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_a_step_can_be_captured(name: str, precision: str) -> None:
    """It copies no number of Python's to the device, which no graph can hold, and asks for none."""
    generator = vsr.load(name) if precision == "f32" else to_half(vsr.load(name))
    step, layout = build_yuv_step(generator, (BT601, BT601), (48, 64))
    with torch.no_grad(), Recorder() as recorder:
        step(*layout.frame, *layout.state)
        assert "convolution" in recorder.seen
        assert not recorder.seen & {"lift_fresh", "_local_scalar_dense", "nonzero"}
        torch.tensor((1.0, 2.0)).sum().item()
        assert recorder.seen >= {"lift_fresh", "_local_scalar_dense"}
