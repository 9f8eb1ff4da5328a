"""What is finished of a film, written down beside its place, so that a run can go on."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from vsr.engine.resume.segment_file import segment_digest
from vsr.errors import OutputError
from vsr.media.decode.reader import FrameFingerprint
from vsr.media.encode.encoder import CodedVideo
from vsr.media.mux.muxer import write_failure
from vsr.system.files import beside

_FORMAT = 1
_RECORD = "journal.jsonl"
_WHOLE = "whole"
_OURS = re.compile(r"lock|journal\.(jsonl|partial)|\d{6}\.(segment|state)(\.partial)?|whole\..*")


class SegmentStart(NamedTuple):
    """Where a segment begins, and all that is needed to do it apart from the others."""

    number: int
    """Of the segment."""
    frame: int
    """How many frames of the film come before."""
    marks: tuple[FrameFingerprint, ...]
    """The last of these."""
    begins_shot: bool
    """Whether its first frame begins a shot; if not, there is a state to go on from."""


FIRST_SEGMENT = SegmentStart(0, 0, (), True)
"""Of the first segment."""


class FinishedSegment(NamedTuple):
    """A segment that is on the disk."""

    number: int
    frames: int
    shots: int
    size: int
    digest: str
    damaged: tuple[int, ...]
    """pts of its frames that were damaged in the source."""
    following: SegmentStart | None
    """Where the next one begins; None after the last."""


class Journal:
    """The folder of work on one output, `.NAME.vsr` beside it, and the record in it.

    Each line of the record is on the disk before what it tells of is built upon: whenever
    a run ends, be it by a power cut, what the record tells is there.
    """

    def __init__(self, output: Path, identity: Mapping[str, Any], resume: bool) -> None:
        """Open the work on `output`, or begin it.

        `identity` tells all that the result depends on. Raises `OutputError` where there is
        work by another identity, unless not to `resume`, and where another process is at it.
        """
        self.output = output
        self.folder = work_folder(output)
        self.finished: list[FinishedSegment] = []
        self.video: CodedVideo | None = None
        self.resumed_frames = 0
        """Done by earlier runs."""
        self._lock = FileLock(self.folder / "lock")
        begins = not self.folder.exists()
        if found := self._not_ours():
            raise OutputError(
                f"{output}: the name of its work folder, {self.folder.name}, is taken: it holds "
                f"{found}; move that, or name another output"
            )
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock.acquire(timeout=0)
            self._take_up(identity, resume)
        except Timeout as error:
            raise OutputError(f"{output}: another vsr is at work on it") from error
        except BaseException as error:
            if begins and self._lock.is_locked:  # else it may be another's by now
                shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()
            if isinstance(error, OSError):
                raise write_failure(output, error) from error
            raise

    @property
    def next_start(self) -> SegmentStart | None:
        """Where to go on; None if all segments are finished."""
        return self.finished[-1].following if self.finished else FIRST_SEGMENT

    @property
    def frames(self) -> int:
        """FinishedSegment so far."""
        return sum(segment.frames for segment in self.finished)

    def segment(self, number: int) -> Path:
        """Where the packets of a segment are."""
        return self.folder / f"{number:06}.segment"

    def state(self, number: int) -> Path:
        """Where the state is that a segment begins with, if it begins in mid-shot."""
        return self.folder / f"{number:06}.state"

    def add(self, finished: FinishedSegment, video: CodedVideo) -> None:
        """Record a segment whose files are on the disk."""
        self.video = video
        self._append(_line_of(finished, video))
        self.finished.append(finished)
        self.state(finished.number).unlink(missing_ok=True)  # it has been used

    def publish(self, whole: Path) -> None:
        """Give the output its name, so that a run which ends right then is known to be done."""
        self._append({_WHOLE: whole.stat().st_size})
        try:
            whole.replace(self.output)
            _sync_folder(self.output.parent)
        except OSError as error:
            raise write_failure(self.output, error) from error

    def release(self) -> bool:
        """Let go of the work; whether any of it is kept for another run."""
        kept = bool(self.finished)
        if not kept:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()
        return kept

    def remove(self) -> None:
        """Remove all of the work, for it is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def _not_ours(self) -> str | None:
        """A file in the folder that no run makes."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except OSError:  # none there, or being removed
            return None
        return next((name for name in names if not _OURS.fullmatch(name)), None)

    def _take_up(self, identity: Mapping[str, Any], resume: bool) -> None:
        record = self.folder / _RECORD
        wanted = {"format": _FORMAT, **identity}
        lines = _lines(record) if record.exists() and resume else []
        if lines:
            if lines[0] != wanted:
                raise OutputError(
                    f"{self.output}: the unfinished work beside it is {_other(lines[0], wanted)}; "
                    "--no-resume starts afresh"
                )
            for line in lines[1:]:
                if _WHOLE in line:
                    break
                finished = _finished(line)
                if not self._is_whole(finished):
                    break
                codec, extradata, tag = line["video"]
                self.video = CodedVideo(codec, bytes.fromhex(extradata), tag)
                self.finished.append(finished)
            # States that have been used are gone: back to a beginning that can be begun at.
            while self.finished and not self._can_begin(self.next_start):
                self.finished.pop()
        self.resumed_frames = self.frames
        self._begin(record, wanted)

    def _begin(self, record: Path, wanted: Mapping[str, Any]) -> None:
        """Write the record down to what still holds, and remove what isn't in it."""
        kept = _lines(record)[1 : 1 + len(self.finished)] if self.finished else []
        partial = record.with_suffix(".partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                for line in (wanted, *kept):
                    file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(record)
            _sync_folder(self.folder)
            known = {self.segment(done.number) for done in self.finished}
            place = self.next_start
            if place is not None and not place.begins_shot:
                known.add(self.state(place.number))
            for path in self.folder.iterdir():
                if path not in known and path.name not in ("lock", record.name):
                    path.unlink()
        except OSError as error:
            raise write_failure(self.output, error) from error

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            _sync_folder(self.folder)
            with (self.folder / _RECORD).open("a", encoding="utf-8") as record:
                record.write(json.dumps(line) + "\n")
                record.flush()
                os.fsync(record.fileno())
        except OSError as error:
            raise write_failure(self.output, error) from error

    def _can_begin(self, place: SegmentStart | None) -> bool:
        return place is None or place.begins_shot or self.state(place.number).is_file()

    def _is_whole(self, finished: FinishedSegment) -> bool:
        try:
            return segment_digest(self.segment(finished.number)) == finished.digest
        except OSError:
            return False


def is_published(output: Path) -> bool:
    """Whether a run put an output in its place, but ended before it had tidied up."""
    record = work_folder(output) / _RECORD
    if not (output.is_file() and record.is_file()):
        return False
    lines = _lines(record)
    return bool(lines) and lines[-1].get(_WHOLE) == output.stat().st_size


def work_folder(output: Path) -> Path:
    """Where the work on an output is while it goes on."""
    return beside(output, ".vsr")


def _lines(record: Path) -> list[dict[str, Any]]:
    """The whole lines of a record; what a power cut left of one more is none."""
    lines = []
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _line_of(finished: FinishedSegment, video: CodedVideo) -> dict[str, Any]:
    """The record's line for a segment. Its keys are a file format: see `_finished`."""
    following = finished.following
    return {
        "number": finished.number,
        "frames": finished.frames,
        "shots": finished.shots,
        "size": finished.size,
        "digest": finished.digest,
        "damaged": list(finished.damaged),
        "following": None
        if following is None
        else {
            "number": following.number,
            "frame": following.frame,
            "marks": [[mark.pts, mark.digest] for mark in following.marks],
            "begins_shot": following.begins_shot,
        },
        "video": [video.codec, video.extradata.hex(), video.tag],
    }


def _finished(line: Mapping[str, Any]) -> FinishedSegment:
    """The segment that a line of the record describes: the inverse of `_line_of`."""
    following = line["following"]
    return FinishedSegment(
        number=line["number"],
        frames=line["frames"],
        shots=line["shots"],
        size=line["size"],
        digest=line["digest"],
        damaged=tuple(line["damaged"]),
        following=None
        if following is None
        else SegmentStart(
            number=following["number"],
            frame=following["frame"],
            marks=tuple(
                FrameFingerprint(pts=pts, digest=digest) for pts, digest in following["marks"]
            ),
            begins_shot=following["begins_shot"],
        ),
    )


def _other(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What differs, in words."""
    if found.get("source") != wanted.get("source"):
        return "of another source"
    keys = [key for key in wanted if found.get(key) != wanted[key]]
    told = ", ".join(f"{key} {found.get(key)}, now {wanted[key]}" for key in keys)
    return f"of other settings ({told})"


def _sync_folder(folder: Path) -> None:
    """Have renames in a folder on the disk, where the system knows how."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
