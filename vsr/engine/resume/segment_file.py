"""Encode segments into files of packets, and join them into one stream."""

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import av

from vsr.errors import OutputError
from vsr.media.encode.encoder import CodedPacket, CodedVideo, VideoEncoder
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame, StreamInfo
from vsr.system.files import write_failure

_RECORD = struct.Struct("<qqq?Q")
"""Header of each packet: pts, dts, duration, whether it is a keyframe, and its size in bytes."""


class SegmentFile(NamedTuple):
    """A finished segment."""

    path: Path
    frames: int
    size: int
    """Bytes."""
    digest: str
    """BLAKE2b of the file."""


class PacketFile:
    """Writes packets to a file, which gets its name when `finish` has flushed it to disk."""

    def __init__(self, path: Path) -> None:
        """Open a temporary file beside `path`. Raises OSError."""
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._size = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._file = self._partial.open("wb")

    def append(self, packet: CodedPacket) -> None:
        """Write a packet. Raises OSError."""
        data, *times, is_keyframe = packet
        record = _RECORD.pack(*times, is_keyframe, len(data)) + data
        self._file.write(record)
        self._digest.update(record)
        self._size += len(record)

    def finish(self, frames: int) -> SegmentFile:
        """Flush the file of a segment of so many frames, and give it its name. Raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)
        return SegmentFile(
            path=self._path,
            frames=frames,
            size=self._size,
            digest=self._digest.hexdigest(),
        )

    def abandon(self) -> None:
        """Remove the file unless it is finished."""
        with suppress(OSError):  # on a full disk, it writes what is buffered in vain
            self._file.close()
        self._partial.unlink(missing_ok=True)


class SegmentWriter:
    """Encodes the frames of a segment, with an encoder of their own, into a file of packets.

    The file depends on the frames and the settings alone. Errors become `OutputError`s.
    """

    def __init__(
        self, path: Path, output: Path, info: StreamInfo, settings: EncoderSettings
    ) -> None:
        """Write to `path`; errors name `output`."""
        self._output = output
        self._frames = 0
        try:
            self._encoder = VideoEncoder(info, settings)
            self._file = PacketFile(path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise write_failure(output, error) from error

    @property
    def video(self) -> CodedVideo:
        """Parameters of the stream, for the muxer."""
        return self._encoder.video

    def write(self, frame: Frame) -> None:
        """Encode one frame."""
        self._frames += 1
        try:
            self._append(self._encoder.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self._output, error) from error

    def finish(self) -> SegmentFile:
        """Flush the encoder, and finish the file."""
        try:
            self._append(self._encoder.finish())
            return self._file.finish(self._frames)
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self._output, error) from error

    def abandon(self) -> None:
        """Remove the file unless it is finished."""
        self._file.abandon()

    def __enter__(self) -> "SegmentWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        self.abandon()

    def _append(self, packets: Iterator[CodedPacket]) -> None:
        for packet in packets:
            self._file.append(packet)


def segment_digest(path: Path) -> str:
    """Compute `SegmentFile.digest` of a file; raises OSError."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def concat_segments(paths: Sequence[Path]) -> Iterator[CodedPacket]:
    """Join the packets of segments into one stream, in decoding order.

    Decoding times are computed again, because each encoder counted its own. Let d be the largest
    reorder delay of any segment, in frames. Frame n is decoded when frame n - d, in presentation
    order, is shown. Decoding of the first frame starts by the duration of d frames before that is
    shown. Raises `OutputError` if a file is truncated.
    """
    segments = [[pts for pts, _ in _headers(path)] for path in paths]
    shown = sorted(pts for times in segments for pts in times)
    delay = max((_reorder_delay(times) for times in segments), default=0)
    ahead = shown[min(delay, len(shown) - 1)] - shown[0] or delay
    decoded = [pts - ahead for pts in shown[:delay]] + shown[: len(shown) - delay]
    dts = iter(decoded)
    for path in paths:
        for packet in read_packets(path):
            yield packet._replace(dts=next(dts))


def read_packets(path: Path) -> Iterator[CodedPacket]:
    """Iterate over the packets of a segment. Raises `OutputError` if the file is truncated."""
    with path.open("rb") as file:
        while header := file.read(_RECORD.size):
            if len(header) != _RECORD.size:
                raise OutputError(f"{path}: is truncated")
            pts, dts, duration, is_keyframe, size = _RECORD.unpack(header)
            data = file.read(size)
            if len(data) != size:
                raise OutputError(f"{path}: is truncated")
            yield CodedPacket(data, pts, dts, duration, is_keyframe)


def first_pts(path: Path) -> int:
    """Return the pts of the first frame of a segment."""
    return min(pts for pts, _ in _headers(path))


def last_frame(path: Path) -> tuple[int, int]:
    """Return pts and duration, 0 if unknown, of the last frame of a segment."""
    return max(_headers(path))


def _headers(path: Path) -> Iterator[tuple[int, int]]:
    """Read pts and duration of each packet of a file."""
    with path.open("rb") as file:
        while header := file.read(_RECORD.size):
            if len(header) != _RECORD.size:
                raise OutputError(f"{path}: is truncated")
            pts, _, duration, _, size = _RECORD.unpack(header)
            file.seek(size, os.SEEK_CUR)
            yield pts, duration


def _reorder_delay(times: Sequence[int]) -> int:
    """Return by how many frames decoding order is at most ahead of presentation order."""
    rank = {pts: index for index, pts in enumerate(sorted(times))}
    return max((index - rank[pts] for index, pts in enumerate(times)), default=0)
