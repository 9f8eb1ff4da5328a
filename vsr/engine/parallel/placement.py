"""Divide the devices and the cores of this machine between worker processes."""

import os
from dataclasses import dataclass

import cv2
import torch

from vsr.errors import ConfigError, VsrError
from vsr.system.machine import memory_bytes, openvino_device, pick_device, usable_cores

ALL_DEVICES = "all"
MOST_WORKERS = 1024
"""Workers of one machine."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Placement:
    """The share of a machine that one worker uses."""

    name: str
    """Name of the worker, for reports."""
    device: str
    """Device as the worker names it: a worker on a GPU sees that one alone, as `cuda:0`."""
    threads: int
    """Threads of each library that computes."""
    cores: tuple[int, ...] = ()
    """Logical processors to which the process is pinned; empty to leave that to the system."""
    gpu: int | None = None
    """Index of the GPU among those that the driver sees."""

    def apply(self) -> None:
        """Restrict this process to its share, before it computes anything."""
        if self.gpu is not None:
            visible = os.environ.get(_VISIBLE)
            names = visible.split(",") if visible else []
            os.environ[_VISIBLE] = names[self.gpu] if self.gpu < len(names) else str(self.gpu)
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)
        torch.set_num_threads(self.threads)
        cv2.setNumThreads(self.threads)


def check_count(workers: int | None) -> None:
    """Raise `ConfigError` unless a count of workers, if given, is in the supported range."""
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise ConfigError(f"--workers {workers}: must be from 1 to {MOST_WORKERS}")


def split_devices(device: str) -> list[str]:
    """Split the value of `--device`: a list such as `cuda:0,cuda:1`, or `all` GPUs.

    Any other value is the only item. Raises `VsrError` for lists of other devices than GPUs, and
    where a device is missing.
    """
    if device == ALL_DEVICES:
        count = torch.cuda.device_count()
        if not count:
            raise VsrError(
                "--device all: there are no CUDA devices; use cpu, with --workers for several "
                "processes"
            )
        return [f"cuda:{index}" for index in range(count)]
    names = [name.strip() for name in device.split(",")]
    if len(names) == 1:
        return names
    devices = [pick_device(name) for name in names]
    if any(one.type != "cuda" for one in devices):
        raise VsrError(f"--device {device}: a list is for GPUs; use --workers N for a CPU")
    indices = [one.index or 0 for one in devices]
    if len(set(indices)) < len(indices):
        raise VsrError(f"--device {device}: names a device twice")
    return [f"cuda:{index}" for index in indices]


def place_workers(devices: list[str], workers: int | None) -> tuple[Placement, ...]:
    """Place a worker on each of several GPUs, or so many workers on the cores of the CPU.

    Empty where one process does it: for one device, unless `workers` are given. Raises `VsrError`
    for `workers` on a GPU.
    """
    cores = usable_cores()
    if len(devices) > 1:
        if workers is not None and workers != len(devices):
            raise VsrError(
                f"--workers {workers}: each of {len(devices)} GPUs has one; leave it out"
            )
        return tuple(
            Placement(
                name=name,
                device="cuda:0",
                threads=max(1, len(cores) // len(devices)),
                gpu=torch.device(name).index,
            )
            for name in devices
        )
    if workers is None:
        return ()
    device = devices[0]
    if openvino_device(device) is not None or pick_device(device).type != "cpu":
        raise VsrError(
            f"--workers {workers}: is for the CPU; give --device cpu, or --device all for all GPUs"
        )
    return tuple(_share(index, workers, cores) for index in range(workers))


def _share(index: int, workers: int, cores: list[int]) -> Placement:
    """Return the share of one of several workers in the cores; more workers than cores share."""
    count = len(cores)
    if workers > count:
        own = [cores[index % count]]
    else:
        own = cores[index * count // workers : (index + 1) * count // workers]
    return Placement(name=f"worker {index + 1}", device="cpu", threads=len(own), cores=tuple(own))


def unlike_devices(devices: list[str]) -> str | None:
    """Return a line about GPUs of different models, whose frames may differ in the last bit."""
    models = {name: torch.cuda.get_device_name(torch.device(name)) for name in devices}
    if len(set(models.values())) == 1:
        return None
    listed = ", ".join(f"{name} {model}" for name, model in models.items())
    return f"different GPUs ({listed}): frames may differ in the last bit from those of one GPU"


def least_memory(devices: list[str]) -> int:
    """Return the memory in bytes of the device that has least."""
    return min(memory_bytes(pick_device(name)) for name in devices)
