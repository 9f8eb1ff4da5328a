"""The process of a job: `vsr upscale --json-progress`."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil

from vsr.web.jobs import JobProcess
from vsr.web.options import JobOptions

_LONGEST_LINE = 16 << 20
"""Bytes of an event: a result lists all damaged frames."""
_KEPT_LINES = 40
"""Lines of standard error that are kept."""
_PATIENCE_SECONDS = 15.0
"""Time for a process to end by SIGTERM before it is killed."""


class RunningJob:
    """A process that upscales a film."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take over a process; `start` creates one."""
        self._process = process
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._errors = asyncio.create_task(self._read_errors())

    @classmethod
    async def start(cls, source: Path, output: Path, options: JobOptions) -> "RunningJob":
        """Start to upscale `source`, or resume it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "vsr.web.child",
            "upscale",
            "--json-progress",
            *options.arguments(),
            "--",
            str(source),
            str(output),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            limit=_LONGEST_LINE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C in a terminal is for the server alone
        )
        return cls(process)

    @property
    def identity(self) -> JobProcess | None:
        """What finds the process after a crash of the server; None if it has ended."""
        with contextlib.suppress(psutil.Error):
            started = psutil.Process(self._process.pid).create_time()
            return JobProcess(pid=self._process.pid, started=started)
        return None

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the events that the process prints, see `docs/reference/events.md`."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event

    def interrupt(self) -> None:
        """Ask the process to end after the current segment; a second time, at once."""
        if os.name == "posix":
            self._signal(signal.SIGINT)
        else:
            self.terminate()

    def terminate(self) -> None:
        """Ask the process to end at once; finished segments stay."""
        self._signal(signal.SIGTERM)

    async def end(self) -> None:
        """End the process: by SIGTERM, or else by SIGKILL."""
        self.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _PATIENCE_SECONDS)
        except TimeoutError:
            self._process.kill()

    async def wait(self) -> int:
        """Wait for the process; return its exit code, below 0 if a signal ended it."""
        code = await self._process.wait()
        await self._errors
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def describe_end(self, code: int) -> str:
        """Describe in one line why a process ended that printed no error as an event."""
        if code < 0:
            name = signal.Signals(-code).name
            hint = "; perhaps memory ran out" if name == "SIGKILL" else ""
            return f"the process was ended by {name}{hint}; retry resumes after the last segment"
        last = self._last_lines[-1] if self._last_lines else "no message"
        return f"the process failed with exit code {code}: {last}"

    @property
    def error_lines(self) -> list[str]:
        """The last lines of standard error."""
        return list(self._last_lines)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):  # a line beyond the limit
            while line := await self._process.stderr.readline():
                if text := line.decode("utf-8", errors="replace").strip():
                    self._last_lines.append(text[:2000])
        await self._process.stderr.read()


def end_orphan(identity: JobProcess) -> None:
    """End a process that an earlier server left, and wait for it."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(identity.pid)
        if abs(process.create_time() - identity.started) > 1:
            return
        process.terminate()
        try:
            process.wait(_PATIENCE_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(_PATIENCE_SECONDS)
