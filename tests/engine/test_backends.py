"""Backends compute the same, whatever computes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vsr
from tests.helpers.films import scenes, write_film
from tests.helpers.planes import SPECS, assert_equal_but_for_rounding, farthest, film_planes
from vsr.engine.backends import OpenVinoBackend, TorchBackend, pick_backend, select
from vsr.engine.backends import openvino as openvino_backend
from vsr.engine.backends.openvino import openvino_core
from vsr.engine.backends.openvino_convert import converted, sample_by_rows
from vsr.engine.backends.yuv_step import FoldedStep, build_yuv_step
from vsr.engine.upscale import upscale_video
from vsr.errors import VsrError
from vsr.imaging.colour import ColourSpec, Matrix, Siting
from vsr.imaging.degrade import Degradation, degrade
from vsr.imaging.tensors import moved_grid, sample, to_float
from vsr.media.encode.settings import EncoderSettings
from vsr.metrics.image import psnr_y
from vsr.models import (
    Generator,
    GeneratorConfig,
    Recurrent,
    RecurrentConfig,
    RrdbnetConfig,
    SrresnetConfig,
    build_generator,
)
from vsr.models.int8 import QuantisedConv, calibrate, quantise
from vsr.system.machine import computes_int8
from vsr.zoo.model_file import add_ranges, load_generator, save_generator

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"), [*(("tiny-x4", kind) for kind in SPECS), ("tiny-x2", "left")]
)
def test_folded_colours_equal_rgb_within_one_code_value(name: str, kind: str) -> None:
    """Odd sizes, and a cut."""
    spec = SPECS[kind]
    films = film_planes(spec, 71, 45, 4)
    eager = TorchBackend(vsr.load(name), CPU, (spec, spec))
    folded = OpenVinoBackend(vsr.load(name), (spec, spec), (45, 71))
    for number, planes in enumerate(films):
        one, other = (b.upscale(planes, number in (0, 3)) for b in (eager, folded))
        assert_equal_but_for_rounding(one, other)


@pytest.mark.parametrize(
    "config",
    [SrresnetConfig(channels=8, blocks=1), RrdbnetConfig(channels=8, growth=4, blocks=1)],
    ids=["srresnet", "rrdbnet"],
)
def test_still_image_networks_run_there_too(config: GeneratorConfig) -> None:
    spec = ColourSpec(Matrix.BT601)
    generator = build_generator(config).eval()
    planes = film_planes(spec, 34, 22, 1)[0]
    eager = TorchBackend(generator, CPU, (spec, spec)).upscale(planes, True)
    built = OpenVinoBackend(generator, (spec, spec), (22, 34)).upscale(planes, True)
    assert farthest(eager, built) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-x4", "tiny-x2"])
def test_frames_made_stay_as_they_are(name: str) -> None:
    """While they wait for the encoder, the next ones are made."""
    spec = ColourSpec(Matrix.BT601)
    backend = OpenVinoBackend(vsr.load(name), (spec, spec), (48, 64))
    films = film_planes(spec, 64, 48, 3)
    first = backend.upscale(films[0], True)
    held = tuple(plane.copy() for plane in first)
    for planes in films[1:]:
        backend.upscale(planes, False)
    assert farthest(first, held) == 0


def test_the_head_of_a_folded_step_computes_half_as_many_channels(tiny_model: Path) -> None:
    """Of 4:2:0 there are half as many samples as of RGB."""
    spec = ColourSpec(Matrix.BT601)
    generator = load_generator(tiny_model)
    assert isinstance(generator, Recurrent)
    rgb_channels = generator.head.out_channels
    step, _ = build_yuv_step(generator, (spec, spec), (32, 32))
    assert isinstance(step, FoldedStep)
    assert len(step.luma.bias) + len(step.chroma.bias) == rgb_channels / 2


@pytest.mark.slow
def test_a_state_that_was_kept_goes_on_exactly(tiny_model: Path) -> None:
    spec = ColourSpec(Matrix.BT601)
    films = film_planes(spec, 64, 48, 6)

    def backend() -> OpenVinoBackend:
        return OpenVinoBackend(load_generator(tiny_model), (spec, spec), (48, 64))

    whole, first, second = backend(), backend(), backend()
    wanted = [whole.upscale(planes, number == 0) for number, planes in enumerate(films)]
    for number, planes in enumerate(films[:3]):
        first.upscale(planes, number == 0)
    second.set_state(first.get_state())
    for planes, want in zip(films[3:], wanted[3:], strict=True):
        assert farthest(second.upscale(planes, False), want) == 0


@pytest.mark.slow
def test_what_was_built_is_kept_for_the_next_run_and_a_broken_file_is_made_anew(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ColourSpec(Matrix.BT601)
    films = film_planes(spec, 64, 48, 4)

    def state() -> tuple[torch.Tensor, ...]:
        backend = OpenVinoBackend(load_generator(tiny_model), (spec, spec), (48, 64))
        for number, planes in enumerate(films):
            backend.upscale(planes, number == 0)
        return backend.get_state()

    def comes_again() -> bool:
        return all(map(torch.equal, state(), wanted))

    # To the last bit: what was converted just now, what was read, and what can't be kept.
    wanted = state()
    built = list((tmp_path / "cache" / "vsr" / "openvino").glob("*.xml"))
    assert len(built) == 1
    with monkeypatch.context() as patched:
        patched.setattr(openvino_backend, "converted", None)
        assert comes_again()
    built[0].write_text("broken")
    assert comes_again()
    monkeypatch.setenv("XDG_CACHE_HOME", str(built[0]))
    assert comes_again()


def cached_as(generator: Generator[Any], spec: ColourSpec = ColourSpec(Matrix.BT601)) -> str:
    _, layout = build_yuv_step(generator, (spec, spec), (32, 32))
    return openvino_backend._file_name(generator, layout, (spec, spec))


def test_networks_that_round_by_other_ranges_are_others() -> None:
    generator = vsr.load("tiny-x4")
    assert isinstance(generator, Recurrent)
    wider = {name: (least, 2 * most) for name, (least, most) in generator.int8_ranges.items()}
    rounded = [quantise(generator, ranges) for ranges in (generator.int8_ranges, wider)]
    assert len({cached_as(network) for network in (generator, *rounded)}) == 3


def test_networks_of_other_weights_colours_or_depth_are_others(tiny_model: Path) -> None:
    """Depth of the motion's pyramid: no tensor tells it."""
    generator = load_generator(tiny_model)
    assert isinstance(generator, Recurrent)
    names = {cached_as(generator)}
    for spec in (
        ColourSpec(Matrix.BT709),
        ColourSpec(Matrix.BT601, full_range=True),
        ColourSpec(Matrix.BT601, siting=Siting.CENTER),
        ColourSpec(Matrix.BT601, bit_depth=10),
    ):
        names.add(cached_as(generator, spec))
    assert generator.flow is not None
    generator.flow.levels += 1
    names.add(cached_as(generator))
    with torch.no_grad():
        generator.exit.bias[0] += 1e-6  # type: ignore[index]
    names.add(cached_as(generator))
    assert len(names) == 7


def test_renaming_classes_leaves_the_cache_valid(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cached_as(load_generator(tiny_model))
    monkeypatch.setattr(nn.Module, "_get_name", lambda module: "Renamed")
    assert "Renamed" in repr(load_generator(tiny_model))
    assert cached_as(load_generator(tiny_model)) == before


def test_the_cache_key_describes_what_no_tensor_tells(tiny_model: Path) -> None:
    """Literally: whoever changes it rebuilds every user's cache."""
    generator = vsr.load("tiny-x2")
    assert isinstance(generator, Recurrent)
    shape = {"kind": "recurrent", "scale": 2, "memory": generator.memory, "flow_levels": 4}
    assert openvino_backend._describe_generator(generator) == {**shape, "rounding": {}}
    rounding = openvino_backend._describe_generator(quantise(generator, generator.int8_ranges))
    assert set(rounding["rounding"]["exit"]) == {"scale", "zero", "border"}
    assert openvino_backend._describe_colour(ColourSpec(Matrix.BT709)) == {
        "matrix": "bt709",
        "full_range": False,
        "bit_depth": 8,
        "subsampling": [2, 2],
        "siting": "left",
    }


@pytest.mark.slow
def test_ctrl_c_after_openvino_interrupts_and_does_not_crash(tiny_model: Path) -> None:
    # Freed in another thread, as the collector may: OpenVINO must not take its stack for signals.
    script = """
import gc, os, signal, sys, threading, time
from pathlib import Path
from vsr.zoo.model_file import load_generator
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.engine.backends import OpenVinoBackend
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells may have it ignored
spec = ColourSpec(Matrix.BT709)
held = [OpenVinoBackend(load_generator(Path(sys.argv[1])), (spec, spec), (32, 48))]
def free():
    held.clear()
    gc.collect()
thread = threading.Thread(target=free)
thread.start()
thread.join()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
except KeyboardInterrupt:
    print("interrupted")
"""
    command = [sys.executable, "-c", script, str(tiny_model)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


@pytest.mark.slow
def test_auto_builds_for_long_films_on_a_cpu(tiny_model: Path) -> None:
    generator, spec = load_generator(tiny_model), ColourSpec(Matrix.BT601)

    def picked(name: Any, device: str, frames: int | None, precision: Any = "auto") -> str:
        where = torch.device(device)
        return pick_backend(
            *(name, precision, generator, where, (spec, spec), (48, 64), frames)
        ).name

    assert picked("auto", "cpu", 100).startswith("torch ")
    assert picked("auto", "cpu", 100_000).startswith("openvino ")
    assert picked("torch", "cpu", 100_000).startswith("torch ")
    # What counts is the work: a larger network is worth compiling for fewer frames.
    large = Recurrent(RecurrentConfig(channels=128, blocks=8, memory=8))
    few = 400
    assert picked("auto", "cpu", few).startswith("torch ")
    generator = large
    assert picked("auto", "cpu", few).startswith("openvino ")
    generator = load_generator(tiny_model)
    with pytest.raises(VsrError, match="computes on the CPU, not on cuda"):
        picked("openvino", "cuda", None)
    with pytest.raises(VsrError, match="int8 needs backend openvino"):
        picked("torch", "cpu", None, "int8")
    with pytest.raises(VsrError, match="int8 needs a model with measured ranges"):
        picked("auto", "cpu", None, "int8")


@pytest.mark.slow
def test_a_film_by_either_is_the_same_film(tmp_path: Path, tiny_model: Path) -> None:
    source = write_film(tmp_path / "a.mkv", scenes(64, 48, [6, 5]))
    made = []
    for backend in ("torch", "openvino"):
        output = tmp_path / f"{backend}.mkv"
        summary = upscale_video(
            *(source, output, str(tiny_model)),
            backend=backend,
            settings=EncoderSettings("ffv1"),
        )
        assert summary.backend.startswith(backend)
        made.append(output)
    report = vsr.evaluate(made[1], made[0], metrics=["psnr_y"])
    assert report["psnr_y"].mean > 55


def gliding_lows(frames: int, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture that moves, (T, 3, H, W), and what it was before it was shrunk."""
    target = to_float(torch.from_numpy(np.stack(scenes(192, 128, [frames])))).permute(0, 3, 1, 2)
    return degrade(target, scale, Degradation.BI), target


@pytest.mark.slow
@pytest.mark.parametrize("name", [card.name for card in vsr.list_models()])
def test_eight_bits_cost_less_than_a_tenth_of_a_decibel(name: str) -> None:
    """On pictures that nothing was measured on."""
    generator = vsr.load(name)
    assert isinstance(generator, Recurrent)
    low, target = gliding_lows(12, generator.scale)
    with torch.inference_mode():
        exact, rounded = (
            psnr_y(model(low[None])[0].clamp(0, 1), target).mean()
            for model in (generator, quantise(generator, generator.int8_ranges))
        )
    assert exact != rounded
    assert rounded > exact - 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-x4", "tiny-x2"])
def test_eight_bits_do_not_drift(name: str) -> None:
    """Five hundred frames that stand still."""
    generator = vsr.load(name)
    assert isinstance(generator, Recurrent)
    low, target = gliding_lows(1, generator.scale)
    twin = quantise(generator, generator.int8_ranges)
    with torch.inference_mode():
        state = twin.start(low)
        quality = []
        for _ in range(500):
            high, state = twin.step(low, state)
            quality.append(float(psnr_y(high[0].clamp(0, 1), target[0])))
    assert quality[-1] > quality[30] - 0.05
    assert min(quality[30:]) > quality[30] - 0.05


@pytest.mark.slow
@pytest.mark.skipif(not computes_int8(), reason="needs a processor with VNNI")
def test_openvino_computes_eight_bits_as_torch_foretells() -> None:
    spec = ColourSpec(Matrix.BT601)
    generator = vsr.load("tiny-x4")
    assert isinstance(generator, Recurrent)
    twin = quantise(generator, generator.int8_ranges)
    foretold = TorchBackend(twin, CPU, (spec, spec))
    built = OpenVinoBackend(twin, (spec, spec), (48, 64))
    for number, planes in enumerate(film_planes(spec, 64, 48, 5)):
        one, other = (b.upscale(planes, number == 0) for b in (foretold, built))
        differences = np.abs(one[0].astype(int) - other[0].astype(int))
        # A level of 256 now and then falls the other way, and is added to by the next.
        assert (differences > 1).mean() < 0.005
        assert (differences > 3).mean() < 0.0002


def test_ranges_are_those_that_were_seen_and_survive_a_file(tmp_path: Path) -> None:
    generator = build_generator(RecurrentConfig(channels=4, blocks=1, memory=4, flow_channels=4))
    assert isinstance(generator, Recurrent)
    seen: list[float] = []
    generator.exit.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].max()))
    ranges = calibrate(generator.eval(), [iter(torch.rand(3, 3, 32, 32))])
    trunk = {"entry", "trunk.0.first", "trunk.0.second", "exit", "head"}
    motion = {"layers.0", "layers.2", "layers.4", "finest.0", "finest.2"}
    assert set(ranges) == trunk | {f"flow.{name}" for name in motion}
    assert ranges["exit"][1] == pytest.approx(max(map(float, seen)))
    path = tmp_path / "a.safetensors"
    save_generator(path, generator.state_dict(), RecurrentConfig(
        channels=4, blocks=1, memory=4, flow_channels=4
    ))  # fmt: skip
    assert load_generator(path).int8_ranges == {}
    add_ranges(path, ranges)
    again = load_generator(path)
    assert again.int8_ranges == ranges
    assert all(
        torch.equal(value, again.state_dict()[name])
        for name, value in generator.state_dict().items()
    )


@pytest.mark.parametrize("size", [(21, 34), (2, 5)])
def test_memory_sampled_by_rows_is_memory_sampled(size: tuple[int, int]) -> None:
    """Beyond the borders, too; what has few channels is left to planes."""
    height, width = size

    class Sampler(nn.Module):
        def forward(self, wide: Tensor, narrow: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
            grid = moved_grid(flow)
            return sample(wide, grid), sample(narrow, grid)

    takes = (torch.rand(1, 9, *size), torch.rand(1, 3, *size), 2 * torch.randn(1, 2, *size))
    takes[2][0, :, 0, 0] = -100
    takes[2][0, :, -1, -1] = 100
    model = converted(Sampler(), takes)
    sample_by_rows(model)
    kinds = [node.get_type_name() for node in model.get_ops()]
    assert kinds.count("GridSample") == kinds.count("EmbeddingBagPackedSum") == 1
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    made = openvino_core().compile_model(model, "CPU", settings)([t.numpy() for t in takes])
    for found, wanted in zip(made.values(), Sampler()(*takes), strict=True):
        assert found.shape == (1, wanted.shape[1], height, width)
        assert np.abs(found - wanted.numpy()).max() < 1e-4


def test_a_compiler_that_fails_is_noted_once(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU without a C compiler: tiles are built one by one, each without it."""

    class Uncompiled(TorchBackend):
        def __init__(
            self,
            generator: Generator[Any],
            device: torch.device,
            specs: tuple[ColourSpec, ColourSpec],
            size: tuple[int, int],
            precision: str,
            compiles: bool | None,
            tiled: bool,
        ) -> None:
            if compiles is None:
                raise RuntimeError("Failed to find C compiler.\nPlease specify one via CC.")
            super().__init__(generator, CPU, specs)

    monkeypatch.setattr(select, "GraphBackend", Uncompiled)
    spec = ColourSpec(Matrix.BT601)
    backend = pick_backend(
        name="torch",
        precision="auto",
        generator=load_generator(tiny_model),
        device=torch.device("cuda"),
        specs=(spec, spec),
        size=(300, 600),
        frames=None,
        tiling=256,
    )
    for number, planes in enumerate(film_planes(spec, 600, 300, 2)):
        backend.upscale(planes, number == 0)
    assert backend.notes() == (
        "torch.compile failed (Failed to find C compiler.): frames are computed uncompiled, and "
        "slower",
    )


@pytest.mark.slow
def test_openvino_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    """By itself it reports each import and conversion, and keeps a number to know us by."""
    program = (
        "import sys, torch\n"
        "from vsr.engine.backends.openvino_convert import converted\n"
        "from vsr.engine.backends.openvino import openvino_core\n"
        "openvino_core()\n"
        "converted(torch.nn.Conv2d(3, 3, 1), (torch.rand(1, 3, 8, 8),))\n"
        "assert 'openvino_telemetry' not in sys.modules\n"  # others may import it
    )
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    subprocess.run(
        [sys.executable, "-c", program], env=environment | {"HOME": str(tmp_path)}, check=True
    )
    assert not (tmp_path / "intel").exists()


@pytest.mark.parametrize("flow_channels", [4, 0])
def test_a_rounded_entry_is_a_rounded_convolution(flow_channels: int) -> None:
    """In whatever order it puts together what it sees; with motion and without."""
    config = RecurrentConfig(channels=4, blocks=1, memory=5, flow_channels=flow_channels)
    generator = build_generator(config)
    assert isinstance(generator, Recurrent)
    ranges = calibrate(generator.eval(), [iter(torch.rand(3, 3, 32, 32))])
    seen = [torch.rand(1, channels, 9, 8) for channels in (3, 3, 5, 3)[: 4 if flow_channels else 3]]
    entry = generator.entry
    plain = QuantisedConv(entry.weight, entry.bias, *ranges["entry"])
    with torch.no_grad():
        wanted = plain(torch.cat(seen, dim=1))
        assert torch.allclose(quantise(generator, ranges).entry(*seen), wanted, atol=1e-5)
