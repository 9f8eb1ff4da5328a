"""Which of a file's streams is the film, and which are part of its header."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

_MOST_PACKETS = 250
"""Of one video stream: another that has had at most one by then is a single picture."""
_MOST_BYTES = 64_000_000


@dataclass(frozen=True)
class Choice:
    """The stream that is the film."""

    index: int
    read: list[Any]
    """The packets that were read to find out."""
    note: str
    """Which of several was taken; "" where there is only one."""


def candidates(container: InputContainer) -> list[VideoStream]:
    """The video streams that can be the film: cover pictures and thumbnails of chapters can't."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and not is_chapters(stream)
    ]


def choose(container: InputContainer) -> Choice | None:
    """The film: of those that can be decoded and hold more than one picture, the default one.

    Where several are, or none is, the first of them. The first packets are read where there are
    several; None where there is no video at all.
    """
    streams = candidates(container)
    if not streams:
        return None
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if len(streams) == 1 or not decodable:
        return Choice(streams[0].index, [], "")
    counts, read = _first_packets(container, {stream.index for stream in decodable})
    moving = [stream for stream in decodable if counts[stream.index] > 1] or decodable
    default = [stream for stream in moving if stream.disposition & Disposition.default]
    chosen = (default or moving)[0]
    held = ", ".join(_words(stream) for stream in streams)
    note = f"{len(streams)} video streams ({held}): stream {chosen.index} is upscaled"
    return Choice(chosen.index, read, note)


def wake(container: InputContainer) -> None:
    """Have all streams read that a demuxer would skip, except those of chapters.

    QuickTime's demuxer skips streams that no edit list shows, such as data without durations.
    """
    for stream in container.streams:
        if stream.discard is Discard.all and not _are_chapters(stream, container.chapters()):
            stream.discard = Discard.default


def is_chapters(stream: Stream) -> bool:
    """Whether a stream of a file that `wake` has seen holds chapters, as QuickTime has them."""
    return stream.discard is Discard.all


def _are_chapters(stream: Stream, chapters: Iterable[Any]) -> bool:
    """Whether a stream has one packet for each chapter, at the same time."""
    if stream.time_base is None:
        return False
    starts = [Fraction(chapter["start"]) * (chapter["time_base"] or 1) for chapter in chapters]
    return bool(starts) and starts == [
        entry.timestamp * stream.time_base for entry in stream.index_entries
    ]


def _first_packets(
    container: InputContainer, indices: set[int]
) -> tuple[dict[int, int], list[Any]]:
    """How many packets of each stream were read, and all that was read."""
    counts = dict.fromkeys(indices, 0)
    read: list[Any] = []
    size = 0
    try:
        for packet in container.demux():
            if not packet.size:
                continue
            read.append(packet)
            size += packet.size
            if packet.stream_index in counts and not packet.is_discard:
                counts[packet.stream_index] += 1
            if min(counts.values()) > 1 or max(counts.values()) > _MOST_PACKETS:
                break
            if size > _MOST_BYTES:
                break
    except av.error.FFmpegError:
        pass  # what could be read tells enough
    return counts, read


def _words(stream: VideoStream) -> str:
    context = stream.codec_context
    if context is None:
        return f"{stream.index}: no decoder"
    default = ", default" if stream.disposition & Disposition.default else ""
    return f"{stream.index}: {context.name} {context.width}x{context.height}{default}"
