"""A data set on disk: a few large files of clips, and an index that tells where each lies.

    index.jsonl       a line for each thing that was done, in order; written last
    train-000.clips   clips one after another, each a small H.264 file of its own
    val-000.clips
    taught-000.clips  a teacher's outputs for the clips of train

Clips are 8-bit 4:2:0 and differ from their source by a luma PSNR of some 50 dB; a teacher's
outputs are stored without loss in 8-bit 4:2:0. Lines are
only ever added: what a line tells of lies whole in its file, and what an interrupted
run left behind the last line is cut off before the next adds to it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from vsr.config import Config
from vsr.data.clip_codec import Planes420, encode_clip, encode_lossless
from vsr.data.shards import append, read_planes, shard_path, teacher_output_path
from vsr.errors import DataError
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.system.files import make_folder, writing

Split = Literal["train", "val"]

INDEX_FILE = "index.jsonl"
_SHARD_BYTES = 2 << 30


class Header(Config):
    """The first line: how the data set is made."""

    kind: Literal["header"] = "header"
    version: Literal[1] = 1
    shortest: int
    """Fewest frames of a clip."""
    val_share: float
    """Of the sources, how many are held back for validation."""


class SourceStart(Config):
    """A source, before its first clip."""

    kind: Literal["source"] = "source"
    source: str
    """Its identity."""
    name: str
    type: Literal["film", "frames", "photograph"]
    split: Split
    width: int
    height: int
    """Of its frames, in pixels."""
    crop: tuple[int, int, int, int]
    """The part without black bars: top, left, height, width."""
    stored: tuple[int, int]
    """Height and width of its clips: smaller where it had been enlarged."""
    frame_rate: str


class LowVersion(Config):
    """The low-resolution version that a clip came with; it lies in the clip's shard."""

    offset: int
    size: int
    """Bytes."""
    height: int
    width: int


class StoredClip(Config):
    """A clip that was taken."""

    kind: Literal["clip"] = "clip"
    source: str
    shot: int
    piece: int
    """Of the shot: a long one is taken in pieces."""
    split: Split
    shard: int
    offset: int
    size: int
    """Bytes."""
    frames: int
    height: int
    width: int
    matrix: Matrix
    full_range: bool
    hashes: tuple[str, ...]
    """Of some of its frames, to recognise what is like it."""
    low: LowVersion | None = None
    """Only of ready pairs."""

    @property
    def key(self) -> "ClipKey":
        """What no other clip has."""
        return self.source, self.shot, self.piece

    @property
    def low_scale(self) -> int | None:
        """The clip's side over that of its own low version."""
        return self.height // self.low.height if self.low else None

    @property
    def spec(self) -> ColourSpec:
        """How to read its planes as colour."""
        return ColourSpec(self.matrix, self.full_range)


class RejectedStretch(Config):
    """A stretch that was not taken."""

    kind: Literal["left_out"] = "left_out"
    source: str
    shot: int
    piece: int
    frames: int
    reason: str


class SourceEnd(Config):
    """A source, after its last clip."""

    kind: Literal["end"] = "end"
    source: str
    name: str
    frames: int
    """Decoded."""
    error: str | None = None
    """Why it could not be read, or not to its end."""


class TeacherRun(Config):
    """A teacher and how it taught, before the first of its outputs."""

    kind: Literal["teaching"] = "teaching"
    teaching: str
    """Identity: a hash of the weights and of everything that the outputs depend on."""
    teacher: str
    """Name of the model."""
    sha256: str
    """Of the model file."""
    licence: str
    """Of the weights."""
    scale: int
    """Output side over input side."""
    back_projections: int
    precision: Literal["bf16", "f32"]
    native_crop: int | None
    """Largest side of the stored frame's part that the teacher saw; None if it saw whole frames
    shrunk by `scale`."""


class TeacherOutput(Config):
    """A teacher's outputs for consecutive frames of a clip."""

    kind: Literal["taught"] = "taught"
    teaching: str
    source: str
    shot: int
    piece: int
    first: int
    """Number of the first frame in the clip."""
    frames: int
    top: int
    left: int
    """Corner of the part of the stored frame that the outputs show."""
    height: int
    width: int
    """Of the outputs."""
    shard: int
    offset: int
    size: int
    """Bytes."""

    @property
    def clip_key(self) -> "ClipKey":
        """The clip that it belongs to."""
        return self.source, self.shot, self.piece


ClipKey = tuple[str, int, int]
"""Source, shot and piece of a clip."""

Line = Header | SourceStart | StoredClip | RejectedStretch | SourceEnd | TeacherRun | TeacherOutput
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


class Store:
    """A data set, to read; raises `DataError` where the folder holds none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / INDEX_FILE
        if not index.is_file():
            raise DataError(f"{folder}: not a data set; make one with vsr data prepare")
        self.lines = list(_read_lines(index))
        if not self.lines or not isinstance(self.lines[0], Header):
            raise DataError(f"{index}: not an index of vsr's")

    @property
    def header(self) -> Header:
        """How it is made."""
        header = self.lines[0]
        assert isinstance(header, Header)
        return header

    @property
    def sources(self) -> dict[str, SourceStart]:
        """Those begun, by identity, in order."""
        return {line.source: line for line in self.lines if isinstance(line, SourceStart)}

    @property
    def finished(self) -> dict[str, SourceEnd]:
        """Those done with, by identity."""
        return {line.source: line for line in self.lines if isinstance(line, SourceEnd)}

    def clips(self, split: Split | None = None) -> list[StoredClip]:
        """Those of a split, or all, in order."""
        clips = [line for line in self.lines if isinstance(line, StoredClip)]
        return [clip for clip in clips if split in (None, clip.split)]

    def rejected(self) -> list[RejectedStretch]:
        """What was not taken, in order."""
        return [line for line in self.lines if isinstance(line, RejectedStretch)]

    @property
    def teacher_runs(self) -> dict[str, TeacherRun]:
        """Those begun, by identity, in order."""
        return {line.teaching: line for line in self.lines if isinstance(line, TeacherRun)}

    def teacher_outputs(self, teaching: str | None = None) -> list[TeacherOutput]:
        """The outputs of a teaching, or all, in order."""
        taught = [line for line in self.lines if isinstance(line, TeacherOutput)]
        return [line for line in taught if teaching in (None, line.teaching)]

    def read(self, clip: StoredClip) -> Planes420:
        """The planes of a clip; raises `DataError` where its file is damaged."""
        path = shard_path(self.folder, clip.split, clip.shard)
        return _read_planes(path, clip, clip.frames)

    def read_low(self, clip: StoredClip) -> Planes420:
        """The planes of a clip's own low version; raises `DataError` if its file is damaged."""
        assert clip.low is not None
        path = shard_path(self.folder, clip.split, clip.shard)
        return _read_planes(path, clip.low, clip.frames)

    def read_teacher_output(self, taught: TeacherOutput) -> Planes420:
        """The planes of a teacher's outputs; raises `DataError` if their file is damaged."""
        return _read_planes(teacher_output_path(self.folder, taught.shard), taught, taught.frames)


class StoreWriter(Store):
    """A data set that is being added to."""

    def __init__(self, folder: Path, header: Header) -> None:
        """Begin a data set, or go on with one that was made the same way."""
        make_folder(folder)
        self._index = folder / INDEX_FILE
        if not self._index.exists():
            self.lines: list[Line] = []
            self.folder = folder
            if any(folder.iterdir()):
                raise DataError(f"{folder}: holds other things; name a new or empty folder")
            self.add(header)
        super().__init__(folder)
        if self.header != header:
            was = ", ".join(f"{k} {v}" for k, v in self.header.model_dump().items() if k != "kind")
            raise DataError(f"{folder}: was made with {was}; keep to it, or name a new folder")
        self._cut_unfinished_line()

    def add(self, line: Line) -> None:
        """Write a line of the index, for good."""
        with writing(self._index), self._index.open("a", encoding="utf-8") as index:
            index.write(line.model_dump_json() + "\n")
            index.flush()
            os.fsync(index.fileno())
        self.lines.append(line)

    def add_clip(
        self,
        planes: Planes420,
        spec: ColourSpec,
        place: tuple[SourceStart, int, int],
        hashes: Sequence[str],
        low: Planes420 | None = None,
    ) -> StoredClip:
        """Write a clip; `place` is its source, shot and piece, `low` its own low version."""
        source, shot, piece = place
        coded = encode_clip(planes)
        shard, offset = _end_of(next(reversed(self.clips(source.split)), None))
        frames, height, width = planes[0].shape
        low_coded, low_version = b"", None
        if low is not None:
            low_coded = encode_lossless(low)
            low_version = LowVersion(
                offset=offset + len(coded),
                size=len(low_coded),
                height=low[0].shape[1],
                width=low[0].shape[2],
            )
        append(shard_path(self.folder, source.split, shard), offset, coded + low_coded)
        clip = StoredClip(
            source=source.source,
            shot=shot,
            piece=piece,
            split=source.split,
            shard=shard,
            offset=offset,
            size=len(coded),
            frames=frames,
            height=height,
            width=width,
            matrix=spec.matrix,
            full_range=spec.full_range,
            hashes=tuple(hashes),
            low=low_version,
        )
        self.add(clip)
        return clip

    def add_teacher_output(
        self,
        planes: Planes420,
        teaching: str,
        clip: StoredClip,
        first: int,
        corner: tuple[int, int],
    ) -> TeacherOutput:
        """Write a teacher's outputs for frames `first` and on of a clip.

        `corner` is the top left of the part of the stored frame that the outputs show.
        """
        coded = encode_lossless(planes)
        shard, offset = _end_of(next(reversed(self.teacher_outputs()), None))
        append(teacher_output_path(self.folder, shard), offset, coded)
        frames, height, width = planes[0].shape
        taught = TeacherOutput(
            teaching=teaching,
            source=clip.source,
            shot=clip.shot,
            piece=clip.piece,
            first=first,
            frames=frames,
            top=corner[0],
            left=corner[1],
            height=height,
            width=width,
            shard=shard,
            offset=offset,
            size=len(coded),
        )
        self.add(taught)
        return taught

    def _cut_unfinished_line(self) -> None:
        text = self._index.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            with writing(self._index), self._index.open("r+b") as index:
                index.truncate(whole)


def _read_planes(
    path: Path, clip: StoredClip | LowVersion | TeacherOutput, frames: int
) -> Planes420:
    return read_planes(path, clip.offset, clip.size, (frames, clip.height, clip.width))


def _end_of(last: StoredClip | TeacherOutput | None) -> tuple[int, int]:
    """The shard to write to and where its last clip ends."""
    if last is None:
        return 0, 0
    part = last.low if isinstance(last, StoredClip) and last.low else last
    end = part.offset + part.size
    return (last.shard, end) if end < _SHARD_BYTES else (last.shard + 1, 0)


def _read_lines(index: Path) -> list[Line]:
    """The whole lines; one that was cut off at the end counts for nothing."""
    lines = []
    text = index.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines()):
        try:
            lines.append(_LINE.validate_python(json.loads(line)))
        except (ValidationError, ValueError) as error:
            raise DataError(f"{index}: line {number + 1} can't be read") from error
    return lines
