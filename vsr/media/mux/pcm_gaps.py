"""Fill gaps of PCM with silence, for MP4 and QuickTime, which count its samples."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.packet import Packet

from vsr.media.decode.container import AnyPacket
from vsr.media.packet_content import pcm_sample_bytes

_MAX_OFFSET = Fraction(1, 100)
"""Seconds between a packet's time and the end of the previous one that count as rounding."""
_SILENCE = {"pcm_u8": b"\x80", "pcm_mulaw": b"\xff", "pcm_alaw": b"\xd5"}
"""The byte of silence by codec; 0 for all others."""


class PcmGaps:
    """Inserts silence where packets of PCM don't follow each other, so that all keep their time."""

    def __init__(self, codec: str, channels: int, rate: int) -> None:
        self._silence, self._rate = _SILENCE.get(codec, b"\0"), rate
        self._frame_bytes = pcm_sample_bytes(codec) * channels
        """Of a sample of all channels; 0 for other codecs."""
        self._end: Fraction | None = None
        """Time in seconds at which the samples so far end."""

    def fill(self, packet: AnyPacket) -> Iterator[AnyPacket]:
        """Iterate over packets of silence, of up to a second each, and the packet."""
        if not self._frame_bytes or packet.pts is None:
            yield packet
            return
        start = Fraction(packet.pts * packet.time_base)
        end = start if self._end is None else self._end
        missing = round((start - end) * self._rate) if start - end > _MAX_OFFSET else 0
        while missing:
            count = min(missing, self._rate)
            yield self._silent(count, end, packet.time_base)
            missing, end = missing - count, end + Fraction(count, self._rate)
        self._end = end + Fraction(packet.size // self._frame_bytes, self._rate)
        yield packet

    def _silent(self, count: int, start: Fraction, time_base: Fraction) -> AnyPacket:
        silent: Any = Packet(self._silence * (count * self._frame_bytes))
        silent.time_base = time_base
        silent.pts = silent.dts = round(start / time_base)
        silent.duration = round(Fraction(count, self._rate) / time_base)
        silent.is_keyframe = True
        result: AnyPacket = silent
        return result
