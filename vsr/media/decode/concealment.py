"""Decode packets past errors, and find the times of frames that are lost."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from vsr.media.decode.container import AnyPacket

_DISTRUSTED_FRAMES = 32
"""Frames that may be affected by an error, as decoders run in several threads."""
_MIN_INTERVAL = 0.6
"""Of a frame's average duration: a packet that is closer to a frame has none of its own."""


class ConcealingDecoder:
    """Decodes packets, and knows which frames are missing after an error."""

    def __init__(self, decoder: VideoCodecContext) -> None:
        self._decoder = decoder
        self._pending_pts: list[int] = []
        """Of packets whose frame hasn't been returned."""
        self._frames_until_trusted = 0

    def decode(self, packet: AnyPacket | None, lead: int) -> list[VideoFrame]:
        """Decode a packet, or None at the end; no frames where decoding fails.

        `lead` is the number of ticks that the reader adds to all times.
        """
        if packet is not None and packet.size and not packet.is_discard:
            if packet.pts is not None:
                self._pending_pts.append(packet.pts + lead)
            if packet.is_corrupt:
                self._frames_until_trusted = _DISTRUSTED_FRAMES
        try:
            return self._decoder.decode(packet if packet is not None and packet.size else None)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self._frames_until_trusted = _DISTRUSTED_FRAMES
            return []

    def shift(self, ticks: int) -> None:
        """Add ticks to the times of the packets that were decoded so far."""
        self._pending_pts = [pts + ticks for pts in self._pending_pts]

    def missing_before(
        self, pts: int | None, previous: int | None, frames_per_tick: Fraction
    ) -> Iterator[int]:
        """Iterate over the times of lost frames, each of which the previous frame replaces.

        They are those of the packets between the frames at `previous` and at `pts`, which is None
        at the end of the film. Frames are lost only after an error: in some intact films, not every
        packet has a frame.
        """
        gone = [pending for pending in self._pending_pts if pts is None or pending < pts]
        self._pending_pts = [
            pending for pending in self._pending_pts if pts is not None and pending > pts
        ]
        if not self._frames_until_trusted or previous is None:
            return
        self._frames_until_trusted -= 1
        shortest = _MIN_INTERVAL / frames_per_tick
        last = previous
        for pending in sorted(gone):
            if pending - last >= shortest and (pts is None or pts - pending >= shortest):
                yield pending
                last = pending
