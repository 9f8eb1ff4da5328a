import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers.films import scenes, write_film
from tests.helpers.processes import Processes
from tests.helpers.training import CPU, SMOKE, assert_same, recipe_of, run_until, weights
from vsr.config import load_toml, parse
from vsr.data.prepare import prepare
from vsr.data.store import Header
from vsr.errors import ConfigError, DataError, OutputError, TrainingError
from vsr.imaging.tensors import resize_bicubic
from vsr.models import Recurrent, RecurrentConfig, build_generator
from vsr.training.config import Stage, TrainConfig, TrainingConfig
from vsr.training.initialise import init_generator
from vsr.training.schedule import ClipSchedule
from vsr.training.trainer import Trainer, TrainingProgress, TrainingResult
from vsr.zoo import load, read_card
from vsr.zoo.model_file import load_generator, save_generator


def changed(recipe: TrainConfig, **training: object) -> TrainConfig:
    tree = recipe.model_dump()
    tree["training"].update(training)
    return parse(tree, TrainConfig, "test")


def test_targets_that_a_data_set_lacks_are_reported_before_any_work(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    tree = recipe.model_dump()
    tree["data"]["targets"] = "taught"
    with pytest.raises(DataError, match="holds no taught targets"):
        Trainer(parse(tree, TrainConfig, "test"), tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_a_truncated_shard_is_reported_before_any_work(recipe: TrainConfig, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(recipe.data.dataset, tmp_path / "set"))
    shard = dataset / "train-000.clips"
    os.truncate(shard, shard.stat().st_size - 1)
    tree = recipe.model_dump()
    tree["data"]["dataset"] = str(dataset)
    with pytest.raises(
        DataError, match=r"train-000\.clips: damaged at byte .*; prepare the data set"
    ):
        Trainer(parse(tree, TrainConfig, "test"), tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_a_run_ends_with_a_model_a_log_curves_strips_and_a_card(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    seen: list[TrainingProgress] = []
    outcome = Trainer(recipe, tmp_path, CPU, recipe="vsr train").run(watch=seen.append)
    assert outcome.finished
    assert not outcome.interrupted
    assert [progress.iteration for progress in seen] == list(range(1, 9))
    assert seen[-1].seconds_left == 0
    generator = load_generator(outcome.model)
    assert generator(torch.rand(1, 2, 3, 8, 8)).shape == (1, 2, 3, 32, 32)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    # There is no validation in the motion phase, iterations 1 to 3.
    assert [line["iteration"] for line in log] == [4, 6, 8]
    assert outcome.validation is not None
    assert log[-1]["psnr_y"] == pytest.approx(outcome.validation.ours.psnr_y, abs=1e-3)
    assert log[-1]["tof"] > 0
    assert (tmp_path / "best.safetensors").exists()
    curves = EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    assert [event.step for event in curves.Scalars("validation/psnr_y")] == [4, 6, 8]
    strips = sorted((tmp_path / "strips").iterdir())
    assert len(strips) == 3
    with Image.open(strips[-1]) as strip:
        assert strip.width > 4 * 180
    card = read_card(tmp_path / "card.toml")
    assert set(card.scores) == {"bi", "bd"}
    assert card.iterations == 8
    assert card.data == ("a.mp4",)
    assert card.validation == ("b.mp4",)
    # The card measures whole films, not the frames of a validation.
    assert card.scores["bi"].psnr_y != pytest.approx(log[-1]["psnr_y"], abs=1e-4)


@pytest.mark.slow
def test_validation_films_are_degraded_as_the_schedule_says(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    found = []
    for kind in ("bi", "web"):
        tree = recipe.model_dump()
        tree["schedule"]["validation_degradation"] = kind
        outcome = Trainer(parse(tree, TrainConfig, "test"), tmp_path / kind, CPU).run()
        assert outcome.validation is not None
        found.append(outcome.validation.bicubic.psnr_y)
    assert found[0] > found[1] + 0.5


@pytest.mark.parametrize(
    "stop", [3, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (2, 5, 6, 7))]
)
def test_stopping_and_resuming_changes_no_bit(
    recipe: TrainConfig, tmp_path: Path, stop: int
) -> None:
    """In the motion phase, at its end, at the end of a stage, and in mid-clip."""
    carrying = changed(recipe, carry_share=0.7)
    Trainer(carrying, tmp_path / "whole", CPU).run()
    first = run_until(Trainer(carrying, tmp_path / "parts", CPU), stop)
    assert (first.iteration, first.finished, first.interrupted) == (stop, False, True)
    torch.manual_seed(999)
    second = Trainer(carrying, tmp_path / "parts", CPU, resume=True).run()
    assert second.finished
    assert_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, 7])
def test_resuming_between_repeats_changes_no_bit(
    recipe: TrainConfig, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.training.schedule.GROUP", 2)
    repeating = changed(recipe, repeats=2, carry_share=0.7)
    Trainer(repeating, tmp_path / "whole", CPU).run()
    run_until(Trainer(repeating, tmp_path / "parts", CPU), stop)
    Trainer(repeating, tmp_path / "parts", CPU, resume=True).run()
    assert_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("repeats", [1, 2])
def test_resuming_with_more_iterations_is_exact_though_stages_move(
    recipe: TrainConfig, tmp_path: Path, repeats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips of 12 pixels are followed by clips of 8: their states can't be continued."""
    monkeypatch.setattr("vsr.training.schedule.GROUP", 4)
    short = changed(recipe, repeats=repeats, carry_share=0.9)
    longer = changed(short, iterations=12)
    run_until(Trainer(short, tmp_path / "whole", CPU), 6)
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    resumed = Trainer(longer, tmp_path / "whole", CPU, resume=True)
    assert resumed.state.carried == []
    resumed.run()
    run_until(Trainer(longer, tmp_path / "parts", CPU, resume=True), 9)
    Trainer(longer, tmp_path / "parts", CPU, resume=True).run()
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_states_are_continued_with_more_iterations_where_stages_stay(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    one_stage = changed(recipe, stages=[{"frames": 3, "crop": 8}])
    run_until(Trainer(one_stage, tmp_path, CPU), 5)
    longer = changed(one_stage, iterations=12)
    assert Trainer(longer, tmp_path, CPU, resume=True).state.carried


def test_a_run_stopped_before_its_card_writes_the_card_when_resumed(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    outcome = run_until(Trainer(recipe, tmp_path, CPU), 8)
    assert (outcome.iteration, outcome.finished, outcome.interrupted) == (8, False, True)
    assert not (tmp_path / "card.toml").exists()
    assert Trainer(recipe, tmp_path, CPU, resume=True).run().finished
    assert read_card(tmp_path / "card.toml").iterations == 8


def test_a_run_outside_the_main_thread_leaves_signals_alone_and_stops(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)
    trainer = Trainer(recipe, tmp_path, CPU)
    with ThreadPoolExecutor(1) as executor:
        outcome = executor.submit(run_until, trainer, 2).result()
    assert (outcome.iteration, outcome.finished, outcome.interrupted) == (2, False, True)
    assert signal.getsignal(signal.SIGINT) == before


def test_repeats_show_the_same_clips_turned(
    recipe: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.training.schedule.GROUP", 2)
    repeating = changed(recipe, iterations=8, motion_iterations=0, repeats=2, carry_share=0.9)
    stages = (Stage(frames=3, crop=8),)
    repeating = changed(repeating, stages=stages)
    batches = list(Trainer(repeating, tmp_path, CPU).batches.clips(0))
    assert len(batches) == 8
    for first, again in ((0, 2), (1, 3), (4, 6), (5, 7)):
        was, now = batches[first], batches[again]
        for part in ("low", "target", "clean"):
            before, after = getattr(was, part), getattr(now, part)
            assert before.shape == after.shape
            assert not torch.equal(before, after)
            assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
            # One of the square's symmetries for all frames of all clips.
            turned = [
                image
                for straight in (before, before.transpose(-1, -2))
                for image in (straight, straight.flip(-1), straight.flip(-2), straight.flip(-1, -2))
            ]
            assert sum(torch.equal(after, image) for image in turned) == 1
    # A repeat starts with fresh clips, and continues from its states.
    assert all(bool(batches[n].fresh.all()) for n in (0, 2, 4, 6))
    assert not all(bool(batches[n].fresh.all()) for n in (1, 3, 5, 7))
    assert torch.equal(batches[1].fresh, batches[3].fresh)


@pytest.mark.slow
def test_workers_change_no_bit(recipe: TrainConfig, tmp_path: Path) -> None:
    Trainer(recipe, tmp_path / "none", CPU).run()
    Trainer(changed(recipe, workers=2), tmp_path / "two", CPU).run()
    assert_same(tmp_path / "none", tmp_path / "two")


@pytest.mark.slow
def test_a_worker_that_is_killed_during_a_step_is_reported(
    recipe: TrainConfig, tmp_path: Path, new_processes: Processes
) -> None:
    trainer = Trainer(changed(recipe, workers=1, iterations=10_000), tmp_path, CPU)

    def kill(progress: TrainingProgress) -> None:
        for worker in new_processes():
            worker.kill()

    with pytest.raises(TrainingError, match="a worker process ended unexpectedly"):
        trainer.run(watch=kill)


@pytest.mark.slow
def test_a_run_with_workers_stops_without_a_traceback(
    recipe: TrainConfig,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    new_processes: Processes,
) -> None:
    endless = changed(recipe, workers=1, iterations=10_000)
    assert run_until(Trainer(endless, tmp_path, CPU), 1).interrupted
    assert new_processes() == []
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_continued_states_change_the_weights(recipe: TrainConfig, tmp_path: Path) -> None:
    Trainer(changed(recipe, carry_share=0.0), tmp_path / "never", CPU).run()
    Trainer(changed(recipe, carry_share=0.9), tmp_path / "often", CPU).run()
    never, often = weights(tmp_path / "never"), weights(tmp_path / "often")
    assert any(not torch.equal(never[name], often[name]) for name in never)


def test_about_the_given_share_of_clips_continues() -> None:
    stages = (Stage(until=0.5, frames=3, crop=8), Stage(frames=4, crop=8))
    training = TrainingConfig(iterations=1000, stages=stages, carry_share=0.4)
    schedule = ClipSchedule(training, 0)
    starts = [schedule.lineage(n, slot) for n in range(1000) for slot in range(4)]
    carried = [start < n // 4 for n, start in enumerate(starts)]
    assert sum(carried) / len(carried) == pytest.approx(0.4, abs=0.04)
    # No clip outlives its stage.
    assert all(start >= 500 for start in starts[2000:])
    assert max(n // 4 - start for n, start in enumerate(starts)) >= 4


def test_minutes_stop_a_run_after_saving(recipe: TrainConfig, tmp_path: Path) -> None:
    outcome = Trainer(recipe, tmp_path, CPU).run(minutes=0)
    assert (outcome.iteration, outcome.finished, outcome.interrupted) == (1, False, False)
    assert (tmp_path / "state-0000001.pt").exists()
    assert outcome.model.exists()


def test_only_motion_is_learnt_first(recipe: TrainConfig, tmp_path: Path) -> None:
    trainer = Trainer(recipe, tmp_path / "motion", CPU)
    before = {name: p.detach().clone() for name, p in trainer.state.generator.named_parameters()}
    run_until(trainer, 3)
    for name, parameter in trainer.state.generator.named_parameters():
        assert torch.equal(parameter, before[name]) != name.startswith("flow."), name


@pytest.mark.slow
def test_the_newest_checkpoints_are_kept_and_a_broken_one_is_skipped_with_a_line(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    schedule = recipe.schedule.model_copy(update={"save_minutes": 1e-9})
    often = recipe.model_copy(update={"schedule": schedule})
    run_until(Trainer(often, tmp_path, CPU), 6)
    assert [path.name for path in sorted(tmp_path.glob("state-*"))] == [
        "state-0000005.pt",
        "state-0000006.pt",
    ]
    (tmp_path / "state-0000006.pt").write_bytes(b"cut off")
    again = Trainer(often, tmp_path, CPU, resume=True)
    assert again.state.iteration == 5
    assert len(again.notes) == 1
    assert again.notes[0].startswith(f"{tmp_path / 'state-0000006.pt'}: can't be read (")
    assert again.notes[0].endswith("); resuming from the older state-0000005.pt")
    Trainer(often, tmp_path / "whole", CPU).run()
    again.run()
    assert_same(tmp_path, tmp_path / "whole")


def test_a_run_is_not_overwritten_unasked(recipe: TrainConfig, tmp_path: Path) -> None:
    Trainer(recipe, tmp_path, CPU).run(minutes=0)
    with pytest.raises(TrainingError, match="holds a run; add --resume"):
        Trainer(recipe, tmp_path, CPU)


def test_there_must_be_something_to_resume(recipe: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to resume"):
        Trainer(recipe, tmp_path, CPU, resume=True)
    (tmp_path / "state-0000001.pt").write_bytes(b"not a state")
    with pytest.raises(TrainingError, match="not a training state"):
        Trainer(recipe, tmp_path, CPU, resume=True)


def test_another_shape_does_not_resume_but_more_iterations_do(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    Trainer(recipe, tmp_path, CPU).run(minutes=0)
    wider = recipe.model_copy(update={"model": recipe.model.model_copy(update={"channels": 16})})
    with pytest.raises(TrainingError, match=r"other settings in \[model\]"):
        Trainer(wider, tmp_path, CPU, resume=True)
    with pytest.raises(TrainingError, match=r"in \[training\]; when resuming, only training.iter"):
        Trainer(changed(recipe, batch=4), tmp_path, CPU, resume=True)
    assert Trainer(changed(recipe, iterations=5), tmp_path, CPU, resume=True).run().iteration == 5


def poison(trainer: Trainer) -> None:
    with torch.no_grad():
        for parameter in trainer.state.generator.parameters():
            parameter.fill_(float("nan"))


def test_three_steps_that_are_not_finite_roll_back_to_the_last_checkpoint(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    run_until(Trainer(recipe, tmp_path, CPU), 4)
    trainer = Trainer(recipe, tmp_path, CPU, resume=True)
    poison(trainer)
    seen: list[TrainingProgress] = []
    outcome = trainer.run(watch=seen.append)
    messages = [progress.message for progress in seen if progress.message]
    assert messages == [
        "not validated: b.mp4: frame 0 holds values that are not numbers (NaN or infinite)",
        "loss or gradient was not finite 3 times in a row at iteration 6; "
        "resuming from iteration 4 at 0.5 of the learning rate",
    ]
    assert outcome.finished
    assert all(weight.isfinite().all() for weight in weights(tmp_path).values())


def test_a_frozen_motion_network_learns_after_a_rollback_to_its_phase(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    frozen = changed(recipe, flow_rate=0.0)
    run_until(Trainer(frozen, tmp_path, CPU), 2)
    trainer = Trainer(frozen, tmp_path, CPU, resume=True)
    poison(trainer)
    assert trainer.run().finished


def test_a_rollback_reports_a_checkpoint_that_can_not_be_read(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    run_until(Trainer(recipe, tmp_path, CPU), 4)
    trainer = Trainer(recipe, tmp_path, CPU, resume=True)
    assert trainer.notes == []
    poison(trainer)
    (tmp_path / "state-0000005.pt").write_bytes(b"cut off")
    seen: list[TrainingProgress] = []
    trainer.run(watch=seen.append)
    messages = [progress.message for progress in seen if "not finite" in progress.message]
    assert len(messages) == 1
    assert "state-0000005.pt: can't be read (" in messages[0]
    assert (
        "resuming from the older state-0000004.pt; loss or gradient was not finite" in messages[0]
    )


def test_without_a_checkpoint_a_diverging_run_ends(recipe: TrainConfig, tmp_path: Path) -> None:
    trainer = Trainer(recipe, tmp_path, CPU)
    poison(trainer)
    with pytest.raises(TrainingError, match="not finite 3 times in a row"):
        trainer.run()
    assert not list(tmp_path.glob("*.safetensors"))


def test_motion_must_leave_iterations_for_the_rest(recipe: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"must be less than training\.iterations \(8\)"):
        Trainer(changed(recipe, motion_iterations=8), tmp_path, CPU)


def test_a_run_can_start_from_a_model_of_a_larger_scale(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    # The start upscales as the larger model does, resampled.
    assert isinstance(recipe.model, RecurrentConfig)
    larger = recipe.model.model_copy(update={"scale": 4})
    torch.manual_seed(5)
    given = Recurrent(larger)
    save_generator(tmp_path / "larger.safetensors", given.state_dict(), larger)
    smaller = recipe.model.model_copy(update={"scale": 2})
    start = changed(recipe, start_from=str(tmp_path / "larger.safetensors"))
    start = start.model_copy(update={"model": smaller})
    generator = init_generator(start, CPU)
    ramp = torch.linspace(0.2, 0.8, 24).expand(1, 3, 24, 24).contiguous()
    with torch.no_grad():
        high, _ = given.step(ramp, given.start(ramp))
        found, _ = generator.step(ramp, generator.start(ramp))
    wanted = resize_bicubic(high, (48, 48))
    assert (found - wanted)[..., 8:-8, 8:-8].abs().max() < 0.02


def test_stages_must_be_in_order(recipe: TrainConfig) -> None:
    for ends in ([0.5], [0.7, 0.5, 1.0], []):
        with pytest.raises(ConfigError, match=r"training\.stages"):
            changed(recipe, stages=[{"until": end} for end in ends])


def test_a_run_can_start_from_another_model_of_its_shape(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    given = build_generator(recipe.model)
    save_generator(tmp_path / "given.safetensors", given.state_dict(), recipe.model)
    start = changed(recipe, start_from=str(tmp_path / "given.safetensors"))
    trainer = Trainer(start, tmp_path / "run", CPU)
    for name, weight in trainer.state.generator.state_dict().items():
        assert torch.equal(weight, given.state_dict()[name])
    other = RecurrentConfig(channels=4, memory=4, flow_channels=4)
    save_generator(tmp_path / "other.safetensors", Recurrent(other).state_dict(), other)
    misfit = changed(recipe, start_from=str(tmp_path / "other.safetensors"))
    with pytest.raises(TrainingError, match="has another shape"):
        Trainer(misfit, tmp_path / "run2", CPU)


@pytest.mark.slow
def test_a_teacher_of_any_size_can_be_followed_and_resumed(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    large = RecurrentConfig(channels=12, blocks=2, memory=12, flow_channels=4, flow_levels=2)
    save_generator(tmp_path / "large.safetensors", Recurrent(large).state_dict(), large)
    taught = changed(recipe, teacher=str(tmp_path / "large.safetensors"), carry_share=0.7)
    Trainer(taught, tmp_path / "whole", CPU).run()
    run_until(Trainer(taught, tmp_path / "parts", CPU), 6)
    Trainer(taught, tmp_path / "parts", CPU, resume=True).run()
    assert_same(tmp_path / "whole", tmp_path / "parts")
    Trainer(recipe, tmp_path / "alone", CPU).run()
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "whole", tmp_path / "alone")


@pytest.mark.slow
def test_half_precision_learns_about_the_same(recipe: TrainConfig, tmp_path: Path) -> None:
    full = Trainer(recipe, tmp_path / "f32", CPU).run()
    half = Trainer(changed(recipe, precision="bf16"), tmp_path / "bf16", CPU).run()
    assert full.validation
    assert half.validation
    assert half.validation.ours.psnr_y == pytest.approx(full.validation.ours.psnr_y, abs=0.3)
    assert all(weight.dtype is torch.float32 for weight in weights(tmp_path / "bf16").values())


@pytest.mark.slow
def test_training_raises_psnr(recipe: TrainConfig, tmp_path: Path) -> None:
    longer = changed(recipe, iterations=60, motion_iterations=10, learning_rate=3e-3)
    schedule = recipe.schedule.model_copy(update={"validate_every": 20})
    longer = longer.model_copy(update={"schedule": schedule})
    outcome: TrainingResult = Trainer(longer, tmp_path, CPU).run()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert outcome.validation is not None
    assert log[-1]["psnr_y"] > log[0]["psnr_y"]


@pytest.mark.parametrize("path", sorted(SMOKE.parent.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_fits_its_classes(path: Path) -> None:
    recipe = load_toml(path, TrainConfig)
    assert recipe.training.stages[-1].until == 1
    _, named, scale = path.stem.partition("-x")
    assert not named or scale[0] == str(recipe.model.scale)


@pytest.mark.long
@pytest.mark.slow
def test_two_processes_learn_what_one_does(recipe: TrainConfig, tmp_path: Path) -> None:
    """Gradients averaged over gloo: the same weights but for the order of sums."""
    settings = [f"data.dataset={recipe.data.dataset}", "training.batch=4", "training.ema_decay=0"]
    settings += ["training.carry_share=0.7"]
    arguments = ["train", "--config", str(SMOKE), "--device", "cpu"]
    for setting in settings:
        arguments += ["--set", setting]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--standalone", "-m", "vsr", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(command: list[str], *more: str) -> str:
        done = subprocess.run(
            [*command, *more], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    one, two, parts = (str(tmp_path / name) for name in ("one", "two", "parts"))
    run([sys.executable, "-m", "vsr", *arguments], "--output", one)
    output = run(torchrun, "--output", two)
    assert output.count("iteration 8 of 8") == 1
    single, double = weights(Path(one)), weights(Path(two))
    for name in single:
        assert torch.allclose(single[name], double[name], rtol=1e-3, atol=2e-5), name
    # Stopped and resumed, states in mid-film included.
    run(torchrun, "--output", parts, "--minutes", "0")
    run(torchrun, "--output", parts, "--resume")
    for name, weight in weights(Path(parts)).items():
        assert torch.allclose(weight, double[name], rtol=1e-4, atol=1e-6), name


def test_without_held_out_films_there_is_a_model_and_a_card_without_scores(
    tmp_path: Path,
) -> None:
    film = tmp_path / "a.mp4"
    write_film(film, scenes(240, 192, [8]), codec="libx264", options={"crf": "10"})
    prepare([film], tmp_path / "set", Header(shortest=7, val_share=0.1))
    recipe = load_toml(SMOKE, TrainConfig, [f"data.dataset={tmp_path / 'set'}"])
    outcome = Trainer(recipe, tmp_path / "run", CPU).run()
    assert outcome.validation is None
    assert outcome.model.exists()
    assert read_card(tmp_path / "run" / "card.toml").scores == {}


@pytest.mark.parametrize("rate", ["inf", "nan", "1e30", "100", "0", "-1e-3"])
def test_learning_rates_that_diverge_are_refused_in_the_recipe(dataset: Path, rate: str) -> None:
    for key in ("training.learning_rate", "gan.adversary.learning_rate"):
        with pytest.raises(ConfigError, match=key):
            load_toml(SMOKE, TrainConfig, [f"data.dataset={dataset}", f"{key}={rate}"])


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999"])
def test_seeds_that_no_generator_takes_are_refused(dataset: Path, seed: str) -> None:
    with pytest.raises(ConfigError, match=r"training\.seed"):
        load_toml(SMOKE, TrainConfig, [f"data.dataset={dataset}", f"training.seed={seed}"])


@pytest.mark.parametrize("rate", [1e5, 1e10, 1e30, float("inf")])
def test_a_run_that_diverges_ends_in_a_line(
    recipe: TrainConfig, tmp_path: Path, rate: float
) -> None:
    """The gradient of motion that is NaN once crashed the process."""
    training = recipe.training.model_copy(update={"learning_rate": rate, "iterations": 20})
    diverging = recipe.model_copy(update={"training": training})
    with pytest.raises(TrainingError, match=r"lower training\.learning_rate"):
        Trainer(diverging, tmp_path, CPU).run()


def test_a_run_replaces_no_model_that_is_there(recipe: TrainConfig, tmp_path: Path) -> None:
    for name in ("model.safetensors", "best.safetensors", "card.toml"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(TrainingError, match=f"{name}: would be replaced"):
            Trainer(recipe, tmp_path, CPU)
        (tmp_path / name).unlink()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file; name a folder"):
        Trainer(recipe, tmp_path / "file", CPU)


@pytest.mark.slow
def test_the_recipe_for_measured_values_trains_from_base_x2(dataset: Path, tmp_path: Path) -> None:
    few = ["training.iterations=2", "training.batch=1", "schedule.validation_frames=2"]
    recipe = recipe_of("grey-x2", dataset, *few, "training.stages=[{frames = 1, crop = 16}]")
    outcome = Trainer(recipe, tmp_path, CPU).run()
    assert outcome.finished
    grey = torch.rand(1, 1, 1, 16, 16).expand(1, 1, 3, 16, 16)
    trained, start = (load(name)(grey) for name in (str(outcome.model), "base-x2"))
    assert trained.shape == (1, 1, 3, 32, 32)
    assert 0 < (trained - start).abs().max() < 0.2
