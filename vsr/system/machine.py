"""The machine: its devices, memory and processor, on Linux, macOS and Windows.

What only some systems offer (`resource`, `/proc`) is used here and nowhere else.
"""

import platform
import re
import sys
from pathlib import Path

import psutil
import torch

from vsr.errors import VsrError


def pick_device(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda` or `cuda:N`; raises `VsrError` if it isn't there."""
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
            raise VsrError(f"device {name} isn't there: {count} CUDA devices found; use cpu")
    return device


def memory_bytes(device: torch.device) -> int:
    """Total memory of a device; of the machine for the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return int(psutil.virtual_memory().total)


def peak_memory_bytes() -> int:
    """The most memory that this process has held at a time.

    From /proc on Linux: `resource` counts from the parent's memory there.
    """
    if found := re.search(r"VmHWM:\s+(\d+) kB", _proc_text("self/status")):
        return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # Windows
        held = psutil.Process().memory_info()
        return int(getattr(held, "peak_wset", held.rss))
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def computes_int8() -> bool:
    """Whether the processor adds up products of eight bits without overflow (VNNI).

    Known on Linux alone; False elsewhere, where f32 is then computed.
    """
    return "vnni" in _proc_text("cpuinfo")


def processor_name() -> str:
    """The model of the processor, as far as the system tells."""
    if found := re.search(r"^model name\s*:\s*(.+)$", _proc_text("cpuinfo"), re.MULTILINE):
        return found[1].strip()
    return platform.processor() or platform.machine() or "CPU"


def describe_machine(device: torch.device) -> str:
    """The GPU, or the processor and its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {torch.get_num_threads()} threads, no GPU"


def _proc_text(name: str) -> str:
    """A file of Linux's /proc; empty where there is none."""
    try:
        return Path("/proc", name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
