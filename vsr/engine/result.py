"""Progress and result of an upscaling run."""

from dataclasses import dataclass, field

from vsr.engine.pipeline import StageTimes


@dataclass(frozen=True)
class WorkerProgress:
    """Progress of one of several workers."""

    name: str
    """Its device, such as `cuda:1`, or its number, such as `worker 2`."""
    frames: int
    """Frames that it has written in this run, without those that were lost with a process."""


@dataclass(frozen=True)
class UpscaleProgress:
    """Progress of an upscaling run."""

    frames: int
    """Frames written so far, including those of earlier runs."""
    frame_count: int | None
    """Frames of the source, as it states or as estimated."""
    seconds: float
    """Time since the run started."""
    before: int = 0
    """Frames that earlier runs had finished."""
    frames_per_second: float | None = None
    """Speed in the last half minute, from each worker's first frame on; None until it is known."""
    stages: StageTimes = field(default_factory=StageTimes)
    """Times of the stages until now; they grow with the run, by all workers."""
    workers: tuple[WorkerProgress, ...] = ()
    """Of a run with several workers."""

    @property
    def seconds_left(self) -> float | None:
        """Estimated time left; None if it isn't known."""
        if self.frame_count is None:
            return None
        frames = max(self.frame_count - self.frames, 0)
        if not frames:
            return 0.0
        return frames / self.frames_per_second if self.frames_per_second else None


@dataclass(frozen=True)
class UpscaleStart:
    """What is known of an upscaling run before its first frame."""

    output: str
    model: str
    detail: float
    """Share of the twin's weights, see `zoo.load`."""
    device: str
    backend: str
    """The runtime that computes the frames, with its version."""
    width: int
    """Width of the output."""
    height: int
    """Height of the output."""
    frames: int | None
    """Frames of the source, as it states or as estimated."""
    resumed_frames: int
    """Frames that earlier runs finished."""
    left_out: tuple[str, ...]
    """Contents of the source that the output will lack, and which format could hold them."""
    notes: tuple[str, ...]
    """Findings about the source."""
    workers: tuple[str, ...] = ()
    """Names of the workers of a run with several."""


@dataclass(frozen=True)
class UpscaleResult:
    """Result of an upscaling run."""

    output: str
    model: str
    detail: float
    """Share of the twin's weights, see `zoo.load`."""
    device: str
    backend: str
    """The runtime that computed the frames, with its version."""
    width: int
    height: int
    frames: int
    resumed_frames: int
    """Frames among `frames` that earlier runs finished."""
    shots: int
    audio_tracks: int
    """Audio tracks of the output."""
    left_out: tuple[str, ...]
    """Contents of the source that the output lacks, and which format could hold them."""
    notes: tuple[str, ...]
    """Changes to the film other than upscaling."""
    damaged_seconds: tuple[float, ...]
    """Times of frames that were damaged in the source, or missing and replaced by the previous."""
    seconds: float
    first_frame_seconds: float
    """Time from the call to the first frame handed to the encoder."""
    stages: StageTimes
    workers: tuple[str, ...] = ()
    """Names of the workers of a run with several."""

    @property
    def frames_per_second(self) -> float:
        """Speed of this run, loading included."""
        return (self.frames - self.resumed_frames) / self.seconds
