"""The contents that an output of a part of a film should have."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from vsr.errors import MediaError
from vsr.media.decode.container import AnyPacket
from vsr.media.decode.part import Part, PartClock
from vsr.media.decode.part_times import find_part
from vsr.media.decode.reader import VideoReader
from vsr.media.mux.stream_copy import set_missing_times
from vsr.media.mux.window import Window, WindowFilter

Chapter = tuple[Fraction, Fraction, str]
"""Start and end in seconds, and title."""


@dataclass(frozen=True)
class Excerpt:
    """A part of a film, found by the times of its packets."""

    window: Window
    first: int
    """pts of the part's first frame, in ticks of the video."""
    last: int
    """pts of its last frame."""

    def packets(self, packets: Iterable[AnyPacket], video: int) -> Iterator[AnyPacket]:
        """Select packets, and move them to the part's clock; `video` is the film's stream."""
        clipper, times = WindowFilter(self.window), dict[int, int]()
        for packet in packets:
            if packet.stream_index != video:
                yield from clipper.clip(set_missing_times(packet, times))
            elif packet.pts is not None and self.first <= packet.pts <= self.last:
                packet.pts -= self.first
                yield packet
        yield from clipper.flush()

    def chapters(self, chapters: Iterable[Chapter]) -> Iterator[Chapter]:
        """Select chapters, and move them to the part's clock."""
        window = self.window
        for start, end, title in chapters:
            end = end if window.end is None else min(end, window.end)
            if max(start, window.start) < end:
                yield max(start, window.start) - window.start, end - window.start, title


def find_excerpt(reader: VideoReader, part: Part) -> Excerpt:
    """Find a part of a probed film. Raises `MediaError` where packets have no times."""
    info = reader.info
    clock = PartClock(
        part, origin=reader.first_pts, time_base=info.time_base, frame_rate=info.frame_rate
    )
    found = find_part(reader.path, clock, reader)
    if found is None:
        raise MediaError(f"{reader.path}: its packets have no times, so no part can be compared")
    end = clock.end(found.pts[0])
    if end is None and found.following is not None:
        end = found.following * info.time_base
    window = Window(
        start=found.pts[0] * info.time_base, end=end, origin=reader.first_pts * info.time_base
    )
    return Excerpt(window, first=found.pts[0], last=found.pts[-1])
