"""Encode and decode frames with a lossy codec in memory, to add its artefacts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av

from vsr.media.frame import PixelLayout, Plane
from vsr.media.pyav import planes_of, video_frame

LossyCodec = Literal["h264", "hevc", "mpeg2", "mpeg4"]

_NAMES = {
    "h264": ("libx264", "h264"),
    "hevc": ("libx265", "hevc"),
    "mpeg2": ("mpeg2video", "mpeg2video"),
    "mpeg4": ("mpeg4", "mpeg4"),
}
"""FFmpeg's encoder and decoder."""
_LAYOUT = PixelLayout()


@dataclass(frozen=True)
class Coding:
    """A codec at constant quality; the same frames give the same samples on every run."""

    codec: LossyCodec
    quantiser: int
    """Of P frames: 0 to 51 for H.264 and HEVC, 1 to 31 for MPEG-2 and MPEG-4. I frames are
    coded more finely, B frames more coarsely."""
    group: int = 250
    """Maximum distance of I frames, in frames."""
    b_frames: int = 0
    """Maximum consecutive B frames."""
    preset: str = "veryfast"
    """Of x264 and x265."""
    baseline: bool = False
    """H.264 like a small camera's: no CABAC, one quantiser for all blocks of a frame."""

    def options(self) -> dict[str, str]:
        """Return FFmpeg's options for the encoder.

        The quantiser of x264 and x265 depends on the complexity of each block alone, not on that of
        the frames (`qcomp=1`), so that a crop is coded like the frame that it was cut from. Their
        macroblock trees (`mbtree`, `cutree`) are off: x264's differs between runs with AVX-512.
        """
        options = {"g": str(self.group), "bf": str(self.b_frames)}
        shared = "qcomp=1:ref=1:rc-lookahead=6"
        match self.codec:
            case "h264":
                simple = ":cabac=0:aq-mode=0:8x8dct=0:weightp=0" if self.baseline else ""
                options["x264-params"] = f"{shared}:mbtree=0{simple}"
            case "hevc":
                threads = "pools=none:frame-threads=1:wpp=0"
                options["x265-params"] = f"{shared}:cutree=0:aq-mode=1:{threads}:log-level=none"
            case _:
                quantiser = str(self.quantiser)
                return options | {"qmin": quantiser, "qmax": quantiser}
        return options | {"crf": str(self.quantiser), "preset": self.preset}


class Transcoder:
    """Encodes and decodes a stream of 8-bit 4:2:0 frames.

    Frames are returned in order, with a delay of up to 14 frames for H.264 and HEVC, and up to 3
    for MPEG-2 and MPEG-4.
    """

    def __init__(self, coding: Coding, height: int, width: int) -> None:
        """Both sides must be even; at least 16 for HEVC, at most 4094 for MPEG-2 and MPEG-4."""
        encoder, decoder = _NAMES[coding.codec]
        context: Any = av.CodecContext.create(encoder, "w")
        context.height, context.width = height, width
        context.pix_fmt = _LAYOUT.name
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.options = coding.options()
        self._encoder = context
        self._decoder: Any = av.CodecContext.create(decoder, "r")
        # With more threads, H.264's samples depend on their count.
        self._encoder.thread_count = self._decoder.thread_count = 1
        self._count = 0
        self.coded_bytes = 0
        """Size of all packets so far."""

    def push(self, planes: tuple[Plane, ...]) -> Iterator[tuple[Plane, ...]]:
        """Add a frame; iterate over the finished ones."""
        frame: Any = video_frame(planes, _LAYOUT)
        frame.pts, frame.time_base = self._count, self._encoder.time_base
        self._count += 1
        yield from self._decoded(self._encoder.encode(frame))

    def finish(self) -> Iterator[tuple[Plane, ...]]:
        """Iterate over the remaining frames, once, at the end of the film."""
        yield from self._decoded(self._encoder.encode(None))
        yield from self._decoded([None])

    def _decoded(self, packets: Iterable[Any]) -> Iterator[tuple[Plane, ...]]:
        for packet in packets:
            self.coded_bytes += packet.size if packet else 0
            for frame in self._decoder.decode(packet):
                yield planes_of(frame, _LAYOUT)
