"""Data set on disk: shards of encoded clips, and an index of their positions.

    index.jsonl       a line for each completed step, in order; written last
    train-000.clips   concatenated clips, each a small H.264 file
    val-000.clips
    taught-000.clips  a teacher's outputs for the clips of train

Clips are 8-bit 4:2:0 with a luma PSNR of some 50 dB to their source. A teacher's outputs are
lossless 8-bit 4:2:0. Lines are only appended, each after the data that it refers to is complete.
The next run truncates data that an interrupted run left behind the last line.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from vsr.config import Config
from vsr.data.clip_codec import Planes420, encode_clip, encode_lossless
from vsr.data.shards import (
    append,
    damaged,
    read_planes,
    shard_bytes,
    shard_path,
    teacher_output_path,
)
from vsr.errors import DataError
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.system.files import make_folder, output_errors

Split = Literal["train", "val"]

INDEX_FILE = "index.jsonl"
_SHARD_BYTES = 2 << 30
_PREPARE = "prepare the data set again, in a new folder"


class Header(Config):
    """The first line: settings of the data set."""

    kind: Literal["header"] = "header"
    version: Literal[1] = 1
    shortest: int
    """Minimal frames of a clip."""
    val_share: float
    """Share of the sources held out for validation."""


class SourceStart(Config):
    """A source; written before its first clip."""

    kind: Literal["source"] = "source"
    source: str
    """Identity of the source."""
    name: str
    type: Literal["film", "frames", "photograph"]
    split: Split
    width: int
    height: int
    """Of the frames, in pixels."""
    crop: tuple[int, int, int, int]
    """The area without black bars: top, left, height, width."""
    stored: tuple[int, int]
    """Height and width of its clips; smaller than the crop if the source had been enlarged."""
    frame_rate: str


class LowVersion(Config):
    """The low-resolution version of a ready pair, stored in the clip's shard."""

    offset: int
    size: int
    """Bytes."""
    height: int
    width: int


class StoredClip(Config):
    """A clip that was accepted."""

    kind: Literal["clip"] = "clip"
    source: str
    shot: int
    piece: int
    """Index within the shot: long shots are split into pieces."""
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
    """Perceptual hashes of some of its frames, to find duplicates."""
    low: LowVersion | None = None
    """Present for ready pairs only."""

    @property
    def key(self) -> "ClipKey":
        """Unique key of the clip."""
        return self.source, self.shot, self.piece

    @property
    def low_scale(self) -> int | None:
        """Ratio of the clip's side to that of its low version; None without one."""
        return self.height // self.low.height if self.low else None

    @property
    def spec(self) -> ColourSpec:
        """Colour specification of its planes."""
        return ColourSpec(self.matrix, self.full_range)


class RejectedStretch(Config):
    """Consecutive frames that were rejected."""

    kind: Literal["left_out"] = "left_out"
    source: str
    shot: int
    piece: int
    frames: int
    reason: str


class SourceEnd(Config):
    """A source; written after its last clip."""

    kind: Literal["end"] = "end"
    source: str
    name: str
    frames: int
    """Decoded frames."""
    error: str | None = None
    """Why the source could not be read to its end."""


class TeacherRun(Config):
    """A teacher and its settings; written before the first of its outputs."""

    kind: Literal["teaching"] = "teaching"
    teaching: str
    """Identity: a hash of the weights and of all settings that the outputs depend on."""
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
    """Largest side of the crops of stored frames that the teacher upscaled; None if it upscaled
    whole frames shrunk by `scale`."""


class TeacherOutput(Config):
    """A teacher's outputs for consecutive frames of a clip."""

    kind: Literal["taught"] = "taught"
    teaching: str
    source: str
    shot: int
    piece: int
    first: int
    """Index of the first frame in the clip."""
    frames: int
    top: int
    left: int
    """Position of the outputs in the stored frame."""
    height: int
    width: int
    """Of the outputs."""
    shard: int
    offset: int
    size: int
    """Bytes."""

    @property
    def clip_key(self) -> "ClipKey":
        """Key of the clip that it belongs to."""
        return self.source, self.shot, self.piece

    @property
    def key(self) -> "tuple[ClipKey, int]":
        """The clip and the index of the first frame: unique in a teacher run."""
        return self.clip_key, self.first


ClipKey = tuple[str, int, int]
"""Source, shot and piece of a clip."""

Line = Header | SourceStart | StoredClip | RejectedStretch | SourceEnd | TeacherRun | TeacherOutput
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


class Store:
    """A data set opened for reading."""

    def __init__(self, folder: Path) -> None:
        """Read the index; raises `DataError` where the folder holds no data set."""
        self.folder = folder
        index = folder / INDEX_FILE
        if not index.is_file():
            raise DataError(f"{folder}: not a data set; make one with vsr data prepare")
        self.lines = list(_read_lines(index))
        if not self.lines or not isinstance(self.lines[0], Header):
            raise DataError(f"{index}: not the index of a data set")

    @property
    def header(self) -> Header:
        """Settings of the data set."""
        header = self.lines[0]
        assert isinstance(header, Header)
        return header

    @property
    def sources(self) -> dict[str, SourceStart]:
        """Sources that were started, by identity, in order."""
        return {line.source: line for line in self.lines if isinstance(line, SourceStart)}

    @property
    def finished(self) -> dict[str, SourceEnd]:
        """Sources that were completed, by identity."""
        return {line.source: line for line in self.lines if isinstance(line, SourceEnd)}

    def clips(self, split: Split | None = None) -> list[StoredClip]:
        """Clips of a split, or all, in order."""
        clips = [line for line in self.lines if isinstance(line, StoredClip)]
        return [clip for clip in clips if split in (None, clip.split)]

    def rejected(self) -> list[RejectedStretch]:
        """Rejected stretches, in order."""
        return [line for line in self.lines if isinstance(line, RejectedStretch)]

    @property
    def teacher_runs(self) -> dict[str, TeacherRun]:
        """Teacher runs, by identity, in order."""
        return {line.teaching: line for line in self.lines if isinstance(line, TeacherRun)}

    def teacher_outputs(self, teaching: str | None = None) -> list[TeacherOutput]:
        """Outputs of a teacher run, or all, in order; the last of those computed several times."""
        found: dict[tuple[str, tuple[ClipKey, int]], TeacherOutput] = {}
        for line in self.lines:
            if isinstance(line, TeacherOutput) and teaching in (None, line.teaching):
                key = line.teaching, line.key
                found.pop(key, None)
                found[key] = line
        return list(found.values())

    def check_clips(self) -> None:
        """Raise `DataError` where a shard is shorter than its clips."""
        ends: dict[Path, int] = {}
        for clip in self.clips():
            tail = clip.low or clip
            path = shard_path(self.folder, clip.split, clip.shard)
            ends[path] = max(ends.get(path, 0), tail.offset + tail.size)
        for path, end in ends.items():
            if (found := shard_bytes(path)) < end:
                raise damaged(path, found, _PREPARE)

    def missing_outputs(self, teaching: str) -> list[TeacherOutput]:
        """Outputs of a teacher run that a shard is too short for."""
        outputs = self.teacher_outputs(teaching)
        sizes = {o.shard: shard_bytes(teacher_output_path(self.folder, o.shard)) for o in outputs}
        return [output for output in outputs if sizes[output.shard] < output.offset + output.size]

    def check_teacher_outputs(self, run: TeacherRun) -> None:
        """Raise `DataError` where a shard is shorter than the outputs of a teacher run."""
        for output in self.missing_outputs(run.teaching):
            path = teacher_output_path(self.folder, output.shard)
            raise damaged(path, shard_bytes(path), f"repeat vsr data teach by {run.teacher}")

    def read(self, clip: StoredClip) -> Planes420:
        """Decode a clip; raises `DataError` where it is damaged."""
        path = shard_path(self.folder, clip.split, clip.shard)
        return _read_planes(path, clip, clip.frames, _PREPARE)

    def read_low(self, clip: StoredClip) -> Planes420:
        """Decode a clip's low version; raises `DataError` where it is damaged."""
        assert clip.low is not None
        path = shard_path(self.folder, clip.split, clip.shard)
        return _read_planes(path, clip.low, clip.frames, _PREPARE)

    def read_teacher_output(self, taught: TeacherOutput) -> Planes420:
        """Decode a teacher's outputs; raises `DataError` where they are damaged."""
        path = teacher_output_path(self.folder, taught.shard)
        remedy = "delete it, and repeat vsr data teach"
        return _read_planes(path, taught, taught.frames, remedy)


class StoreWriter(Store):
    """A data set opened for appending."""

    def __init__(self, folder: Path, header: Header) -> None:
        """Create a data set, or resume one with the same settings.

        Raises `DataError` for other settings, and where a shard is shorter than its clips.
        """
        make_folder(folder)
        self._index = folder / INDEX_FILE
        if not self._index.exists():
            self.lines: list[Line] = []
            self.folder = folder
            if any(folder.iterdir()):
                raise DataError(f"{folder}: holds other files; name a new or empty folder")
            self.add(header)
        super().__init__(folder)
        if self.header != header:
            settings = ", ".join(
                f"{k} {v}" for k, v in self.header.model_dump().items() if k != "kind"
            )
            raise DataError(
                f"{folder}: was made with {settings}; use the same settings, or name a new folder"
            )
        self._truncate_partial_line()
        self.check_clips()

    def add(self, line: Line) -> None:
        """Append a line to the index and sync it to disk."""
        with output_errors(self._index), self._index.open("a", encoding="utf-8") as index:
            index.write(line.model_dump_json() + "\n")
            index.flush()
            os.fsync(index.fileno())
        self.lines.append(line)

    def add_clip(
        self,
        planes: Planes420,
        spec: ColourSpec,
        source: SourceStart,
        shot: int,
        piece: int,
        hashes: Sequence[str],
        low: Planes420 | None = None,
    ) -> StoredClip:
        """Append a clip; `low` is the low version of a ready pair."""
        coded = encode_clip(planes)
        shard, offset = _next_position(next(reversed(self.clips(source.split)), None))
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
        """Append a teacher's outputs for the frames of a clip from index `first` on.

        `corner` is the top left of their area in the stored frame.
        """
        coded = encode_lossless(planes)
        shard, offset = _next_position(next(reversed(self.teacher_outputs()), None))
        if shard_bytes(teacher_output_path(self.folder, shard)) < offset:
            shard, offset = shard + 1, 0  # a truncated shard stays too short for what it lacks
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

    def _truncate_partial_line(self) -> None:
        text = self._index.read_bytes()
        complete = text.rfind(b"\n") + 1
        if complete < len(text):
            with output_errors(self._index), self._index.open("r+b") as index:
                index.truncate(complete)


def _read_planes(
    path: Path, clip: StoredClip | LowVersion | TeacherOutput, frames: int, remedy: str
) -> Planes420:
    return read_planes(path, clip.offset, clip.size, (frames, clip.height, clip.width), remedy)


def _next_position(last: StoredClip | TeacherOutput | None) -> tuple[int, int]:
    """Shard and offset behind the last entry; a new shard after 2 GiB."""
    if last is None:
        return 0, 0
    tail = last.low if isinstance(last, StoredClip) and last.low else last
    end = tail.offset + tail.size
    return (last.shard, end) if end < _SHARD_BYTES else (last.shard + 1, 0)


def _read_lines(index: Path) -> list[Line]:
    """Parse the complete lines; a partial line at the end is ignored."""
    lines = []
    text = index.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines()):
        try:
            lines.append(_LINE.validate_python(json.loads(line)))
        except (ValidationError, ValueError) as error:
            raise DataError(f"{index}: line {number + 1} can't be read") from error
    return lines
