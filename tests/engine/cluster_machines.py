"""Upscale a film on two machines that share no files, and compare it with that of one process.

    python -m tests.engine.cluster_machines

The machines are namespaces of Linux, which only root can create: each has a network, a host name,
processes, and a folder for temporary files of its own, and a node of one Ray cluster. The film is
on the first machine alone. It is padded, and the network slow, so that its copy takes a while, in
which the first machine upscales. Then the disk of the second machine is full, and at last its power
is cut while it receives the film.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from tests.helpers.models import write_model
from tests.helpers.shots import write_shots

LENGTHS = (60, 50, 60, 60, 50, 60)
"""Frames of the shots."""
_NAMESPACES = ("--net", "--mount", "--uts", "--pid")
_PADDING = 48 << 20
_RATE = "80mbit"
"""Rate of the network, by which the copy takes five seconds."""
_DISK_BYTES = 200 << 20
"""Size of the folder for temporary files of the second machine, which has Ray's logs, too."""


class Machine:
    """Namespaces of a machine, with a node of the cluster."""

    def __init__(self, name: str, address: str, disk_bytes: int) -> None:
        self.name, self.address, self.device = name, address, f"vsr-{name}"
        size = f"size={disk_bytes}"
        script = (
            f"hostname {name} && mount -t tmpfs -o {size} tmpfs /tmp && "
            "mount -t tmpfs tmpfs /dev/shm && ip link set lo up && echo && exec sleep infinity"
        )
        command = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen(
            [*command, "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if not self._holder.stdout.readline():
            raise OSError(self._holder.stderr.read().decode().strip())
        (init,) = psutil.Process(self._holder.pid).children()
        self.pid = init.pid
        """First process of the machine, with which all others end."""
        self._network = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        """Keeps the network of a machine without power, so that the other one has its own."""

    @property
    def folder(self) -> Path:
        """The machine's folder for temporary files, as this process sees it."""
        return Path(f"/proc/{self.pid}/root/tmp")

    @property
    def received(self) -> int:
        """Bytes of the film that have arrived."""
        return sum(file.stat().st_size for file in self.folder.glob("vsr-worker-*/film.partial"))

    @property
    def free_bytes(self) -> int:
        """Free space in the folder for temporary files."""
        return shutil.disk_usage(self.folder).free

    def command(self, *words: object) -> list[str]:
        """Return a command that runs on the machine."""
        enter = ["nsenter", "--target", str(self.pid), *_NAMESPACES]
        return [*enter, "--wdns=/tmp", sys.executable, "-m", *map(str, words)]

    def start_ray(self, *options: str) -> None:
        """Start the node."""
        words = ["start", f"--node-ip-address={self.address}", "--num-cpus=1", *options]
        words += ["--object-store-memory=100000000", "--disable-usage-stats"]
        command = self.command("ray.scripts.scripts", *words)
        started = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if started.returncode:
            raise RuntimeError(f"{self.name}: {started.stderr.decode()}")

    def cut_power(self) -> None:
        """End all processes of the machine at once, without a word to the other one."""
        link = f"/proc/{os.getpid()}/fd/{self._network}"
        down = ["nsenter", f"--net={link}", "ip", "link", "set", "dev", self.device, "down"]
        subprocess.run(down, check=True)
        self._holder.kill()
        self._holder.wait()

    def close(self) -> None:
        """End all processes of the machine, and remove its network."""
        self._holder.kill()
        self._holder.wait()
        os.close(self._network)


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Start two machines that a slow network joins."""
    first = Machine("first", "10.77.0.1", 2 << 30)
    try:
        second = Machine("second", "10.77.0.2", _DISK_BYTES)
        try:
            _join(first, second)
            first.start_ray("--head", "--port=6379", "--include-dashboard=false")
            second.start_ray("--address=10.77.0.1:6379")
            yield first, second
        finally:
            second.close()
    finally:
        first.close()


def _join(first: Machine, second: Machine) -> None:
    """Join two machines by a pair of network devices."""
    ends = [f"{machine.device} netns {machine.pid}" for machine in (first, second)]
    pair = f"{ends[0]} type veth peer name {ends[1]}"
    subprocess.run(["ip", "link", "add", *pair.split()], check=True)
    for machine in (first, second):
        enter = ["nsenter", "--target", str(machine.pid), "--net"]
        for words in (
            f"ip address add {machine.address}/24 dev {machine.device}",
            f"ip link set {machine.device} up",
            f"tc qdisc add dev {machine.device} root tbf rate {_RATE} burst 64kb latency 400ms",
        ):
            subprocess.run([*enter, *words.split()], check=True)


class Trial:
    """Runs on two machines, and what differs from one process."""

    def __init__(self, first: Machine, second: Machine) -> None:
        self._first, self._second = first, second
        self._film = write_shots(first.folder / "in.mp4", LENGTHS)
        with self._film.open("ab") as file:  # a box that readers skip
            file.write((_PADDING + 8).to_bytes(4, "big") + b"free" + bytes(_PADDING))
        write_model(first.folder / "model.safetensors")
        self.events = self._upscale("whole.mp4")
        self._wanted = (first.folder / "whole.mp4").read_bytes()
        self.different = 0

    def share(self) -> None:
        """Upscale on both machines."""
        events = self._upscale("shared.mp4", "--cluster", "auto")
        frames = {one["name"].split()[0]: one["frames"] for one in _last(events)["workers"]}
        left = list(self._second.folder.glob("vsr-films-*/*"))
        moments = [one["received_at"] for one in events if one["event"] == "progress"]
        longest = max(later - earlier for earlier, later in pairwise(moments))
        self._compare("shared.mp4", f"frames {frames}, longest wait for progress {longest:.1f} s")
        if min(frames.values()) == 0 or left:
            self._fail(f"frames {frames}, files left {left}")

    def fill_disk(self) -> None:
        """Upscale while the second machine has no room for the film."""
        filler = self._second.folder / "filler"
        while (free := self._second.free_bytes) < _DISK_BYTES - _PADDING // 2:
            time.sleep(0.1)  # until no process has the last copy open
        filler.write_bytes(bytes(free - _PADDING // 2))
        events = self._upscale("full.mp4", "--cluster", "auto")
        filler.unlink()
        self._expect("full.mp4", events, "no space left")
        if self._second.received:
            self._fail("a partial copy is left")

    def cut_power(self) -> None:
        """Upscale while the second machine ends as it receives the film."""

        def cut() -> None:
            if self._second.received:
                self._second.cut_power()

        self._expect("lost.mp4", self._upscale("lost.mp4", "--cluster", "auto", during=cut), "lost")

    def _upscale(
        self, name: str, *options: str, during: Callable[[], None] = lambda: None
    ) -> list[dict[str, Any]]:
        """Upscale the film on the first machine; returns the events."""
        words = ["upscale", "/tmp/in.mp4", f"/tmp/{name}", "--model", "/tmp/model.safetensors"]
        words += ["--device", "cpu", "--preset", "ultrafast", "--json-progress", *options]
        log = self._first.folder / "errors.txt"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                self._first.command("vsr", *words), stdout=subprocess.PIPE, stderr=errors
            )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        events, text = [], b""
        while (data := process.stdout.read()) != b"":
            if data:
                *lines, text = (text + data).split(b"\n")
                events += [json.loads(line) | {"received_at": time.monotonic()} for line in lines]
            during()
            time.sleep(0.02)
        if process.wait():
            raise RuntimeError(f"{name}: {log.read_text()} {events[-1:]}")
        return events

    def _expect(self, name: str, events: list[dict[str, Any]], words: str) -> None:
        """Compare a film, and look for words in the messages of its run."""
        said = [one["text"] for one in events if one["event"] == "message"]
        self._compare(name, "; ".join(said))
        if not any(words in line for line in said):
            self._fail(f"no message with {words!r}")

    def _compare(self, name: str, what: str) -> None:
        is_same = (self._first.folder / name).read_bytes() == self._wanted
        print(f"{name}: {what}: {'same bytes' if is_same else 'DIFFERS'}", flush=True)
        self.different += not is_same

    def _fail(self, what: str) -> None:
        print(f"  FAILED: {what}", flush=True)
        self.different += 1


def _last(events: list[dict[str, Any]]) -> dict[str, Any]:
    return [one for one in events if one["event"] == "progress"][-1]


def main() -> None:
    """Upscale on two machines, and print what differs."""
    os.environ |= {"RAY_raylet_start_wait_time_s": "120", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    refused = subprocess.run(["unshare", *_NAMESPACES, "--fork", "true"], capture_output=True)
    if refused.returncode:
        print(f"skipped: {refused.stderr.decode().strip()}")
        return
    with two_machines() as (first, second):
        trial = Trial(first, second)
        trial.share()
        trial.fill_disk()
        trial.cut_power()
    print(f"3 films, {trial.different} differ")
    sys.exit(bool(trial.different))


if __name__ == "__main__":
    main()
