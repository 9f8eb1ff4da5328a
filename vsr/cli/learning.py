"""Commands that make data sets and train on them."""

import sys
from pathlib import Path
from typing import Any

import click

from vsr.cli.options import FILE, device_option, json_option
from vsr.cli.progress import INTERRUPTED, progress_bar, stop_on_signals
from vsr.cli.streams import say, tell


@click.group()
def data() -> None:
    """Make the data sets that models learn from.

    \b
    vsr data prepare films/ photos/ dataset/
    vsr data teach dataset/ --model x4plus.safetensors
    """


@data.command()
@click.argument("footage", type=FILE, nargs=-1)
@click.argument("dataset", type=FILE)
@click.option(
    "--val",
    "validation",
    type=FILE,
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
@click.option(
    "--pairs",
    type=FILE,
    nargs=2,
    multiple=True,
    metavar="LOW HIGH",
    help="Ready pairs: two folders of films or pictures with the same names.",
)
@json_option
def prepare(
    footage: tuple[Path, ...],
    dataset: Path,
    validation: tuple[Path, ...],
    val_share: float,
    shortest: int,
    pairs: tuple[tuple[Path, Path], ...],
    as_json: bool,
) -> None:
    """Make the folder DATASET of the FOOTAGE: films, photographs, and folders of them.

    Shots are found; what is static, blurred, flat, too short or there already is left
    out, black bars are cropped, and what was enlarged is shrunk to its true size. Run
    again, it adds only what is new; interrupted, it goes on. summary.json and
    contact-sheet.png tell and show what was taken.

    Of ready pairs (--pairs), training uses the low version at its scale instead of making one.

    \b
    vsr data prepare films/ photos/ dataset/
    vsr data prepare --pairs low/ high/ dataset/
    """
    if not footage and not pairs:
        raise click.UsageError("name FOOTAGE, or --pairs LOW HIGH, before DATASET")
    from vsr.data.prepare import PrepareProgress
    from vsr.data.prepare import prepare as prepare_dataset
    from vsr.data.ready_pairs import find_pairs, prepare_pairs
    from vsr.data.store import Header
    from vsr.data.summary import summarise, table, write_contact_sheet, write_summary

    header = Header(shortest=shortest, val_share=val_share)
    with progress_bar(
        ["{task.fields[source]}, {task.fields[frames]} frames"], source="", frames=0
    ) as update:
        found = [pair for low, high in pairs for pair in find_pairs(low, high)]

        def watch(now: PrepareProgress) -> None:
            update(now.number, now.count, source=now.source, frames=now.frames)

        if footage:
            store = prepare_dataset(footage, dataset, header, validation, watch, tell)
        if found:
            store = prepare_pairs(found, dataset, header, watch)
    rows = summarise(store)
    write_summary(store, rows)
    write_contact_sheet(store)
    if as_json:
        say((dataset / "summary.json").read_text(), nl=False)
        return
    say("\n".join(table(rows)))
    for row in rows:
        if row.error:
            tell(f"passed over: {row.error}")


@data.command()
@click.argument("dataset", type=FILE)
@click.option("--model", required=True, help="The teacher: a name from `vsr models`, or a file.")
@click.option(
    "--back-project",
    "back_projections",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    metavar="N",
    help="Correct each output N times by what its shrunk version differs from the input.",
)
@click.option(
    "--native", is_flag=True, help="Show the teacher parts of the frames as they are, not shrunk."
)
@click.option(
    "--crop",
    type=click.IntRange(16),
    default=128,
    show_default=True,
    help="Largest side of those parts, in pixels.",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    help="Consecutive frames of each clip, rounded up to eights; all by default.",
)
@click.option(
    "--photographs/--no-photographs",
    default=True,
    show_default=True,
    help="Teach photographs too; never with --native.",
)
@click.option("--precision", type=click.Choice(["bf16", "f32"]), default="bf16", show_default=True)
@click.option("--licence", help="Of the weights, if the model file names none.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop after so long.")
@device_option
def teach(
    dataset: Path,
    model: str,
    back_projections: int,
    native: bool,
    crop: int,
    frames: int | None,
    photographs: bool,
    precision: Any,
    licence: str | None,
    minutes: float | None,
    device: str,
) -> None:
    """Add a teacher's outputs to DATASET, as targets beside the originals.

    The teacher sees the clean frames of the training clips, shrunk by its scale; recipes use its
    outputs by data.targets. Stopped by Ctrl-C, --minutes or a crash, the same command
    resumes. Every clip gets its first eight frames before any gets the next.

    \b
    vsr data teach dataset/ --model x4plus.safetensors --frames 16 --minutes 60
    """
    from vsr.system.machine import pick_device
    from vsr.training.teaching import TeachingOptions
    from vsr.training.teaching import teach as teach_dataset

    lesson = TeachingOptions(
        back_projections=back_projections,
        native=native,
        crop=crop,
        frames=frames,
        photographs=photographs,
        precision=precision,
    )
    with progress_bar(["{task.fields[source]}"], source="") as update:
        outcome = teach_dataset(
            dataset,
            model,
            lesson,
            licence=licence,
            device=pick_device(device),
            minutes=minutes,
            watch=lambda now: update(now.frames, now.frame_count, source=now.source),
        )
    state = "done" if outcome.finished else "stopped; the same command resumes"
    say(
        f"{dataset}: {outcome.frames} of {outcome.frame_count} frames taught by "
        f"{outcome.teaching.teacher} ({outcome.teaching.licence}) ({state})"
    )


@click.command()
@click.option("--config", type=FILE, required=True, help="A TOML recipe.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value.")
@click.option("--output", type=FILE, help="Folder of the run; runs/NAME by default.")
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop after so long, and save.")
@device_option
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
    from vsr.system.machine import pick_device
    from vsr.training.config import TrainConfig
    from vsr.training.trainer import Trainer, TrainingProgress

    recipe = load_toml(config, TrainConfig, overrides)
    folder = output or Path("runs") / config.stem
    command = " ".join(
        ["vsr train --config", str(config), *(f"--set {override}" for override in overrides)]
    )
    trainer = Trainer(recipe, folder, pick_device(device), resume, command)
    columns = ["loss {task.fields[loss]:.4f}", "rate {task.fields[learning_rate]:.1e}"]
    columns += ["{task.fields[score]}"]
    quiet = not trainer.processes.is_main
    for note in () if quiet else trainer.notes:
        tell(note)
    with (
        stop_on_signals() as stop,
        progress_bar(columns, quiet, loss=float("nan"), learning_rate=0.0, score="") as update,
    ):

        def watch(now: TrainingProgress) -> None:
            if now.message and not quiet:
                tell(now.message)
            update(
                now.iteration,
                now.iterations,
                loss=now.loss,
                learning_rate=now.learning_rate,
                score=_score(now.validation),
            )

        outcome = trainer.run(minutes, watch, stop)
    state = "done" if outcome.finished else "stopped; go on with --resume"
    if not quiet:
        say(
            f"{outcome.model}: iteration {outcome.iteration} of {recipe.training.iterations}, "
            f"{_score(outcome.validation) or 'not validated yet'} ({state})"
        )
    trainer.processes.close()
    if outcome.interrupted:
        sys.exit(INTERRUPTED)


def _score(validation: Any) -> str:
    if validation is None:
        return ""
    return (
        f"{validation.ours.psnr_y:.2f} dB ({validation.gain:+.2f} over bicubic), "
        f"tOF {validation.ours.tof:.3f}"
    )
