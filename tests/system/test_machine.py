"""The machine as the system describes it, and systems that describe less of it."""

import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from tests.helpers.films import AudioTrack, scenes, write_film
from vsr.errors import VsrError
from vsr.system import machine
from vsr.system.machine import (
    computes_int8,
    describe_machine,
    memory_bytes,
    openvino_device,
    peak_memory_bytes,
    pick_device,
    pick_torch_device,
    processor_name,
)

CPU = torch.device("cpu")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_proc_text", lambda name: "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(VsrError, match="cuda not found"):
        pick_device("cuda")


def test_devices_that_are_not_supported_are_named() -> None:
    for name in ("abacus", "meta"):
        with pytest.raises(VsrError, match=f"unknown device '{name}'; use auto, cpu"):
            pick_device(name)


@pytest.mark.parametrize(("name", "count"), [("xpu:1", 2), ("mps", 1)])
def test_other_gpus_are_found_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int
) -> None:
    monkeypatch.setattr(machine, "_device_count", lambda kind: count)
    assert str(pick_device(name)) == name
    monkeypatch.setattr(machine, "_device_count", lambda kind: 0)
    kind = name.partition(":")[0].upper()
    with pytest.raises(VsrError, match=f"{name} not found: torch finds 0 {kind} devices; use cpu"):
        pick_device(name)
    assert machine.other_accelerator() is None


def test_intel_devices_have_names_of_openvino() -> None:
    names = ("intel-gpu", "intel-gpu:1", "intel-npu", "cpu")
    assert [openvino_device(name) for name in names] == ["GPU", "GPU.1", "NPU", None]
    assert pick_device("intel-npu") == CPU
    with pytest.raises(VsrError, match="device intel-gpu computes films alone, by OpenVINO"):
        pick_torch_device("intel-gpu")
    with pytest.raises(VsrError, match="unknown device 'intel-gpu:x'"):
        openvino_device("intel-gpu:x")


@linux_only
def test_memory_is_what_the_kernel_says() -> None:
    found = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    assert found
    assert memory_bytes(CPU) == 1024 * int(found[1])


@linux_only
def test_the_peak_is_that_of_this_process_and_no_less_than_it_holds() -> None:
    assert psutil.Process().memory_info().rss / 2 < peak_memory_bytes() < memory_bytes(CPU)


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_without_proc_the_peak_is_that_of_getrusage(
    monkeypatch: pytest.MonkeyPatch, system: str, unit: int
) -> None:
    """In kB on Linux, in bytes on macOS."""
    usage = SimpleNamespace(ru_maxrss=5000)
    monkeypatch.setattr(resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(sys, "platform", system)
    assert peak_memory_bytes() == 5000 * unit


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize(
    ("held", "peak"), [({"rss": 7, "peak_wset": 9}, 9), ({"rss": 7}, 7)], ids=["Windows", "other"]
)
def test_without_getrusage_the_peak_is_psutils(
    monkeypatch: pytest.MonkeyPatch, held: dict[str, int], peak: int
) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(**held))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    assert peak_memory_bytes() == peak


@pytest.mark.usefixtures("no_proc")
def test_without_proc_the_processor_is_what_python_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert processor_name() == "arm64"
    for count, words in ((1, "1 thread"), (8, "8 threads")):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        assert describe_machine(CPU) == f"arm64, {words}, no GPU"
    assert not computes_int8()


@linux_only
def test_a_missing_file_of_proc_is_empty() -> None:
    assert machine._proc_text("no/such/file") == ""
    assert machine._proc_text("cpuinfo")


WITHOUT_UNIX = """
import builtins, errno, fcntl, os, pathlib, signal, stat, sys
import av, click, cv2, filelock, openvino, psutil, pydantic, rich, safetensors, scenedetect, torch

def asked_by_vsr():
    frame = sys._getframe(2)
    while frame and frame.f_globals.get("__name__") in ("io", "pathlib", "pathlib._local"):
        frame = frame.f_back
    return frame and frame.f_globals.get("__name__", "").startswith("vsr")

def refuse(event, values):
    if event == "open" and str(values[0]).startswith("/proc") and asked_by_vsr():
        raise FileNotFoundError(errno.ENOENT, "hidden", values[0])

def without_unix_modules(name, namespace=None, *more, **named):
    caller = (namespace or {}).get("__name__", "")
    if name in ("fcntl", "grp", "pwd", "resource", "termios") and caller.startswith("vsr"):
        raise ImportError(name)
    return import_(name, namespace, *more, **named)

def flush(file):  # as Windows does
    readable = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    if readable and not stat.S_ISDIR(os.fstat(file).st_mode):
        raise OSError(errno.EBADF, "Bad file descriptor")
    fsync(file)

import_, fsync = builtins.__import__, os.fsync
builtins.__import__, os.fsync = without_unix_modules, flush
for name in ("fork", "getuid", "geteuid", "nice", "pathconf", "sched_getaffinity", "sysconf"):
    delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGUSR2", "pthread_kill"):
    delattr(signal, name)
sys.addaudithook(refuse)

from vsr.cli import main

for command in (
    ["plan", "film.mp4", "--json"],
    ["upscale", "film.mp4", "out.mp4"],
    ["doctor"],
):
    model = [] if command == ["doctor"] else ["--model", sys.argv[1], "--device", "cpu"]
    try:
        main([*command, *model])
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.mark.slow
def test_plan_and_upscale_run_without_what_only_unix_has(tmp_path: Path, tiny_model: Path) -> None:
    """As far as a Unix can show it."""
    frames = scenes(64, 48, [8])
    write_film(tmp_path / "film.mp4", frames, codec="libx264", audio=[AudioTrack("aac", 440)])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_UNIX, str(tiny_model)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '"memory_bytes"' in done.stdout
    assert "out.mp4: 8 frames of 256x192" in done.stdout
    assert "PyAV" in done.stdout
