"""Reports of `vsr upscale`: text with a progress bar, or a line of JSON for each event.

Films can be upscaled at the same time: methods are called in the threads of all of them.
"""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from vsr.cli.films_progress import FilmsProgress, films_progress, left_text, rate_text
from vsr.cli.options import named_model
from vsr.cli.progress import progress_bar
from vsr.cli.streams import print_message, print_result
from vsr.errors import Interrupted, VsrError

_DAMAGED_LISTED = 5
"""Damaged frames whose times are printed; the rest are counted."""
_PROGRESS_SECONDS = 0.5
"""Minimum time between two progress events of a film."""

_STAGES = ("decode", "upscale", "encode")

Callbacks = dict[str, Callable[[Any], None]]
"""Arguments of `upscale_video` by which it reports a run."""


class Report(ABC):
    """Reports films that are upscaled one after another, or at the same time."""

    @abstractmethod
    def message(self, line: str) -> None:
        """Report a line for the user that isn't about a film."""

    @abstractmethod
    def film_message(self, source: Path, line: str) -> None:
        """Report a line for the user about a film."""

    @abstractmethod
    def together(self) -> Any:
        """Return a context manager in which films are upscaled at the same time."""

    @abstractmethod
    def film(self, source: Path, output: Path) -> Any:
        """Return a context manager that reports the progress of a film; it yields `Callbacks`."""

    @abstractmethod
    def result(self, source: Path, result: Any) -> None:
        """Report the result of a film."""

    @abstractmethod
    def skipped(self, source: Path, output: Path) -> None:
        """Report a film whose output exists."""

    @abstractmethod
    def failed(self, source: Path, error: VsrError) -> None:
        """Report a film that can't be upscaled, where others follow."""

    @abstractmethod
    def summary(self, output: Path, upscaled: int, present: int, failed: int) -> None:
        """Report the counts of several films."""

    @abstractmethod
    def errors(self) -> Any:
        """Return a context manager that reports the error that ends the command."""


class TextReport(Report):
    """Prints results on standard output, messages and progress on standard error."""

    def __init__(self, as_json: bool = False) -> None:
        """`as_json` prints the result of each film as a line of JSON."""
        self._as_json = as_json
        self._printed: set[tuple[Path, str]] = set()
        """Lines about films that were printed during their runs."""
        self._films: FilmsProgress | None = None
        """Films that are upscaled at the same time."""
        self._lock = threading.Lock()

    def message(self, line: str) -> None:
        """Print a line on standard error."""
        print_message(line)

    def film_message(self, source: Path, line: str) -> None:
        """Print a line on standard error, with the name of the film if it is one of several."""
        print_message(line if self._films is None else f"{source}: {line}")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Show one progress bar for all films, and name the film in each line."""
        with films_progress() as self._films:
            try:
                yield
            finally:
                self._films = None

    @contextmanager
    def film(self, source: Path, output: Path) -> Iterator[Callbacks]:
        """Show a progress bar, or add the film to that of several."""

        def tell(line: str) -> None:
            self._printed.add((source, line))
            self.film_message(source, line)

        if (films := self._films) is not None:
            with films.film() as (on_start, watch):
                yield {"on_start": on_start, "watch": watch, "tell": tell}
            return
        columns = ["{task.fields[rate]}", "{task.fields[workers]}"]
        with progress_bar(columns, rate="", workers="", left="") as update:

            def watch(progress: Any) -> None:
                update(
                    progress.frames,
                    progress.frame_count,
                    rate=rate_text(progress.frames_per_second),
                    workers=", ".join(f"{one.name}: {one.frames}" for one in progress.workers),
                    left=left_text(progress.seconds_left),
                )

            yield {"watch": watch, "tell": tell}

    def result(self, source: Path, result: Any) -> None:
        """Print the result of a film, and what wasn't printed during the run."""
        with self._lock:
            self._print_result(source, result)

    def _print_result(self, source: Path, result: Any) -> None:
        for line in (*(f"not kept: {what}" for what in result.left_out), *result.notes):
            if (source, line) not in self._printed:
                self.film_message(source, line)
        if damaged := result.damaged_seconds:
            times = ", ".join(f"{second:.2f}" for second in damaged[:_DAMAGED_LISTED])
            more = len(damaged) - _DAMAGED_LISTED
            rest = f" and {more} more" if more > 0 else ""
            self.film_message(source, f"{len(damaged)} damaged frames, at {times}{rest} s")
        to_pipe = result.output == "-"
        if self._as_json:
            print_result(json.dumps(asdict(result)), err=to_pipe)
            return
        stages = result.stages
        workers = f", {len(result.workers)} workers" if result.workers else ""
        print_result(
            f"{result.output}: {result.frames} frames of {result.width}x{result.height} "
            f"({named_model(result.model, result.detail)} on {result.device} by "
            f"{result.backend}{workers}), "
            f"{result.audio_tracks} audio track{'' if result.audio_tracks == 1 else 's'}, "
            f"{result.seconds:.1f} s, {result.frames_per_second:.1f} frames/s "
            f"(busy: decode {stages.decode.busy:.1f}, upscale {stages.upscale.busy:.1f}, "
            f"encode {stages.encode.busy:.1f} s; {stages.limit} is the limit)",
            err=to_pipe,
        )

    def skipped(self, source: Path, output: Path) -> None:
        """Print nothing: the summary counts such films."""

    def failed(self, source: Path, error: VsrError) -> None:
        """Print the error on standard error."""
        print_message(str(error))

    def summary(self, output: Path, upscaled: int, present: int, failed: int) -> None:
        """Print the counts."""
        films = "film" if upscaled == 1 else "films"
        line = f"{upscaled} {films} upscaled, {present} already present, {failed} failed"
        print_result(f"{output}: {line}", err=self._as_json)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Leave the error to `vsr.cli.main`, which prints it."""
        yield


class JsonReport(Report):
    """Prints a JSON object for each event, one a line, flushed; see `docs/reference/events.md`."""

    def __init__(self, err: bool = False) -> None:
        """Print on standard output, or with `err` on standard error."""
        self._err = err
        self._lock = threading.Lock()

    def message(self, line: str) -> None:
        """Report a `message`."""
        self._emit("message", source=None, text=line)

    def film_message(self, source: Path, line: str) -> None:
        """Report a `message` about a film."""
        self._emit("message", source=str(source), text=line)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do nothing: each event names its film."""
        yield

    @contextmanager
    def film(self, source: Path, output: Path) -> Iterator[Callbacks]:
        """Report `start`, `progress` and `message`."""
        last_time, unreported = -_PROGRESS_SECONDS, None

        def watch(progress: Any) -> None:
            nonlocal last_time, unreported
            now, unreported = monotonic(), progress
            if now - last_time >= _PROGRESS_SECONDS or progress.frames == progress.frame_count:
                last_time, unreported = now, None
                report(progress)

        def report(progress: Any) -> None:
            rate, left = progress.frames_per_second, progress.seconds_left
            self._emit(
                "progress",
                source=str(source),
                frames=progress.frames,
                of=progress.frame_count,
                frames_per_second=None if rate is None else round(rate, 3),
                seconds=round(progress.seconds, 3),
                seconds_left=None if left is None else round(left, 1),
                stages={name: round(getattr(progress.stages, name).busy, 3) for name in _STAGES},
                workers=[asdict(one) for one in progress.workers],
            )

        def tell(line: str) -> None:
            self.film_message(source, line)

        def on_start(start: Any) -> None:
            self._emit("start", source=str(source), **asdict(start))

        try:
            yield {"on_start": on_start, "watch": watch, "tell": tell}
        finally:
            if unreported is not None:  # an interrupted run ends with its last frame, too
                report(unreported)

    def result(self, source: Path, result: Any) -> None:
        """Report a `result`."""
        self._emit("result", source=str(source), **asdict(result))

    def skipped(self, source: Path, output: Path) -> None:
        """Report `skipped`."""
        self._emit("skipped", source=str(source), output=str(output))

    def failed(self, source: Path, error: VsrError) -> None:
        """Report an `error` of a film."""
        self._emit("error", source=str(source), text=str(error))

    def summary(self, output: Path, upscaled: int, present: int, failed: int) -> None:
        """Report a `summary`."""
        self._emit("summary", output=str(output), upscaled=upscaled, present=present, failed=failed)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Report `interrupted`, or the `error` that ends the command."""
        try:
            yield
        except (Interrupted, KeyboardInterrupt) as error:
            self._emit("interrupted", text=str(error) or "interrupted")
            raise
        except SystemExit:
            self._emit("interrupted", text="ended by SIGTERM")
            raise
        except (VsrError, OSError) as error:
            self._emit("error", source=None, text=str(error))
            raise

    def _emit(self, event: str, **values: Any) -> None:
        line = json.dumps({"event": event, **values})
        with self._lock:
            print_result(line, err=self._err)
