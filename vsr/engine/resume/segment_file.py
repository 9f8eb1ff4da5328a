"""A stretch of coded video on disk, and how stretches become one stream of packets."""

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import av

from vsr.errors import OutputError
from vsr.media.encode.encoder import CodedPacket, CodedVideo, EncoderSettings, VideoEncoder
from vsr.media.frame import Frame, StreamInfo
from vsr.media.mux.muxer import write_failure

_RECORD = struct.Struct("<qqq?Q")
"""Before each packet: pts, dts, duration, whether it is a keyframe, and its bytes."""


class SegmentFile(NamedTuple):
    """A finished segment."""

    path: Path
    frames: int
    size: int
    """Bytes."""
    digest: str
    """BLAKE2b of the file."""


class SegmentWriter:
    """Encodes a stretch of frames by an encoder of its own into a file of packets.

    What the file holds depends on the frames and the settings alone. It appears under its name
    when `finish` has it on the disk. Errors become `OutputError`s.
    """

    def __init__(self, path: Path, name: Path, info: StreamInfo, settings: EncoderSettings) -> None:
        """Write to `path`, on the way to `name`."""
        self._path = path
        self._name = name
        self._partial = path.with_name(f"{path.name}.partial")
        self._frames = self._size = 0
        self._digest = hashlib.blake2b(digest_size=16)
        try:
            self._encoder = VideoEncoder(info, settings)
            self._file = self._partial.open("wb")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise write_failure(name, error) from error

    @property
    def video(self) -> CodedVideo:
        """What a muxer must know of the packets."""
        return self._encoder.video

    def write(self, frame: Frame) -> None:
        """Encode one frame."""
        self._frames += 1
        try:
            self._take(self._encoder.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self._name, error) from error

    def finish(self) -> SegmentFile:
        """Have it all on the disk."""
        try:
            self._take(self._encoder.finish())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.replace(self._path)
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self._name, error) from error
        return SegmentFile(self._path, self._frames, self._size, self._digest.hexdigest())

    def __enter__(self) -> "SegmentWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def _take(self, packets: Iterator[CodedPacket]) -> None:
        for packet in packets:
            data, *times, is_keyframe = packet
            record = _RECORD.pack(*times, is_keyframe, len(data)) + data
            self._file.write(record)
            self._digest.update(record)
            self._size += len(record)


def segment_digest(path: Path) -> str:
    """What `SegmentFile.digest` must be; raises OSError."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def concat_segments(paths: Sequence[Path]) -> Iterator[CodedPacket]:
    """The packets of segments as one stream, in decoding order.

    Each encoder counted decoding times on its own; these are laid out anew: frame n is decoded
    when the frame d before it, by the order of presentation, is shown, d being the most by
    which any frame comes early. Before the first there is as much time as d frames take.
    Raises `OutputError` where a file is cut short.
    """
    times = [[pts for pts, _ in _headers(path)] for path in paths]
    shown = sorted(pts for segment in times for pts in segment)
    delay = max((_most_early(segment) for segment in times), default=0)
    ahead = shown[min(delay, len(shown) - 1)] - shown[0] or delay
    decoded = [pts - ahead for pts in shown[:delay]] + shown[: len(shown) - delay]
    dts = iter(decoded)
    for path in paths:
        with path.open("rb") as file:
            while head := file.read(_RECORD.size):
                pts, _, duration, is_keyframe, size = _RECORD.unpack(head)
                data = file.read(size)
                if len(data) != size:
                    raise OutputError(f"{path}: is cut short")
                yield CodedPacket(data, pts, next(dts), duration, is_keyframe)


def _headers(path: Path) -> Iterator[tuple[int, int]]:
    """pts and size of each packet of a file."""
    with path.open("rb") as file:
        while head := file.read(_RECORD.size):
            if len(head) != _RECORD.size:
                raise OutputError(f"{path}: is cut short")
            pts, _, _, _, size = _RECORD.unpack(head)
            file.seek(size, os.SEEK_CUR)
            yield pts, size


def _most_early(times: Sequence[int]) -> int:
    """By how many places the order of decoding is at most ahead of that of presentation."""
    place = {pts: number for number, pts in enumerate(sorted(times))}
    return max((number - place[pts] for number, pts in enumerate(times)), default=0)
