"""The contents that an output of a part of a film should have."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vsr.errors import MediaError
from vsr.media.decode.container import AnyPacket
from vsr.media.decode.part import Part, PartClock
from vsr.media.decode.part_times import FoundPart, find_part
from vsr.media.decode.pulldown import has_video_rate
from vsr.media.decode.reader import VideoReader
from vsr.media.mux.stream_copy import set_missing_times
from vsr.media.mux.window import Window, WindowFilter, time_of

Chapter = tuple[Fraction, Fraction, str]
"""Start and end in seconds, and title."""
_FIELDS_RATIO = 1.5
"""Frame rate of an output over that of its source, above which its frames are fields."""


@dataclass(frozen=True)
class Excerpt:
    """A part of a film."""

    window: Window
    times: tuple[Fraction, ...]
    """Times of the part's frames in seconds, on the film's clock."""
    time_base: Fraction
    """Seconds per tick of these times."""

    def packets(self, packets: Iterable[AnyPacket], video: int) -> Iterator[AnyPacket]:
        """Select packets, and move them to the part's clock; `video` is the film's stream."""
        clipper, times = WindowFilter(self.window), dict[int, int]()
        first, last = self.times[0], self.times[-1]
        for packet in packets:
            if packet.stream_index != video:
                yield from clipper.clip(set_missing_times(packet, times))
            elif packet.pts is not None and first <= time_of(packet) <= last:
                packet.pts -= round(first / packet.time_base)
                yield packet
        yield from clipper.flush()

    def frame_times(self) -> list[int]:
        """Return the times of the part's frames on its clock, in ticks of `time_base`."""
        return [round((time - self.times[0]) / self.time_base) for time in self.times]

    def chapters(self, chapters: Iterable[Chapter]) -> Iterator[Chapter]:
        """Select chapters, and move them to the part's clock."""
        window = self.window
        for start, end, title in chapters:
            end = end if window.end is None else min(end, window.end)
            if max(start, window.start) < end:
                yield max(start, window.start) - window.start, end - window.start, title


def find_excerpt(
    reader: VideoReader, part: Part, output: Sequence[Fraction], output_rate: Fraction
) -> Excerpt:
    """Find a part of a probed film, by its packets or by its decoded fields.

    `output` are the times of an output's frames in seconds. If the frames of the packets don't last
    as long, the output's frame rate tells what happened to their fields. Raises `MediaError` where
    packets have no times.
    """
    clock = _clock(reader, part)
    found = find_part(reader.path, clock, reader)
    if found is None:
        raise MediaError(f"{reader.path}: its packets have no times, so no part can be compared")
    if not _last_as_long(found, clock, output):
        ratio = output_rate / reader.info.frame_rate
        is_doubled = ratio > _FIELDS_RATIO
        if is_doubled or (ratio < 1 and has_video_rate(reader.info.frame_rate)):
            clock, found = _find_by_decoding(reader, part, is_doubled) or (clock, found)
    base = clock.time_base
    end = clock.end(found.pts[0])
    if end is None and found.following is not None:
        end = found.following * base
    window = Window(start=found.pts[0] * base, end=end, origin=clock.origin * base)
    return Excerpt(window, times=tuple(pts * base for pts in found.pts), time_base=base)


def _clock(reader: VideoReader, part: Part) -> PartClock:
    info = reader.info
    return PartClock(
        part, origin=reader.first_pts, time_base=info.time_base, frame_rate=info.frame_rate
    )


def _last_as_long(found: FoundPart, clock: PartClock, output: Sequence[Fraction]) -> bool:
    """Whether a part has as many frames as an output, and lasts as long, to half a frame."""
    if len(found.pts) != len(output):
        return False
    seconds = (found.pts[-1] - found.pts[0]) * clock.time_base
    return abs(output[-1] - output[0] - seconds) < 1 / (2 * clock.frame_rate)


def _find_by_decoding(
    reader: VideoReader, part: Part, is_doubled: bool
) -> tuple[PartClock, FoundPart] | None:
    """Find a part among the frames of fields, or of film; None where it has none."""
    with VideoReader(
        reader.path,
        deinterlace="double" if is_doubled else "off",
        video=reader.video,
        inverse_telecine=not is_doubled,
    ) as frames:
        clock, found = _clock(frames, part), list[int]()
        for index, frame in enumerate(frames.frames()):
            if found and clock.has_ended(frame.pts, len(found), found[0]):
                return clock, FoundPart(found, frame.pts, is_seekable=False)
            if clock.has_started(frame.pts, index):
                found.append(frame.pts)
    return (clock, FoundPart(found, None, is_seekable=False)) if found else None
