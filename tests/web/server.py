"""`vsr serve` as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

PATIENCE_SECONDS = 120


class ServerProcess:
    """A server, by default on a free port."""

    def __init__(self, data: Path, *options: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "vsr", "serve", "--port", str(port), "--data", str(data)]
        self._log = data.with_suffix(".log")
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *options], stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
        address = wait_for(lambda: re.search(r"http://\S+(?=/ serves)", self._log.read_text()))
        self.client = httpx.Client(
            base_url=address[0].replace("localhost", "127.0.0.1"), timeout=60
        )

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request below /api/v1; the JSON of its answer."""
        answer = self.client.request(method, f"/api/v1{path}", **options)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def add(self, file: str, **values: Any) -> str:
        """Add a job; its identifier."""
        job: str = self.request("POST", "/jobs", json={"file": file, **values})["job"]
        return job

    def wait(self, job: str, state: str) -> dict[str, Any]:
        """Wait for a state of a job."""

        def found() -> dict[str, Any] | None:
            shown: dict[str, Any] = self.request("GET", f"/jobs/{job}")
            if shown["state"] == "failed" != state:
                raise AssertionError(shown["error"])
            return shown if shown["state"] == state else None

        job_found: dict[str, Any] = wait_for(found)
        return job_found

    def children(self) -> list[psutil.Process]:
        """The processes of running jobs."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.process.kill()
        self.process.wait()
        self.client.close()

    def stop(self) -> int:
        """End the server; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.client.close()
        return self.process.wait(PATIENCE_SECONDS)

    @property
    def log(self) -> str:
        """What the server printed."""
        return self._log.read_text()


def wait_for(find: Callable[[], Any]) -> Any:
    """Wait until `find` returns something, and return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.01)
    raise TimeoutError
