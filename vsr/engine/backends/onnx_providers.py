"""Execution providers of ONNX Runtime: the libraries by which it computes on each hardware."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from vsr.errors import VsrError
from vsr.system.cache import cache_folder

AUTO = "auto"


class Hardware(NamedTuple):
    """What a provider needs, and where it computes."""

    ort_name: str
    package: str
    """The package from PyPI that contains it."""
    devices: tuple[str, ...]
    """The values of `--device`, without an index, that it computes on."""
    memory: str = "cpu"
    """ONNX Runtime's name of the memory in which the state stays between frames."""
    is_chosen: bool = True
    """Whether `auto` may choose it."""
    has_index: bool = True
    """Whether it distinguishes several devices by an index."""
    system: str = ""
    """The only operating system that has it; empty for several."""


PROVIDERS: Mapping[str, Hardware] = {
    "cuda": Hardware("CUDAExecutionProvider", "onnxruntime-gpu", ("cuda",), "cuda"),
    "tensorrt": Hardware(  # takes minutes to start
        "TensorrtExecutionProvider", "onnxruntime-gpu", ("cuda",), "cuda", is_chosen=False
    ),
    "migraphx": Hardware("MIGraphXExecutionProvider", "onnxruntime-migraphx", ("cuda",)),
    "rocm": Hardware("ROCMExecutionProvider", "onnxruntime-rocm", ("cuda",)),
    "directml": Hardware(
        "DmlExecutionProvider", "onnxruntime-directml", (), "dml", system="Windows"
    ),
    "openvino": Hardware(
        "OpenVINOExecutionProvider",
        "onnxruntime-openvino",
        ("cpu", "intel-gpu", "intel-npu"),
        has_index=False,
    ),
    "coreml": Hardware(  # in each package for macOS, whether wanted or not
        "CoreMLExecutionProvider",
        "onnxruntime",
        ("mps",),
        is_chosen=False,
        has_index=False,
        system="macOS",
    ),
    "cpu": Hardware("CPUExecutionProvider", "onnxruntime", ("cpu",), has_index=False),
}
"""By name, in the order in which `auto` chooses."""
_INTEL_DEVICES = {"intel-gpu": "GPU", "intel-npu": "NPU"}


@dataclass(frozen=True)
class Provider:
    """An execution provider and the device that it computes on."""

    name: str
    index: int = 0
    device_type: str = "CPU"
    """For OpenVINO: CPU, GPU or NPU."""

    def __str__(self) -> str:
        """Return the name for the user."""
        if self.device_type != "CPU":
            return f"{self.name} {self.device_type}"
        return f"{self.name}:{self.index}" if self.index else self.name

    @property
    def kind(self) -> str:
        """Return the name without the index: equal devices compute equal films."""
        return str(replace(self, index=0))

    @property
    def hardware(self) -> Hardware:
        """What the provider needs."""
        return PROVIDERS[self.name]

    @property
    def is_gpu(self) -> bool:
        """Whether f16 gains speed."""
        return self.name != "cpu" and self.device_type == "CPU" and self.name != "openvino"

    def chain(self) -> list[tuple[str, dict[str, str]]]:
        """Return ONNX Runtime's list of providers; it adds the CPU's for missing operators."""
        chain = [(self.hardware.ort_name, self.options())]
        if self.name == "tensorrt":
            chain += Provider("cuda", self.index).chain()
        return chain

    def options(self) -> dict[str, str]:
        """Return ONNX Runtime's options: exact arithmetic, and the same kernels in each run.

        Names and values: https://onnxruntime.ai/docs/execution-providers
        """
        index = {"device_id": str(self.index)}
        if self.name == "cuda":
            # An exhaustive search chooses by time: a resumed run might compute other last bits.
            return {**index, "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
        if self.name == "tensorrt":
            # Engines are chosen by time too, but kept.
            kept = str(cache_folder("tensorrt"))
            return {**index, "trt_engine_cache_enable": "1", "trt_engine_cache_path": kept}
        if self.name == "openvino":
            return {"device_type": self.device_type, "precision": "ACCURACY"}
        if self.name == "coreml":  # the neural engine computes in f16
            return {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"}
        return index if self.hardware.has_index else {}


def onnxruntime_version() -> str | None:
    """Return the version of the installed ONNX Runtime; None if it isn't installed."""
    for package in ("onnxruntime", *(hardware.package for hardware in PROVIDERS.values())):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None


@cache
def import_onnxruntime() -> Any:
    """Import `onnxruntime`, without the telemetry that it has on Windows. Raises `VsrError`."""
    try:
        import onnx  # noqa: F401 - torch writes the network by it
        import onnxruntime
    except ImportError as error:
        raise VsrError(
            f"backend onnx needs {error.name}: pip install 'vsr[onnx]', or onnx and the package "
            "of ONNX Runtime for your hardware"
        ) from error
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def installed_providers() -> tuple[str, ...]:
    """Return the names of the providers that the installed ONNX Runtime contains."""
    found = import_onnxruntime().get_available_providers()
    return tuple(name for name, hardware in PROVIDERS.items() if hardware.ort_name in found)


def pick_provider(name: str, device: str) -> Provider:
    """Return the provider `name`, which is "auto", NAME or NAME:N, for `--device`.

    "auto" chooses the first installed one for the device. Raises `VsrError` for one that isn't
    installed, and where provider and device contradict each other.
    """
    installed = installed_providers()
    kind, _, device_index = device.partition(":")
    wanted, colon, index = name.partition(":")
    if name == AUTO:
        fitting = _fitting(kind, installed)
        if not fitting:
            raise VsrError(
                f"no installed provider of ONNX Runtime computes on {device}; "
                f"installed: {', '.join(installed)}"
            )
        return _provider(fitting[0], device_index or "0", kind)
    if wanted not in PROVIDERS:
        raise VsrError(f"unknown provider {name!r}; use auto, {', '.join(PROVIDERS)}")
    hardware = PROVIDERS[wanted]
    if colon and not (hardware.has_index and index.isascii() and index.isdigit()):
        suffix = "a number after the colon" if hardware.has_index else "no number"
        raise VsrError(f"provider {name!r}: {wanted} takes {suffix}")
    if wanted not in installed:
        where = f" on {hardware.system}" if hardware.system else ""
        raise VsrError(
            f"provider {wanted} isn't installed: pip install {hardware.package}{where}; "
            f"installed: {', '.join(installed)}"
        )
    if kind != AUTO and kind not in hardware.devices:
        raise VsrError(
            f"provider {wanted} doesn't compute on {device}; omit --device and --workers"
        )
    return _provider(wanted, index or device_index or "0", kind)


def _fitting(kind: str, installed: Iterable[str]) -> list[str]:
    """Return the installed providers for a kind of device, the CPU's own before OpenVINO's."""
    fitting = [
        name
        for name in installed
        if (PROVIDERS[name].is_chosen if kind == AUTO else kind in PROVIDERS[name].devices)
    ]
    return sorted(fitting, key=lambda name: name != "cpu") if kind == "cpu" else fitting


def _provider(name: str, index: str, kind: str) -> Provider:
    device_type = _INTEL_DEVICES.get(kind, "CPU") if name == "openvino" else "CPU"
    return Provider(name, int(index) if PROVIDERS[name].has_index else 0, device_type)
