"""`vsr train`: a model from a data set and a recipe."""

import sys
from pathlib import Path
from typing import Any

import click

from vsr.cli.options import FILE, FiniteRange, device_option
from vsr.cli.progress import INTERRUPTED, progress_bar, stop_on_signals
from vsr.cli.streams import print_message, print_result


@click.command("train")
@click.option("--config", type=FILE, required=True, help="The recipe, a TOML file.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of the recipe, such as training.batch=4. Repeatable.",
)
@click.option("--output", type=FILE, help="Folder of the run. Default: runs/NAME.")
@click.option("--resume", is_flag=True, help="Resume from the last checkpoint of the run.")
@click.option("--minutes", type=FiniteRange(min=0), help="Save and stop after this many minutes.")
@device_option
def train_command(
    config: Path,
    overrides: tuple[str, ...],
    output: Path | None,
    resume: bool,
    minutes: float | None,
    device: str,
) -> None:
    """Train a model on a data set that `vsr data prepare` wrote.

    Ctrl-C and --minutes save a checkpoint before they stop. --resume continues exactly from it.
    Under torchrun, all processes train one model.

    \b
    vsr train --config configs/tiny-x4.toml --set data.dataset=dataset --minutes 60
    torchrun --nproc-per-node 4 -m vsr train --config configs/base-x4.toml
    """
    from vsr.config import load_toml
    from vsr.system.machine import pick_torch_device
    from vsr.training.config import TrainConfig
    from vsr.training.trainer import Trainer, TrainingProgress

    recipe = load_toml(config, TrainConfig, overrides)
    folder = output or Path("runs") / config.stem
    command = " ".join(
        ["vsr train --config", str(config), *(f"--set {override}" for override in overrides)]
    )
    trainer = Trainer(recipe, folder, pick_torch_device(device), resume, command)
    columns = ["loss {task.fields[loss]:.4f}", "rate {task.fields[learning_rate]:.1e}"]
    columns += ["{task.fields[score]}"]
    quiet = not trainer.processes.is_main
    for note in () if quiet else trainer.notes:
        print_message(note)
    with (
        stop_on_signals() as stop,
        progress_bar(columns, quiet, loss=float("nan"), learning_rate=0.0, score="") as update,
    ):

        def on_progress(progress: TrainingProgress) -> None:
            if progress.message and not quiet:
                print_message(progress.message)
            update(
                progress.iteration,
                progress.iterations,
                loss=progress.loss,
                learning_rate=progress.learning_rate,
                score=_score(progress.validation),
            )

        outcome = trainer.run(minutes, on_progress, stop)
    state = "done" if outcome.finished else "stopped; resume with --resume"
    if not quiet:
        print_result(
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
