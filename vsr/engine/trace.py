"""Write a trace of a run: the activity of each stage, frame by frame."""

import json
import threading
from pathlib import Path

from vsr.engine.pipeline import Activity, StageName
from vsr.system.files import check_writable, output_errors

_THREADS: dict[StageName, int] = {"decode": 1, "upscale": 2, "encode": 3}
_NAMES: dict[Activity, str] = {"starved": "waits for input", "blocked": "waits for room"}


class Trace:
    """Writes spans in Chrome's Trace Event Format, which Perfetto shows too, as they occur.

    Raises `OutputError` if the file can't be written, or exists and `overwrite` is False.
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

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._file.write("\n]\n")
            self._file.close()

    def add(
        self, stage: StageName, activity: Activity, frame: int, start: float, end: float
    ) -> None:
        """Write a span, in seconds of one clock; may be called in any thread."""
        event = {
            "ph": "X",
            "name": _NAMES.get(activity, stage),
            "cat": activity,
            "pid": 1,
            "tid": _THREADS[stage],
            "ts": round(1e6 * start, 1),
            "dur": round(1e6 * (end - start), 1),
            "args": {"frame": frame},
        }
        with self._lock:
            if not self._file.closed:
                self._file.write(",\n" + json.dumps(event))
