"""Requests and responses about previews, plans and results."""

from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import Field

from vsr.config import Config
from vsr.web.computations import Computation, State
from vsr.web.guard import API
from vsr.web.options import JobOptions
from vsr.web.preview_worker import AFTER, BEFORE, CLIP

FileReference = Field(max_length=4000)


class PreviewRequest(Config):
    """A moment of a film, and how it is upscaled."""

    file: str = FileReference
    """Reference of the film."""
    time: float = Field(ge=0, le=10**7)
    """Seconds since the first frame."""
    kind: Literal["frame", "clip"] = "frame"
    """One frame, or two seconds."""
    options: JobOptions = Field(default_factory=JobOptions)
    """How it is upscaled; what doesn't change frames doesn't matter."""


class Preview(Config):
    """A moment of a film before and after upscaling."""

    preview: str
    """Identifier: a hash of all that determines the preview."""
    kind: Literal["frame", "clip"]
    """One frame, or two seconds."""
    file: str
    """Reference of the film."""
    state: State
    """State of the computation."""
    error: str | None = None
    """Why it failed, in one line."""
    time: float
    """Time of the frame that is shown, in seconds since the first one."""
    seconds: float | None = None
    """Time that it took."""
    width: int | None = None
    """Width of the picture, or of the clip with both sides."""
    height: int | None = None
    """Height of the picture or clip."""
    pixel_aspect: float | None = None
    """Width of a pixel over its height."""
    model: str | None = None
    """Model of a frame."""
    detail: float | None = None
    """Share of the model's twin."""
    backend: str | None = None
    """Software that computed a frame."""
    before: str | None = None
    """Address of the frame upscaled bicubically, WebP."""
    after: str | None = None
    """Address of the frame upscaled by the model, WebP."""
    clip: str | None = None
    """Address of the clip: bicubic, a line of 4 pixels, and the model. H.264 in MP4."""

    @classmethod
    def of(cls, found: Computation, error: str | None) -> Self:
        """Describe a computation; `error` is its error as clients see it."""
        subject, kind = found.subject, found.subject["kind"]
        names = {"before": BEFORE, "after": AFTER} if kind == "frame" else {"clip": CLIP}
        links = {what: f"{API}/previews/{found.key}/{name}" for what, name in names.items()}
        values = {"kind": kind, "file": subject["file"], "time": subject["time"]}
        if found.state == "done":
            values |= {**found.result, **links}
        return cls(preview=found.key, state=found.state, error=error, **values)


class PlanRequest(Config):
    """A film, and how it would be upscaled."""

    file: str = FileReference
    """Reference of the film."""
    options: JobOptions = Field(default_factory=JobOptions)
    """How it would be upscaled."""


class OtherQuality(Config):
    """Speed of the other value of `model`."""

    quality: str
    model: str
    frames_per_second: float
    seconds: float | None


class PlanResult(Config):
    """What upscaling a film takes, as `vsr plan --json` prints it."""

    model: str
    detail: float
    backend: str
    width: int
    height: int
    frames: int | None
    frames_are_counted: bool
    tried_frames: int
    frames_per_second: float
    seconds: float | None
    memory_bytes: int
    output_bytes: int | None
    disk_bytes: int | None
    left_out: list[str]
    notes: list[str]
    alternatives: list[OtherQuality]
    workers: list[str]
    """Names of the processes of a run with several; the server uses one."""
    shots: None = None
    """How shots spread over several processes."""


class Plan(Config):
    """The plan of a film, or the state of its measurement."""

    plan: str
    """Identifier: a hash of all that determines the plan."""
    file: str
    """Reference of the film."""
    state: State
    """State of the measurement."""
    error: str | None = None
    """Why it failed, in one line."""
    result: PlanResult | None = None
    """The plan."""

    @classmethod
    def of(cls, found: Computation, error: str | None) -> Self:
        """Describe a computation; `error` is its error as clients see it."""
        result = PlanResult(**found.result) if found.state == "done" else None
        file = found.subject["file"]
        return cls(plan=found.key, file=file, state=found.state, error=error, result=result)


class Filmstrip(Config):
    """Small frames of a film, side by side in one picture."""

    times: list[float]
    """Time of each frame, in seconds since the first one."""
    tile_width: int
    """Width of one frame in pixels."""
    tile_height: int
    """Height of one frame in pixels."""
    image: str
    """Address of the picture, JPEG."""

    @classmethod
    def of(cls, result: Any, file: str, count: int) -> Self:
        """Describe a filmstrip of `file`."""
        image = f"{API}/filmstrip.jpg?file={quote(file, safe='/')}&count={count}"
        return cls(**result, image=image)


class KeptProperty(Config):
    """One property of a film, in the source and in the output."""

    what: str
    source: str
    output: str
    kept: bool


class Verification(Config):
    """What an output kept of its source, as `vsr verify --json` prints it."""

    kept: bool
    """Whether nothing was lost or changed."""
    findings: list[KeptProperty]
    """All that was compared."""


class StabilitySecond(Config):
    """Flicker within a second."""

    second: int
    """Seconds since the output's first frame."""
    flicker: float | None
    """Change along the motion beyond that of bicubic, in 8-bit code values; 0 is bicubic."""
    tof: float | None
    """Distance of the optical flow from that of bicubic, in pixels of the output."""


class Stability(Config):
    """How steady an output is, compared with its source enlarged bicubically."""

    state: State
    """State of the measurement."""
    error: str | None = None
    """Why it failed, in one line."""
    seconds: list[StabilitySecond] = Field(default_factory=list)
    """Values of each second."""
    flicker: float | None = None
    """Mean of all."""
    tof: float | None = None
    """Mean of all."""
