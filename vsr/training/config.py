"""What a training run is made of: one TOML file, one class."""

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from vsr.config import Config
from vsr.data.config import DataConfig
from vsr.models import GeneratorConfig, RecurrentConfig
from vsr.scoring import FilmDegradation
from vsr.training.discriminator import LearningRate
from vsr.training.gan import GanConfig

Share = Annotated[float, Field(ge=0, le=1)]


class Stage(Config):
    """Clips grow while a run goes on: short and small ones teach most in a given time."""

    until: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the iterations after motion at which the stage ends."""
    frames: PositiveInt = 6
    """Length of a clip."""
    crop: PositiveInt = Field(default=32, multiple_of=2)
    """Side of a clip in low-resolution pixels."""


class TrainingConfig(Config):
    """How long and how fast to learn."""

    iterations: PositiveInt = 10_000
    """In all, those of motion included."""
    motion_iterations: NonNegativeInt = 1500
    """Iterations at the start in which the motion network alone learns, from known
    motion; without one in the model there are none."""
    stages: tuple[Stage, ...] = (Stage(),)
    """How clips grow, in order; the last is until = 1."""
    batch: PositiveInt = 8
    """Clips in an iteration, over all devices."""
    repeats: Annotated[int, Field(ge=1, le=8)] = 1
    """Iterations that use each prepared batch, mirrored or turned otherwise each time: for a GPU
    that is faster than the processor which prepares the clips."""
    carry_share: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Clips of a batch that go on in mid-film, from the state that the iteration before
    left them, detached: so that the network meets its own long past."""
    learning_rate: LearningRate = 1e-3
    """Peak rate of AdamW, reached after the warm-up and followed by a cosine to zero;
    once for motion and once for the rest."""
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the iterations in which the rate rises."""
    gradient_clip: PositiveFloat = 0.5
    """Largest norm of the gradient of trunk and head, and of the motion network by itself."""
    flow_rate: Share = 0.25
    """Learning rate of the motion network over that of the rest, when both learn; 0 freezes it,
    which saves its share of the backward pass."""
    clean_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the clean-input loss: the Charbonnier distance of the temporal filter's output from
    the input without noise and compression (the cleaning loss of RealBasicVSR, Chan et al.,
    2022). Needs `model.steadies`."""
    warp_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight at the start of the difference between each frame and the one before it,
    warped; it falls linearly to nothing."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Of the exponential moving average of the weights, which is what is kept."""
    start_from: str | None = None
    """A model, by name or file, that the run starts from. A smaller recurrent network is copied
    into the larger one, which then computes the same function at first."""
    teacher: str | None = None
    """A model, by name or file, whose outputs are to be matched beside the target."""
    teacher_share: Share = 0.3
    """Of the loss, where there is a teacher."""
    precision: Literal["f32", "bf16"] = "f32"
    """Of the network's arithmetic; weights, sampling positions and losses stay f32."""
    compile: bool = False
    """Compile the step with torch.compile, on a GPU: minutes at the start, for speed after."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Of the weights and of the order and degradation of clips."""
    workers: NonNegativeInt = 0
    """Worker processes that prepare clips on the CPU beside the training; 0 prepares them between
    the steps. A large GPU needs as many as the machine has cores."""

    @field_validator("stages")
    @classmethod
    def _in_order(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        ends = [stage.until for stage in stages]
        if not ends or ends[-1] != 1 or ends != sorted(set(ends)):
            raise ValueError("each stage's until must be above the one before, the last 1")
        return stages


class ScheduleConfig(Config):
    """When to look and when to save."""

    validate_every: PositiveInt = 500
    """Iterations between validations."""
    validation_frames: PositiveInt = 10
    """Frames of each validation film, from its first clip."""
    validation_degradation: FilmDegradation = "bi"
    """How validation films are shrunk: "bi", "bd" or "web"."""
    save_minutes: PositiveFloat = 5.0
    """Minutes between checkpoints; one is always written when training stops."""
    keep: PositiveInt = 2
    """Newest checkpoints that are kept."""


class CardConfig(Config):
    """What the card of the trained model says beside what is measured."""

    summary: str = ""
    """One line: what the model is for."""
    licence: str = ""
    """Of the weights."""
    data: tuple[str, ...] = ()
    """What it learnt from, each with its terms; by default the names of the sources."""
    validation: tuple[str, ...] = ()
    """The films it is scored on; by default the names of the sources."""


class TrainConfig(Config):
    """A whole run."""

    model: GeneratorConfig
    data: DataConfig
    training: TrainingConfig = TrainingConfig()
    gan: GanConfig | None = None
    """A discriminator to play against, once fidelity is learnt; usually from the weights that
    `training.start_from` names."""
    schedule: ScheduleConfig = ScheduleConfig()
    card: CardConfig = CardConfig()

    @model_validator(mode="after")
    def _clean_loss_needs_a_filter(self) -> Self:
        asks = self.training.clean_weight or (self.gan is not None and self.gan.weights.clean)
        if asks and not (isinstance(self.model, RecurrentConfig) and self.model.steadies):
            raise ValueError("the clean-input loss needs model.steadies = true")
        return self
