"""A training run: from a configuration to a model file, stoppable and resumable anywhere."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from vsr.data.clip_pool import ClipPool
from vsr.data.store import Store
from vsr.errors import DataError, TrainingError
from vsr.imaging.degrade import Degradation
from vsr.models import Recurrent, multiplies_per_pixel
from vsr.scoring import FilmScore, mean_scores
from vsr.system.files import make_folder
from vsr.system.machine import describe_machine
from vsr.training.agreement import agreement_features
from vsr.training.batches import Batch, Batches
from vsr.training.checkpoints import Checkpoints
from vsr.training.config import TrainConfig
from vsr.training.discriminator import CollapseWatch
from vsr.training.distributed import ProcessGroup
from vsr.training.ema import WeightEMA
from vsr.training.gan import GanObjective, GeneratorStep, perceptual_losses
from vsr.training.initialise import init_discriminator, init_generator, load_teacher
from vsr.training.objectives import (
    FidelityObjective,
    MotionObjective,
    State,
    build_optimiser,
    descend,
    learning_rate_share,
    split_parameters,
)
from vsr.training.run_log import CARD_FILE, Log, Strip, write_run_card
from vsr.training.validation import Validation
from vsr.zoo.model_file import save_generator

MODEL_FILE = "model.safetensors"
BEST_FILE = "best.safetensors"
_BAD_STEPS_IN_A_ROW = 3
_MOST_RETURNS = 3
_LOG_EVERY = 50
_FREE_TO_CHANGE = ("iterations", "workers", "compile")
"""Settings of [training] that may differ on resuming."""


@dataclass(frozen=True)
class TrainingProgress:
    """Where a run is; handed to whoever watches after every iteration."""

    iteration: int
    iterations: int
    loss: float
    learning_rate: float
    rate: float
    """Iterations a second, lately."""
    validation: FilmScore | None
    """The latest, once there has been one."""
    message: str = ""
    """Something that the user should be told, such as a return to a checkpoint."""

    @property
    def seconds_left(self) -> float:
        """Until the last iteration, at the present rate."""
        return (self.iterations - self.iteration) / self.rate if self.rate else math.inf


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    iteration: int
    finished: bool
    """False if it was stopped and can be resumed."""
    interrupted: bool
    """Stopped by a signal rather than by the clock."""
    validation: FilmScore | None
    model: Path


class Trainer:
    """Learns a generator from a data set.

    What iteration n sees depends on n and the seed alone, and all else that it builds
    on is in the checkpoint: on a CPU, stopping and resuming changes no bit of the result.
    """

    def __init__(
        self,
        config: TrainConfig,
        output: Path,
        device: torch.device,
        resume: bool = False,
        recipe: str = "",
    ) -> None:
        """Open the data set, and the newest checkpoint if `resume`.

        `recipe` is the command, for the card. Raises `TrainingError`, `DataError`, `ModelError`.
        """
        training = config.training
        self.config = config
        self.output = output
        self.processes = ProcessGroup(device)
        self.device = self.processes.device
        if training.compile and self.device.type != "cuda":
            raise TrainingError("training.compile: only for a GPU; leave it out on a CPU")
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # clips of a stage have one shape
        self._recipe = recipe
        self._checkpoints = Checkpoints(output, config.schedule.keep)
        if not resume:
            self._checkpoints.check_new((MODEL_FILE, BEST_FILE, CARD_FILE))
        self.iteration = 0
        self.seconds = 0.0
        self.best = -math.inf
        self.validation: FilmScore | None = None
        self._rate_factor = 1.0
        self._returns = 0
        self._carried: list[State] = []
        self.generator = init_generator(config, self.device)
        self.teacher = load_teacher(config, self.device)
        has_flow = isinstance(self.generator, Recurrent) and self.generator.flow is not None
        self.motion_iterations = training.motion_iterations if has_flow else 0
        if self.motion_iterations >= training.iterations:
            raise TrainingError(
                f"training.motion_iterations ({self.motion_iterations}) leaves none of the "
                f"{training.iterations} training.iterations for the rest"
            )
        self.adversary = init_discriminator(config, self.device)
        gan, seed = config.gan, training.seed
        self._perceptual = perceptual_losses(gan, seed, self.device) if gan is not None else None
        self._collapse = CollapseWatch()
        self._message = ""
        self.notes: list[str] = []
        """What the user should know before the run, a line each."""
        self.optimiser = build_optimiser(self.generator)
        share = config.gan.blend if config.gan is not None else 1.0
        self.average = WeightEMA(self.generator, training.ema_decay, share)
        if resume:
            self._take(self._checkpoints.load(self.device, self.notes.append))
        self.store = Store(config.data.dataset)
        self._held_back = Validation(self.store, self.device)
        self._batches = Batches(
            ClipPool(
                self.store,
                "train",
                config.data,
                features=agreement_features(config.data),
            ),
            config.data,
            training,
            config.model.scale,
            self.motion_iterations,
            self.processes.local_slots(training.batch),
            self.device,
        )
        if training.compile:
            self.generator.step = torch.compile(self.generator.step)  # type: ignore[method-assign]
        make_folder(output)

    def run(
        self,
        minutes: float | None = None,
        watch: Callable[[TrainingProgress], None] = lambda progress: None,
    ) -> TrainingResult:
        """Train until done, for at most `minutes`, or until SIGINT or SIGTERM; then save."""
        began = time.monotonic()
        log = Log(self.output) if self.processes.is_main else None
        with _stop_signals() as interrupted:

            def stop() -> bool:
                out_of_time = minutes is not None and time.monotonic() - began > minutes * 60
                return self.processes.any(bool(interrupted) or out_of_time)

            while not self._run_until_return(log, stop, watch):
                pass
        finished = self.iteration >= self.config.training.iterations
        if finished and self.processes.is_main:
            self._write_card()
        if log:
            log.close()
        self.processes.barrier()
        return TrainingResult(
            iteration=self.iteration,
            finished=finished,
            interrupted=bool(interrupted),
            validation=self.validation,
            model=self.output / MODEL_FILE,
        )

    def _run_until_return(
        self, log: Log | None, stop: Callable[[], bool], watch: Callable[[TrainingProgress], None]
    ) -> bool:
        """Train to the end or to a stop, and save; False after going back to a checkpoint."""
        training, schedule = self.config.training, self.config.schedule
        began = saved = step_began = time.monotonic()
        seconds_before = self.seconds
        rate = 0.0
        bad_steps = 0
        for learn in self._steps():
            learning_rate, loss, moved = learn()
            bad_steps = 0 if moved else bad_steps + 1
            if bad_steps == _BAD_STEPS_IN_A_ROW:
                watch(self._progress(math.nan, learning_rate, rate, self._go_back()))
                return False
            self.iteration += 1
            self.average.update(self.generator, self.iteration)
            now = time.monotonic()
            rate = _smoothed(rate, 1 / (now - step_began))
            step_began = now
            self.seconds = seconds_before + now - began
            mean_loss = math.nan
            validates = self.iteration > self.motion_iterations and (
                self.iteration % schedule.validate_every == 0
                or self.iteration == training.iterations
            )
            if validates or self.iteration % _LOG_EVERY == 0:
                mean_loss = self.processes.mean(loss)
            if log and self.iteration % _LOG_EVERY == 0:
                log.step(self.iteration, mean_loss, learning_rate, rate)
            if log and validates:
                self._validate(log, mean_loss)
                step_began = time.monotonic()
            watch(self._progress(float(loss), learning_rate, rate, self._message))
            self._message = ""
            stopping = stop()
            due = self.processes.any(time.monotonic() - saved > schedule.save_minutes * 60)
            if due or stopping or self.iteration == training.iterations:
                self._save()
                saved = time.monotonic()
            if stopping:
                break
        return True

    def _progress(
        self, loss: float, learning_rate: float, rate: float, message: str = ""
    ) -> TrainingProgress:
        iterations = self.config.training.iterations
        return TrainingProgress(
            self.iteration, iterations, loss, learning_rate, rate, self.validation, message
        )

    def _steps(self) -> Iterator[Callable[[], tuple[float, Tensor, bool]]]:
        """From the present iteration to the last: what to learn from, motion first.

        Each gives its learning rate, its loss, and whether the weights could be moved.
        """
        training, motion = self.config.training, self.motion_iterations
        if self.iteration < motion:
            assert isinstance(self.generator, Recurrent)
            assert self.generator.flow is not None
            matching = self.processes.wrap(MotionObjective(self.generator.flow))
            for pair in self._batches.motion(self.iteration):
                yield lambda pair=pair: self._learn_motion(matching, pair)  # type: ignore[misc]
            # Its hooks on the gradients must not outlive it.
            del matching
        if training.flow_rate == 0 and isinstance(self.generator, Recurrent):
            for parameter in split_parameters(self.generator)[0]:
                parameter.requires_grad_(False)
        learn: Callable[[nn.Module, Batch], tuple[float, Tensor, bool]]
        if self.config.gan is not None:
            assert self._perceptual is not None
            game = GanObjective(
                self.generator,
                self.adversary,
                self.config.gan,
                training.seed,
                perceptual=self._perceptual,
            )
            self._message = "; ".join(self._perceptual.left_out)
            objective, learn = self.processes.wrap(game), self._play
        else:
            whole = FidelityObjective(
                self.generator,
                teacher=self.teacher,
                teacher_share=training.teacher_share,
                clean_weight=training.clean_weight,
            )
            objective, learn = self.processes.wrap(whole), self._learn
        for batch in self._batches.clips(self.iteration):
            yield lambda batch=batch: learn(objective, batch)  # type: ignore[misc]

    def _learn_motion(
        self, objective: nn.Module, pair: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[float, Tensor, bool]:
        rate = self._learning_rate(self.iteration / self.motion_iterations)
        loss = objective(*pair)
        return rate, loss.detach(), self._descend(loss, (0.0, rate))

    def _learn(self, objective: nn.Module, batch: Batch) -> tuple[float, Tensor, bool]:
        training, motion = self.config.training, self.motion_iterations
        done = (self.iteration - motion) / (training.iterations - motion)
        if bool(batch.fresh.all()):
            self._carried = []  # they may have had another shape
        half = training.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            loss, states = objective(*batch, self._carried, training.warp_weight * (1 - done))
        rate = self._learning_rate(done)
        moved = self._descend(loss, (rate, rate * training.flow_rate))
        # A state that isn't finite would spoil every clip that goes on from it.
        self._carried = states if moved else []
        return rate, loss.detach(), moved

    def _play(self, objective: nn.Module, batch: Batch) -> tuple[float, Tensor, bool]:
        """A turn of the game: the generator against the adversary, then the other way round."""
        training, gan, adversary = self.config.training, self.config.gan, self.adversary
        assert gan is not None
        turn_number = self.iteration - self.motion_iterations
        if bool(batch.fresh.all()):
            self._carried = []
        alone = adversary is not None and turn_number < gan.adversary.alone
        half = training.precision == "bf16"
        with (
            torch.set_grad_enabled(not alone),
            torch.autocast(self.device.type, torch.bfloat16, enabled=half),
        ):
            turn: GeneratorStep = objective(*batch, self._carried, turn_number)
        done = turn_number / (training.iterations - self.motion_iterations)
        rate = self._learning_rate(done)
        if alone:
            moved = not self.processes.any(not bool(turn.loss.isfinite()))
        else:
            moved = self._descend(turn.loss, (rate, 0.0))
        if moved and adversary is not None:
            assert turn.sample is not None
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                adversary.learn(
                    turn.sample, turn_number, rate / training.learning_rate, self.processes
                )
        self._carried = turn.states if moved else []
        if adversary is not None and turn_number and turn_number % gan.watch_every == 0:
            self._message = self._collapse.look(adversary, turn.output, batch.target)
        return rate, turn.loss.detach(), moved

    def _descend(self, loss: Tensor, rates: tuple[float, float]) -> bool:
        # Gradients of positions that aren't numbers can crash the process: don't ask for them.
        if self.processes.any(not bool(loss.isfinite())):
            return False
        return descend(self.optimiser, loss, rates, self.config.training.gradient_clip)

    def _learning_rate(self, done: float) -> float:
        training = self.config.training
        share = learning_rate_share(done, training.warmup_share)
        return training.learning_rate * share * self._rate_factor

    def _validate(self, log: Log, loss: float) -> None:
        """Score the averaged weights on held-out films; keep the best.

        Of a game's weights, the newest count as the best: they give up PSNR for detail.
        """
        if not self._held_back:
            return
        strip = Strip()
        schedule = self.config.schedule
        try:
            with self.average.applied_to(self.generator):
                scores = self._held_back.score(
                    self.generator,
                    schedule.validation_degradation,
                    strip,
                    schedule.validation_frames,
                )
        except DataError as error:
            # Training may yet go back to where all was well.
            self._message = f"not validated: {error}"
            return
        self.validation = mean_scores(scores)
        if self.validation.ours.psnr_y > self.best or self.config.gan is not None:
            self.best = self.validation.ours.psnr_y
            save_generator(self.output / BEST_FILE, self.average.state_dict(), self.config.model)
        strip.write(self.output, self.iteration)
        log.validation(self.iteration, self.seconds, loss, self.validation, scores)

    def _write_card(self) -> None:
        """Measure the finished model, and say what it is."""
        scores: dict[str, FilmScore] = {}
        if self._held_back:
            with self.average.applied_to(self.generator):
                for kind in Degradation:
                    found = self._held_back.score(self.generator, kind, Strip())
                    scores[kind.value] = mean_scores(found)
        write_run_card(
            self.output / CARD_FILE,
            self.store,
            self.config.card,
            name=self.output.name,
            scale=self.config.model.scale,
            parameters=sum(weight.numel() for weight in self.generator.parameters()),
            multiplies_per_pixel=multiplies_per_pixel(self.generator),
            machine=describe_machine(self.device),
            minutes=self.seconds / 60,
            iterations=self.iteration,
            recipe=self._recipe,
            scores=scores,
        )

    def _save(self) -> None:
        """Write the averaged model, and all that resuming needs; each whole or not at all."""
        carried = [
            [self.processes.all_gather(tensor) for tensor in state] for state in self._carried
        ]
        if not self.processes.is_main:
            return
        if not self.average.is_finite():
            return  # nobody wants to go on from there
        save_generator(self.output / MODEL_FILE, self.average.state_dict(), self.config.model)
        self._checkpoints.save(
            self.iteration,
            {
                "config": self.config.model_dump_json(),
                "iteration": self.iteration,
                "seconds": self.seconds,
                "best": self.best,
                "rate_factor": self._rate_factor,
                "generator": self.generator.state_dict(),
                "average": self.average.weights,
                "optimiser": self.optimiser.state_dict(),
                "carried": carried,
                "adversary": self.adversary.state() if self.adversary is not None else None,
            },
        )

    def _go_back(self) -> str:
        """Take up the newest checkpoint again, at half the learning rate; gives what to say."""
        lost = self.iteration
        if not self._checkpoints.paths() or self._returns == _MOST_RETURNS:
            raise TrainingError(
                f"the loss was not a number {_BAD_STEPS_IN_A_ROW} times in a row at iteration "
                f"{lost}; lower training.learning_rate and start again"
            )
        self._returns += 1
        factor = self._rate_factor / 2
        lines: list[str] = []
        self._take(self._checkpoints.load(self.device, lines.append))
        self._rate_factor = factor
        lines.append(
            f"the loss was not a number {_BAD_STEPS_IN_A_ROW} times in a row at iteration {lost}; "
            f"going on from iteration {self.iteration} at {factor:g} of the learning rate"
        )
        return "; ".join(lines)

    def _take(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state; raises `TrainingError` where it isn't this run's."""
        try:
            was = TrainConfig.model_validate_json(state["config"])
        except (KeyError, ValueError) as error:
            raise TrainingError(f"{self.output}: not the state of a run of this version") from error
        free = {key: getattr(self.config.training, key) for key in _FREE_TO_CHANGE}
        was = was.model_copy(update={"training": was.training.model_copy(update=free)})
        for part in ("model", "data", "training", "gan"):
            if getattr(was, part) != getattr(self.config, part):
                raise TrainingError(
                    f"{self.output}: its run was made with another [{part}]; of that, only "
                    f"{', '.join(f'training.{key}' for key in _FREE_TO_CHANGE)} may change"
                )
        self.generator.load_state_dict(state["generator"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.adversary is not None:
            self.adversary.take(state["adversary"])
        self.average.weights = state["average"]
        self.iteration = state["iteration"]
        self.seconds = state["seconds"]
        self.best = state["best"]
        self._rate_factor = state["rate_factor"]
        kinds = [
            type(generator.start(torch.zeros(1, 3, 8, 8, device=self.device)))
            for generator in (self.generator, self.teacher)
            if generator is not None
        ]
        self._carried = [
            kind(*(self.processes.local_shard(tensor) for tensor in tensors))
            for kind, tensors in zip(kinds, state["carried"], strict=False)
        ]


def _smoothed(rate: float, latest: float) -> float:
    return latest if rate == 0 else 0.95 * rate + 0.05 * latest


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
