"""Find a part of a film by the times of its packets, without decoding."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsr.errors import MediaError
from vsr.media.decode.container import AnyPacket, frame_rate_of, packets_of, shift_packet
from vsr.media.decode.part import Part, PartClock
from vsr.media.decode.picture_reader import FilmReader, PictureReader
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.timeline import Timeline
from vsr.system.address import is_pipe

_REORDERED_PACKETS = 64
"""Packets by which decoding order may differ from presentation order."""


@dataclass(frozen=True)
class FoundPart:
    """A part of a film, as its packets show it."""

    pts: Sequence[int]
    """Times of the packets in the part, ascending, on the clock of `VideoReader`."""
    following: int | None
    """Time of the first packet after the part; None if the part lasts to the film's end."""
    is_seekable: bool
    """Whether frames can be found by seeking to their times: the film's clock never steps back, and
    all packets have times."""


def locate_part(reader: FilmReader, part: Part | None) -> tuple[PartClock | None, FoundPart | None]:
    """Return the part to upscale, if there is one, and what its packets show of it.

    Raises `MediaError` where a file ends before the part begins.
    """
    if part is None:
        return None, None
    info = reader.info
    clock = PartClock(
        part,
        origin=reader.first_pts,
        time_base=info.time_base,
        frame_rate=info.frame_rate,
    )
    if is_pipe(reader.path) or reader.field_mode.ticks != 1:  # frames are not those of packets
        return clock, None
    return clock, find_part(reader.path, clock, reader)


def find_part(path: Path, clock: PartClock, reader: FilmReader) -> FoundPart | None:
    """Find a part by the packets of a film; None where they don't have times.

    `reader` has probed the film. Packets are read up to the part's end. Raises `MediaError` where
    the part begins after the film's end, or holds no frame.
    """
    if isinstance(reader, PictureReader):
        times, is_seekable = reader.times(), True
    else:
        times, is_seekable = _packet_times(path, clock, reader)
    if not times:
        return None
    start = clock.part.start
    if start.in_frames:
        first = int(start.value)
    else:
        ticks = -(-start.value // clock.time_base)  # the first tick at or after it
        first = bisect_left(times, clock.origin + ticks)
    if first >= len(times):
        raise begins_late(path, clock, len(times), times[-1])
    check_not_empty(path, clock, times[first])
    pts = [
        pts
        for index, pts in enumerate(times[first:])
        if not clock.has_ended(pts, index, times[first])
    ]
    following = times[first + len(pts)] if first + len(pts) < len(times) else None
    return FoundPart(pts, following, is_seekable)


def check_not_empty(path: Path, clock: PartClock, first: int) -> None:
    """Raise `MediaError` where the part's first frame, at pts `first`, is after its end."""
    if clock.has_ended(first, 0, first):
        seconds = float((first - clock.origin) * clock.time_base)
        raise MediaError(
            f"{path}: no frame starts in the part from {clock.part}; the next one is at "
            f"{seconds:.3f} s"
        )


def begins_late(path: Path, clock: PartClock, frames: int, last: int) -> MediaError:
    """Describe a part that begins after the last of a film's frames, whose pts is `last`."""
    start = clock.part.start
    if start.in_frames:
        return MediaError(f"{path}: has {frames} frames; --from {start.value}f is after its end")
    seconds = float((last - clock.origin) * clock.time_base)
    return MediaError(f"{path}: its last frame is at {seconds:.3f} s; --from {start} is after it")


def _packet_times(path: Path, clock: PartClock, reader: VideoReader) -> tuple[list[int], bool]:
    """Return the times of all packets up to the part's end, and whether they can be sought.

    No times unless all packets have one.
    """
    times: list[int] = []
    most = None
    if clock.part.start.in_frames and clock.part.frames is not None:
        most = clock.part.start.value + clock.part.frames + _REORDERED_PACKETS
    end = None if clock.part.end is None else clock.end(0)
    with VideoReader(path, probe_first_frame=False, video=reader.video) as packets:
        timeline = Timeline(packets.stream, frame_rate_of(packets.stream))
        for packet in _on_clock(timeline, packets_of(packets.container)):
            if packet.stream_index != reader.index or packet.is_discard:
                continue
            shift_packet(packet, reader.lead)
            if packet.pts is None:
                return [], False
            if packet.pts >= clock.origin:
                times.append(packet.pts)
            if end is not None and packet.dts is not None and packet.dts * clock.time_base > end:
                break  # later packets are shown later
            if most is not None and len(times) > most:
                break
    return sorted(times), timeline.parts == 1


def _on_clock(timeline: Timeline, packets: Iterable[AnyPacket]) -> Iterator[AnyPacket]:
    for packet in packets:
        yield from timeline.feed(packet)
    yield from timeline.flush()
