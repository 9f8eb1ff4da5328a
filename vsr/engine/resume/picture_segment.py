"""Write the frames of a segment as numbered pictures, and list them in the segment's file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from vsr.engine.resume.segment_file import PacketFile, SegmentFile, read_packets
from vsr.errors import MediaError
from vsr.imaging.colour import Matrix
from vsr.media.encode.encoder import CodedPacket, CodedVideo
from vsr.media.frame import Frame
from vsr.media.image_writer import write_still
from vsr.media.numbered_pictures import NumberPattern
from vsr.media.picture_planes import picture_of_planes
from vsr.system.files import flush_folder, flush_to_disk, write_failure


class PictureSegmentWriter:
    """Writes each frame as a picture, whole or not at all.

    The segment's file lists the pictures with their hashes, in place of packets. It gets its name
    when all pictures are on disk. Errors are `OutputError`s.
    """

    def __init__(
        self,
        path: Path,
        pattern: NumberPattern,
        first: int,
        *,
        matrix: Matrix,
        dtype: np.dtype[Any],
        overwrite: bool,
    ) -> None:
        """Write the segment's file to `path`, and pictures from number `first` on.

        `matrix` and `dtype` are those of the frames' planes and of the pictures' samples.
        """
        self.video = CodedVideo("pictures", b"", "")
        self._pattern, self._number = pattern, first
        self._weights, self._dtype, self._overwrite = matrix.luma_weights, dtype, overwrite
        self._written: list[Path] = []
        try:
            self._file = PacketFile(path)
        except OSError as error:
            raise write_failure(path, error) from error

    def write(self, frame: Frame) -> None:
        """Write one picture."""
        path = self._pattern.path(self._number)
        self._number += 1
        write_still(path, picture_of_planes(frame, self._weights, self._dtype), self._overwrite)
        self._written.append(path)
        try:
            entry = json.dumps({"name": path.name, "digest": _digest(path)}).encode()
            self._file.append(CodedPacket(entry, frame.pts, frame.pts, frame.duration, True))
        except OSError as error:
            raise write_failure(path, error) from error

    def finish(self) -> SegmentFile:
        """Flush the pictures to disk, and finish the segment's file."""
        try:
            for path in self._written:
                flush_to_disk(path)
            flush_folder(self._pattern.folder)
            return self._file.finish(len(self._written))
        except OSError as error:
            raise write_failure(self._pattern.path(self._number), error) from error

    def abandon(self) -> None:
        """Remove the pictures of the unfinished segment."""
        self._file.abandon()
        for path in self._written:
            path.unlink(missing_ok=True)


def discard_changed(segments: list[Path], folder: Path) -> None:
    """Remove the files of the segments whose pictures in `folder` are missing or have changed."""
    for path in segments:
        try:
            entries = [json.loads(packet.data) for packet in read_packets(path)]
            is_intact = all(_digest(folder / one["name"]) == one["digest"] for one in entries)
        except (OSError, MediaError, ValueError, KeyError):
            is_intact = False
        if not is_intact:
            try:
                path.unlink()
            except OSError as error:
                raise write_failure(path, error) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
