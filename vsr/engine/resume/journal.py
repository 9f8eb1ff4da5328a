"""Crash-safe record of finished segments, so that an interrupted run can resume."""

import json
import os
import re
import shutil
from bisect import insort
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from vsr.engine.resume.segment_file import segment_digest
from vsr.errors import OutputError
from vsr.media.encode.encoder import CodedVideo
from vsr.media.fingerprint import FrameFingerprint
from vsr.system.files import flush_folder, hidden_sibling, write_failure

_FORMAT = 1
_RECORD = "journal.jsonl"
_WHOLE = "whole"
"""Key of the last line, written before the output gets its name."""
_OWN_FILES = re.compile(
    r"lock|journal\.(jsonl|partial)|\d{6}\.(segment|state)(\.partial)?|whole\..*|worker-.*"
)
_ENCODER_THREADS = "encoder_threads"
"""Key of the first line, beside those of the identity."""


class SegmentStart(NamedTuple):
    """Start of a segment, with all that is needed to encode it independently."""

    number: int
    """Index of the segment."""
    frame: int
    """Frames of the film before the segment."""
    marks: tuple[FrameFingerprint, ...]
    """Fingerprints of the last frames before the segment."""
    begins_shot: bool
    """Whether its first frame starts a shot; otherwise, a state is saved for it."""


FIRST_SEGMENT = SegmentStart(number=0, frame=0, marks=(), begins_shot=True)
"""Start of the first segment."""


class FinishedSegment(NamedTuple):
    """A segment that is on disk."""

    number: int
    frames: int
    shots: int
    size: int
    digest: str
    damaged: tuple[int, ...]
    """pts of its frames that were damaged in the source."""
    following: SegmentStart | None
    """Start of the next segment; None after the last."""


class Journal:
    """The work folder of one output, `.NAME.vsr` beside it, and the record in it.

    Files are on disk before the record lists them, and each line of the record is on disk before
    later work depends on it. So after a crash or power failure, all that the record lists exists.
    """

    def __init__(
        self,
        output: Path,
        identity: Mapping[str, Any],
        resume: bool,
        encoder_threads: int | None = None,
    ) -> None:
        """Open the work folder of `output`, or create it.

        `identity` holds all that the result depends on. `encoder_threads` are those of new work.
        If `resume` is False, earlier work is discarded. Raises `OutputError` if earlier work has
        another identity, or if another process uses the folder.
        """
        self.output = output
        self.identity = identity
        self.folder = work_folder(output)
        self.finished: list[FinishedSegment] = []
        """Finished segments by number; some before them may be pending."""
        self.encoder_threads = encoder_threads
        """Threads of each encoder, on which its output depends; those of the run that started."""
        self.video: CodedVideo | None = None
        self.resumed_frames = 0
        """Frames that earlier runs finished."""
        self._lock = FileLock(self.folder / "lock")
        is_new = not self.folder.exists()
        if found := self._foreign_file():
            raise OutputError(
                f"{output}: its work folder {self.folder.name} holds a foreign file, {found}; "
                "move that, or name another output"
            )
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock.acquire(timeout=0)
            self._load(identity, resume)
        except Timeout as error:
            raise OutputError(f"{output}: is being written by another vsr process") from error
        except BaseException as error:
            if is_new and self._lock.is_locked:  # else the folder may belong to another process
                shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()
            if isinstance(error, OSError):
                raise write_failure(output, error) from error
            raise

    @property
    def pending(self) -> list[SegmentStart]:
        """Starts of the pending segments that follow no pending one, in order."""
        finished = {segment.number for segment in self.finished}
        starts = [segment.following for segment in self.finished]
        return [
            start
            for start in (FIRST_SEGMENT, *starts)
            if start is not None and start.number not in finished
        ]

    @property
    def frames(self) -> int:
        """Count of finished frames."""
        return sum(segment.frames for segment in self.finished)

    def segment(self, index: int) -> Path:
        """Return the path of a segment's packets."""
        return self.folder / _segment_name(index)

    def state(self, index: int) -> Path:
        """Return the path of the state at the start of a segment in mid-shot."""
        return self.folder / f"{index:06}.state"

    def take(
        self, finished: FinishedSegment, video: CodedVideo, file: Path, state: Path | None
    ) -> None:
        """Move the files of a segment here, and record it; `add` for another process's files.

        Both are on disk. `state` is that at the start of the following segment, if it is in
        mid-shot.
        """
        try:
            if state is not None and finished.following is not None:
                state.replace(self.state(finished.following.number))
            file.replace(self.segment(finished.number))
        except OSError as error:
            raise write_failure(self.output, error) from error
        self.add(finished, video)

    def add(self, finished: FinishedSegment, video: CodedVideo) -> None:
        """Record a segment whose files are on disk."""
        self.video = video
        self._append(_line_of(finished, video))
        insort(self.finished, finished, key=attrgetter("number"))
        self.state(finished.number).unlink(missing_ok=True)  # no longer needed

    def publish(self, whole: Path) -> None:
        """Record completion, then rename `whole` to the output."""
        self._append({_WHOLE: whole.stat().st_size})
        try:
            whole.replace(self.output)
            flush_folder(self.output.parent)
        except OSError as error:
            raise write_failure(self.output, error) from error

    def release(self) -> bool:
        """Release the lock, and return whether finished segments are kept for another run."""
        kept = bool(self.finished)
        if not kept:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()
        return kept

    def remove(self) -> None:
        """Remove the work folder after the output is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def _foreign_file(self) -> str | None:
        """Return the name of a file in the folder that vsr didn't create."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except OSError:  # missing, or being removed
            return None
        return next((name for name in names if not _OWN_FILES.fullmatch(name)), None)

    def _load(self, identity: Mapping[str, Any], resume: bool) -> None:
        record = self.folder / _RECORD
        wanted = {"format": _FORMAT, **identity}
        lines = _lines(record) if record.exists() and resume else []
        if lines:
            self.encoder_threads = lines[0].pop(_ENCODER_THREADS, self.encoder_threads)
            if lines[0] != wanted:
                mismatch = describe_mismatch(lines[0], wanted)
                raise OutputError(
                    f"{self.output}: unfinished work beside it is {mismatch}; --no-resume discards "
                    "it"
                )
            for line in lines[1:]:
                if _WHOLE in line:
                    break
                finished = _finished(line)
                if not self._is_intact(finished):
                    continue
                codec, extradata, tag = line["video"]
                self.video = CodedVideo(codec, bytes.fromhex(extradata), tag)
                insort(self.finished, finished, key=attrgetter("number"))
            # Used states have been removed: go back to segments that can start.
            while lost := [start for start in self.pending if not self._can_start(start)]:
                before = {start.number - 1 for start in lost}
                self.finished = [done for done in self.finished if done.number not in before]
        self.resumed_frames = self.frames
        self._rewrite(record, wanted)

    def _rewrite(self, record: Path, wanted: Mapping[str, Any]) -> None:
        """Rewrite the record with the intact segments, and remove all other files."""
        finished = {segment.number for segment in self.finished}
        lines = _lines(record)[1:] if finished else []
        kept = [line for line in lines if line.get("number") in finished]
        if self.encoder_threads is not None:
            wanted = {**wanted, _ENCODER_THREADS: self.encoder_threads}
        partial = record.with_suffix(".partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                for line in (wanted, *kept):
                    file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(record)
            flush_folder(self.folder)
            known = {self.segment(segment.number) for segment in self.finished}
            known |= {self.state(start.number) for start in self.pending if not start.begins_shot}
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)  # of a worker
                elif path not in known and path.name not in ("lock", record.name):
                    path.unlink()
        except OSError as error:
            raise write_failure(self.output, error) from error

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            flush_folder(self.folder)
            with (self.folder / _RECORD).open("a", encoding="utf-8") as record:
                record.write(json.dumps(line) + "\n")
                record.flush()
                os.fsync(record.fileno())
        except OSError as error:
            raise write_failure(self.output, error) from error

    def _can_start(self, start: SegmentStart) -> bool:
        return start.begins_shot or self.state(start.number).is_file()

    def _is_intact(self, finished: FinishedSegment) -> bool:
        try:
            return segment_digest(self.segment(finished.number)) == finished.digest
        except OSError:
            return False


def is_published(output: Path) -> bool:
    """Return whether a run completed the output, but ended before removing its work folder."""
    record = work_folder(output) / _RECORD
    if not (output.is_file() and record.is_file()):
        return False
    lines = _lines(record)
    return bool(lines) and lines[-1].get(_WHOLE) == output.stat().st_size


def newest_segment(output: Path) -> tuple[Path, CodedVideo] | None:
    """Return the file of the newest finished segment of an unfinished run, and its codec.

    None where no segment is finished. Another process may write the journal meanwhile.
    """
    folder = work_folder(output)
    try:
        lines = [line for line in _lines(folder / _RECORD)[1:] if _WHOLE not in line]
    except OSError:
        return None
    if not lines:
        return None
    codec, extradata, tag = lines[-1]["video"]
    video = CodedVideo(codec, bytes.fromhex(extradata), tag)
    return folder / _segment_name(lines[-1]["number"]), video


def finished_frames(output: Path) -> int:
    """Return the frames that an unfinished run keeps; another process may write the journal."""
    try:
        lines = _lines(work_folder(output) / _RECORD)[1:]
    except OSError:
        return 0
    return sum(line.get("frames", 0) for line in lines)


def work_folder(output: Path) -> Path:
    """Return the path of an output's work folder."""
    return hidden_sibling(output, ".vsr")


def _segment_name(index: int) -> str:
    return f"{index:06}.segment"


def _lines(record: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a record; a line truncated by a crash ends it."""
    lines = []
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _line_of(finished: FinishedSegment, video: CodedVideo) -> dict[str, Any]:
    """Return the record's line for a segment. Its keys are a file format, see `_finished`."""
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
    """Parse a line of the record: the inverse of `_line_of`."""
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


def describe_mismatch(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Describe the difference between two identities."""
    if found.get("source") != wanted.get("source"):
        return "of another source"
    keys = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
    changes = ", ".join(f"{key} {found.get(key)}, now {wanted.get(key)}" for key in keys)
    return f"of other settings ({changes})"
