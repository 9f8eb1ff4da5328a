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


def pick_device(name: str) -> torch.device:
    """Return the device named `auto`, `cpu`, `cuda` or `cuda:N`; raises `VsrError` if missing."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise VsrError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise VsrError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise VsrError(f"device {name} not found: there are {count} CUDA devices; use cpu")
    return device


def usable_cores() -> list[int]:
    """List the logical processors that this process may use; all of them where none are pinned."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def memory_bytes(device: torch.device) -> int:
    """Return the total memory of a device; for the CPU, of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return int(psutil.virtual_memory().total)


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


def processor_name() -> str:
    """Return the model of the processor, if the system reports it."""
    if found := re.search(r"^model name\s*:\s*(.+)$", _proc_text("cpuinfo"), re.MULTILINE):
        return found[1].strip()
    return platform.processor() or platform.machine() or "CPU"


def describe_machine(device: torch.device) -> str:
    """Describe the GPU, or the processor and its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"{processor_name()}, {count} thread{'' if count == 1 else 's'}, no GPU"


def _proc_text(name: str) -> str:
    """Read a file of Linux's /proc; empty on other systems."""
    try:
        return Path("/proc", name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
