"""ONNX Runtime computes what torch computes, and its providers are chosen by name."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import vsr
from tests.helpers.films import scenes, write_film
from tests.helpers.planes import SPECS, Planes, assert_equal_but_for_rounding, farthest, film_planes
from vsr.engine.backends import OnnxBackend, Provider, TorchBackend, onnx_providers, pick_backend
from vsr.engine.backends.onnx_providers import PROVIDERS, pick_provider
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import VsrError
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.models import Generator, SrresnetConfig, build_generator
from vsr.zoo.model_file import load_generator

CPU = torch.device("cpu")
BT601 = ColourSpec(Matrix.BT601)


def still_generator() -> Generator[Any]:
    return build_generator(SrresnetConfig(channels=8, blocks=1)).eval()


@pytest.mark.slow
def test_planes_equal_those_of_torch_within_one_code_value() -> None:
    """Odd sizes, ten bits, and a cut."""
    spec = SPECS["top left, 10 bit"]
    eager = TorchBackend(vsr.load("tiny-x4"), CPU, (spec, spec))
    runtime = OnnxBackend(vsr.load("tiny-x4"), (spec, spec), (45, 71))
    for number, planes in enumerate(film_planes(spec, 71, 45, 4)):
        one, other = (b.upscale(planes, number in (0, 3)) for b in (eager, runtime))
        assert_equal_but_for_rounding(one, other)


def test_still_image_networks_run_without_a_state() -> None:
    generator = still_generator()
    eager = TorchBackend(generator, CPU, (BT601, BT601))
    runtime = OnnxBackend(generator, (BT601, BT601), (22, 34))
    for planes in film_planes(BT601, 34, 22, 2):
        assert farthest(eager.upscale(planes, False), runtime.upscale(planes, False)) <= 1
    assert runtime.get_state() == ()


@pytest.fixture(scope="module")
def whole_run(tiny_model: Path) -> tuple[list[Planes], tuple[torch.Tensor, ...]]:
    """Four frames in f32, and the state before the third."""
    backend = OnnxBackend(load_generator(tiny_model), (BT601, BT601), (48, 64))
    outputs = []
    saved: tuple[torch.Tensor, ...] = ()
    for number, planes in enumerate(film_planes(BT601, 64, 48, 4)):
        saved = backend.get_state() if number == 2 else saved
        outputs.append(backend.upscale(planes, number == 0))
    return outputs, saved


@pytest.mark.slow
def test_random_weights_give_the_planes_of_torch(
    tiny_model: Path, whole_run: tuple[list[Planes], tuple[torch.Tensor, ...]]
) -> None:
    eager = TorchBackend(load_generator(tiny_model), CPU, (BT601, BT601))
    for number, planes in enumerate(film_planes(BT601, 64, 48, 4)):
        assert farthest(eager.upscale(planes, number == 0), whole_run[0][number]) <= 1


@pytest.mark.slow
def test_a_saved_state_continues_exactly(
    tiny_model: Path, whole_run: tuple[list[Planes], tuple[torch.Tensor, ...]]
) -> None:
    outputs, saved = whole_run
    backend = OnnxBackend(load_generator(tiny_model), (BT601, BT601), (48, 64))
    backend.set_state(saved)
    for planes, want in zip(film_planes(BT601, 64, 48, 4)[2:], outputs[2:], strict=True):
        assert farthest(backend.upscale(planes, False), want) == 0


@pytest.mark.slow
def test_f16_differs_by_no_more_than_one_code_value(
    tiny_model: Path, whole_run: tuple[list[Planes], tuple[torch.Tensor, ...]]
) -> None:
    """The CPU computes f16 in f32 and rounds, which a GPU needn't."""
    backend = OnnxBackend(load_generator(tiny_model), (BT601, BT601), (48, 64), precision="f16")
    for number, planes in enumerate(film_planes(BT601, 64, 48, 4)):
        assert farthest(backend.upscale(planes, number == 0), whole_run[0][number]) <= 1
    assert backend.get_state()[1].dtype == torch.float16


def test_the_count_of_threads_is_that_of_every_machine() -> None:
    """The last bits depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        backend = OnnxBackend(still_generator(), (BT601, BT601), (16, 16))
    finally:
        torch.set_num_threads(threads)
    assert backend._session.get_session_options().intra_op_num_threads == 4


@pytest.mark.slow
def test_tiles_equal_those_of_torch(tiny_model: Path) -> None:
    def backend(name: Any) -> Any:
        return pick_backend(
            name=name,
            precision="f32",
            generator=load_generator(tiny_model),
            device=CPU,
            specs=(BT601, BT601),
            size=(40, 300),
            frames=None,
            tiling=256,
        )

    backends = backend("torch"), backend("onnx")
    assert "on cpu in tiles of " in backends[1].name
    for number, planes in enumerate(film_planes(BT601, 300, 40, 3)):
        one, other = (backend.upscale(planes, number == 0) for backend in backends)
        assert farthest(one, other) <= 1
    assert farthest(*(tuple(s.numpy() for s in b.get_state()[:1]) for b in backends)) <= 1


def test_the_provider_is_part_of_the_identity_of_a_job(tmp_path: Path, tiny_model: Path) -> None:
    source = write_film(tmp_path / "a.mkv", scenes(64, 48, [2]))
    options = UpscaleOptions(str(tiny_model), backend="onnx", provider="cpu")
    session = UpscaleSession(source, options, ".mkv")
    with session.reader:
        identity = session.identity()
    assert identity["device"] == "cpu"
    assert identity["backend"].startswith("onnxruntime ")
    assert identity["backend"].endswith(" f32 on cpu")
    assert Provider("cuda", 1).kind == "cuda"  # equal devices compute equal films


@pytest.mark.parametrize(
    ("provider", "device", "line"),
    [
        (
            "directml",
            "auto",
            "provider directml isn't installed: pip install onnxruntime-directml on Windows; ",
        ),
        ("cuda:1", "auto", "provider cuda isn't installed: pip install onnxruntime-gpu; "),
        ("metal", "auto", "unknown provider 'metal'; use auto, cuda, tensorrt, migraphx, "),
        ("cuda:x", "auto", "provider 'cuda:x': cuda takes a number after the colon"),
        ("cpu:1", "auto", "provider 'cpu:1': cpu takes no number"),
        ("auto", "mps", "no installed provider of ONNX Runtime computes on mps; installed: cpu"),
        ("cpu", "cuda", "provider cpu doesn't compute on cuda; omit --device and --workers"),
    ],
)
def test_a_provider_that_cannot_be_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch, provider: str, device: str, line: str
) -> None:
    monkeypatch.setattr(onnx_providers, "installed_providers", lambda: ("cpu",))
    with pytest.raises(VsrError) as error:
        pick_provider(provider, device)
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(
    ("name", "device", "found"),
    [
        ("auto", "auto", Provider("cuda")),
        ("auto", "cuda:2", Provider("cuda", 2)),
        ("auto", "cpu", Provider("cpu")),
        ("auto", "mps", Provider("coreml")),
        ("auto", "intel-npu", Provider("openvino", device_type="NPU")),
        ("openvino", "auto", Provider("openvino")),
        ("tensorrt:1", "auto", Provider("tensorrt", 1)),
        ("directml:1", "auto", Provider("directml", 1)),
    ],
)
def test_auto_follows_the_device(
    monkeypatch: pytest.MonkeyPatch, name: str, device: str, found: Provider
) -> None:
    monkeypatch.setattr(onnx_providers, "installed_providers", lambda: tuple(PROVIDERS))
    assert pick_provider(name, device) == found


def test_providers_that_choose_kernels_by_time_are_kept_from_it() -> None:
    """A resumed run must compute the same bits."""
    (tensorrt, engines), (cuda, kernels) = Provider("tensorrt", 1).chain()
    assert (tensorrt, cuda) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert engines["trt_engine_cache_enable"] == "1"
    assert kernels == {"device_id": "1", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}


def test_a_provider_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime only logs that a library is missing, and computes on the CPU."""
    chain = Provider("cpu").chain()
    monkeypatch.setattr(Provider, "chain", lambda provider: chain)
    with pytest.raises(VsrError, match="provider cuda can't start: its libraries or its device"):
        OnnxBackend(still_generator(), (BT601, BT601), (16, 16), Provider("cuda"))


def test_precisions_are_those_of_the_provider(tiny_model: Path) -> None:
    def pick(precision: Any, provider: str) -> None:
        pick_backend(
            name="onnx",
            precision=precision,
            generator=load_generator(tiny_model),
            device=CPU,
            specs=(BT601, BT601),
            size=(16, 16),
            frames=None,
            provider=Provider(provider),
        )

    with pytest.raises(VsrError, match="int8 needs backend openvino; backend onnx computes in"):
        pick("int8", "cpu")
    with pytest.raises(VsrError, match="f16 is for GPUs, and slower than f32 by provider cpu"):
        pick("f16", "cpu")


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    onnx_providers.import_onnxruntime.cache_clear()
    with pytest.raises(
        VsrError, match=r"backend onnx needs onnxruntime: pip install 'vsr\[onnx\]'"
    ):
        onnx_providers.installed_providers()


def test_running_out_of_memory_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's errors are no `RuntimeError`, which the engine catches."""
    backend = OnnxBackend(still_generator(), (BT601, BT601), (16, 16))

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        def run_with_iobinding(self, binding: Any) -> None:
            raise Exception("Failed to allocate memory for requested buffer of size 1")

    session = backend._session
    monkeypatch.setattr(backend, "_session", Full())
    with pytest.raises(RuntimeError, match="Failed to allocate memory"):
        backend.upscale(film_planes(BT601, 16, 16, 1)[0], True)
