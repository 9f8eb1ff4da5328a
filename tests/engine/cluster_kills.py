"""Kill workers, machines and drivers of a Ray cluster at random moments, and compare the films.

    python -m tests.engine.cluster_kills 20

The cluster is one of this machine: a head without processors, and two nodes with one each. Each
film is disturbed once: SIGKILL for a worker, for the raylet of a node, or for the driver. After the
driver, the same command resumes.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from tests.helpers.models import write_model
from tests.helpers.shots import write_shots

LENGTHS = (60, 50, 250, 60, 300)
"""Frames of the shots: two of them have segments that start in mid-shot."""
VICTIMS = ("worker", "node", "driver")
_SMALL: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 100_000_000}


def main() -> None:
    """Disturb films, and print those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", type=int, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = write_shots(folder / "in.mp4", LENGTHS)
        model = write_model(folder / "model.safetensors")
        finish(start(film, folder / "whole.mp4", model, None))
        wanted = (folder / "whole.mp4").read_bytes()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **_SMALL})
        different = 0
        try:
            nodes = [cluster.add_node(num_cpus=1, **_SMALL) for _ in range(2)]
            for number in range(chosen.films):
                victim, output = VICTIMS[number % 3], folder / f"{number}.mp4"
                said = disturb(cluster, nodes, film, output, model, victim, chance)
                left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
                is_wrong = output.read_bytes() != wanted or bool(left)
                different += is_wrong
                print(number, victim, said, "DIFFERS" if is_wrong else "same bytes", flush=True)
                output.unlink()
        finally:
            cluster.shutdown()
        print(f"{chosen.films} films, {different} differ")
    sys.exit(bool(different))


def disturb(
    cluster: Any,
    nodes: list[Any],
    film: Path,
    output: Path,
    model: Path,
    victim: str,
    chance: random.Random,
) -> str:
    """Upscale a film, and kill a victim some time after the workers have started."""
    driver = start(film, output, model, cluster.address)
    while driver.poll() is None and not list(output.parent.glob(f".{output.name}.vsr/*.jsonl")):
        time.sleep(0.1)
    delay = chance.uniform(0, 12)
    deadline = time.monotonic() + delay
    while driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    finished = sum(1 for _ in output.parent.glob(f".{output.name}.vsr/*.segment"))
    said = f"killed after {delay:.1f} s with {finished} segments"
    if driver.poll() is not None:
        said = "finished before the kill"
    elif victim == "driver":
        driver.kill()
        driver.communicate()
        driver = start(film, output, model, cluster.address)
    elif victim == "worker":
        os.kill(chance.choice(workers()), signal.SIGKILL)
    else:
        node = chance.choice(nodes)
        cluster.remove_node(node, allow_graceful=False)
        nodes.remove(node)
    finish(driver)
    while len(nodes) < 2:
        nodes.append(cluster.add_node(num_cpus=1, **_SMALL))
    return said


def start(film: Path, output: Path, model: Path, address: str | None) -> subprocess.Popen[bytes]:
    """Start `vsr upscale`."""
    command = ["-m", "vsr", "upscale", film, output, "--model", model, "--device", "cpu"]
    cluster = ["--cluster", address] if address else []
    words = [str(word) for word in (*command, "--preset", "ultrafast", *cluster)]
    return subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(driver: subprocess.Popen[bytes]) -> None:
    """Wait for a driver. Raises `RuntimeError` if it failed."""
    _, said = driver.communicate()
    if driver.returncode:
        raise RuntimeError(said.decode())


def workers() -> list[int]:
    """List the processes of workers of this process's cluster."""
    own = psutil.Process().children(recursive=True)
    found = []
    for process in own:
        try:
            if "ClusterWorker" in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


if __name__ == "__main__":
    main()
