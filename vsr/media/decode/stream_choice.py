"""Choose which of a file's video streams is the film."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

_MOST_PACKETS = 250
"""Of one video stream: another one with at most one packet by then is a single picture."""
_MOST_BYTES = 64_000_000


@dataclass(frozen=True)
class Choice:
    """The chosen stream."""

    index: int
    read: list[Any]
    """The packets that were read for the choice."""
    note: str
    """Message that names the chosen one of several streams; "" for a single stream."""


def candidates(container: InputContainer) -> list[VideoStream]:
    """List the video streams that aren't cover pictures or chapter thumbnails."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and not is_chapters(stream)
    ]


def choose(container: InputContainer, number: int | None = None) -> Choice | None:
    """Choose the film: among decodable streams with more than one picture, the default one.

    If several of them are default, or none is, the first of these is chosen. Packets are read only
    if there are several streams. None where there is no video at all. `number` chooses a stream by
    its position among `candidates`, from 1. Raises `IndexError` where there is no such stream.
    """
    streams = candidates(container)
    if not streams:
        return None
    if number is not None:
        if not 0 < number <= len(streams):
            raise IndexError(number)
        return Choice(streams[number - 1].index, [], _note(streams, number))
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if len(streams) == 1 or not decodable:
        return Choice(streams[0].index, [], "")
    counts, read = _first_packets(container, {stream.index for stream in decodable})
    moving = [stream for stream in decodable if counts[stream.index] > 1] or decodable
    default = [stream for stream in moving if stream.disposition & Disposition.default]
    chosen = (default or moving)[0]
    note = f"{_note(streams, streams.index(chosen) + 1)}; --video chooses another"
    return Choice(chosen.index, read, note)


def list_videos(container: InputContainer) -> str:
    """List the streams that can be chosen, such as "1 (h264 64x48, eng), 2 (hevc 96x64)"."""
    streams = candidates(container)
    return ", ".join(f"{number} ({_description(s)})" for number, s in enumerate(streams, 1))


def enable_streams(container: InputContainer) -> None:
    """Enable all streams that a demuxer would skip, except those of chapters.

    QuickTime's demuxer skips streams that no edit list includes, such as data without durations.
    """
    for stream in container.streams:
        if stream.discard is Discard.all and not _are_chapters(stream, container.chapters()):
            stream.discard = Discard.default


def is_chapters(stream: Stream) -> bool:
    """Whether a stream stores QuickTime's chapters; valid after `enable_streams`."""
    return stream.discard is Discard.all


def _are_chapters(stream: Stream, chapters: Iterable[Any]) -> bool:
    """Whether a stream has one packet per chapter, at the same times."""
    if stream.time_base is None:
        return False
    starts = [Fraction(chapter["start"]) * (chapter["time_base"] or 1) for chapter in chapters]
    return bool(starts) and starts == [
        entry.timestamp * stream.time_base for entry in stream.index_entries
    ]


def _first_packets(
    container: InputContainer, indices: set[int]
) -> tuple[dict[int, int], list[Any]]:
    """Read packets until it is known which streams have several; return counts and packets."""
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
        pass  # the choice is made by what could be read
    return counts, read


def _note(streams: list[VideoStream], number: int) -> str:
    if len(streams) == 1:
        return ""
    return f"video {number} of {len(streams)}: {_description(streams[number - 1])}"


def _description(stream: VideoStream) -> str:
    """Describe a stream by codec and size, language and title."""
    context = stream.codec_context
    words = [
        "no decoder" if context is None else f"{context.name} {context.width}x{context.height}"
    ]
    if stream.language not in (None, "und"):
        words.append(str(stream.language))
    if title := stream.metadata.get("title"):
        words.append(repr(title))
    if stream.disposition & Disposition.default:
        words.append("default")
    return ", ".join(words)
