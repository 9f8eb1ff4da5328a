"""A training run: from a configuration to a model file, stoppable and resumable anywhere."""

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vsr.checkpoint import save_generator
from vsr.data.clips import ClipPairs, load_footage
from vsr.data.motion import MotionPairs
from vsr.degrade import Degradation
from vsr.errors import TrainingError
from vsr.evaluate import FilmScore, mean_scores, score_film
from vsr.models import Recurrent, build_generator
from vsr.training.config import OptimiserConfig, TrainConfig
from vsr.training.step import build_optimiser, descend, fidelity_loss, motion_loss

STATE_FILE = "state.pt"
MODEL_FILE = "model.safetensors"
BEST_FILE = "best.safetensors"
LOG_FILE = "log.jsonl"
_BAD_STEPS_IN_A_ROW = 3


@dataclass(frozen=True)
class Progress:
    """Where a run is; handed to whoever watches after every iteration."""

    iteration: int
    iterations: int
    loss: float
    rate: float
    """Iterations a second, lately."""
    validation: FilmScore | None
    """The latest, once there has been one."""

    @property
    def seconds_left(self) -> float:
        """Until the last iteration, at the present rate."""
        return (self.iterations - self.iteration) / self.rate if self.rate else math.inf


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    iteration: int
    finished: bool
    """False if it was stopped and can be resumed."""
    interrupted: bool
    """Stopped by a signal rather than by the clock."""
    validation: FilmScore | None
    model: Path


class Trainer:
    """Learns a generator from footage.

    What iteration n sees depends on n and the seed alone, and all else that it builds
    on is in the checkpoint: on a CPU, stopping and resuming changes no bit of the result.
    """

    def __init__(
        self, config: TrainConfig, output: Path, device: torch.device, resume: bool = False
    ) -> None:
        """Load the footage, and the checkpoint if `resume`; raises `TrainingError`."""
        if (output / STATE_FILE).exists() and not resume:
            raise TrainingError(f"{output}: holds a run; add --resume, or choose another --output")
        self.config = config
        self.output = output
        self.device = device
        self.iteration = 0
        self.seconds = 0.0
        self.best = -math.inf
        self.validation: FilmScore | None = None
        torch.manual_seed(config.training.seed)
        self.generator = build_generator(config.model)
        self.generator.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        has_flow = isinstance(self.generator, Recurrent) and self.generator.flow is not None
        self.motion_iterations = config.training.motion_iterations if has_flow else 0
        if self.motion_iterations >= config.training.iterations:
            raise TrainingError(
                f"training.motion_iterations ({self.motion_iterations}) leaves none of the "
                f"{config.training.iterations} training.iterations for the rest"
            )
        self.optimiser = build_optimiser(self.generator)
        self.average = {k: v.detach().clone() for k, v in self.generator.state_dict().items()}
        if resume:
            self._load()
        self.footage = load_footage(config.data)
        output.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        minutes: float | None = None,
        watch: Callable[[Progress], None] = lambda progress: None,
    ) -> Outcome:
        """Train until done, for at most `minutes`, or until SIGINT or SIGTERM; then save."""
        training, schedule = self.config.training, self.config.schedule
        began = saved = time.monotonic()
        seconds_before = self.seconds
        rate = 0.0
        bad_steps = 0
        with _stop_signals() as interrupted:
            step_began = began
            for batch in self._batches():
                loss = self._learn(tuple(tensor.to(self.device) for tensor in batch))
                bad_steps = 0 if math.isfinite(loss) else bad_steps + 1
                if bad_steps == _BAD_STEPS_IN_A_ROW:
                    raise TrainingError(
                        f"the loss was not a number {bad_steps} times in a row at iteration "
                        f"{self.iteration}; lower training.learning_rate and --resume"
                    )
                self.iteration += 1
                self._follow_average()
                now = time.monotonic()
                rate = _smoothed(rate, 1 / (now - step_began))
                step_began = now
                self.seconds = seconds_before + now - began
                if self.iteration > self.motion_iterations and (
                    self.iteration % schedule.validate_every == 0
                    or self.iteration == training.iterations
                ):
                    self._validate(loss)
                watch(
                    Progress(
                        self.iteration,
                        training.iterations,
                        loss,
                        rate,
                        self.validation,
                    )
                )
                if time.monotonic() - saved > schedule.save_minutes * 60:
                    self._save()
                    saved = time.monotonic()
                out_of_time = minutes is not None and time.monotonic() - began > minutes * 60
                if interrupted or out_of_time:
                    break
            self._save()
        return Outcome(
            iteration=self.iteration,
            finished=self.iteration >= training.iterations,
            interrupted=bool(interrupted),
            validation=self.validation,
            model=self.output / MODEL_FILE,
        )

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        """From the present iteration to the last: pairs of known motion first, then clips."""
        data, scale = self.config.data, self.config.model.scale
        training, motion = self.config.training, self.motion_iterations
        if self.iteration < motion:
            pairs = MotionPairs(self.footage, data, scale, training.seed)
            yield from self._load_batches(pairs, self.iteration, motion)
        clips = ClipPairs(self.footage, data, scale, training.seed)
        yield from self._load_batches(clips, self.iteration, training.iterations)

    def _load_batches(
        self, dataset: Dataset[Any], first: int, end: int
    ) -> Iterator[tuple[Tensor, ...]]:
        training = self.config.training
        yield from DataLoader(
            dataset,
            batch_size=training.batch,
            sampler=range(first * training.batch, end * training.batch),
            num_workers=training.workers,
            worker_init_fn=_leave_interrupts_to_the_trainer,
            pin_memory=self.device.type == "cuda",
        )

    def _learn(self, batch: tuple[Tensor, ...]) -> float:
        """One iteration; gives its loss."""
        training, motion = self.config.training, self.motion_iterations
        if self.iteration < motion:
            assert isinstance(self.generator, Recurrent)
            assert self.generator.flow is not None
            loss = motion_loss(self.generator.flow, *batch)
            rate = training.learning_rate * share_at(self.iteration / motion, training)
            rates = (0.0, rate)
        else:
            loss = fidelity_loss(self.generator, *batch)
            done = (self.iteration - motion) / (training.iterations - motion)
            rate = training.learning_rate * share_at(done, training)
            rates = (rate, rate * training.flow_rate)
        return descend(self.optimiser, loss, rates, training.gradient_clip)

    @torch.no_grad()
    def _follow_average(self) -> None:
        # The first iterations would weigh the random start too much at full decay.
        decay = min(self.config.training.ema_decay, (1 + self.iteration) / (10 + self.iteration))
        for name, weight in self.generator.state_dict().items():
            self.average[name].lerp_(weight, 1 - decay)

    def _validate(self, loss: float) -> None:
        """Score the averaged weights on films held back, by `bi`; keep the best."""
        own = {k: v.clone() for k, v in self.generator.state_dict().items()}
        self.generator.load_state_dict(self.average)
        self.generator.eval()
        frames = self.config.schedule.validation_frames
        scores = [
            score_film(self.generator, film, Degradation.BI, frames)
            for film in self.footage.validation
        ]
        self.generator.load_state_dict(own)
        self.generator.train()
        self.validation = mean_scores(scores)
        if self.validation.psnr_y > self.best:
            self.best = self.validation.psnr_y
            save_generator(self.output / BEST_FILE, self.average, self.config.model)
        line = {
            "iteration": self.iteration,
            "seconds": round(self.seconds, 1),
            "loss": loss,
            "psnr_y": round(self.validation.psnr_y, 4),
            "bicubic_psnr_y": round(self.validation.bicubic_psnr_y, 4),
            "gains": {score.name: round(score.gain, 4) for score in scores},
        }
        with (self.output / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        """Write the averaged model, and all that resuming needs; each whole or not at all."""
        save_generator(self.output / MODEL_FILE, self.average, self.config.model)
        state = {
            "config": self.config.model_dump_json(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "best": self.best,
            "generator": self.generator.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }
        partial = self.output / f".{STATE_FILE}.{os.getpid()}.partial"
        torch.save(state, partial)
        partial.replace(self.output / STATE_FILE)

    def _load(self) -> None:
        path = self.output / STATE_FILE
        if not path.exists():
            raise TrainingError(f"{self.output}: nothing to resume; leave out --resume")
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            was = TrainConfig.model_validate_json(state["config"])
        except Exception as error:  # a broken file can fail in any of torch's ways
            raise TrainingError(f"{path}: not a training state that can be read") from error
        free = {
            "iterations": self.config.training.iterations,
            "workers": self.config.training.workers,
        }
        was = was.model_copy(update={"training": was.training.model_copy(update=free)})
        for part in ("model", "data", "training"):
            if getattr(was, part) != getattr(self.config, part):
                raise TrainingError(
                    f"{path}: was made with another [{part}]; of a run's settings, only "
                    "training.iterations and training.workers may change"
                )
        self.generator.load_state_dict(state["generator"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"]
        self.iteration = state["iteration"]
        self.seconds = state["seconds"]
        self.best = state["best"]


def share_at(done: float, config: OptimiserConfig) -> float:
    """Share of the peak learning rate at `done`, in [0, 1), of a phase.

    A linear warm-up, then half a cosine down to zero.
    """
    if done < config.warmup_share:
        return (done + 1e-3) / (config.warmup_share + 1e-3)
    rest = (done - config.warmup_share) / (1 - config.warmup_share)
    return 0.5 * (1 + math.cos(math.pi * rest))


def _smoothed(rate: float, latest: float) -> float:
    return latest if rate == 0 else 0.95 * rate + 0.05 * latest


def _leave_interrupts_to_the_trainer(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; workers must outlive it until all is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that SIGINT and SIGTERM are put into instead of ending the process."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> Any:
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
