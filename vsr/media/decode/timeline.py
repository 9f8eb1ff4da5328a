"""Put a file whose clock steps back on one rising clock, such as concatenated recordings.

The video's clock is decisive. Where its decoding times step back, a new part starts. All streams of
the part are shifted alike, so that its first picture follows the last one, and no audio overlaps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.stream import Stream

_LOOK_AHEAD = 8
"""Pictures of a new part among which the first one shown is found."""
_PATIENCE = 50
"""Pictures within which the video's clock must step back after the audio's, for one join."""
_MAX_BUFFERED = 2000
_LONGEST_OVERHANG = 10
"""Maximum plausible seconds by which audio outlasts the video of its part."""
_LEAST_SHIFT = Fraction(1, 2)
"""Seconds: audio that steps back alone by this much is shifted alone."""


@dataclass
class _Clock:
    """The state of one stream."""

    duration: Fraction
    """Of a packet without a duration, in seconds."""
    part: int = 0
    shift: Fraction = Fraction(0)
    """Seconds by which this stream alone is shifted."""
    last: Fraction | None = None
    """The last decoding time in the file, in seconds."""
    end: Fraction = Fraction(0)
    """The latest end of a packet of this part in the file, in seconds."""
    position: int | None = None
    """Of the last packet with a known position in the file, in bytes."""


@dataclass(frozen=True)
class _Part:
    """One recording."""

    offset: Fraction
    position: int | None
    """In the file, in bytes."""


class Timeline:
    """Shifts packets, in file order, to one rising clock.

    Some are buffered until the cause of a step back is known; `flush` returns the last of these.
    """

    def __init__(self, video: Stream, frame_rate: Fraction) -> None:
        """`video` is the stream whose clock is decisive."""
        self._video = video.index
        self._frame = 1 / frame_rate
        self._clocks: dict[int, _Clock] = {}
        self._parts = [_Part(Fraction(0), 0)]
        self._buffered: list[Any] = []
        self._exempt: set[tuple[int, int, int | None]] = set()
        """Keys of buffered packets whose step back isn't a join."""

    @property
    def parts(self) -> int:
        """Recordings so far."""
        return len(self._parts)

    def feed(self, packet: Any) -> Iterator[Any]:
        """Add a packet; iterate over those whose time is final."""
        if self._buffered:
            self._buffered.append(packet)
            if self._can_decide():
                yield from self._release()
        elif self._is_unexplained(packet):
            self._buffered.append(packet)
        else:
            yield self._moved(packet)

    def flush(self) -> Iterator[Any]:
        """Iterate over the packets that are still buffered."""
        while self._buffered:
            yield from self._release()

    def _release(self) -> Iterator[Any]:
        self._decide()
        buffered, self._buffered = self._buffered, []
        for index, packet in enumerate(buffered):
            if index and self._is_unexplained(packet):
                self._buffered = buffered[index:]
                if self._can_decide():
                    yield from self._release()
                return
            yield self._moved(packet)
        self._exempt.clear()

    def _clock(self, packet: Any) -> _Clock:
        index = packet.stream_index
        if index not in self._clocks:
            duration = self._frame if index == self._video else Fraction(0)
            self._clocks[index] = _Clock(duration)
        return self._clocks[index]

    def _steps_back(self, packet: Any) -> bool:
        """Whether a packet's time is before the previous one's by half a packet or more."""
        clock = self._clock(packet)
        return clock.last is not None and self._is_before(packet, clock.last)

    def _is_before(self, packet: Any, last: Fraction) -> bool:
        if packet.dts is None or _key(packet) in self._exempt:
            return False
        step = last - packet.dts * packet.time_base
        return bool(step > 0 and step >= _duration(packet, self._clock(packet)) / 2)

    def _is_unexplained(self, packet: Any) -> bool:
        """Whether a packet steps back, and no known part starts with it."""
        clock = self._clock(packet)
        if clock.part + 1 < len(self._parts):
            return False
        is_clocked = packet.stream_index == self._video or packet.stream.type == "audio"
        return is_clocked and self._steps_back(packet)

    def _can_decide(self) -> bool:
        since = self._pictures_since_step()
        if since:
            return len(since) >= _LOOK_AHEAD or len(self._buffered) >= _MAX_BUFFERED
        pictures = sum(packet.stream_index == self._video for packet in self._buffered)
        return pictures >= _PATIENCE or len(self._buffered) >= _MAX_BUFFERED

    def _pictures_since_step(self) -> list[Any]:
        """Return the buffered pictures from the first one whose time steps back."""
        clock = self._clocks.get(self._video)
        last = clock.last if clock else None
        pictures = [packet for packet in self._buffered if packet.stream_index == self._video]
        for index, packet in enumerate(pictures):
            if packet.dts is None:
                continue
            if last is not None and self._is_before(packet, last):
                return pictures[index:]
            last = packet.dts * packet.time_base
        return []

    def _decide(self) -> None:
        """Determine the cause of the step back with which the buffered packets start."""
        since = self._pictures_since_step()
        if not since:
            self._decide_audio(self._buffered[0])
        elif self._is_join(since):
            self._start_part(since)
        else:
            self._exempt.add(_key(since[0]))
            if self._buffered[0] is not since[0]:
                self._decide_audio(self._buffered[0])

    def _is_join(self, since: list[Any]) -> bool:
        """Whether the clock continues from where it stepped to, not from before the step."""
        first, clock = since[0], self._clocks[self._video]
        if len(since) == 1 or since[1].dts is None or clock.last is None:
            return True
        stepped = self._last_before(first)
        duration = _duration(first, clock)
        time, following = (packet.dts * packet.time_base for packet in since[:2])
        return bool(abs(following - time - duration) <= abs(following - stepped - 2 * duration))

    def _last_before(self, picture: Any) -> Fraction:
        """Return the decoding time of the picture before a buffered one."""
        last = self._clocks[self._video].last
        assert last is not None
        for packet in self._buffered:
            if packet is picture:
                break
            if packet.stream_index == self._video and packet.dts is not None:
                last = packet.dts * packet.time_base
        return last

    def _decide_audio(self, packet: Any) -> None:
        """Shift audio that steps back alone, if it steps far enough."""
        clock = self._clock(packet)
        assert clock.last is not None
        time = packet.dts * packet.time_base
        if packet.stream_index != self._video and clock.last - time >= _LEAST_SHIFT:
            clock.shift += clock.end - time
        self._exempt.add(_key(packet))

    def _start_part(self, since: list[Any]) -> None:
        """Add a part that starts with the first of these pictures."""
        first, count = since[0], len(self._parts)
        shown = [packet.pts * packet.time_base for packet in since if packet.pts is not None]
        current = {i: clock for i, clock in self._clocks.items() if clock.part == count - 1}
        ends = {index: clock.end + clock.shift for index, clock in current.items()}
        starts = {self._video: min(shown[:_LOOK_AHEAD], default=first.dts * first.time_base)}
        seen = {i: clock.last for i, clock in current.items() if clock.last is not None}
        is_new = False
        for packet in self._buffered:
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
        """Shift a packet to the rising clock, in place."""
        clock = self._clock(packet)
        clock.position = clock.position if packet.pos is None else packet.pos
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
        """Whether the next part has started for a packet's stream."""
        if self._steps_back(packet):
            return True
        if packet.stream_index == self._video:
            return False
        position = self._parts[clock.part + 1].position
        return clock.position is None or position is None or clock.position >= position


def _key(packet: Any) -> tuple[int, int, int | None]:
    """Return a key that identifies a packet."""
    return packet.stream_index, packet.dts, packet.pos


def _duration(packet: Any, clock: _Clock) -> Fraction:
    """Return the duration of a packet, in seconds."""
    return Fraction(packet.duration * packet.time_base) if packet.duration else clock.duration
