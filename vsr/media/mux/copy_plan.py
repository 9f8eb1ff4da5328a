"""Which streams beside the video are copied into an output, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from av.stream import Stream

from vsr.media.mux.sound_conversion import Conversion
from vsr.media.mux.window import Window

CopyMode = Literal["copy", "text", "pcm", "attachment", "convert"]
"""How a stream is copied: packet by packet, converted to the container's text subtitles, as the
same PCM samples in another byte order, as an attachment (Matroska's form of cover pictures), or as
sound of another codec."""

AudioMode = Literal["copy", "auto", "none"]
"""Which sound is kept: what the container can hold, all of it by conversion, or none."""
SubtitleMode = Literal["copy", "none"]
"""Which subtitles are kept: what the container can hold, or none."""


@dataclass(frozen=True)
class Selection:
    """Which streams beside the video are kept."""

    audio: AudioMode = "auto"
    subtitles: SubtitleMode = "copy"

    def drops(self, stream: Stream) -> bool:
        """Whether a stream is dropped deliberately."""
        modes = {"audio": self.audio, "subtitle": self.subtitles}
        return modes.get(stream.type) == "none"


@dataclass(frozen=True)
class CopiedStream:
    """One stream to copy."""

    index: int
    """In the source."""
    mode: CopyMode
    conversion: Conversion | None = None
    """For the mode "convert"."""


@dataclass(frozen=True)
class CopyPlan:
    """The contents of a film beside the upscaled video, and how to copy them."""

    path: Path
    video: int
    """Index of the video stream that is upscaled."""
    streams: tuple[CopiedStream, ...]
    left_out: tuple[str, ...]
    """Streams and tags that the container can't hold, and which one can, one line each."""
    conversions: tuple[str, ...] = ()
    """Sound that becomes another codec, one line each."""
    lossy: tuple[str, ...] = ()
    """Originals of the sound that is converted with loss, one line each."""
    audio_tracks: int = 0
    """Among the copied streams."""
    lead: Fraction = Fraction(0)
    """Seconds added to all times; see `VideoReader.lead`."""
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    """Cover pictures by stream, for a source that can't be opened again."""
    window: Window | None = None
    """The part of the film to copy; None for the whole."""
