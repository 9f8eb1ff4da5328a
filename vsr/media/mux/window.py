"""Cut the streams beside the video, and the chapters, to a part of a film.

Audio and data are cut to the packet: packets that overlap the part are kept, with their times. Of
PCM, the samples before the part are removed from the first packet. A subtitle that starts before
the part and lasts into it starts with the part, and none lasts beyond its end.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.stream import Disposition

from vsr.media.decode.container import AnyPacket, shift_packet
from vsr.media.packet_content import pcm_sample_bytes

_SLACK_SECONDS = 10
"""By which the packets of a stream may be stored later than those of the others."""


@dataclass(frozen=True)
class Window:
    """A part of a film, in seconds on the clock of `VideoReader`."""

    start: Fraction
    """Time of the part's first frame, which becomes time zero."""
    end: Fraction | None
    """None if the part lasts to the film's end."""
    origin: Fraction = Fraction(0)
    """Time of the film's first frame."""
    keeps_negative: bool = True
    """Whether audio may start before time zero, by less than a packet. Otherwise, the packet in
    which the part starts is left out."""

    @property
    def seconds_before(self) -> Fraction:
        """Seconds of the film before the part."""
        return self.start - self.origin


class WindowFilter:
    """Selects and shifts the packets of other streams that belong to a part."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._open_cues: dict[int, AnyPacket] = {}
        """The last subtitle before the part of each stream, if it has no duration: it is shown
        until the next one."""
        self._started: dict[int, int] = {}
        """Time of the first kept keyframe of each other video stream."""

    def clip(self, packet: AnyPacket) -> Iterator[AnyPacket]:
        """Iterate over what the part has of a packet, whose times must be set."""
        if is_picture(packet):
            yield packet
            return
        stream_type, start = packet.stream.type, time_of(packet)
        if stream_type == "subtitle" and start < self.window.start and not packet.duration:
            self._open_cues[packet.stream_index] = packet
            return
        if start >= self.window.start:
            yield from self.flush(packet)
        if self._is_in(packet):
            yield self._moved(self._trimmed(packet))

    def flush(self, following: AnyPacket | None = None) -> Iterator[AnyPacket]:
        """Iterate over subtitles without a duration that are still shown when the part starts.

        `following` is a packet of the part, if there is one.
        """
        open_cues, self._open_cues = self._open_cues, {}
        for index, packet in open_cues.items():
            is_replaced = (
                following is not None
                and following.stream_index == index
                and time_of(following) <= self.window.start
            )
            if not is_replaced:
                yield self._moved(packet)

    def _is_in(self, packet: AnyPacket) -> bool:
        window, start = self.window, time_of(packet)
        if window.end is not None and start >= window.end:
            return False
        if packet.stream.type == "video":
            return self._is_decodable(packet)
        if start >= window.start:
            return True
        if packet.stream.type == "audio" and not window.keeps_negative:
            return bool(pcm_frame_bytes(packet)) and end_of(packet) > window.start
        return end_of(packet) > window.start

    def _is_decodable(self, packet: AnyPacket) -> bool:
        """Whether a packet of another video stream follows a keyframe of the part."""
        index, pts = packet.stream_index, packet.pts or 0
        if packet.is_keyframe and time_of(packet) >= self.window.start:
            self._started.setdefault(index, pts)
        return index in self._started and pts >= self._started[index]

    def _trimmed(self, packet: AnyPacket) -> AnyPacket:
        """Remove PCM samples before the part; other packets are returned as they are."""
        size, before = pcm_frame_bytes(packet), self.window.start - time_of(packet)
        if not size or before <= 0:
            return packet
        context: Any = packet.stream.codec_context
        count = round(before * context.sample_rate)
        data = bytes(packet)[count * size :]
        trimmed: Any = Packet(data)
        trimmed.stream, trimmed.time_base = packet.stream, packet.time_base
        start = time_of(packet) + Fraction(count, context.sample_rate)
        trimmed.pts = trimmed.dts = round(start / packet.time_base)
        seconds = Fraction(len(data) // size, context.sample_rate)
        trimmed.duration = round(seconds / packet.time_base)
        trimmed.is_keyframe = True
        result: AnyPacket = trimmed
        return result

    def _moved(self, packet: AnyPacket) -> AnyPacket:
        """Shift a packet to the part's clock, in place, and clip a subtitle."""
        window = self.window
        if packet.stream.type == "subtitle":
            start, end = max(time_of(packet), window.start), end_of(packet)
            if window.end is not None:
                end = min(end, window.end)
            packet.pts = packet.dts = round(start / packet.time_base)
            if packet.duration:
                packet.duration = max(1, round((end - start) / packet.time_base))
        return shift_packet(packet, -window.start)


class EndFinder:
    """Finds the end of a part in a file, where packets of one time are near each other."""

    def __init__(self, streams: Iterable[Any]) -> None:
        """`streams` are the video and the copied ones."""
        self._waiting = {
            stream.index
            for stream in streams
            if stream.type in ("video", "audio")
            and not stream.disposition & Disposition.attached_pic
        }

    def is_past(self, index: int, seconds: Fraction, end: Fraction) -> bool:
        """Whether all streams are past the end of the part, with stream `index` at `seconds`."""
        if seconds > end + _SLACK_SECONDS:
            self._waiting.discard(index)
        return not self._waiting


def clip_chapters(chapters: Iterable[Any], window: Window) -> list[Any]:
    """Shift and clip chapters to a part; those outside are left out."""
    clipped = []
    for chapter in chapters:
        base = Fraction(chapter["time_base"] or 1)
        first = round(window.start / base)
        start, end = chapter["start"] - first, chapter["end"] - first
        if window.end is not None:
            end = min(end, round((window.end - window.start) / base))
        if start < end and end > 0:
            clipped.append({**chapter, "start": max(0, start), "end": end})
    return clipped


def time_of(packet: AnyPacket) -> Fraction:
    """Return the time of a packet in seconds."""
    pts = packet.dts if packet.pts is None else packet.pts
    return Fraction((pts or 0) * packet.time_base)


def end_of(packet: AnyPacket) -> Fraction:
    """Return the end of a packet in seconds; for audio without durations, by its frame size."""
    duration = Fraction((packet.duration or 0) * packet.time_base)
    context: Any = packet.stream.codec_context
    if not duration and packet.stream.type == "audio" and context is not None:
        duration = Fraction(context.frame_size or 0, context.sample_rate or 1)
    return time_of(packet) + duration


def pcm_frame_bytes(packet: AnyPacket) -> int:
    """Return the bytes of one sample of all channels in a packet of PCM; 0 for other codecs."""
    context: Any = packet.stream.codec_context
    if packet.stream.type != "audio" or context is None:
        return 0
    return pcm_sample_bytes(context.name) * int(context.layout.nb_channels)


def is_picture(packet: AnyPacket) -> bool:
    """Whether a packet is a cover picture."""
    return bool(packet.stream.disposition & Disposition.attached_pic)
