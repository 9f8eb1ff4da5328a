"""Kill workers, machines and drivers of a Ray cluster at random moments, and compare the films.

    python -m tests.engine.cluster_kills 20

The cluster is one of this machine, with two nodes of one processor each. Each film is disturbed
once: SIGKILL for a worker, for the raylet of a node, or for the driver, a third of the films each.
After the driver, the same command resumes. Half of the drivers are killed at any moment, the others
once some frames are finished, which the second run reuses.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from tests.helpers.models import write_model
from tests.helpers.shots import write_shots
from vsr.engine.parallel.workers import Workers
from vsr.engine.resume.journal import finished_frames
from vsr.engine.upscale import upscale_video
from vsr.media.encode.settings import EncoderSettings

LENGTHS = (60, 50, 250)
"""Frames of the shots: the third has segments that start in mid-shot."""
_SMALL: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8}


class Trial:
    """Films that are disturbed, and how many of them differ."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.film = write_shots(folder / "in.mp4", LENGTHS)
        self.model = write_model(folder / "model.safetensors")
        self.films = self.different = self.resumed = self.reused = 0
        """Films, those that differ, and those of a second run that reused frames, with their count.
        """
        self._folder, self._chance = folder, chance
        self.upscale(folder / "whole.mp4", None)
        self._wanted = (folder / "whole.mp4").read_bytes()
        self.cluster = Cluster(initialize_head=True, head_node_args=_SMALL)
        self.cluster.add_node(**_SMALL)
        self._start_seconds = self._seconds = 0.0

    def upscale(self, output: Path, workers: Workers | None) -> None:
        """Upscale the film in this process."""
        settings = EncoderSettings(preset="ultrafast")
        upscale_video(
            self.film, output, self.model, device="cpu", settings=settings, workers=workers
        )

    def warm_up(self) -> Workers:
        """Start workers, and measure the time of their start and of a film."""
        began = time.monotonic()
        workers = Workers("cpu", cluster=self.cluster.address)
        self._start_seconds = time.monotonic() - began
        for name in ("first.mp4", "second.mp4"):  # the first one loads the model
            began = time.monotonic()
            self.upscale(self._folder / name, workers)
            self._seconds = time.monotonic() - began
        return workers

    def kill_worker(self, workers: Workers) -> None:
        """Kill a worker while a film is upscaled."""
        self._disturb(workers, lambda: os.kill(self._chance.choice(_workers()), signal.SIGKILL))

    def kill_node(self) -> None:
        """Kill the raylet of a node, and replace the node afterwards."""
        node = next(iter(self.cluster.worker_nodes))
        with Workers("cpu", cluster=self.cluster.address) as workers:
            self._disturb(workers, lambda: self.cluster.remove_node(node, allow_graceful=False))
        self.cluster.add_node(**_SMALL)

    def kill_driver(self, is_late: bool) -> None:
        """Kill the process of the command, and run it again.

        If `is_late`, it is killed when a random count of frames is finished, else after a random
        time.
        """
        output = self._folder / f"{self.films}.mp4"
        frames = self._chance.randint(1, sum(LENGTHS) - 1) if is_late else sum(LENGTHS)
        seconds = self._start_seconds + 2 * self._seconds
        delay = float("inf") if is_late else self._chance.uniform(0, seconds)
        driver, began = self._start(output), time.monotonic()
        while driver.poll() is None and finished_frames(output) < frames:
            if time.monotonic() - began > delay:
                break
            time.sleep(0.01)
        driver.kill()
        driver.communicate()
        moment = f"after {time.monotonic() - began:.1f} s with {finished_frames(output)} frames"
        if driver.returncode:
            driver = self._start(output)
            printed, _ = driver.communicate()
            if driver.returncode:
                raise RuntimeError("the command failed")
            reused = json.loads(printed)["resumed_frames"]
            self.resumed += reused > 0
            self.reused += reused
            moment += f", {reused} reused of {sum(LENGTHS)}"
        self._compare(output, f"driver, {moment}")

    def _disturb(self, workers: Workers, kill: Callable[[], object]) -> None:
        output = self._folder / f"{self.films}.mp4"
        delay = self._chance.uniform(0, self._seconds)
        timer = threading.Timer(delay, kill)
        timer.start()
        self.upscale(output, workers)
        is_early = timer.is_alive()
        timer.join()
        moment = "after its end" if is_early else f"after {delay:.1f} s"
        self._compare(output, f"{len(workers.names)} workers, {moment}")

    def _start(self, output: Path) -> subprocess.Popen[bytes]:
        words = [self.film, output, "--model", self.model, "--device", "cpu", "--preset"]
        words += ["ultrafast", "--cluster", self.cluster.address, "--overwrite", "--json"]
        command = [sys.executable, "-m", "vsr", "upscale", *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    def _compare(self, output: Path, what: str) -> None:
        left = [path.name for path in self._folder.iterdir() if path.name.startswith(".")]
        is_wrong = output.read_bytes() != self._wanted or bool(left)
        self.films += 1
        self.different += is_wrong
        print(self.films, what, "DIFFERS" if is_wrong else "same bytes", flush=True)
        output.unlink()


def main() -> None:
    """Disturb films, and print those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", type=int, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as name:
        trial = Trial(Path(name), random.Random(chosen.seed))
        try:
            with trial.warm_up() as workers:
                for _ in range(chosen.films // 3):
                    trial.kill_worker(workers)
            for _ in range(chosen.films // 3):
                trial.kill_node()
            for number in range(chosen.films - trial.films):
                trial.kill_driver(is_late=number % 2 == 0)
        finally:
            trial.cluster.shutdown()
        print(
            f"{trial.films} films, {trial.different} differ; {trial.resumed} resumed with "
            f"{trial.reused} finished frames"
        )
    sys.exit(bool(trial.different))


def _workers() -> list[int]:
    """List the processes of the workers of this process's cluster."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "ClusterWorker" in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


if __name__ == "__main__":
    main()
