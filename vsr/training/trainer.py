"""Training loop: from a recipe to a model file, stoppable and resumable at any iteration."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from vsr.data.clip_pool import ClipPool
from vsr.data.store import Store
from vsr.errors import DataError, TrainingError
from vsr.imaging.degrade import Degradation
from vsr.models import multiplies_per_pixel
from vsr.scoring import FilmScore, mean_scores
from vsr.system.files import make_folder
from vsr.system.machine import describe_machine
from vsr.training.agreement import agreement_features
from vsr.training.batches import Batches
from vsr.training.checkpoints import Checkpoints
from vsr.training.clip_checks import check_clips
from vsr.training.config import TrainConfig
from vsr.training.discriminator import CollapseWatch
from vsr.training.distributed import ProcessGroup
from vsr.training.gan import perceptual_losses
from vsr.training.phases import StepResult, build_phase
from vsr.training.prefetch import reported_worker_deaths
from vsr.training.rollback import Rollback
from vsr.training.run_log import CARD_FILE, Log, Strip, write_run_card
from vsr.training.state import TrainingState
from vsr.training.validation import Validation
from vsr.zoo.model_file import save_generator

MODEL_FILE = "model.safetensors"
BEST_FILE = "best.safetensors"
_LOG_EVERY = 50


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a run, reported after every iteration."""

    iteration: int
    iterations: int
    loss: float
    learning_rate: float
    rate: float
    """Iterations a second, smoothed."""
    validation: FilmScore | None
    """The latest; None before the first."""
    message: str = ""
    """A line for the user, such as a rollback to a checkpoint."""

    @property
    def seconds_left(self) -> float:
        """Seconds until the last iteration, at the present rate."""
        return (self.iterations - self.iteration) / self.rate if self.rate else math.inf


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a run."""

    iteration: int
    finished: bool
    """False if it was stopped, even while the card was written, and can be resumed."""
    interrupted: bool
    """Stopped by the caller's event rather than by the clock."""
    validation: FilmScore | None
    model: Path


class Trainer:
    """Trains a generator on a data set.

    The batch of an iteration follows from the iteration and the seed alone, and everything else is
    in the checkpoint. On a CPU, stopping and resuming changes no bit of the result.
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
            torch.backends.cudnn.benchmark = True  # all clips of a stage have the same shape
        self._recipe = recipe
        self._checkpoints = Checkpoints(output, config.schedule.keep)
        if not resume:
            self._checkpoints.check_new((MODEL_FILE, BEST_FILE, CARD_FILE))
        self.state = TrainingState(config, self.processes)
        self._perceptual = (
            perceptual_losses(config.gan, training.seed, self.device)
            if config.gan is not None
            else None
        )
        check_clips(config, self._perceptual)
        self._collapse = CollapseWatch()
        self._rollback = Rollback(self._checkpoints, self.state)
        self.notes: list[str] = []
        """Lines for the user before the run starts."""
        if resume:
            saved = self._checkpoints.load(self.device, self.notes.append)
            self.state.load_dict(saved, output)
        self.validation: FilmScore | None = None
        self.store = Store(config.data.dataset)
        self.store.check_clips()
        self._held_out = Validation(self.store, self.device)
        self.batches = Batches(
            ClipPool(self.store, "train", config.data, features=agreement_features(config.data)),
            config.data,
            scale=config.model.scale,
            schedule=self.state.schedule,
            slots=self.processes.local_slots(training.batch),
            device=self.device,
        )
        if training.compile:
            generator = self.state.generator
            generator.step = torch.compile(generator.step)  # type: ignore[method-assign]
        make_folder(output)

    def run(
        self,
        minutes: float | None = None,
        watch: Callable[[TrainingProgress], None] = lambda progress: None,
        stop: threading.Event | None = None,
    ) -> TrainingResult:
        """Train until done, for at most `minutes`, or until `stop` is set; then save.

        `watch` is called after every iteration. The method works in any thread.
        """
        deadline = math.inf if minutes is None else time.monotonic() + minutes * 60
        stop = stop if stop is not None else threading.Event()
        log = Log(self.output) if self.processes.is_main else None
        with reported_worker_deaths():
            self._train(stop, deadline, log=log, watch=watch)
        finished = self.state.iteration >= self.config.training.iterations
        if finished and self.processes.is_main:
            finished = self._write_card(stop)
        if log:
            log.close()
        self.processes.barrier()
        return TrainingResult(
            iteration=self.state.iteration,
            finished=finished,
            interrupted=stop.is_set(),
            validation=self.validation,
            model=self.output / MODEL_FILE,
        )

    def _train(
        self,
        stop: threading.Event,
        deadline: float,
        *,
        log: Log | None,
        watch: Callable[[TrainingProgress], None],
    ) -> None:
        """Run phase after phase from the state's iteration, and save before returning."""
        state, iterations = self.state, self.config.training.iterations
        clock = _Clock()
        stopping = False
        while state.iteration < iterations and not stopping:
            phase = build_phase(self.config, state, self._perceptual, collapse=self._collapse)
            with closing(phase.batches(self.batches)) as batches:
                for batch in batches:
                    result = phase.step(batch, state.iteration)
                    if self._rollback.is_due(result.moved):
                        message = self._rollback.restore()
                        watch(self._progress(result, clock.rate, message, loss=math.nan))
                        clock = _Clock()
                        break
                    state.iteration += 1
                    state.average.update(state.generator, state.iteration)
                    state.seconds += clock.tick()
                    warning = self._report(result, clock, log)
                    message = "; ".join(line for line in (result.message, warning) if line)
                    watch(self._progress(result, clock.rate, message, loss=float(result.loss)))
                    stopping = self.processes.any(stop.is_set() or time.monotonic() > deadline)
                    last = state.iteration == iterations
                    due = clock.seconds_since_save > self.config.schedule.save_minutes * 60
                    if self.processes.any(due) or stopping or last:
                        self._save()
                        clock.saved()
                    if stopping:
                        break
            # Under torchrun its hooks stay on the gradients for as long as it exists.
            del phase

    def _progress(
        self, result: StepResult, rate: float, message: str, loss: float
    ) -> TrainingProgress:
        return TrainingProgress(
            iteration=self.state.iteration,
            iterations=self.config.training.iterations,
            loss=loss,
            learning_rate=result.learning_rate,
            rate=rate,
            validation=self.validation,
            message=message,
        )

    def _report(self, result: StepResult, clock: "_Clock", log: Log | None) -> str:
        """Log the loss and validate, where either is due; return a line for the user or none."""
        iteration = self.state.iteration
        logs = iteration % _LOG_EVERY == 0
        validates = iteration > self.state.motion_iterations and (
            iteration % self.config.schedule.validate_every == 0
            or iteration == self.config.training.iterations
        )
        if not (logs or validates):
            return ""
        loss = self.processes.mean(result.loss)
        parts = {name: self.processes.mean(part) for name, part in result.parts.items()}
        if log is None:
            return ""
        if logs:
            log.step(iteration, loss, result.learning_rate, rate=clock.rate, parts=parts)
        if not validates:
            return ""
        warning = self._validate(log, loss)
        clock.start_step()
        return warning

    def _validate(self, log: Log, loss: float) -> str:
        """Score the averaged weights on held-out films, and save them if they are the best.

        In GAN training the newest weights count as the best, since they trade PSNR for detail.
        Return a line for the user if the weights can't be scored.
        """
        if not self._held_out:
            return ""
        state, schedule = self.state, self.config.schedule
        strip = Strip()
        try:
            with state.average.applied_to(state.generator):
                films = self._held_out.score(
                    state.generator,
                    schedule.validation_degradation,
                    strip,
                    most_frames=schedule.validation_frames,
                )
                scores = list(films)
        except DataError as error:
            # A rollback may follow.
            return f"not validated: {error}"
        self.validation = mean_scores(scores)
        if self.validation.ours.psnr_y > state.best or self.config.gan is not None:
            state.best = self.validation.ours.psnr_y
            save_generator(self.output / BEST_FILE, state.average.state_dict(), self.config.model)
        strip.write(self.output, state.iteration)
        log.validation(
            state.iteration,
            seconds=state.seconds,
            loss=loss,
            mean=self.validation,
            films=scores,
        )
        return ""

    def _write_card(self, stop: threading.Event) -> bool:
        """Score the finished model on whole films, and write its card; return False if stopped."""
        state = self.state
        scores: dict[str, FilmScore] = {}
        if self._held_out:
            with state.average.applied_to(state.generator):
                for degradation in Degradation:
                    films: list[FilmScore] = []
                    for film in self._held_out.score(state.generator, degradation, Strip()):
                        if stop.is_set():
                            return False  # resuming the run scores it again
                        films.append(film)
                    scores[degradation.value] = mean_scores(films)
        write_run_card(
            self.output / CARD_FILE,
            self.store,
            self.config.card,
            name=self.output.name,
            scale=self.config.model.scale,
            parameters=sum(weight.numel() for weight in state.generator.parameters()),
            multiplies_per_pixel=multiplies_per_pixel(state.generator),
            machine=describe_machine(self.device),
            minutes=state.seconds / 60,
            iterations=state.iteration,
            recipe=self._recipe,
            scores=scores,
        )
        return True

    def _save(self) -> None:
        """Write the averaged model and a checkpoint, each whole or not at all."""
        state = self.state
        saved = state.to_dict()  # all processes contribute
        # A checkpoint of weights that are not finite would be of no use.
        if self.processes.is_main and state.average.is_finite():
            save_generator(self.output / MODEL_FILE, state.average.state_dict(), self.config.model)
            self._checkpoints.save(state.iteration, saved)


class _Clock:
    """Times of a run: of its steps, and since it was last saved."""

    def __init__(self) -> None:
        self.rate = 0.0
        """Iterations a second, smoothed."""
        self._ticked = self._step_started = self._saved = time.monotonic()

    @property
    def seconds_since_save(self) -> float:
        """Seconds since the last save, or since the start."""
        return time.monotonic() - self._saved

    def tick(self) -> float:
        """End a step, and return the seconds since the step before ended."""
        now = time.monotonic()
        latest = 1 / (now - self._step_started)
        self.rate = latest if self.rate == 0 else 0.95 * self.rate + 0.05 * latest
        elapsed = now - self._ticked
        self._ticked = self._step_started = now
        return elapsed

    def start_step(self) -> None:
        """Leave the time since the last step out of the rate."""
        self._step_started = time.monotonic()

    def saved(self) -> None:
        """Restart the time since the last save."""
        self._saved = time.monotonic()
