"""`vsr upscale`: films, and folders of films."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.options import (
    FILE,
    cluster_option,
    film_options,
    inputs_argument,
    json_option,
    overwrite_option,
    parse_film_options,
    workers_option,
)
from vsr.cli.progress import stop_on_interrupt
from vsr.cli.reports import JsonReport, Report, TextReport
from vsr.cli.sections import SectionedCommand
from vsr.cli.streams import logged_lines
from vsr.errors import Interrupted, VsrError

if TYPE_CHECKING:
    from vsr.engine.parallel.workers import Workers

POLL_SECONDS = 1.0
"""Time between two looks at a watched folder."""
_STREAM = Path("-")


@click.command("upscale", cls=SectionedCommand)
@inputs_argument
@click.argument("output", metavar="OUT", type=FILE)
@film_options
@workers_option
@cluster_option
@click.option(
    "--strict", is_flag=True, help="Fail before any work if anything in IN can't be kept in OUT."
)
@click.option(
    "--no-resume", is_flag=True, help="Discard the segments of an earlier run and start again."
)
@click.option(
    "--format",
    "pipe_format",
    type=click.Choice(["nut", "y4m"]),
    default="nut",
    show_default=True,
    help="Format on standard output: nut holds raw video and all other streams, y4m raw video "
    "alone.",
)
@click.option(
    "--trace",
    type=FILE,
    metavar="FILE",
    help="Write the times of each stage and frame as JSON, for Perfetto or Chrome's trace viewer.",
)
@click.option(
    "--watch",
    "watches",
    is_flag=True,
    help="Wait for films in the folder IN, and upscale each once it is complete. Ctrl-C ends it.",
)
@click.option(
    "--json-progress",
    is_flag=True,
    help="Print a line of JSON for each event instead of progress and results: on standard output, "
    "or on standard error if OUT is -.",
)
@overwrite_option
@json_option
def upscale_command(
    sources: tuple[Path, ...],
    output: Path,
    workers: int | None,
    cluster: str | None,
    strict: bool,
    no_resume: bool,
    pipe_format: Any,
    trace: Path | None,
    watches: bool,
    json_progress: bool,
    overwrite: bool,
    as_json: bool,
    **film: Any,
) -> None:
    """Upscale films, or folders of films.

    OUT is an .mp4, .mov, .mkv or .webm file, or a folder if there are several IN, or if IN is one.
    Frames keep their timestamps. Sound, subtitles, attachments, chapters and tags are copied. OUT
    appears when it is complete. If a run is interrupted, the same command resumes it. - is standard
    input or output.

    An animated .gif, .webp or .apng as OUT holds the picture alone. Numbered pictures are a film:
    IN or OUT can be a pattern such as 'frames/%05d.png', and IN can be their folder. From pictures
    to a film, --rate is required.

    \b
    vsr upscale old.mp4 new.mp4 --scale 4 --crf 18 --preset slow
    vsr upscale tapes/ larger/
    vsr upscale a.mp4 b.mkv tapes/ larger/
    vsr upscale frames/ new.mkv --rate 24
    vsr upscale old.mkv 'frames/%05d.png'
    ffmpeg -i old.avi -f nut - | vsr upscale - - | mpv -
    """
    if json_progress and as_json:
        raise VsrError("--json-progress prints the result as JSON already; leave out --json")
    report = JsonReport(err=output == _STREAM) if json_progress else TextReport(as_json)
    with (
        report.errors(),
        logged_lines(report.message),
        stop_on_interrupt(report.message) as stop,
    ):
        settings = parse_film_options(output.suffix.lower(), film) | {
            "overwrite": overwrite,
            "resume": not no_resume,
            "strict": strict,
            "pipe_format": pipe_format,
            "trace": trace,
            "stop": stop,
        }
        from vsr.engine.batch import is_picture_film, pair_films

        is_film = not watches and is_picture_film(sources, output)
        is_batch = not is_film and (len(sources) > 1 or sources[0].is_dir() or watches)
        if trace == _STREAM:
            raise VsrError("--trace: can't be written to standard output; name a file")
        if trace and is_batch:
            raise VsrError("--trace is of one film; name a film, not a folder")
        from vsr.engine.parallel.workers import Workers

        with Workers(settings["device"], workers, cluster) as shared:
            runs = _Runs(settings | {"workers": shared}, report)
            if watches:
                _watch(runs, sources, output, report, stop)
            else:
                pairs = pair_films(sources, output, report.message)
                if not is_batch:
                    runs.upscale(*pairs[0])
                elif shared.names:
                    with report.together():
                        runs.upscale_each(pairs, output, shared)
                else:
                    runs.upscale_each(pairs, output)


class _Runs:
    """Upscales films, and counts them."""

    def __init__(self, settings: dict[str, Any], report: Report) -> None:
        """`settings` are arguments of `upscale_video`."""
        self._settings, self._report = settings, report
        self._stop: threading.Event = settings["stop"]
        self._lock = threading.Lock()
        self._upscaled = self._present = 0
        self._failures: list[Path] = []
        self._interrupted: list[tuple[Path, Interrupted]] = []

    def upscale(self, source: Path, output: Path) -> None:
        """Upscale one film and report it."""
        from vsr.engine.upscale import upscale_video

        with self._report.film(source, output) as callbacks:
            result = upscale_video(source, output, **self._settings, **callbacks)
        self._report.result(source, result)

    def upscale_each(
        self, pairs: Iterable[tuple[Path, Path]], folder: Path, workers: "Workers | None" = None
    ) -> None:
        """Upscale films into a folder, past those that exist and those that fail.

        One after another or, with `workers`, as many at the same time as keep these busy. Raises
        `VsrError` at the end if any failed, and `Interrupted` if a run was stopped.
        """
        films = (partial(self._upscale_one_of_several, *pair) for pair in self._unfinished(pairs))
        try:
            if workers is None:
                self._call_each(films)
            else:
                from vsr.engine.parallel.films import upscale_films

                upscale_films(films, workers, self._stop)
        except Interrupted as error:
            self._report_counts(folder)
            if workers is None or not self._interrupted:
                raise
            self._report_interrupted()
            count = len(self._interrupted)
            unfinished = "1 film is" if count == 1 else f"{count} films are"
            raise Interrupted(f"{unfinished} unfinished, and the same command resumes") from error
        except BaseException:
            if workers is not None:
                self._report_interrupted()
            raise
        self._report_counts(folder)
        if self._failures:
            raise VsrError(f"failed: {', '.join(map(str, self._failures))}")

    def _unfinished(self, pairs: Iterable[tuple[Path, Path]]) -> Iterator[tuple[Path, Path]]:
        """Yield the films that don't exist, and report the others."""
        for source, output in pairs:
            if self._settings["overwrite"] or not _is_finished(output):
                yield source, output
            else:
                self._present += 1
                self._report.skipped(source, output)

    def _call_each(self, films: Iterable[Callable[[], None]]) -> None:
        for film in films:
            if self._stop.is_set():
                raise Interrupted("interrupted between two films")
            film()

    def _report_counts(self, folder: Path) -> None:
        self._report.summary(folder, self._upscaled, self._present, len(self._failures))

    def _report_interrupted(self) -> None:
        """Report what films that were upscaled at the same time keep."""
        for source, error in self._interrupted:
            self._report.film_message(source, str(error))

    def _upscale_one_of_several(self, source: Path, output: Path) -> None:
        from vsr.system.files import make_folder

        try:
            make_folder(output.parent)
            self.upscale(source, output)
        except Interrupted as error:
            self._interrupted.append((source, error))
            raise
        except VsrError as error:
            self._report.failed(source, error)
            if source not in self._failures:
                self._failures.append(source)
            return
        with self._lock:
            if source in self._failures:  # a watched film that has changed since it failed
                self._failures.remove(source)
            self._upscaled += 1


def _watch(
    runs: _Runs, sources: Sequence[Path], output: Path, report: Report, stop: threading.Event
) -> None:
    """Upscale films as they appear in folders, until `stop` is set."""
    from vsr.engine.watch import FolderWatcher

    watcher = FolderWatcher(sources, output, report.message)
    report.message(f"watching {', '.join(map(str, sources))}; Ctrl-C ends it")

    def films() -> Iterable[tuple[Path, Path]]:
        while not stop.is_set():
            if (pair := watcher.next()) is not None:
                yield pair
            else:
                time.sleep(POLL_SECONDS)

    runs.upscale_each(films(), output)


def _is_finished(output: Path) -> bool:
    """Whether a film exists and has no unfinished work beside it."""
    from vsr.engine.resume.journal import work_folder

    return output.exists() and not work_folder(output).exists()
