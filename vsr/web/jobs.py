"""Jobs: films that are upscaled one after another."""

from typing import Literal

from pydantic import Field

from vsr.config import Config
from vsr.web.options import JobOptions

JobState = Literal["waiting", "running", "paused", "done", "failed", "cancelled"]
UNFINISHED: tuple[JobState, ...] = ("waiting", "running", "paused")


class NewJob(Config):
    """A film to upscale."""

    file: str = Field(max_length=4000)
    """Reference of the film."""
    options: JobOptions = Field(default_factory=JobOptions)
    """How it is upscaled."""
    name: str | None = Field(default=None, max_length=1000)
    """Name of the output without suffix; by default that of the film."""


class NewPosition(Config):
    """Where a job moves to."""

    position: int = Field(ge=0, le=10**6)
    """Index among the unfinished jobs, from 0."""


class StageSeconds(Config):
    """Seconds that each stage computed."""

    decode: float
    upscale: float
    encode: float


class Job(Config):
    """A film that is upscaled, will be, or was."""

    job: str
    """Identifier."""
    file: str
    """Reference of the film."""
    name: str
    """Name of the output's file."""
    options: JobOptions
    """How it is upscaled."""
    state: JobState
    """State in the queue."""
    stopping: Literal["pause", "cancel"] | None = None
    """What a running job becomes at the end of its segment."""
    position: int | None = None
    """Index among the unfinished jobs; null for finished ones."""
    output: str | None = None
    """Reference of the output, once it is complete."""
    output_bytes: int | None = None
    """Size of the output."""
    model: str | None = None
    """Model, once it is known."""
    backend: str | None = None
    """Software that computes the model."""
    width: int | None = None
    """Width of the output."""
    height: int | None = None
    """Height of the output."""
    frames: int = 0
    """Frames written, those of earlier runs included."""
    frame_count: int | None = None
    """Frames of the film, if known."""
    frames_per_second: float | None = None
    """Speed of this run."""
    seconds: float = 0.0
    """Time of this run."""
    seconds_left: float | None = None
    """Estimated time left."""
    stages: StageSeconds | None = None
    """Times of the stages in this run."""
    left_out: list[str] = Field(default_factory=list)
    """What the output lacks of the film."""
    messages: list[str] = Field(default_factory=list)
    """Messages of the runs, the newest last."""
    error: str | None = None
    """Why the job failed, in one line."""
    created: float
    """Time of creation, in seconds since 1970."""
    started: float | None = None
    """Time of the last start."""
    finished: float | None = None
    """Time of the end."""

    @property
    def is_unfinished(self) -> bool:
        """Whether the job is in the queue."""
        return self.state in UNFINISHED


class JobProcess(Config):
    """The process of a running job."""

    pid: int
    """Its number."""
    started: float
    """Its start as the system reports it, since numbers are used again."""


class JobRecord(Config):
    """A job as it is stored."""

    job: Job
    rank: int
    """Orders the queue."""
    process: JobProcess | None = None
    """The process, while the job runs."""
