"""What a training run is made of: one TOML file, one class."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from vsr.config import Config
from vsr.data.clips import DataConfig
from vsr.models import GeneratorConfig


class OptimiserConfig(Config):
    """How long and how fast to learn."""

    iterations: PositiveInt = 10_000
    """In all, those of motion included."""
    motion_iterations: NonNegativeInt = 1500
    """Iterations at the start in which the motion network alone learns, from known
    motion; without one in the model there are none."""
    batch: PositiveInt = 8
    """Clips in an iteration."""
    learning_rate: PositiveFloat = 1e-3
    """Peak rate of AdamW, reached after the warm-up and followed by a cosine to zero;
    once for motion and once for the rest."""
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the iterations in which the rate rises."""
    gradient_clip: PositiveFloat = 0.5
    """Largest norm of the gradient of trunk and head, and of the motion network by itself."""
    flow_rate: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Learning rate of the motion network over that of the rest, when both learn."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Of the exponential moving average of the weights, which is what is kept."""
    seed: int = 0
    """Of the weights and of the order and degradation of clips."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that prepare clips beside the training; 0 prepares them in between."""


class ScheduleConfig(Config):
    """When to look and when to save."""

    validate_every: PositiveInt = 500
    """Iterations between validations."""
    validation_frames: PositiveInt = 10
    """Frames of each validation film, from its beginning."""
    save_minutes: PositiveFloat = 5.0
    """Minutes between checkpoints; one is always written when training stops."""


class TrainConfig(Config):
    """A whole run."""

    model: GeneratorConfig
    data: DataConfig
    training: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
