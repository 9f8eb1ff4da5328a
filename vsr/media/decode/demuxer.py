"""Open a film's file, choose its video stream, and read its packets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from vsr.errors import MediaError
from vsr.media.decode.completeness import StreamEnd
from vsr.media.decode.container import (
    AnyPacket,
    frame_rate_of,
    on_one_clock,
    open_input,
    packets_of,
)
from vsr.media.decode.stream_choice import choose, list_videos
from vsr.system.address import is_pipe


@dataclass
class Damage:
    """Parts of a film that were damaged or unreadable."""

    pts: list[int]
    """Of frames that were damaged, or that repeat the previous one in place of a lost one."""
    ends_early: bool = False
    """Whether reading failed before the end of the file."""
    read_errors: int = 0
    """Places where reading failed and then continued."""


class Demuxer:
    """An open file and its video stream, chosen as `stream_choice` says.

    Raises `MediaError` where the file is missing or broken, or has no video.
    """

    def __init__(self, path: Path, once: bool, notes: list[str], video: int | None = None) -> None:
        """Open a file; see `open_input`. A line is added to `notes` if there are several.

        `video` chooses one of several video streams; see `stream_choice.choose`.
        """
        self.path, self._notes = path, notes
        self._video = video
        self.damage = Damage([])
        self._pipe_end = StreamEnd()
        self.container: InputContainer = open_input(path, once, self._pipe_end.feed)
        self._index: int | None = None
        self._read_ahead: list[AnyPacket] = []
        try:
            self.stream = self._video_stream()
        except BaseException:
            self.container.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def reopen(self) -> None:
        """Open the file again, to read it from its start."""
        self.container.close()
        self.container = open_input(self.path)
        self.stream = self._video_stream()

    def packets(self) -> Iterator[AnyPacket]:
        """Iterate over all packets in file order, past read errors, on one rising clock."""
        ahead, self._read_ahead = self._read_ahead, []
        packets = packets_of(
            self.container,
            ahead=ahead,
            ends_early=self._end_early,
            reads_on=self._count_read_error,
        )
        return on_one_clock(packets, self.stream, frame_rate_of(self.stream))

    def packets_to_end(self, others: bool) -> Iterator[AnyPacket | None]:
        """Iterate over the packets of the film, or of all streams if `others`; None at the end."""
        for packet in self.packets():
            if others or packet.stream_index == self.stream.index:
                yield packet
        if self._pipe_end.is_cut_short():
            self._end_early()
        yield None

    def seek(self, position: int) -> bool:
        """Seek to a keyframe at or before a position in ticks; False where that fails."""
        try:
            self.container.seek(position, stream=self.stream)
        except av.error.FFmpegError:
            return False
        return True

    def _end_early(self) -> None:
        self.damage.ends_early = True

    def _count_read_error(self) -> None:
        self.damage.read_errors += 1

    def _video_stream(self) -> VideoStream:
        if self._index is None:
            self._index = self._choose()
        stream = self.container.streams[self._index]
        assert isinstance(stream, VideoStream)
        if stream.codec_context is None:
            raise MediaError(f"{self.path}: no decoder for its video stream")
        return stream

    def _choose(self) -> int:
        try:
            choice = choose(self.container, self._video)
        except IndexError:
            available = list_videos(self.container)
            raise MediaError(
                f"{self.path}: has no video {self._video}; it has {available}"
            ) from None
        if choice:
            if choice.note:
                self._notes.append(choice.note)
            if choice.read and not is_pipe(self.path):
                self.container.close()
                self.container = open_input(self.path)
            else:
                self._read_ahead = choice.read
            return choice.index
        audio = [f"{s.type} ({s.name})" for s in self.container.streams if s.type == "audio"]
        content = f"only {', '.join(audio)}" if audio else "nothing to play"
        raise MediaError(f"{self.path}: no video stream, {content}")
