"""Configuration of a training run: the keys of a recipe."""

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
    """A part of the run with clips of one shape. Learning is fastest from short and small clips."""

    until: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the iterations after the motion phase at which the stage ends."""
    frames: PositiveInt = 6
    """Frames of a clip."""
    crop: PositiveInt = Field(default=32, multiple_of=2)
    """Side of a clip in low-resolution pixels."""


class TrainingConfig(Config):
    """Iterations, clips, losses and optimiser of a run."""

    iterations: PositiveInt = 10_000
    """Total iterations, including those of the motion phase."""
    motion_iterations: NonNegativeInt = 1500
    """Iterations of the motion phase, in which the motion network alone learns from known motion. A
    model without a motion network skips it."""
    stages: tuple[Stage, ...] = (Stage(),)
    """Shapes of the clips, in order; the last has until = 1."""
    batch: PositiveInt = 8
    """Clips of an iteration, over all devices."""
    repeats: Annotated[int, Field(ge=1, le=8)] = 1
    """Iterations that use each prepared batch, mirrored or rotated differently each time: for a GPU
    that is faster than the CPU that prepares the clips."""
    carry_share: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Share of the clips of a batch that continue those of the iteration before, from their
    detached states, so that the network learns with the recurrent states of long films."""
    learning_rate: LearningRate = 1e-3
    """Peak learning rate of AdamW, after a linear warm-up and before a cosine decay to zero. The
    motion phase and the rest each have this schedule."""
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the iterations of a phase in which the learning rate rises."""
    gradient_clip: PositiveFloat = 0.5
    """Largest norm of the gradient of the motion network, and of that of the other weights."""
    flow_rate: Share = 0.25
    """Learning rate of the motion network as a share of that of the rest, after the motion phase. 0
    freezes it, which saves its part of the backward pass."""
    clean_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the clean-input loss: the Charbonnier distance of the temporal filter's output from
    the input without noise and compression (the cleaning loss of RealBasicVSR, Chan et al.,
    2022). Needs `model.steadies`."""
    warp_weight: Annotated[float, Field(ge=0)] = 0.0
    """Initial weight of the photometric loss: the difference between each frame and the one before,
    warped. It falls linearly to zero."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the exponential moving average of the weights. The average is saved."""
    start_from: str | None = None
    """Model, by name or file, whose weights the run starts from. A smaller recurrent network is
    copied into the larger one, which initially computes the same function. The head of a recurrent
    network of a larger scale is folded to the smaller scale."""
    teacher: str | None = None
    """Model, by name or file, whose outputs are a second target: of the same input, or of the clean
    one for clips without motion. Not with [gan]."""
    teacher_share: Share = 0.3
    """Share of the teacher's outputs in the loss, where there is a teacher."""
    precision: Literal["f32", "bf16"] = "f32"
    """Precision of the network's arithmetic. Weights, sampling positions and losses stay f32."""
    compile: bool = False
    """Compile the step with torch.compile, on a GPU. It takes minutes at the start."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of the initial weights, and of the order and degradation of clips."""
    workers: NonNegativeInt = 0
    """Worker processes that prepare clips on the CPU during the training steps; 0 prepares them
    between the steps. A large GPU needs as many as the machine has cores."""

    @field_validator("stages")
    @classmethod
    def _in_order(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        ends = [stage.until for stage in stages]
        if not ends or ends[-1] != 1 or ends != sorted(set(ends)):
            raise ValueError("each stage's until must be larger than the one before, the last 1")
        return stages


class ScheduleConfig(Config):
    """Validation and checkpoints."""

    validate_every: PositiveInt = 500
    """Iterations between validations."""
    validation_frames: PositiveInt = 10
    """Frames of each validation film, from its first clip."""
    validation_degradation: FilmDegradation = "bi"
    """Degradation of validation films: "bi", "bd" or "web"."""
    save_minutes: PositiveFloat = 5.0
    """Minutes between checkpoints. One is always written when training stops."""
    keep: PositiveInt = 2
    """Number of newest checkpoints to keep."""


class CardConfig(Config):
    """Text on the card of the trained model."""

    summary: str = ""
    """Purpose of the model, in one line."""
    licence: str = ""
    """Licence of the weights."""
    data: tuple[str, ...] = ()
    """Training data, each with its licence; by default the names of the sources."""
    validation: tuple[str, ...] = ()
    """Validation films; by default the names of the sources."""


class TrainConfig(Config):
    """Configuration of a run: a whole recipe."""

    model: GeneratorConfig
    data: DataConfig
    training: TrainingConfig = TrainingConfig()
    gan: GanConfig | None = None
    """Training for detail instead of training for fidelity, usually from a trained model
    (`training.start_from`)."""
    schedule: ScheduleConfig = ScheduleConfig()
    card: CardConfig = CardConfig()

    @model_validator(mode="after")
    def _clean_loss_needs_a_filter(self) -> Self:
        asks = self.training.clean_weight or (self.gan is not None and self.gan.weights.clean)
        if asks and not (isinstance(self.model, RecurrentConfig) and self.model.steadies):
            raise ValueError("the clean-input loss needs model.steadies = true")
        return self

    @model_validator(mode="after")
    def _a_gan_has_no_teacher(self) -> Self:
        if self.gan is not None and self.training.teacher is not None:
            raise ValueError(
                "training.teacher can't be used with [gan]; data.targets can hold its outputs"
            )
        return self
