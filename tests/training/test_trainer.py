import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import scenes, write_film
from vsr.checkpoint import load_generator
from vsr.config import load_toml
from vsr.errors import TrainingError
from vsr.training.config import OptimiserConfig, TrainConfig
from vsr.training.step import build_optimiser, descend, split_parameters
from vsr.training.trainer import Outcome, Progress, Trainer, share_at

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.toml"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    for name in ("a", "b"):
        write_film(folder / f"{name}.mp4", scenes(120, 96, [6, 5]))
    return folder


@pytest.fixture
def recipe(footage: Path) -> TrainConfig:
    cache = f"data.cache={footage / 'cache'}"
    return load_toml(SMOKE, TrainConfig, [f"data.footage={footage}", cache])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


class StopAfter:
    """A watcher that presses Ctrl-C when so many iterations are done."""

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def __call__(self, progress: Progress) -> None:
        if progress.iteration == self.iterations:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_ends_with_a_model_that_loads_and_a_log(recipe: TrainConfig, tmp_path: Path) -> None:
    seen: list[Progress] = []
    outcome = Trainer(recipe, tmp_path, CPU).run(watch=seen.append)
    assert outcome.finished
    assert not outcome.interrupted
    assert [progress.iteration for progress in seen] == list(range(1, 9))
    assert seen[-1].seconds_left == 0
    generator = load_generator(outcome.model)
    assert generator(torch.rand(1, 2, 3, 8, 8)).shape == (1, 2, 3, 32, 32)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    # While only motion is learnt, in the first three, there is nothing to validate.
    assert [line["iteration"] for line in log] == [4, 6, 8]
    assert outcome.validation is not None
    assert log[-1]["psnr_y"] == pytest.approx(outcome.validation.psnr_y, abs=1e-3)
    assert (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_stopping_and_resuming_changes_no_bit(
    recipe: TrainConfig, tmp_path: Path, stop: int
) -> None:
    """Whether it stops among the motion, at its end or after it."""
    Trainer(recipe, tmp_path / "whole", CPU).run()
    first = Trainer(recipe, tmp_path / "parts", CPU).run(watch=StopAfter(stop))
    assert (first.iteration, first.finished, first.interrupted) == (stop, False, True)
    torch.manual_seed(999)
    second = Trainer(recipe, tmp_path / "parts", CPU, resume=True).run()
    assert second.finished
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name in whole:
        assert torch.equal(whole[name], parts[name]), name


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_workers_change_no_bit(recipe: TrainConfig, tmp_path: Path) -> None:
    training = recipe.training.model_copy(update={"workers": 2})
    Trainer(recipe, tmp_path / "none", CPU).run()
    Trainer(recipe.model_copy(update={"training": training}), tmp_path / "two", CPU).run()
    none, two = weights(tmp_path / "none"), weights(tmp_path / "two")
    assert all(torch.equal(none[name], two[name]) for name in none)


def test_minutes_stop_a_run_after_saving(recipe: TrainConfig, tmp_path: Path) -> None:
    outcome = Trainer(recipe, tmp_path, CPU).run(minutes=0)
    assert (outcome.iteration, outcome.finished, outcome.interrupted) == (1, False, False)
    assert (tmp_path / "state.pt").exists()
    assert outcome.model.exists()


def test_only_motion_is_learnt_first(recipe: TrainConfig, tmp_path: Path) -> None:
    Trainer(recipe, tmp_path / "none", CPU).run(minutes=0)
    torch.manual_seed(recipe.training.seed)
    trainer = Trainer(recipe, tmp_path / "motion", CPU)
    before = {name: p.detach().clone() for name, p in trainer.generator.named_parameters()}
    trainer.run(watch=StopAfter(3))
    for name, parameter in trainer.generator.named_parameters():
        assert torch.equal(parameter, before[name]) != name.startswith("flow."), name


def test_a_run_is_not_overwritten_unasked(recipe: TrainConfig, tmp_path: Path) -> None:
    Trainer(recipe, tmp_path, CPU).run(minutes=0)
    with pytest.raises(TrainingError, match="holds a run; add --resume"):
        Trainer(recipe, tmp_path, CPU)


def test_there_must_be_something_to_resume(recipe: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to resume"):
        Trainer(recipe, tmp_path, CPU, resume=True)


def test_a_broken_state_is_refused(recipe: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(TrainingError, match="not a training state"):
        Trainer(recipe, tmp_path, CPU, resume=True)


def test_another_shape_does_not_resume_but_more_iterations_do(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    Trainer(recipe, tmp_path, CPU).run(minutes=0)
    wider = recipe.model_copy(update={"model": recipe.model.model_copy(update={"channels": 16})})
    with pytest.raises(TrainingError, match=r"another \[model\]"):
        Trainer(wider, tmp_path, CPU, resume=True)
    training = recipe.training.model_copy(update={"iterations": 5})
    shorter = recipe.model_copy(update={"training": training})
    assert Trainer(shorter, tmp_path, CPU, resume=True).run().iteration == 5


def test_a_loss_that_is_no_number_moves_nothing_and_three_end_the_run(
    recipe: TrainConfig, tmp_path: Path
) -> None:
    trainer = Trainer(recipe, tmp_path, CPU)
    with torch.no_grad():
        next(trainer.generator.parameters()).fill_(float("nan"))
        for parameter in trainer.generator.flow.parameters():  # type: ignore[union-attr]
            parameter.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not a number 3 times in a row"):
        trainer.run()


def test_descending_ignores_what_is_not_finite() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.AdamW([weight], lr=0.1)
    value = descend(optimiser, weight.sum() * float("inf"), (0.1, 0.1), 1.0)
    assert value == float("inf")
    assert torch.equal(weight, torch.ones(2))
    descend(optimiser, weight.sum(), (0.1, 0.1), 1.0)
    assert (weight < 1).all()


def test_the_motion_network_is_a_group_of_its_own(tiny_model: Path) -> None:
    generator = load_generator(tiny_model)
    flow, rest = split_parameters(generator)
    assert sum(p.numel() for p in flow + rest) == sum(p.numel() for p in generator.parameters())
    assert [len(group["params"]) for group in build_optimiser(generator).param_groups] == [
        len(rest),
        len(flow),
    ]


def test_the_rate_rises_then_falls_to_nothing() -> None:
    config = OptimiserConfig(warmup_share=0.1)
    shares = [share_at(n / 100, config) for n in range(100)]
    assert shares[0] < 0.05
    assert max(shares) == shares[10] == 1
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] < 0.01


def test_motion_must_leave_iterations_for_the_rest(recipe: TrainConfig, tmp_path: Path) -> None:
    training = recipe.training.model_copy(update={"motion_iterations": 8})
    greedy = recipe.model_copy(update={"training": training})
    with pytest.raises(TrainingError, match="leaves none of the 8"):
        Trainer(greedy, tmp_path, CPU)


def test_training_makes_a_generator_better(recipe: TrainConfig, tmp_path: Path) -> None:
    """Fifty iterations on two scenes: enough to beat what it began as."""
    training = recipe.training.model_copy(
        update={"iterations": 60, "motion_iterations": 10, "learning_rate": 3e-3}
    )
    schedule = recipe.schedule.model_copy(update={"validate_every": 20})
    longer = recipe.model_copy(update={"training": training, "schedule": schedule})
    outcome: Outcome = Trainer(longer, tmp_path, CPU).run()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert outcome.validation is not None
    assert log[-1]["psnr_y"] > log[0]["psnr_y"]
