"""Kill workers and drivers of `vsr upscale --workers 2` at random moments, and compare the output.

python -m tests.engine.worker_kills 20
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

from tests.helpers.models import write_model
from tests.helpers.shots import write_shots
from vsr.engine.resume.journal import work_folder

_LENGTHS = (60, 100, 50, 70, 520)
"""Frames of each shot: the last one has three segments, which hand the state on."""


def disturb(kills: int, seed: int = 0) -> tuple[int, int, int]:
    """Kill until so many kills have hit; return kills of workers, of drivers, and wrong films."""
    chance = random.Random(seed)
    hit = {"worker": 0, "driver": 0}
    different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, model = folder / "in.mp4", write_model(folder / "model.safetensors")
        write_shots(source, _LENGTHS)
        started = time.monotonic()
        _finish(source, folder / "whole.mp4", model, None)
        wanted = (folder / "whole.mp4").read_bytes()
        _finish(source, folder / "two.mp4", model, 2)
        seconds = (time.monotonic() - started) / 2
        different += (folder / "two.mp4").read_bytes() != wanted
        number = 0
        while sum(hit.values()) < kills:
            output = folder / f"{number}.mp4"
            number += 1
            process = _start(source, output, model, 2)
            deadline = time.monotonic() + chance.uniform(0.2, 1.0) * seconds
            while process.poll() is None:
                time.sleep(0.01)
                if time.monotonic() < deadline:
                    continue
                deadline = time.monotonic() + chance.uniform(0.3, 1.0) * seconds
                victim = chance.choice(("worker", "worker", "driver"))
                hit[victim] += _kill(process, victim, chance)
            if process.returncode not in (0, 1, -signal.SIGKILL):  # 1: three deaths in one segment
                print(f"exit code {process.returncode}", file=sys.stderr)
                different += 1
            is_complete = output.exists() and not work_folder(output).exists()
            if process.returncode != 0 and not is_complete:  # else killed after the end of its work
                _finish(source, output, model, chance.choice((None, 2)))
            different += output.read_bytes() != wanted
            different += any(path.name.startswith(".") for path in folder.iterdir())
            print(f"{number} films, kills {hit}, {different} differ", flush=True)
    return hit["worker"], hit["driver"], different


def _kill(process: "subprocess.Popen[bytes]", victim: str, chance: random.Random) -> bool:
    """Kill the driver or one of its workers; return whether there was one."""
    if victim == "driver":
        process.kill()
        return True
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
        if not workers:
            return False
        os.kill(chance.choice(workers), signal.SIGKILL)
    except (psutil.Error, ProcessLookupError):
        return False
    return True


def _start(
    source: Path, output: Path, model: Path, workers: int | None
) -> "subprocess.Popen[bytes]":
    command: list[str | Path] = [sys.executable, "-m", "vsr", "upscale", source, output]
    command += ["--model", model, "--device", "cpu", "--preset", "ultrafast"]
    command += [] if workers is None else ["--workers", str(workers)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=None, start_new_session=True)


def _finish(source: Path, output: Path, model: Path, workers: int | None) -> None:
    if _start(source, output, model, workers).wait():
        raise RuntimeError("an undisturbed run failed")


if __name__ == "__main__":
    torch.set_num_threads(1)
    of_workers, of_drivers, wrong = disturb(int(sys.argv[1]), int((sys.argv[2:] or ["0"])[0]))
    print(f"{of_workers} kills of workers, {of_drivers} of drivers, {wrong} differ")
    sys.exit(wrong > 0)
