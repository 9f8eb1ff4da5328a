"""The command line: thin commands, whose heavy imports wait until one is run."""

import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vsr import __version__
from vsr.errors import Interrupted, VsrError

if TYPE_CHECKING:
    import threading

    from rich.progress import ProgressColumn

_INTERRUPTED = 130
_PLAIN_PROGRESS_SECONDS = 10
_device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
_model_option = click.option("--model", help="A name from `vsr models`, or a model file.")
_detail_option = click.option(
    "--detail",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="0 is faithful; up to 1, the model's -gan twin invents texture.",
)
_film_options = (
    click.option(
        "--scale",
        type=click.Choice(["auto", "2", "4"]),
        default="auto",
        show_default=True,
        help="auto is 4 for films of up to 576 lines, else 2.",
    ),
    _model_option,
    _detail_option,
    _device_option,
    click.option(
        "--backend",
        type=click.Choice(["auto", "torch", "openvino"]),
        default="auto",
        show_default=True,
        help="What computes: OpenVINO on a CPU where it is worth it, else torch.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "f32", "f16", "int8"]),
        default="auto",
        show_default=True,
        help="Arithmetic of the trunk: f16 on GPUs; int8 by OpenVINO loses hundredths of a dB.",
    ),
    click.option(
        "--tile",
        default="auto",
        show_default=True,
        metavar="auto|off|N",
        help="Do frames in overlapping tiles: where memory asks for it, never, or of N pixels.",
    ),
    click.option(
        "--codec",
        type=click.Choice(["h264", "hevc", "av1", "prores", "ffv1"]),
        help="How the video is encoded: h264 unless the output is .webm, which holds av1.",
    ),
    click.option("--crf", type=click.IntRange(0, 63), help="Lower is better and larger."),
    click.option("--preset", help="The encoder's speed against size, such as veryfast."),
    click.option(
        "--encoder",
        type=click.Choice(["cpu", "gpu"]),
        default="cpu",
        show_default=True,
        help="Whose: NVIDIA's cards encode h264, hevc and av1, faster and less well.",
    ),
    click.option(
        "--decoder",
        type=click.Choice(["cpu", "gpu"]),
        default="cpu",
        show_default=True,
        help="Whose: an NVIDIA card's where it knows the film's codec.",
    ),
    click.option(
        "--deinterlace",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        show_default=True,
        help="Make interlaced frames whole: where they say so, always, or never.",
    ),
    click.option(
        "--rotate",
        type=click.Choice(["keep", "apply"]),
        default="keep",
        show_default=True,
        help="Leave turning the picture to players, as the film tells them, or do it.",
    ),
)
_overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what exists.")
_OUT_FILE = click.Path(path_type=Path, allow_dash=True)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def _of_films(command: Callable[..., None]) -> Callable[..., None]:
    """All options of how a film is upscaled."""
    for option in reversed(_film_options):
        command = option(command)
    return command


def _chosen(suffix: str, given: dict[str, Any]) -> dict[str, Any]:
    """What `_film_options` give, as `engine.job.Options` has it."""
    from vsr.media.encoder import EncoderSettings

    codec: Any = given.pop("codec") or ("av1" if suffix == ".webm" else "h264")
    coding = (given.pop(name) for name in ("crf", "preset", "encoder"))
    scale, tile = given.pop("scale"), given.pop("tile")
    return given | {
        "scale": None if scale == "auto" else int(scale),
        "tiling": _tiling(tile),
        "settings": EncoderSettings(codec, *coding),
    }


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a user's mistake becomes one line and exit code 1."""
    # Ended from outside, leave as tidily as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        cli.main(args=arguments, prog_name="vsr", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("vsr: interrupted", err=True)
        sys.exit(_INTERRUPTED)
    except Interrupted as error:
        click.echo(f"vsr: {error}", err=True)
        sys.exit(_INTERRUPTED)
    except VsrError as error:
        click.echo(f"vsr: {error}", err=True)
        sys.exit(1)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    sys.exit(0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vsr")
def cli() -> None:
    """Make film and pictures sharper and larger.

    \b
    vsr upscale holiday.mp4 holiday-large.mp4
    """


@cli.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path, allow_dash=True))
@_of_films
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
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what each stage did, frame by frame, as a trace for Perfetto or Chrome.",
)
@_overwrite_option
@_json_option
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
    from vsr.engine.folder import film_jobs
    from vsr.engine.video import upscale_video

    settings = _chosen(output.suffix.lower(), given) | {
        "overwrite": overwrite,
        "resume": not no_resume,
        "strict": strict,
        "pipe_format": pipe_format,
        "profile": profile,
    }
    if profile and source.is_dir():
        raise VsrError("--profile is of one film; name a film, not a folder")
    jobs = film_jobs(source, output)
    summaries, failures, skipped = [], [], 0
    with _stop_gently() as stop:
        for film, target in jobs:
            if source.is_dir():
                if target.exists() and not overwrite and not _unfinished(target):
                    skipped += 1
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
            with _bar(["{task.fields[rate]:.1f} frames/s"], rate=0.0) as update:

                def watch(now: Any, update: Callable[..., None] = update) -> None:
                    rate = (now.frames - now.before) / max(now.seconds, 1e-9)
                    update(now.frames, now.frame_count, rate=rate)

                try:
                    summary = upscale_video(
                        *(film, target),
                        **settings,
                        stop=stop,
                        watch=watch,
                        tell=lambda line: click.echo(f"vsr: {line}", err=True),
                    )
                except Interrupted:
                    raise
                except VsrError as error:
                    if not source.is_dir():
                        raise
                    click.echo(f"vsr: {error}", err=True)
                    failures.append(film)
                    continue
            summaries.append(summary)
            _tell_summary(summary, as_json)
            if stop.is_set():
                raise Interrupted("interrupted between two films")
    if source.is_dir():
        line = f"{len(summaries)} films done, {skipped} there already, {len(failures)} failed"
        click.echo(f"{output}: {line}", err=as_json)
    if failures:
        raise VsrError(f"not done: {', '.join(map(str, failures))}")


@cli.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@_of_films
@click.option("--container", default=".mp4", show_default=True, help="Of the film to come.")
@click.option("--preview", type=click.Path(path_type=Path), help="Write a frame to compare.")
@_overwrite_option
@_json_option
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
    from vsr.engine.job import Options
    from vsr.engine.plan import plan_video

    options = Options(**_chosen(container, given))
    told = plan_video(source, container, options, preview, overwrite)
    if as_json:
        click.echo(json.dumps(asdict(told)))
        return
    frames = f"{told.frames} frames" if told.frames else "frames"
    click.echo(f"{source}: {frames} to {told.width}x{told.height} ({told.model} by {told.backend})")
    click.echo(f"time    {_duration(told.seconds)}, {told.frames_per_second:.1f} frames/s")
    click.echo(f"memory  {told.memory_bytes / 1e9:.1f} GB")
    if told.output_bytes is not None and told.disk_bytes is not None:
        sizes = (told.output_bytes / 1e6, told.disk_bytes / 1e6)
        click.echo(f"disk    {sizes[0]:.0f} MB of video, {sizes[1]:.0f} MB while it goes on")
    click.echo(f"tried   {told.tried_frames} frames from the middle")
    for what in told.left_out:
        click.echo(f"lost    {what}")


@cli.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@_json_option
def verify(source: Path, output: Path, as_json: bool) -> None:
    """Prove that OUT has all that IN has: times, streams, chapters, tags.

    Sound, subtitles and attachments are compared packet by packet; exit code 1 if anything
    was lost.

    \b
    vsr verify holiday.mp4 holiday-large.mp4
    """
    from vsr.media.verify import table, verify_film

    findings = verify_film(source, output)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        click.echo(table(findings))
    lost = [finding.what for finding in findings if not finding.kept]
    if lost:
        raise VsrError(f"{output}: lost or changed: {', '.join(lost)}")


@cli.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--scale", type=click.Choice(["2", "4"]), help="4 unless the model says otherwise.")
@_model_option
@_detail_option
@_device_option
@_overwrite_option
def image(
    source: Path,
    output: Path,
    scale: str | None,
    model: str | None,
    detail: float,
    device: str,
    overwrite: bool,
) -> None:
    """Upscale the picture IN into OUT, or every picture of a folder into another.

    PNG, JPEG and WebP. Colour profile, transparency and Exif data are kept.

    \b
    vsr image small.png large.png --scale 2
    vsr image photos/ larger/
    """
    from vsr.engine.stills import StillUpscaler, picture_jobs

    upscaler = StillUpscaler(model, int(scale) if scale else None, device, detail)
    jobs = picture_jobs(source, output)
    failures = []
    with _bar([], quiet=len(jobs) == 1) as update:
        for number, (picture, target) in enumerate(jobs):
            try:
                upscaler.upscale_file(picture, target, overwrite)
            except VsrError as error:
                failures.append(str(error))
            update(number + 1, len(jobs))
    done = len(jobs) - len(failures)
    if done:
        click.echo(f"{output}: {done} picture{'s' if done > 1 else ''}, x{upscaler.scale}")
    if failures:
        raise VsrError("\nvsr: ".join(failures))


@cli.group()
def data() -> None:
    """Make the data sets that models learn from.

    \b
    vsr data prepare films/ photos/ dataset/
    """


@data.command()
@click.argument("footage", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--val",
    "validation",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Footage to hold back for validation, instead of a share of the films.",
)
@click.option(
    "--val-share",
    type=click.FloatRange(0, 0.5),
    default=0.1,
    show_default=True,
    help="Share of the films to hold back.",
)
@click.option(
    "--shortest",
    type=click.IntRange(2),
    default=7,
    show_default=True,
    help="Fewest frames of a clip.",
)
@_json_option
def prepare(
    footage: tuple[Path, ...],
    dataset: Path,
    validation: tuple[Path, ...],
    val_share: float,
    shortest: int,
    as_json: bool,
) -> None:
    """Make the folder DATASET of the FOOTAGE: films, photographs, and folders of them.

    Shots are found; what is static, blurred, flat, too short or there already is left
    out, black bars are cropped, and what was enlarged is shrunk to its true size. Run
    again, it adds only what is new; interrupted, it goes on. summary.json and
    contact-sheet.png tell and show what was taken.

    \b
    vsr data prepare films/ photos/ dataset/
    """
    from vsr.data.prepare import prepare as prepare_dataset
    from vsr.data.store import Header
    from vsr.data.summary import summarise, table, write_contact_sheet, write_summary

    header = Header(shortest=shortest, val_share=val_share)
    with _bar(
        ["{task.fields[source]}, {task.fields[frames]} frames"], source="", frames=0
    ) as update:
        store = prepare_dataset(
            footage,
            dataset,
            header,
            validation,
            lambda now: update(now.number, now.count, source=now.source, frames=now.frames),
        )
    rows = summarise(store)
    write_summary(store, rows)
    write_contact_sheet(store)
    if as_json:
        click.echo((dataset / "summary.json").read_text(), nl=False)
        return
    click.echo("\n".join(table(rows)))
    for row in rows:
        if row.error:
            click.echo(f"vsr: passed over: {row.error}", err=True)


@cli.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, help="A TOML recipe.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder of the run; runs/NAME by default."
)
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop after so long, and save.")
@_device_option
def train(
    config: Path,
    overrides: tuple[str, ...],
    output: Path | None,
    resume: bool,
    minutes: float | None,
    device: str,
) -> None:
    """Train a model on a data set made by `vsr data prepare`.

    Ctrl-C and --minutes save before they stop; --resume goes on exactly from there.
    Under torchrun, all its processes train together.

    \b
    vsr train --config configs/tiny-x4.toml --set data.dataset=dataset --minutes 60
    torchrun --nproc-per-node 4 -m vsr train --config configs/base-x4.toml
    """
    from vsr.config import load_toml
    from vsr.engine.upscaler import pick_device
    from vsr.training.config import TrainConfig
    from vsr.training.trainer import Progress, Trainer

    recipe = load_toml(config, TrainConfig, overrides)
    folder = output or Path("runs") / config.stem
    command = " ".join(
        ["vsr train --config", str(config), *(f"--set {override}" for override in overrides)]
    )
    trainer = Trainer(recipe, folder, pick_device(device), resume, command)
    columns = ["loss {task.fields[loss]:.4f}", "rate {task.fields[learning_rate]:.1e}"]
    columns += ["{task.fields[score]}"]
    quiet = not trainer.world.writes
    with _bar(columns, quiet, loss=float("nan"), learning_rate=0.0, score="") as update:

        def watch(now: Progress) -> None:
            if now.message and not quiet:
                click.echo(f"vsr: {now.message}", err=True)
            update(
                now.iteration,
                now.iterations,
                loss=now.loss,
                learning_rate=now.learning_rate,
                score=_score(now.validation),
            )

        outcome = trainer.run(minutes, watch)
    state = "done" if outcome.finished else "stopped; go on with --resume"
    if not quiet:
        click.echo(
            f"{outcome.model}: iteration {outcome.iteration} of {recipe.training.iterations}, "
            f"{_score(outcome.validation) or 'not validated yet'} ({state})"
        )
    trainer.world.leave()
    if outcome.interrupted:
        sys.exit(_INTERRUPTED)


@cli.command()
@click.argument("output", metavar="[OUT]", type=click.Path(path_type=Path), required=False)
@click.argument("reference", metavar="[REF]", type=click.Path(path_type=Path), required=False)
@click.option("--model", help="A name from `vsr models`, or a model file, to evaluate by itself.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="With --model: films it has not learnt from."
)
@click.option(
    "--degradation",
    type=click.Choice(["bi", "bd", "real"]),
    default="bi",
    show_default=True,
    help="With --model: how the films are shrunk first.",
)
@_detail_option
@click.option(
    "--source", type=click.Path(path_type=Path), help="What OUT was made from: measures flicker."
)
@click.option(
    "--protocol",
    type=click.Choice(["plain", "tecogan", "basicvsr"]),
    default="plain",
    show_default=True,
    help="Which frames and which part of them count.",
)
@click.option("--metrics", help="Names with commas between, such as psnr_y,ssim_y,tof.")
@click.option(
    "--align",
    type=click.Choice(["strict", "crop"]),
    default="strict",
    show_default=True,
    help="crop: compare what two films of different length or size have in common.",
)
@_device_option
@click.option("--json", "json_file", type=_OUT_FILE, help="Write all as JSON; - prints it.")
@click.option("--csv", "csv_file", type=_OUT_FILE, help="Write a line for each frame; - prints.")
@click.option("--html", "html_file", type=_OUT_FILE, help="Write a page with curves and crops.")
@_overwrite_option
def evaluate(
    output: Path | None,
    reference: Path | None,
    model: str | None,
    data: Path | None,
    degradation: Any,
    detail: float,
    source: Path | None,
    protocol: str,
    metrics: str | None,
    align: Any,
    device: str,
    json_file: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    overwrite: bool,
) -> None:
    """Compare OUT with its reference REF: PSNR, SSIM, LPIPS, and how steady it is.

    Both are films, folders of numbered pictures, or folders of either. With --source
    and no REF, flicker alone is measured. With --model and --data, films are shrunk,
    upscaled and measured in one go, beside bicubic interpolation.

    \b
    vsr evaluate upscaled.mp4 original.mp4 --html report.html
    vsr evaluate upscaled.mp4 --source holiday.mp4
    vsr evaluate --model tiny-x4 --data footage/val --degradation bi
    """
    if (output is None) == (model is None):
        raise click.UsageError("give OUT and REF, or --model and --data")
    if model is not None and data is None:
        raise click.UsageError("--model needs --data: films that it has not learnt from")
    if model is not None and source is not None:
        raise click.UsageError("--source goes with OUT; a model's own input is known")
    from vsr.evaluation import evaluate as evaluate_films
    from vsr.evaluation import evaluate_model
    from vsr.evaluation.page import report_page
    from vsr.evaluation.report import as_csv, as_json, table
    from vsr.media.target import check_text_target, write_text

    for file in (json_file, csv_file, html_file):
        check_text_target(file, overwrite)
    shared: dict[str, Any] = {
        "protocol": protocol,
        "metrics": metrics.split(",") if metrics else None,
        "device": device,
        "gallery": html_file is not None,
        "command": shlex.join(["vsr", *sys.argv[1:]]),
    }
    with _bar([]) as update:
        if model is not None:
            assert data is not None
            report = evaluate_model(model, data, degradation, detail=detail, **shared, watch=update)
        else:
            assert output is not None
            report = evaluate_films(
                output, reference, **shared, source=source, align=align, watch=update
            )
    written = ((json_file, as_json), (csv_file, as_csv), (html_file, report_page))
    for file, render in written:
        if file is not None:
            write_text(file, render(report))
    if any(str(file) == "-" for file, _ in written):
        for line in report.left_out:
            click.echo(f"vsr: {line}", err=True)
    else:
        click.echo(table(report))


@cli.command()
@click.argument("films", metavar="A B...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--html", "page", type=click.Path(path_type=Path), required=True, help="The page.")
@_overwrite_option
def compare(films: tuple[Path, ...], page: Path, overwrite: bool) -> None:
    """Make a page on which films are seen side by side, under one clock.

    A draggable divider, zoom, frame steps, difference and x-t views; it works offline, in
    any browser. Small films go into the page, large ones are played from where they lie.

    \b
    vsr compare holiday.mp4 holiday-large.mp4 --html compare.html
    """
    from vsr.evaluation.compare import write_comparison

    write_comparison(films, page, overwrite, lambda line: click.echo(f"vsr: {line}", err=True))
    click.echo(f"{page}: open it in a browser")


@cli.command()
@click.argument("model")
@click.argument("output", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--size", default="640x360", show_default=True, help="Of frames: WIDTHxHEIGHT.")
@_detail_option
@_overwrite_option
def export(model: str, output: Path, size: str, detail: float, overwrite: bool) -> None:
    """Write a step of MODEL to FILE for other runtimes: .onnx, or .xml for OpenVINO.

    The state goes in and comes out: low, state0, state1 to high, next0, next1. The file is
    proven on thirty frames before it gets its name.

    \b
    vsr export tiny-x4 tiny-x4.onnx --size 640x360
    """
    from vsr.engine.export import export_model

    sides = size.lower().split("x")
    if len(sides) != 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise click.BadParameter(f"{size!r} isn't WIDTHxHEIGHT", param_hint="--size")
    width, height = map(int, sides)
    worst = export_model(model, output, (height, width), detail, overwrite)
    click.echo(f"{output}: {width}x{height}, within {worst:.1e} of torch over thirty frames")


@cli.command()
@_json_option
def models(as_json: bool) -> None:
    """List the models that ship: scale, size, and what they gain over bicubic.

    \b
    vsr models
    """
    from vsr.zoo import list_models

    if as_json:
        click.echo(json.dumps([card.model_dump(mode="json") for card in list_models()]))
        return
    for card in list_models():
        gains = ", ".join(
            f"{kind} {score.psnr_y:.2f} dB ({score.gain:+.2f})"
            for kind, score in card.scores.items()
        )
        click.echo(f"{card.name:<10} x{card.scale}  {card.parameters / 1000:.0f}k  {gains}")
        click.echo(f"{'':<10} {card.summary}")


@cli.command()
def doctor() -> None:
    """Print versions, devices and encoders: what to paste into a bug report.

    \b
    vsr doctor
    """
    import platform

    import av
    import torch

    from vsr.engine.backends import openvino_version
    from vsr.media.encoder import encoders
    from vsr.zoo import list_models

    click.echo(f"vsr      {__version__}")
    click.echo(f"python   {platform.python_version()} on {platform.platform()}")
    click.echo(f"torch    {torch.__version__}, {torch.get_num_threads()} threads")
    libraries = ", ".join(
        f"{name[3:]} {'.'.join(map(str, version))}" for name, version in av.library_versions.items()
    )
    click.echo(f"openvino {openvino_version() or 'not installed'}")
    click.echo(f"PyAV     {av.__version__} ({libraries})")
    devices = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    click.echo(f"devices  cpu{''.join(f', cuda:{n} {name}' for n, name in enumerate(devices))}")
    for codec, present in encoders().items():
        click.echo(f"{codec:<8} {'yes' if present else 'no encoder'}")
    click.echo(f"models   {', '.join(card.name for card in list_models()) or 'none'}")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown: the film doesn't tell its length"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min {rest} s"


def _tiling(text: str) -> Any:
    if text in ("auto", "off"):
        return text
    if not text.isdigit():
        raise click.BadParameter(f"{text!r} is neither auto, off nor a number", param_hint="--tile")
    return int(text)


def _tell_summary(summary: Any, as_json: bool) -> None:
    for line in (*(f"not kept: {what}" for what in summary.left_out), *summary.notes):
        click.echo(f"vsr: {line}", err=True)
    if damaged := summary.damaged_seconds:
        places = ", ".join(f"{second:.2f}" for second in damaged[:5])
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        click.echo(f"vsr: {len(damaged)} damaged frames, at {places}{more} s", err=True)
    to_pipe = summary.output == "-"
    if as_json:
        click.echo(json.dumps(asdict(summary)), err=to_pipe)
        return
    stages = summary.stages
    click.echo(
        f"{summary.output}: {summary.frames} frames of {summary.width}x{summary.height} "
        f"({summary.model} on {summary.device} by {summary.backend}), "
        f"{summary.audio_tracks} audio tracks, "
        f"{summary.seconds:.1f} s, {summary.frames_per_second:.1f} frames/s "
        f"(busy: decode {stages.decode.busy:.1f}, upscale {stages.upscale.busy:.1f}, "
        f"encode {stages.encode.busy:.1f} s; {stages.limit} is the limit)",
        err=to_pipe,
    )


def _unfinished(target: Path) -> bool:
    from vsr.engine.journal import work_folder

    return work_folder(target).exists()


@contextmanager
def _stop_gently() -> "Iterator[threading.Event]":
    """An event that the first Ctrl-C sets; the second ends at once."""
    import threading

    stop = threading.Event()

    def interrupt(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo("vsr: ending the segment in hand; Ctrl-C again to end at once", err=True)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _score(validation: Any) -> str:
    if validation is None:
        return ""
    return (
        f"{validation.ours.psnr_y:.2f} dB ({validation.gain:+.2f} over bicubic), "
        f"tOF {validation.ours.tof:.3f}"
    )


@contextmanager
def _bar(columns: list[str], quiet: bool = False, **fields: Any) -> Iterator[Callable[..., None]]:
    """A function `update(done, total, **fields)` that draws progress on standard error.

    A bar on a terminal; elsewhere a plain line now and then.
    """
    if quiet:
        yield lambda done, total, **fields: None
        return
    if not sys.stderr.isatty():
        yield _plain_progress(columns)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    shown: list[ProgressColumn] = [BarColumn(), MofNCompleteColumn()]
    shown += [TextColumn(column) for column in columns]
    shown += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
    with Progress(*shown, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, **fields)
        yield lambda done, total, **fields: progress.update(
            task, completed=done, total=total, **fields
        )


def _plain_progress(columns: list[str]) -> Callable[..., None]:
    from time import monotonic
    from types import SimpleNamespace

    last_time, last_done = monotonic(), 0

    def update(done: int, total: int | None, **fields: Any) -> None:
        nonlocal last_time, last_done
        seconds = monotonic() - last_time
        if seconds < _PLAIN_PROGRESS_SECONDS:
            return
        rate = (done - last_done) / seconds
        last_time, last_done = monotonic(), done
        task = SimpleNamespace(fields=fields)
        values = "".join(f", {text}" for column in columns if (text := column.format(task=task)))
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        click.echo(f"{done} of {total or '?'}{values}{left}", err=True)

    return update
