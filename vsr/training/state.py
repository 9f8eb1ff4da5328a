"""Training state: what a checkpoint holds, and what the phases of a run share."""

import math
from pathlib import Path
from typing import Any

import torch

from vsr.errors import TrainingError
from vsr.training.config import TrainConfig
from vsr.training.distributed import ProcessGroup
from vsr.training.ema import WeightEMA
from vsr.training.flat_head import flatten_head
from vsr.training.initialise import init_discriminator, init_generator, load_teacher
from vsr.training.objectives import State
from vsr.training.optimiser import build_optimiser
from vsr.training.schedule import ClipSchedule

_FREE_TO_CHANGE = ("iterations", "workers", "compile")
"""Settings of [training] that may differ when a run is resumed."""


class TrainingState:
    """Networks, optimisers, moving average, carried states and counters of a run."""

    def __init__(self, config: TrainConfig, processes: ProcessGroup) -> None:
        """Initialise the networks as the recipe says.

        Raises `TrainingError` and `ModelError` for settings that contradict each other.
        """
        self._config = config
        self.processes = processes
        training = config.training
        self.generator = init_generator(config, processes.device)
        if config.gan is not None and config.gan.flat_head:
            flatten_head(self.generator)
        self.teacher = load_teacher(config, processes.device)
        has_flow = self.generator.flow is not None
        self.motion_iterations = training.motion_iterations if has_flow else 0
        if self.motion_iterations >= training.iterations:
            raise TrainingError(
                f"training.motion_iterations ({self.motion_iterations}) must be less than "
                f"training.iterations ({training.iterations})"
            )
        self.schedule = ClipSchedule(training, self.motion_iterations)
        self.discriminator = init_discriminator(config, processes.device)
        self.optimiser = build_optimiser(self.generator)
        share = config.gan.blend if config.gan is not None else 1.0
        self.average = WeightEMA(self.generator, training.ema_decay, share)
        self.iteration = 0
        """Iterations done."""
        self.seconds = 0.0
        """Time spent on them."""
        self.best = -math.inf
        """Highest PSNR-Y of a validation, in dB."""
        self.rate_factor = 1.0
        """Factor of all learning rates; each rollback halves it."""
        self.carried: list[State] = []
        """States of the generator and of the teacher after the last clips, if the next clips may
        continue from them."""

    def to_dict(self) -> dict[str, Any]:
        """Return what resuming needs; all processes must call it."""
        carried = [
            [self.processes.all_gather(tensor) for tensor in state] for state in self.carried
        ]
        discriminator = self.discriminator
        return {
            "config": self._config.model_dump_json(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "best": self.best,
            "rate_factor": self.rate_factor,
            "generator": self.generator.state_dict(),
            "average": self.average.weights,
            "optimiser": self.optimiser.state_dict(),
            "carried": carried,
            "adversary": discriminator.state() if discriminator is not None else None,
        }

    def load_dict(self, saved: dict[str, Any], folder: Path) -> None:
        """Resume from what `to_dict` returned.

        Raises `TrainingError` where it belongs to a run of `folder` with other settings.
        """
        try:
            earlier = TrainConfig.model_validate_json(saved["config"])
        except (KeyError, ValueError) as error:
            raise TrainingError(f"{folder}: not a training state of this version") from error
        self._check_settings(earlier, folder)
        self.generator.load_state_dict(saved["generator"])
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.discriminator is not None:
            self.discriminator.load_state(saved["adversary"])
        self.average.weights = saved["average"]
        self.iteration = saved["iteration"]
        self.seconds = saved["seconds"]
        self.best = saved["best"]
        self.rate_factor = saved["rate_factor"]
        self.carried = []
        if self.schedule.follows(
            ClipSchedule(earlier.training, self.motion_iterations), self.iteration
        ):
            self.carried = self._local_states(saved["carried"])

    def _check_settings(self, earlier: TrainConfig, folder: Path) -> None:
        free = {key: getattr(self._config.training, key) for key in _FREE_TO_CHANGE}
        training = earlier.training.model_copy(update=free)
        comparable = earlier.model_copy(update={"training": training})
        for part in ("model", "data", "training", "gan"):
            if getattr(comparable, part) != getattr(self._config, part):
                raise TrainingError(
                    f"{folder}: its run has other settings in [{part}]; when resuming, only "
                    f"{', '.join(f'training.{key}' for key in _FREE_TO_CHANGE)} may change"
                )

    def _local_states(self, gathered: list[list[torch.Tensor]]) -> list[State]:
        """The local share of states of the generator and of the teacher."""
        frame = torch.zeros(1, 3, 8, 8, device=self.processes.device)
        networks = [network for network in (self.generator, self.teacher) if network is not None]
        return [
            type(network.start(frame))(*(self.processes.local_shard(part) for part in parts))
            for network, parts in zip(networks, gathered, strict=False)
        ]
