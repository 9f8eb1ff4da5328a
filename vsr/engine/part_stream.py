"""Select a part of a film that is read once, from its start."""

from collections.abc import Collection, Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from vsr.engine.session import UpscaleSession
from vsr.engine.warm_up import MAX_WARM_UP_FRAMES, NO_CUT
from vsr.media.decode.container import AnyPacket
from vsr.media.decode.part_times import begins_late, check_not_empty
from vsr.media.decode.reader import VideoReader
from vsr.media.frame import Frame
from vsr.media.mux.stream_copy import set_missing_times
from vsr.media.mux.window import EndFinder, Window, WindowFilter, end_of, is_picture, time_of


class PartItem(NamedTuple):
    """A frame, or a packet of another stream on the part's clock."""

    item: Frame | AnyPacket
    begins_shot: bool = False
    warms_up: bool = False
    """Whether the frame precedes the part, and only the network's state matters."""
    origin: int = 0
    """pts of the part's first frame, to subtract from that of the upscaled frame: its grain depends
    on its time in the film."""


class PartStream:
    """Iterates over the frames of a part, those that warm the network up, and other packets.

    The part's first frame isn't known before it is read. So up to 240 frames before the part are
    upscaled, also if there is a cut among them, which resets the state. Raises `MediaError` where
    the film ends before the part.
    """

    def __init__(
        self,
        session: UpscaleSession,
        marked: Iterator[tuple[Frame | AnyPacket, bool]],
        copied: Collection[int],
    ) -> None:
        """`copied` are the indices of the streams whose packets matter."""
        assert session.part is not None
        self.window: Window | None = None
        """Set before the part's first frame is returned."""
        self.begins_shot = False
        """Whether the part starts at a cut, once its first frame is read."""
        self._clock = session.part
        self._session = session
        self._marked = marked
        self._copied = copied
        self._first = self._last = 0
        """pts of the part's first frame, and of its last one so far."""
        self._held: list[AnyPacket] = []
        """Packets that may overlap the part, or its end."""
        self._times: dict[int, int] = {}

    def damaged(self) -> list[int]:
        """Return the times of damaged frames in the part, in ticks of the part's clock."""
        damaged = self._session.reader.damage.pts
        return [pts - self._first for pts in damaged if self._first <= pts <= self._last]

    def __iter__(self) -> Iterator[PartItem]:
        first, self.begins_shot = yield from self._before()
        check_not_empty(self._session.reader.path, self._clock, first.pts)
        self._first = self._last = first.pts
        self.window = self._session.window(first.pts)
        assert self.window is not None
        clipper = WindowFilter(self.window)
        following = yield from self._within(first, clipper)
        if following is not None:
            end = self.window.end
            if end is None:
                end = following.pts * self._clock.time_base
                clipper.window = replace(self.window, end=end)
            self._read_past(end)
        for packet in self._held:
            yield from map(PartItem, clipper.clip(packet))
        yield from map(PartItem, clipper.flush())

    def _before(self) -> Generator[PartItem, None, tuple[Frame, bool]]:
        """Yield the frames that warm the network up.

        Returns the part's first frame, and whether it begins a shot.
        """
        clock, index, last, is_exact = self._clock, 0, 0, False
        for item, is_cut in self._marked:
            if not isinstance(item, Frame):
                self._hold(item)
                continue
            is_warm = clock.has_started(item.pts, index, MAX_WARM_UP_FRAMES)
            is_exact = is_exact or (is_warm and is_cut)
            if clock.has_started(item.pts, index):
                if not is_exact:
                    self._session.reader.notes.append(NO_CUT)
                return item, is_cut
            if is_warm:
                yield PartItem(item, is_cut, warms_up=True)
            self._forget(item.pts * clock.time_base)
            index, last = index + 1, item.pts
        raise begins_late(self._session.reader.path, clock, index, last)

    def _within(
        self, first: Frame, clipper: WindowFilter
    ) -> Generator[PartItem, None, Frame | None]:
        """Yield the part; return the first frame after it, or None at the end of the film."""
        yield PartItem(first, self.begins_shot, origin=self._first)
        index = 1
        for item, begins_shot in self._marked:
            if not isinstance(item, Frame):
                self._hold(item)
                continue
            if self._clock.has_ended(item.pts, index, self._first):
                return item
            yield PartItem(item, begins_shot, origin=self._first)
            index, self._last = index + 1, item.pts
            for packet in self._due(clipper.window):
                yield from map(PartItem, clipper.clip(packet))
        return None

    def _hold(self, packet: AnyPacket) -> None:
        if packet.stream_index in self._copied:
            self._held.append(set_missing_times(packet, self._times))

    def _forget(self, now: Fraction) -> None:
        """Discard held packets that end before a part that starts after `now` seconds."""
        kept: list[AnyPacket] = []
        open_cues: set[int] = set()
        for packet in reversed(self._held):
            is_open = packet.stream.type == "subtitle" and not packet.duration
            if is_picture(packet) or end_of(packet) > now:
                kept.append(packet)
            elif is_open and packet.stream_index not in open_cues:
                kept.append(packet)
                open_cues.add(packet.stream_index)
        self._held = kept[::-1]

    def _due(self, window: Window) -> list[AnyPacket]:
        """Return the held packets that start in the part, and if they are clipped, end in it."""
        now = self._last * self._clock.time_base
        is_due = [
            window.end is not None
            or (end_of(packet) if packet.stream.type == "subtitle" else time_of(packet)) <= now
            for packet in self._held
        ]
        due = [packet for packet, is_now in zip(self._held, is_due, strict=True) if is_now]
        self._held = [p for p, is_now in zip(self._held, is_due, strict=True) if not is_now]
        return due

    def _read_past(self, end: Fraction) -> None:
        """Read packets that belong to the part but are stored after its last frame."""
        if not self._copied:
            return
        reader = self._session.reader
        assert isinstance(reader, VideoReader)  # pictures have no other streams
        streams = reader.container.streams
        ends = EndFinder(streams[index] for index in (*self._copied, reader.index))
        for item, _ in self._marked:
            if isinstance(item, Frame):
                index, seconds = reader.index, item.pts * self._clock.time_base
            else:
                self._hold(item)
                index, seconds = item.stream_index, time_of(item)
            if ends.is_past(index, seconds, end):
                return
