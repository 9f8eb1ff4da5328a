"""Devices that this machine doesn't have: how they are chosen, tried and refused."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import vsr
from tests.helpers.planes import SPECS, farthest, film_planes
from vsr.engine.backends import (
    Backend,
    TorchBackend,
    after_trial,
    pick_backend,
    place,
    placement,
)
from vsr.engine.backends import openvino as openvino_backend
from vsr.errors import VsrError
from vsr.frames.yuv import planes_to_rgb, rgb_to_planes
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.models import RrdbnetConfig, SrresnetConfig, build_generator
from vsr.zoo.model_file import load_generator

CPU, META = torch.device("cpu"), torch.device("meta")
BT601 = ColourSpec(Matrix.BT601)


class FakeCore:
    """OpenVINO on a machine with an Intel GPU and an NPU, which compiles for the CPU instead."""

    available_devices = ("CPU", "GPU.0", "GPU.1", "NPU")

    def __init__(self) -> None:
        self.core = openvino_backend.openvino_core()
        self.compiled: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)

    def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> Any:
        self.compiled.append((device, settings))
        return self.core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.fixture
def fake_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCore:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    core = FakeCore()
    monkeypatch.setattr(openvino_backend, "openvino_core", lambda: core)
    return core


@pytest.fixture
def accelerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose GPU computes nothing."""
    monkeypatch.setattr(placement, "other_accelerator", lambda: META)
    monkeypatch.setattr(placement, "pick_device", lambda name: CPU if name == "auto" else META)


@pytest.mark.usefixtures("accelerated")
def test_a_gpu_that_fails_its_trial_is_replaced_by_the_cpu(tiny_model: Path) -> None:
    chosen = place("auto", "auto", "auto")
    assert chosen.device == META
    tried, note = after_trial(chosen, load_generator(tiny_model))
    assert tried.device == CPU
    assert note.startswith("meta can't compute this model (")
    assert note.endswith("): computed on the CPU")


@pytest.mark.usefixtures("accelerated")
def test_a_named_gpu_that_fails_its_trial_is_one_line(tiny_model: Path) -> None:
    with pytest.raises(VsrError, match=r"meta can't compute this model \(.*\); use --device cpu"):
        after_trial(place("torch", "mps", "auto"), load_generator(tiny_model))


def test_a_gpu_that_computes_otherwise_fails_its_trial(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load_generator(tiny_model)
    assert placement._find_fault(generator, CPU) is None
    doubled = placement._compute
    monkeypatch.setattr(
        placement,
        "_compute",
        lambda network, frames: doubled(network, frames) * (1 if network is generator else 0.5),
    )
    reason = placement._find_fault(generator, CPU)
    assert reason is not None
    assert re.fullmatch(r"it differs from the CPU by \d+ of 255 levels", reason)


@pytest.mark.usefixtures("accelerated")
def test_other_gpus_are_not_chosen_for_int8_or_openvino() -> None:
    assert place("auto", "auto", "auto", "int8").device == CPU
    assert place("openvino", "auto", "auto").device == CPU


@pytest.mark.parametrize(
    ("backend", "device", "provider", "line"),
    [
        ("torch", "intel-gpu", "auto", "backend torch doesn't compute on intel-gpu; use openvino"),
        ("auto", "intel-gpu:2", "auto", "device intel-gpu:2 not found: OpenVINO lists CPU, GPU.0,"),
        ("torch", "cpu", "cuda", "provider cuda is for ONNX Runtime; add --backend onnx"),
    ],
)
def test_contradictions_and_missing_devices_are_one_line(
    fake_core: FakeCore, backend: str, device: str, provider: str, line: str
) -> None:
    with pytest.raises(VsrError) as error:
        place(backend, device, provider)
    assert str(error.value).startswith(line)


@pytest.mark.slow
def test_intel_devices_take_the_way_of_the_cpu(fake_core: FakeCore, tiny_model: Path) -> None:
    def pick(name: str) -> Backend:
        found = place("auto", name, "auto")
        return pick_backend(
            name="auto",
            precision="auto",
            generator=load_generator(tiny_model),
            device=found.device,
            specs=(BT601, BT601),
            size=(32, 48),
            frames=1,
            openvino_device=found.openvino_device,
        )

    backends = [pick(name) for name in ("intel-gpu:1", "intel-npu")]
    hint = {"PERFORMANCE_HINT": "LATENCY"}
    assert fake_core.compiled == [
        ("GPU.1", hint | {"INFERENCE_PRECISION_HINT": "f32"}),
        ("NPU", hint | {"INFERENCE_PRECISION_HINT": "f16"}),
    ]
    assert [b.name.split(maxsplit=2)[2] for b in backends] == ["f32 on GPU", "f16 on NPU"]
    on_cpu = TorchBackend(load_generator(tiny_model), CPU, (BT601, BT601))
    for number, planes in enumerate(film_planes(BT601, 48, 32, 2)):
        want = on_cpu.upscale(planes, number == 0)
        assert all(farthest(b.upscale(planes, number == 0), want) <= 1 for b in backends)


def test_an_npu_has_no_f32(tiny_model: Path) -> None:
    with pytest.raises(VsrError, match="intel-npu computes in f16 or int8; omit --precision f32"):
        pick_backend(
            name="auto",
            precision="f32",
            generator=load_generator(tiny_model),
            device=CPU,
            specs=(BT601, BT601),
            size=(32, 48),
            frames=1,
            openvino_device="NPU",
        )


@pytest.mark.slow
def test_torch_lists_every_operator_of_the_networks_for_other_gpus() -> None:
    """torch's own table of operators: a kernel for the device, or one made of other operators."""
    seen: set[str] = set()

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(
            self, call: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.add(call.name().removeprefix("aten::"))
            return call(*args, **(kwargs or {}))

    networks = [
        vsr.load("tiny-x4"),
        vsr.load("tiny-x2", scale=1),
        build_generator(SrresnetConfig(channels=8, blocks=1)),
        build_generator(RrdbnetConfig(channels=8, growth=4, blocks=1)),
    ]
    with torch.no_grad(), Recorder():
        for network in networks:
            for spec in (SPECS["left"], SPECS["top left, 10 bit"]):
                state: Any = None
                for planes in film_planes(spec, 35, 21, 2):
                    low = planes_to_rgb(planes, spec, CPU)[None]
                    state = network.start(low) if state is None else state
                    high, state = network.step(low, state)
                    rgb_to_planes(high[0], spec)
    table = files("torchgen") / "packaged/ATen/native/native_functions.yaml"
    blocks = table.read_text(encoding="utf-8").split("\n- func: ")[1:]
    entries = {block.partition("(")[0]: block for block in blocks}
    assert "grid_sampler_2d" in seen
    for key in ("MPS", "XPU"):
        assert [name for name in sorted(seen) if not _computes(entries, name, key)] == []


def _computes(entries: dict[str, str], name: str, key: str) -> bool:
    block = entries[name]
    if delegate := re.search(r"structured_delegate: (\S+)", block):
        block = entries[delegate[1]]
    keys = re.findall(r"^    ([\w, ]+):", block, re.MULTILINE)
    listed = {one.strip() for line in keys for one in line.split(",")}
    return not listed or any(one == key or one.startswith("Composite") for one in listed)
