"""One rising clock for a file whose own steps back, as in recordings joined end to end.

The clock of the picture decides. Where its decoding times step back, a part begins, and all
streams of that part are moved alike: so far that its first picture follows the last one, and no
sound overlaps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.stream import Stream

_LOOK_AHEAD = 8
"""Pictures of a new part from which the first one shown is found."""
_PATIENCE = 50
"""Pictures in which the picture's clock must follow that of sound, if both belong to one join."""
_MOST_HELD = 2000
_LONGEST_OVERHANG = 10
"""Seconds by which sound is believed to outlast the picture of its part."""
_LEAST_SHIFT = Fraction(1, 2)
"""Seconds: where sound alone steps back by more, it is moved by itself."""


@dataclass
class _Clock:
    """Where one stream is."""

    duration: Fraction
    """Of a packet that doesn't tell its own, in seconds."""
    part: int = 0
    shift: Fraction = Fraction(0)
    """By which this stream alone is moved."""
    last: Fraction | None = None
    """The last decoding time, in seconds, as the file tells it."""
    end: Fraction = Fraction(0)
    """The latest end of any packet of this part, as the file tells it."""
    place: int | None = None
    """In the file, in bytes, where a packet last told it."""


@dataclass(frozen=True)
class _Part:
    """One recording."""

    offset: Fraction
    place: int | None
    """In the file, in bytes."""


class Timeline:
    """Moves packets, fed in file order, onto one rising clock.

    Some are held until it is known how the clock goes on; `flush` gives the last of these.
    """

    def __init__(self, video: Stream, frame_rate: Fraction) -> None:
        """`video` is the stream whose pictures decide."""
        self._video = video.index
        self._frame = 1 / frame_rate
        self._clocks: dict[int, _Clock] = {}
        self._parts = [_Part(Fraction(0), 0)]
        self._held: list[Any] = []
        self._excused: set[tuple[int, int, int | None]] = set()
        """Of held packets: those whose step back is no join."""

    @property
    def parts(self) -> int:
        """Recordings so far."""
        return len(self._parts)

    def feed(self, packet: Any) -> Iterator[Any]:
        """Give a packet; get those whose place is known."""
        if self._held:
            self._held.append(packet)
            if self._knows_enough():
                yield from self._release()
        elif self._is_trouble(packet):
            self._held.append(packet)
        else:
            yield self._moved(packet)

    def flush(self) -> Iterator[Any]:
        """Get the packets that are still held."""
        while self._held:
            yield from self._release()

    def _release(self) -> Iterator[Any]:
        self._decide()
        held, self._held = self._held, []
        for number, packet in enumerate(held):
            if number and self._is_trouble(packet):
                self._held = held[number:]
                if self._knows_enough():
                    yield from self._release()
                return
            yield self._moved(packet)
        self._excused.clear()

    def _clock(self, packet: Any) -> _Clock:
        index = packet.stream_index
        if index not in self._clocks:
            duration = self._frame if index == self._video else Fraction(0)
            self._clocks[index] = _Clock(duration)
        return self._clocks[index]

    def _steps_back(self, packet: Any) -> bool:
        """Whether a packet's time is before that of the last one by half a packet or more."""
        clock = self._clock(packet)
        return clock.last is not None and self._is_before(packet, clock.last)

    def _is_before(self, packet: Any, last: Fraction) -> bool:
        if packet.dts is None or _key(packet) in self._excused:
            return False
        step = last - packet.dts * packet.time_base
        return bool(step > 0 and step >= _duration(packet, self._clock(packet)) / 2)

    def _is_trouble(self, packet: Any) -> bool:
        """Whether a part begins with a packet that isn't known yet."""
        clock = self._clock(packet)
        if clock.part + 1 < len(self._parts):
            return False
        is_clocked = packet.stream_index == self._video or packet.stream.type == "audio"
        return is_clocked and self._steps_back(packet)

    def _knows_enough(self) -> bool:
        since = self._pictures_since_step()
        if since:
            return len(since) >= _LOOK_AHEAD or len(self._held) >= _MOST_HELD
        pictures = sum(packet.stream_index == self._video for packet in self._held)
        return pictures >= _PATIENCE or len(self._held) >= _MOST_HELD

    def _pictures_since_step(self) -> list[Any]:
        """The held pictures from the first whose time steps back."""
        clock = self._clocks.get(self._video)
        last = clock.last if clock else None
        pictures = [packet for packet in self._held if packet.stream_index == self._video]
        for number, packet in enumerate(pictures):
            if packet.dts is None:
                continue
            if last is not None and self._is_before(packet, last):
                return pictures[number:]
            last = packet.dts * packet.time_base
        return []

    def _decide(self) -> None:
        """Find what the step back is with which the held packets begin."""
        since = self._pictures_since_step()
        if not since:
            self._decide_sound(self._held[0])
        elif self._is_join(since):
            self._begin_part(since)
        else:
            self._excused.add(_key(since[0]))
            if self._held[0] is not since[0]:
                self._decide_sound(self._held[0])

    def _is_join(self, since: list[Any]) -> bool:
        """Whether the clock goes on from where it stepped to, or from where it was."""
        first, clock = since[0], self._clocks[self._video]
        if len(since) == 1 or since[1].dts is None or clock.last is None:
            return True
        stepped = self._last_before(first)
        duration = _duration(first, clock)
        time, following = (packet.dts * packet.time_base for packet in since[:2])
        return bool(abs(following - time - duration) <= abs(following - stepped - 2 * duration))

    def _last_before(self, picture: Any) -> Fraction:
        """The decoding time before a held picture's."""
        last = self._clocks[self._video].last
        assert last is not None
        for packet in self._held:
            if packet is picture:
                break
            if packet.stream_index == self._video and packet.dts is not None:
                last = packet.dts * packet.time_base
        return last

    def _decide_sound(self, packet: Any) -> None:
        """Sound stepped back by itself: far enough to be moved by itself, or not."""
        clock = self._clock(packet)
        assert clock.last is not None
        time = packet.dts * packet.time_base
        if packet.stream_index != self._video and clock.last - time >= _LEAST_SHIFT:
            clock.shift += clock.end - time
        self._excused.add(_key(packet))

    def _begin_part(self, since: list[Any]) -> None:
        """Add the part that begins with the first of these pictures."""
        first, number = since[0], len(self._parts)
        shown = [packet.pts * packet.time_base for packet in since if packet.pts is not None]
        here = {i: clock for i, clock in self._clocks.items() if clock.part == number - 1}
        ends = {index: clock.end + clock.shift for index, clock in here.items()}
        starts = {self._video: min(shown[:_LOOK_AHEAD], default=first.dts * first.time_base)}
        seen = {i: clock.last for i, clock in here.items() if clock.last is not None}
        is_new = False
        for packet in self._held:
            index = packet.stream_index
            is_new = is_new or packet is first
            if packet.dts is None:
                continue
            time = packet.dts * packet.time_base
            if index == self._video:
                if not is_new and packet.pts is not None:
                    until = packet.pts * packet.time_base + _duration(packet, self._clocks[index])
                    ends[index] = max(ends.get(index, until), until)
            elif packet.stream.type == "audio" and index in ends and index not in starts:
                clock = self._clock(packet)
                if index in seen and self._is_before(packet, seen[index]):
                    starts[index] = time
                else:
                    until = time + _duration(packet, clock) + clock.shift
                    ends[index] = max(ends[index], until)
            seen[index] = time
        needed = ends[self._video] - starts[self._video]
        overlaps = [ends[index] - start for index, start in starts.items()]
        needed = max(overlap for overlap in overlaps if overlap <= needed + _LONGEST_OVERHANG)
        self._parts.append(_Part(self._parts[-1].offset + needed, first.pos))

    def _moved(self, packet: Any) -> Any:
        """A packet at its place on the rising clock."""
        clock = self._clock(packet)
        clock.place = clock.place if packet.pos is None else packet.pos
        while clock.part + 1 < len(self._parts) and self._is_of_next(packet, clock):
            clock.part, clock.shift, clock.last = clock.part + 1, Fraction(0), None
            clock.end = Fraction(-(1 << 40))
        if packet.dts is not None:
            clock.last = packet.dts * packet.time_base
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            until = time * packet.time_base + _duration(packet, clock)
            clock.end = until if packet.dts is None else max(clock.end, until)
        offset = self._parts[clock.part].offset + clock.shift
        if offset:
            ticks = round(offset / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        return packet

    def _is_of_next(self, packet: Any, clock: _Clock) -> bool:
        """Whether the next part has begun for a packet's stream."""
        if self._steps_back(packet):
            return True
        if packet.stream_index == self._video:
            return False
        place = self._parts[clock.part + 1].place
        return clock.place is None or place is None or clock.place >= place


def _key(packet: Any) -> tuple[int, int, int | None]:
    """What to know a packet by."""
    return packet.stream_index, packet.dts, packet.pos


def _duration(packet: Any, clock: _Clock) -> Fraction:
    """Of a packet, in seconds."""
    return Fraction(packet.duration * packet.time_base) if packet.duration else clock.duration
