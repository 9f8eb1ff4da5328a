"""Open the writers of segments, in whichever process the segments are upscaled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vsr.engine.resume.journal import SegmentStart
from vsr.engine.resume.picture_segment import PictureSegmentWriter
from vsr.engine.resume.segment_file import SegmentWriter
from vsr.engine.resume.segments import FrameWriter
from vsr.imaging.colour import Matrix
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import StreamInfo
from vsr.media.numbered_pictures import NumberPattern


class SegmentWriters(Protocol):
    """Opens the writers of an output's segments. It can be pickled."""

    def open(self, path: Path, start: SegmentStart, overwrite: bool = False) -> FrameWriter:
        """Start a segment, whose file is `path`; `overwrite` replaces parts of an earlier attempt.

        Raises `OutputError`.
        """

    def discard(self, start: SegmentStart, frames: int) -> None:
        """Remove what a killed process left of an unfinished segment, beside its file."""


@dataclass(frozen=True)
class FilmWriters:
    """Encode segments of a film."""

    output: Path
    """The film, which errors name."""
    info: StreamInfo
    settings: EncoderSettings

    def open(self, path: Path, start: SegmentStart, overwrite: bool = False) -> FrameWriter:
        """Start a segment."""
        return SegmentWriter(path, self.output, info=self.info, settings=self.settings)

    def discard(self, start: SegmentStart, frames: int) -> None:
        """Do nothing: a segment is in its file alone."""


@dataclass(frozen=True)
class PictureWriters:
    """Write segments of numbered pictures."""

    pattern: NumberPattern
    first: int
    """Number of the first frame's picture."""
    matrix: Matrix
    dtype: np.dtype[Any]
    overwrite: bool

    def open(self, path: Path, start: SegmentStart, overwrite: bool = False) -> FrameWriter:
        """Start a segment."""
        return PictureSegmentWriter(
            path,
            self.pattern,
            self.first + start.frame,
            matrix=self.matrix,
            dtype=self.dtype,
            overwrite=self.overwrite or overwrite,
        )

    def discard(self, start: SegmentStart, frames: int) -> None:
        """Remove the pictures of an unfinished segment."""
        for number in range(self.first + start.frame, self.first + start.frame + frames):
            self.pattern.path(number).unlink(missing_ok=True)
