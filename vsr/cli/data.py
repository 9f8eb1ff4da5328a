"""`vsr data`: data sets for training."""

from pathlib import Path
from typing import Any

import click

from vsr.cli.options import FILE, FiniteRange, device_option, json_option
from vsr.cli.progress import progress_bar
from vsr.cli.streams import print_message, print_result


@click.group("data")
def data_group() -> None:
    """Prepare data sets for training.

    \b
    vsr data prepare films/ photos/ dataset/
    vsr data teach dataset/ --model x4plus.safetensors
    """


@data_group.command("prepare")
@click.argument("footage", type=FILE, nargs=-1)
@click.argument("dataset", type=FILE)
@click.option(
    "--val",
    "validation",
    type=FILE,
    multiple=True,
    help="Footage for validation, instead of a share of the films. Repeatable.",
)
@click.option(
    "--val-share",
    type=FiniteRange(0, 0.5),
    default=0.1,
    show_default=True,
    help="Share of the films held out for validation.",
)
@click.option(
    "--shortest",
    type=click.IntRange(2),
    default=7,
    show_default=True,
    help="Minimum length of a clip, in frames.",
)
@click.option(
    "--pairs",
    type=FILE,
    nargs=2,
    multiple=True,
    metavar="LOW HIGH",
    help="Add ready pairs: two folders of films or pictures with matching names. Repeatable.",
)
@json_option
def prepare_command(
    footage: tuple[Path, ...],
    dataset: Path,
    validation: tuple[Path, ...],
    val_share: float,
    shortest: int,
    pairs: tuple[tuple[Path, Path], ...],
    as_json: bool,
) -> None:
    """Build a data set from films and photographs.

    FOOTAGE is a film, a photograph or a folder of them. Films are split into shots. Static,
    blurred, flat, short and duplicate shots are rejected, black bars are cropped, and films that
    were enlarged are reduced to their true resolution. A second run adds new footage only; an
    interrupted run resumes. summary.json and contact-sheet.png show what was taken.

    With --pairs, training uses the given low-resolution version instead of generating one.

    \b
    vsr data prepare films/ photos/ dataset/
    vsr data prepare --pairs low/ high/ dataset/
    """
    if not footage and not pairs:
        raise click.UsageError("give FOOTAGE, or --pairs LOW HIGH, before DATASET")
    from vsr.data.prepare import PrepareProgress
    from vsr.data.prepare import prepare as prepare_dataset
    from vsr.data.ready_pairs import find_pairs, prepare_pairs
    from vsr.data.store import Header
    from vsr.data.summary import summarise, table, write_contact_sheet, write_summary

    header = Header(shortest=shortest, val_share=val_share)
    with progress_bar(
        ["{task.fields[source]}, {task.fields[frames]} frames"], source="", frames=0
    ) as update:
        pairs_found = [pair for low, high in pairs for pair in find_pairs(low, high)]

        def on_progress(progress: PrepareProgress) -> None:
            update(progress.number, progress.count, source=progress.source, frames=progress.frames)

        if footage:
            store = prepare_dataset(
                footage, dataset, header, validation, watch=on_progress, tell=print_message
            )
        if pairs_found:
            store = prepare_pairs(pairs_found, dataset, header, on_progress)
    rows = summarise(store)
    write_summary(store, rows)
    write_contact_sheet(store)
    if as_json:
        print_result((dataset / "summary.json").read_text(), nl=False)
        return
    print_result("\n".join(table(rows)))
    for row in rows:
        if row.error:
            print_message(f"skipped: {row.error}")


@data_group.command("teach")
@click.argument("dataset", type=FILE)
@click.option(
    "--model",
    required=True,
    help="The teacher: the file of a network for single pictures, or a name from `vsr models add`.",
)
@click.option(
    "--back-project",
    "back_projections",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    metavar="N",
    help="Back-project each output N times, so that it downscales to its input.",
)
@click.option(
    "--native",
    is_flag=True,
    help="Upscale crops of the original frames instead of downscaled frames.",
)
@click.option(
    "--crop",
    type=click.IntRange(16),
    default=128,
    show_default=True,
    help="With --native: maximum side of a crop, in pixels.",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    help="Consecutive frames of each clip, rounded up to a multiple of 8. Default: all.",
)
@click.option(
    "--photographs/--no-photographs",
    default=True,
    show_default=True,
    help="Include photographs. They are never used with --native.",
)
@click.option(
    "--precision",
    type=click.Choice(["bf16", "f32"]),
    default="bf16",
    show_default=True,
    help="Arithmetic of the teacher.",
)
@click.option("--licence", help="Licence of the teacher's weights, if its file names none.")
@click.option("--minutes", type=FiniteRange(min=0), help="Stop after this many minutes.")
@device_option
def teach_command(
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
    """Add a teacher's outputs to DATASET, as training targets next to the originals.

    The teacher upscales the clean frames of the training clips, downscaled by its scale. Recipes
    select its outputs with data.targets. After Ctrl-C, --minutes or a crash, the same command
    resumes. Eight frames in the middle of each clip are done first, then the next eight of each.

    \b
    vsr data teach dataset/ --model x4plus.safetensors --frames 16 --minutes 60
    """
    from vsr.system.machine import pick_torch_device
    from vsr.training.teaching import TeachingOptions, teach

    options = TeachingOptions(
        back_projections=back_projections,
        native=native,
        crop=crop,
        frames=frames,
        photographs=photographs,
        precision=precision,
    )
    with progress_bar(["{task.fields[source]}"], source="") as update:
        outcome = teach(
            dataset,
            model,
            options,
            licence=licence,
            device=pick_torch_device(device),
            minutes=minutes,
            watch=lambda progress: update(
                progress.frames, progress.frame_count, source=progress.source
            ),
        )
    state = "done" if outcome.finished else "stopped; the same command resumes"
    print_result(
        f"{dataset}: {outcome.frames} of {outcome.frame_count} frames by "
        f"{outcome.teaching.teacher} ({outcome.teaching.licence}) ({state})"
    )
