"""Commands that upscale films and pictures, or tell of it."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vsr.cli.options import (
    FILE,
    chosen_options,
    detail_option,
    device_option,
    json_option,
    model_option,
    of_films,
    overwrite_option,
)
from vsr.cli.progress import progress_bar, stop_gently
from vsr.cli.streams import say, tell
from vsr.errors import Interrupted, VsrError


@click.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("output", metavar="OUT", type=FILE)
@of_films
@click.option("--strict", is_flag=True, help="Stop before any work if something can't be kept.")
@click.option("--no-resume", is_flag=True, help="Start afresh where an earlier run has begun.")
@click.option(
    "--format",
    "pipe_format",
    type=click.Choice(["nut", "y4m"]),
    default="nut",
    show_default=True,
    help="Into a pipe: raw video with all else in nut, or pictures alone in y4m.",
)
@click.option(
    "--profile",
    type=FILE,
    help="Write what each stage did, frame by frame, as a trace for Perfetto or Chrome.",
)
@overwrite_option
@json_option
def upscale(
    source: Path,
    output: Path,
    strict: bool,
    no_resume: bool,
    pipe_format: Any,
    profile: Path | None,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Upscale the film IN into OUT (.mp4, .mov, .mkv or .webm), or a folder of films into another.

    Frames keep their times, and sound, subtitles, chapters and tags go along. OUT appears when it
    is whole. Stopped, the same command goes on where it was. - is standard input or output.

    \b
    vsr upscale old.mp4 new.mp4 --scale 4 --crf 18 --preset slow
    vsr upscale tapes/ larger/
    ffmpeg -i old.avi -f nut - | vsr upscale - - | mpv -
    """
    from vsr.engine.batch import pair_films
    from vsr.engine.upscale import upscale_video
    from vsr.system.files import make_folder

    settings = chosen_options(output.suffix.lower(), given) | {
        "overwrite": overwrite,
        "resume": not no_resume,
        "strict": strict,
        "pipe_format": pipe_format,
        "profile": profile,
    }
    if profile == Path("-"):
        raise VsrError("--profile: is written to a file, not to standard output; name one")
    if profile and source.is_dir():
        raise VsrError("--profile is of one film; name a film, not a folder")
    jobs = pair_films(source, output, tell)
    summaries, failures, skipped = [], [], 0
    with stop_gently() as stop:
        for film, target in jobs:
            if source.is_dir() and target.exists() and not overwrite and not _unfinished(target):
                skipped += 1
                continue
            if stop.is_set():
                raise Interrupted("interrupted between two films")
            with progress_bar(["{task.fields[rate]:.1f} frames/s"], rate=0.0) as update:

                def watch(now: Any, update: Callable[..., None] = update) -> None:
                    rate = (now.frames - now.before) / max(now.seconds, 1e-9)
                    update(now.frames, now.frame_count, rate=rate)

                told: list[str] = []

                def report(line: str, told: list[str] = told) -> None:
                    told.append(line)
                    tell(line)

                try:
                    if source.is_dir():
                        make_folder(target.parent)
                    summary = upscale_video(
                        *(film, target),
                        **settings,
                        stop=stop,
                        watch=watch,
                        tell=report,
                    )
                except Interrupted:
                    raise
                except VsrError as error:
                    if not source.is_dir():
                        raise
                    tell(str(error))
                    failures.append(film)
                    continue
            summaries.append(summary)
            _tell_summary(summary, as_json, told)
    if source.is_dir():
        line = f"{len(summaries)} films done, {skipped} there already, {len(failures)} failed"
        say(f"{output}: {line}", err=as_json)
    if failures:
        raise VsrError(f"not done: {', '.join(map(str, failures))}")


@click.command()
@click.argument("source", metavar="IN", type=FILE)
@of_films
@click.option("--container", default=".mp4", show_default=True, help="Of the film to come.")
@click.option("--preview", type=FILE, help="Write a frame to compare.")
@overwrite_option
@json_option
def plan(
    source: Path,
    container: str,
    preview: Path | None,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Tell what upscaling IN would take: time, memory, disk, and what can't be kept.

    Two seconds are spent on frames from its middle. The preview shows one of them, bicubic on
    the left, upscaled on the right.

    \b
    vsr plan holiday.mp4 --preview preview.png
    """
    from vsr.engine.plan import plan_video
    from vsr.engine.session import UpscaleOptions

    container = f".{container.lower().lstrip('.')}"
    options = UpscaleOptions(**chosen_options(container, given))
    told = plan_video(source, container, options, preview, overwrite)
    if as_json:
        say(json.dumps(asdict(told)))
        return
    about = "" if told.frames_are_counted else "about "
    frames = f"{about}{told.frames} frames" if told.frames else "frames"
    say(f"{source}: {frames} to {told.width}x{told.height} ({told.model} by {told.backend})")
    say(f"time    {_duration(told.seconds)}, {told.frames_per_second:.1f} frames/s")
    say(f"memory  {told.memory_bytes / 1e9:.1f} GB")
    if told.output_bytes is not None and told.disk_bytes is not None:
        sizes = (told.output_bytes / 1e6, told.disk_bytes / 1e6)
        say(f"disk    {sizes[0]:.0f} MB of video, {sizes[1]:.0f} MB while it goes on")
    say(f"tried   {told.tried_frames} frames from the middle")
    for what in told.left_out:
        say(f"lost    {what}")
    for note in told.notes:
        say(f"note    {note}")


@click.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("output", metavar="OUT", type=FILE)
@json_option
def verify(source: Path, output: Path, as_json: bool) -> None:
    """Prove that OUT has all that IN has: times, streams, chapters, tags.

    Sound, subtitles and attachments are compared packet by packet; exit code 1 if anything
    was lost.

    \b
    vsr verify holiday.mp4 holiday-large.mp4
    """
    from vsr.media.verify import format_findings, verify_film

    findings = verify_film(source, output)
    if as_json:
        say(json.dumps([asdict(finding) for finding in findings]))
    else:
        say(format_findings(findings))
    lost = [finding.what for finding in findings if not finding.kept]
    if lost:
        raise VsrError(f"{output}: lost or changed: {', '.join(lost)}")


@click.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("output", metavar="OUT", type=FILE)
@click.option("--scale", type=click.Choice(["2", "4"]), help="4 unless the model says otherwise.")
@model_option
@detail_option
@device_option
@click.option("--strict", is_flag=True, help="Refuse a picture of which something can't be kept.")
@overwrite_option
def image(
    source: Path,
    output: Path,
    scale: str | None,
    model: str | None,
    detail: float,
    device: str,
    strict: bool,
    overwrite: bool,
) -> None:
    """Upscale the picture IN into OUT, or every picture of a folder into another.

    Into PNG, JPEG and WebP. Colour profile, transparency, Exif, XMP, resolution and comment are
    kept; what can't be is told of beforehand.

    \b
    vsr image small.png large.png --scale 2
    vsr image photos/ larger/
    """
    from vsr.engine.image import StillUpscaler, pair_images

    upscaler = StillUpscaler(model, int(scale) if scale else None, device, detail)
    jobs = pair_images(source, output, tell)
    failures = []
    with progress_bar([], quiet=len(jobs) == 1) as update:
        for number, (picture, target) in enumerate(jobs):
            try:
                upscaler.upscale_file(picture, target, overwrite, strict, tell)
            except VsrError as error:
                failures.append(str(error))
            update(number + 1, len(jobs))
    done = len(jobs) - len(failures)
    if done:
        say(f"{output}: {done} picture{'s' if done > 1 else ''}, x{upscaler.scale}")
    if failures:
        raise VsrError("\nvsr: ".join(failures))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown: the film doesn't tell its length"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min {rest} s"


def _tell_summary(summary: Any, as_json: bool, told: list[str]) -> None:
    for line in (*(f"not kept: {what}" for what in summary.left_out), *summary.notes):
        if line not in told:
            tell(line)
    if damaged := summary.damaged_seconds:
        places = ", ".join(f"{second:.2f}" for second in damaged[:5])
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        tell(f"{len(damaged)} damaged frames, at {places}{more} s")
    to_pipe = summary.output == "-"
    if as_json:
        say(json.dumps(asdict(summary)), err=to_pipe)
        return
    stages = summary.stages
    say(
        f"{summary.output}: {summary.frames} frames of {summary.width}x{summary.height} "
        f"({summary.model} on {summary.device} by {summary.backend}), "
        f"{summary.audio_tracks} audio tracks, "
        f"{summary.seconds:.1f} s, {summary.frames_per_second:.1f} frames/s "
        f"(busy: decode {stages.decode.busy:.1f}, upscale {stages.upscale.busy:.1f}, "
        f"encode {stages.encode.busy:.1f} s; {stages.limit} is the limit)",
        err=to_pipe,
    )


def _unfinished(target: Path) -> bool:
    from vsr.engine.resume.journal import work_folder

    return work_folder(target).exists()
