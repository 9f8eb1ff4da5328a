"""A trace of a run: what each stage did, frame by frame, for a viewer of traces."""

import json
import threading
from pathlib import Path
from types import TracebackType

from vsr.engine.pipeline import Kind, StageName
from vsr.system.files import check_writable, output_errors

_THREADS: dict[StageName, int] = {"decode": 1, "upscale": 2, "encode": 3}
_WORDS: dict[Kind, str] = {"starved": "waits for input", "blocked": "waits for room"}


class Trace:
    """Writes spans in Chrome's Trace Event Format as they come; Perfetto shows it, too.

    Raises `OutputError` where the file can't be written, or exists and isn't to be overwritten.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        check_writable(path, overwrite)
        self.path = path
        self._lock = threading.Lock()
        with output_errors(path):
            self._file = path.open("w", encoding="utf-8")
        names = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": thread, "args": {"name": stage}}
            for stage, thread in _THREADS.items()
        ]
        self._file.write("[\n" + ",\n".join(map(json.dumps, names)))

    def __enter__(self) -> "Trace":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._file.write("\n]\n")
            self._file.close()

    def add(self, stage: StageName, kind: Kind, frame: int, began: float, ended: float) -> None:
        """A span, in seconds of one clock; from any thread."""
        event = {
            "ph": "X",
            "name": _WORDS.get(kind, stage),
            "cat": kind,
            "pid": 1,
            "tid": _THREADS[stage],
            "ts": round(1e6 * began, 1),
            "dur": round(1e6 * (ended - began), 1),
            "args": {"frame": frame},
        }
        with self._lock:
            if not self._file.closed:
                self._file.write(",\n" + json.dumps(event))
