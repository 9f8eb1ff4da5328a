"""`vsr upscale`: one film, or a folder of films."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vsr.cli.options import (
    FILE,
    film_options,
    json_option,
    named_model,
    overwrite_option,
    parse_film_options,
)
from vsr.cli.progress import progress_bar, stop_on_interrupt
from vsr.cli.streams import print_message, print_result
from vsr.errors import Interrupted, VsrError

_DAMAGED_LISTED = 5
"""Damaged frames whose times are printed; the rest are counted."""


@click.command("upscale")
@click.argument("source", metavar="IN", type=FILE)
@click.argument("output", metavar="OUT", type=FILE)
@film_options
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
    help="Write a trace of every stage and frame, for Perfetto or Chrome.",
)
@overwrite_option
@json_option
def upscale_command(
    source: Path,
    output: Path,
    strict: bool,
    no_resume: bool,
    pipe_format: Any,
    trace: Path | None,
    overwrite: bool,
    as_json: bool,
    **film: Any,
) -> None:
    """Upscale a film, or a folder of films.

    OUT is an .mp4, .mov, .mkv or .webm file, or a folder if IN is one. Frames keep their
    timestamps. Sound, subtitles, attachments, chapters and tags are copied. OUT appears when it is
    complete. If a run is interrupted, the same command resumes it. - is standard input or output.

    \b
    vsr upscale old.mp4 new.mp4 --scale 4 --crf 18 --preset slow
    vsr upscale tapes/ larger/
    ffmpeg -i old.avi -f nut - | vsr upscale - - | mpv -
    """
    from vsr.engine.batch import pair_films

    settings = parse_film_options(output.suffix.lower(), film) | {
        "overwrite": overwrite,
        "resume": not no_resume,
        "strict": strict,
        "pipe_format": pipe_format,
        "trace": trace,
    }
    if trace == Path("-"):
        raise VsrError("--trace: can't be written to standard output; name a file")
    is_folder = source.is_dir()
    if trace and is_folder:
        raise VsrError("--trace is of one film; name a film, not a folder")
    done, skipped, failures = 0, 0, []
    pairs = pair_films(source, output, print_message)
    with stop_on_interrupt() as stop:
        for film_path, output_path in pairs:
            if is_folder and not overwrite and _is_finished(output_path):
                skipped += 1
                continue
            if stop.is_set():
                raise Interrupted("interrupted between two films")
            try:
                _upscale_film(film_path, output_path, is_folder, as_json, settings | {"stop": stop})
            except Interrupted:
                raise
            except VsrError as error:
                if not is_folder:
                    raise
                print_message(str(error))
                failures.append(film_path)
                continue
            done += 1
    if is_folder:
        line = f"{done} films upscaled, {skipped} already present, {len(failures)} failed"
        print_result(f"{output}: {line}", err=as_json)
    if failures:
        raise VsrError(f"failed: {', '.join(map(str, failures))}")


def _upscale_film(
    source: Path, output: Path, in_folder: bool, as_json: bool, settings: dict[str, Any]
) -> None:
    """Upscale one film, with a progress bar, and print its result."""
    from vsr.engine.upscale import upscale_video
    from vsr.system.files import make_folder

    printed: list[str] = []

    def print_once(line: str) -> None:
        printed.append(line)
        print_message(line)

    with progress_bar(["{task.fields[rate]:.1f} frames/s"], rate=0.0) as update:
        if in_folder:
            make_folder(output.parent)
        result = upscale_video(
            source, output, **settings, watch=_rate_updater(update), tell=print_once
        )
    _print_result(result, as_json, printed)


def _rate_updater(update: Callable[..., None]) -> Callable[[Any], None]:
    def on_progress(progress: Any) -> None:
        # Frames of an earlier run are on disk already, and say nothing about this run's speed.
        rate = (progress.frames - progress.before) / max(progress.seconds, 1e-9)
        update(progress.frames, progress.frame_count, rate=rate)

    return on_progress


def _print_result(result: Any, as_json: bool, printed: list[str]) -> None:
    """Print the result of one film, and what wasn't printed during the run."""
    for line in (*(f"not kept: {what}" for what in result.left_out), *result.notes):
        if line not in printed:
            print_message(line)
    if damaged := result.damaged_seconds:
        times = ", ".join(f"{second:.2f}" for second in damaged[:_DAMAGED_LISTED])
        more = len(damaged) - _DAMAGED_LISTED
        rest = f" and {more} more" if more > 0 else ""
        print_message(f"{len(damaged)} damaged frames, at {times}{rest} s")
    to_pipe = result.output == "-"
    if as_json:
        print_result(json.dumps(asdict(result)), err=to_pipe)
        return
    stages = result.stages
    print_result(
        f"{result.output}: {result.frames} frames of {result.width}x{result.height} "
        f"({named_model(result.model, result.detail)} on {result.device} by {result.backend}), "
        f"{result.audio_tracks} audio track{'' if result.audio_tracks == 1 else 's'}, "
        f"{result.seconds:.1f} s, {result.frames_per_second:.1f} frames/s "
        f"(busy: decode {stages.decode.busy:.1f}, upscale {stages.upscale.busy:.1f}, "
        f"encode {stages.encode.busy:.1f} s; {stages.limit} is the limit)",
        err=to_pipe,
    )


def _is_finished(output: Path) -> bool:
    """Whether a film exists and has no unfinished work beside it."""
    from vsr.engine.resume.journal import work_folder

    return output.exists() and not work_folder(output).exists()
