"""`vsr plan`: time, memory and disk that upscaling a film will take."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vsr.cli.options import (
    FILE,
    cluster_option,
    film_options,
    json_option,
    named_model,
    overwrite_option,
    parse_film_options,
    workers_option,
)
from vsr.cli.sections import SectionedCommand
from vsr.cli.streams import print_result


@click.command("plan", cls=SectionedCommand)
@click.argument("source", metavar="IN", type=FILE)
@film_options
@workers_option
@cluster_option
@click.option(
    "--container", default=".mp4", show_default=True, help="Container of the planned output."
)
@click.option(
    "--preview",
    type=FILE,
    metavar="FILE",
    help="Write a picture or an H.264 clip that compares bicubic and model.",
)
@overwrite_option
@json_option
def plan_command(
    source: Path,
    workers: int | None,
    cluster: str | None,
    container: str,
    preview: Path | None,
    overwrite: bool,
    as_json: bool,
    **film: Any,
) -> None:
    """Estimate time, memory and disk before upscaling a film.

    The plan also lists what can't be kept. The estimate is measured: frames from the middle of IN
    are upscaled for two seconds, by all --workers or GPUs at once. For several, IN is also read for
    up to ten seconds, since shots are shared out. The preview shows one frame, bicubic on the left,
    upscaled on the right. A clip shows two seconds, from the middle or from --from, in both ways
    side by side.

    \b
    vsr plan holiday.mp4 --preview preview.png
    vsr plan holiday.mp4 --preview clip.mp4 --from 1:30
    """
    from vsr.engine.parallel.workers import Workers
    from vsr.engine.plan import plan_video
    from vsr.engine.upscale_options import UpscaleOptions

    container = f".{container.lower().lstrip('.')}"
    options = UpscaleOptions(**parse_film_options(container, film))
    with Workers(options.device, workers, cluster) as processes:
        plan = plan_video(source, container, options, preview, overwrite, processes)
    if as_json:
        print_result(json.dumps(asdict(plan)))
    else:
        print_result("\n".join(_lines(source, plan)))


def _lines(source: Path, plan: Any) -> list[str]:
    about = "" if plan.frames_are_counted else "about "
    workers = f", {len(plan.workers)} workers" if plan.workers else ""
    frames = f"{about}{plan.frames} frames" if plan.frames else "frames"
    lines = [
        f"{source}: {frames} to {plan.width}x{plan.height} ({named_model(plan.model, plan.detail)} "
        f"by {plan.backend}{workers})",
        f"time    {_duration(plan.seconds)}, {plan.frames_per_second:.1f} frames/s",
        f"memory  {plan.memory_bytes / 1e9:.1f} GB",
    ]
    lines[2:2] = [
        f"        with --model {other.quality} ({other.model}): {_duration(other.seconds)}, "
        f"{other.frames_per_second:.1f} frames/s"
        for other in plan.alternatives
    ]
    if plan.output_bytes is not None and plan.disk_bytes is not None:
        output, peak = plan.output_bytes / 1e6, plan.disk_bytes / 1e6
        lines.append(f"disk    {output:.0f} MB of video, {peak:.0f} MB during the run")
    lines.append(f"tested  {plan.tried_frames} frames from the middle")
    if len(plan.workers) > 1:
        lines += _shot_lines(plan.shots, len(plan.workers))
    lines += [f"lost    {what}" for what in plan.left_out]
    lines += [f"note    {note}" for note in plan.notes]
    return lines


def _shot_lines(shots: Any, workers: int) -> Iterator[str]:
    """Describe the shots, and what is assumed of them."""
    if shots is None:
        yield (
            "note    the shots weren't found in ten seconds: the time is for many, which keep all "
            "workers busy"
        )
        return
    about = "" if shots.are_counted else "about "
    read = f"in the first {shots.frames_read} frames, which were read in ten seconds"
    if shots.shots == 1:
        yield f"shots   one, of {about}{shots.longest_frames} frames"
        assumed = "" if shots.are_counted else f"no cut {read}: "
        yield f"note    {assumed}one worker upscales a shot, so that more workers don't help"
        return
    yield (
        f"shots   {about}{shots.shots}, the longest of {shots.longest_frames} frames "
        f"({100 * shots.longest_share:.1f} %) on one worker; {shots.busy_workers:.1f} of {workers} "
        "workers are busy on average"
    )
    if shots.chains == 1:
        yield "note    short shots are upscaled together, so that more workers don't help"
    if not shots.are_counted:
        yield f"note    shots are estimated from those {read}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown: the film does not state its length"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min {rest} s"
