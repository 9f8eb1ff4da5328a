"""Query devices, memory and processor on Linux, macOS and Windows.

Modules and files of some systems only (`resource`, `/proc`) are used nowhere else.
"""

import os
import platform
import re
import sys
from pathlib import Path

import psutil
import torch

from vsr.errors import VsrError

_DEVICES = "auto, cpu, cuda, xpu, mps, intel-gpu or intel-npu, or a device by number: cuda:1"
_INTEL_DEVICES = {"intel-gpu": "GPU", "intel-npu": "NPU"}


def pick_device(name: str) -> torch.device:
    """Return torch's device for a name, such as `auto`, `cpu`, `cuda:1`, `xpu` or `mps`.

    `auto` is CUDA or the CPU; see `other_accelerator`. For `intel-gpu` and `intel-npu`, which only
    OpenVINO computes on, it is the CPU, see `openvino_device`. Raises `VsrError` for an unknown
    name, and if torch finds no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if openvino_device(name) is not None:
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise VsrError(f"unknown device {name!r}; use {_DEVICES}") from error
    if device.type not in ("cpu", "cuda", "xpu", "mps"):
        raise VsrError(f"unknown device {name!r}; use {_DEVICES}")
    if device.type != "cpu" and (device.index or 0) >= (count := _device_count(device.type)):
        kind = device.type.upper()
        raise VsrError(f"device {name} not found: torch finds {count} {kind} devices; use cpu")
    return device


def usable_cores() -> list[int]:
    """List the logical processors that this process may use; all of them where none are pinned."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pick_torch_device(name: str) -> torch.device:
    """Return torch's device for work that only torch computes. Raises `VsrError`."""
    if openvino_device(name) is not None:
        raise VsrError(f"device {name} computes films alone, by OpenVINO; use cpu here")
    return pick_device(name)


def openvino_device(name: str) -> str | None:
    """Return OpenVINO's name of the device `intel-gpu`, `intel-npu` or `intel-gpu:N`, else None.

    Raises `VsrError` for an index that is no number.
    """
    kind, colon, index = name.partition(":")
    if kind not in _INTEL_DEVICES:
        return None
    if colon and not (index.isascii() and index.isdigit()):
        raise VsrError(f"unknown device {name!r}; use {_DEVICES}")
    return f"{_INTEL_DEVICES[kind]}.{int(index)}" if colon else _INTEL_DEVICES[kind]


def other_accelerator() -> torch.device | None:
    """Return the GPU that torch computes on without CUDA: `xpu` (Intel) or `mps` (Apple)."""
    return next((torch.device(kind) for kind in ("xpu", "mps") if _device_count(kind)), None)


def list_devices() -> list[str]:
    """List the devices that torch computes on, with their names."""
    cuda = [f"cuda:{n} {torch.cuda.get_device_name(n)}" for n in range(_device_count("cuda"))]
    xpu = [f"xpu:{n} {torch.xpu.get_device_name(n)}" for n in range(_device_count("xpu"))]
    return ["cpu", *cuda, *xpu, *(["mps"] if _device_count("mps") else [])]


def _device_count(kind: str) -> int:
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return torch.xpu.device_count() if kind == "xpu" else torch.cuda.device_count()


def memory_bytes(device: torch.device) -> int:
    """Return the total memory of a device; for the CPU, of the machine.

    It takes no memory itself: `torch.cuda.mem_get_info` would create a context on the GPU.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "xpu":
        return int(torch.xpu.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return int(psutil.virtual_memory().total)


def free_cached_memory() -> None:
    """Return memory that torch caches to its GPUs."""
    for kind, module in (("cuda", torch.cuda), ("xpu", torch.xpu), ("mps", torch.mps)):
        if _device_count(kind):
            module.empty_cache()


def peak_memory_bytes() -> int:
    """Return the peak memory of this process.

    Read from /proc on Linux, where `resource` includes the parent's memory.
    """
    if found := re.search(r"VmHWM:\s+(\d+) kB", _proc_text("self/status")):
        return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # Windows
        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def computes_int8() -> bool:
    """Whether the processor accumulates 8-bit products without overflow (VNNI).

    Detected on Linux only; False elsewhere, so that computation is in float32.
    """
    return "vnni" in _proc_text("cpuinfo")


def computes_bf16() -> bool:
    """Whether the processor multiplies bf16 (AVX512-BF16 or AMX). Detected on Linux only."""
    return any(flag in _proc_text("cpuinfo") for flag in ("avx512_bf16", "amx_bf16"))


def processor_name() -> str:
    """Return the model of the processor, if the system reports it."""
    if found := re.search(r"^model name\s*:\s*(.+)$", _proc_text("cpuinfo"), re.MULTILINE):
        return found[1].strip()
    return platform.processor() or platform.machine() or "CPU"


def describe_machine(device: torch.device) -> str:
    """Describe the GPU, or the processor and its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "xpu":
        return torch.xpu.get_device_name(device)
    if device.type == "mps":
        return f"{processor_name()}, GPU by Metal"
    count = torch.get_num_threads()
    return f"{processor_name()}, {count} thread{'' if count == 1 else 's'}, no GPU"


def _proc_text(name: str) -> str:
    """Read a file of Linux's /proc; empty on other systems."""
    try:
        return Path("/proc", name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
