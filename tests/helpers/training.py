"""Small recipes, batches and objectives, and comparisons of runs."""

import threading
from pathlib import Path

import torch
from safetensors.torch import load_file

from vsr.config import load_toml
from vsr.models import Recurrent, RecurrentConfig
from vsr.models.discriminators import DiscriminatorConfig
from vsr.training.config import TrainConfig
from vsr.training.discriminator import DiscriminatorTrainer, DiscriminatorTrainingConfig
from vsr.training.gan import GanConfig, GanObjective
from vsr.training.trainer import Trainer, TrainingProgress, TrainingResult

CONFIGS = Path(__file__).parents[2] / "configs"
SMOKE = CONFIGS / "smoke.toml"
CPU = torch.device("cpu")
MOVING = RecurrentConfig(channels=8, blocks=1, memory=8, flow_channels=4, flow_levels=2)
DISCRIMINATOR = DiscriminatorTrainingConfig(
    discriminator=DiscriminatorConfig(channels=4, levels=2), alone=3
)


def recipe_of(family: str, dataset: Path, *changes: str) -> TrainConfig:
    path = CONFIGS / f"{family}.toml"
    return load_toml(path, TrainConfig, [f"data.dataset={dataset}", *changes])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def run_until(trainer: Trainer, iterations: int) -> TrainingResult:
    """Train, and set the stop event when so many iterations are done."""
    stop = threading.Event()

    def watch(progress: TrainingProgress) -> None:
        if progress.iteration == iterations:
            stop.set()

    return trainer.run(watch=watch, stop=stop)


def batch(
    frames: int = 4, side: int = 12
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Low, target and clean clips, all fresh."""
    torch.manual_seed(1)
    small, large = (2, frames, 3, side, side), (2, frames, 3, 4 * side, 4 * side)
    low, target = torch.rand(small), torch.rand(large)
    return low, target, torch.rand(small), torch.tensor([True, True])


def objective(**settings: object) -> GanObjective:
    torch.manual_seed(0)
    config = GanConfig(adversary=DISCRIMINATOR, fade_in=10, **settings)
    return GanObjective(Recurrent(MOVING), DiscriminatorTrainer(config.adversary), config, seed=0)
