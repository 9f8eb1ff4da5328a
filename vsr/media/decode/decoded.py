"""What a decoded frame holds beside its pixels, and how frames are turned and deinterlaced."""

import struct
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import av
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.media.decode.side_data import (
    ASPECT,
    CAPTIONS,
    STEREO,
    USER_DATA,
    SideData,
    is_worth_a_line,
    side_data_of,
    stereo_mode,
)
from vsr.media.frame import Hdr, Message, Plane
from vsr.media.pyav import in_memory

Deinterlace = Literal["auto", "on", "off"]

_MASTERING = struct.Struct("@20i2i")
"""AVMasteringDisplayMetadata: primaries, white, least and most luminance as fractions, and
whether each half is there."""
_LIGHT = struct.Struct("@2I")
_REGISTERED, _UNREGISTERED = 4, 5
"""H.274 payload types of messages."""
_ATSC = b"\xb5\x00\x31"
"""Country and provider code of ATSC A/53 in ITU-T T.35."""
_MOST_CAPTIONS = 31
"""Triplets of bytes in one message (ATSC A/53 Part 4, 6.2.3)."""


def hdr_of(frame: VideoFrame) -> Hdr:
    """The HDR10 metadata that comes with a frame, from its bitstream or its container."""
    mastering: tuple[Fraction, ...] | None = None
    light: tuple[int, int] | None = None
    for data in side_data_of(frame):
        if data.kind == "MASTERING_DISPLAY_METADATA":
            *numbers, has_primaries, has_luminance = _MASTERING.unpack_from(data.payload)
            pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
            if has_primaries and has_luminance and all(bottom for _, bottom in pairs):
                mastering = tuple(Fraction(top, bottom) for top, bottom in pairs)
        elif data.kind == "CONTENT_LIGHT_LEVEL":
            most, mean = _LIGHT.unpack_from(data.payload)
            light = (most, mean)
    return Hdr(mastering, light)


def display_matrix_of(frame: VideoFrame) -> tuple[int, ...] | None:
    """How players turn the picture, if at all; see `StreamInfo.display_matrix`."""
    for data in side_data_of(frame):
        if data.kind == "DISPLAYMATRIX":
            matrix = struct.unpack_from("@9i", data.payload)
            return None if matrix == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30) else matrix
    return None


def stereo_mode_of(frame: VideoFrame) -> int:
    """How two views lie in a frame, see `StreamInfo.stereo_mode`."""
    modes = [stereo_mode(item) for item in side_data_of(frame) if item.kind == STEREO]
    return next((mode for mode in modes if mode), 0)


def messages_of(side_data: Sequence[SideData]) -> tuple[Message, ...]:
    """Captions, active format and user data of a frame, as they are coded beside a picture.

    User data in which the source's encoder names itself is not true of the output.
    """
    found = []
    for item in side_data:
        if item.kind == CAPTIONS:
            count = len(item.payload) // 3
            for first in range(0, count, _MOST_CAPTIONS):
                part = item.payload[3 * first : 3 * (first + _MOST_CAPTIONS)]
                told = _ATSC + b"GA94\x03" + bytes([0xC0 | len(part) // 3, 0xFF]) + part + b"\xff"
                found.append(Message(_REGISTERED, told))
        elif item.kind == ASPECT:
            told = _ATSC + b"DTG1" + bytes([0x41, 0xF0 | item.payload[0] & 0xF])
            found.append(Message(_REGISTERED, told))
        elif item.kind == USER_DATA and is_worth_a_line(item):
            found.append(Message(_UNREGISTERED, item.payload))
    return tuple(found)


class Rotation(NamedTuple):
    """A turn of the picture by right angles, as a display matrix asks for it."""

    transposed: bool
    mirrored: bool
    """Left and right are exchanged, after transposing."""
    flipped: bool
    """Top and bottom are exchanged, after transposing."""

    def apply(self, plane: Plane) -> Plane:
        """Turn one plane."""
        turned: Plane = plane.T if self.transposed else plane
        turned = turned[:, ::-1] if self.mirrored else turned
        turned = turned[::-1] if self.flipped else turned
        return turned.copy(order="C")


def turn_of(matrix: tuple[int, ...] | None) -> Rotation | None:
    """The turn that a display matrix asks for; None where it isn't by right angles, or none.

    It takes (x, y) to (a x + c y, b x + d y).
    """
    if matrix is None:
        return None
    a, b, _, c, d = matrix[:5]
    if a and d and not (b or c):
        return Rotation(False, a < 0, d < 0)
    if b and c and not (a or d):
        return Rotation(True, c < 0, b < 0)
    return None


class _Props(NamedTuple):
    """Properties of a frame that a filter graph doesn't return."""

    pts: int | None
    duration: int
    colour: tuple[int, int, int, int]
    """Range, matrix, primaries and transfer."""

    @classmethod
    def of(cls, frame: VideoFrame) -> "_Props":
        colour = frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc
        return cls(frame.pts, frame.duration or 0, colour)

    def give(self, frame: VideoFrame) -> None:
        frame.pts, frame.duration = self.pts, self.duration
        frame.color_range, frame.colorspace = self.colour[:2]
        frame.color_primaries, frame.color_trc = self.colour[2:]


class Deinterlacer:
    """Passes frames on, one for one, and makes whole pictures of interlaced ones by bwdif.

    In "auto", frames are left as they are until one says that it is interlaced, and
    thereafter wherever one says that it isn't: mixed film loses no frame.
    """

    def __init__(self, stream: VideoStream, mode: Deinterlace) -> None:
        self.found = 0
        """Interlaced frames so far."""
        self._time_base = stream.time_base
        self._mode = mode
        self._graph: Graph | None = None
        self._shape: tuple[int | str, ...] | None = None
        self._given_as: deque[_Props] = deque()
        self._given = 0

    def pass_on(self, frame: VideoFrame | None) -> list[VideoFrame]:
        """Give a frame, or None at the end; get those that are ready, with their own times."""
        if frame is None:
            return self._drained()
        self.found += frame.interlaced_frame
        if self._mode == "off":
            return [frame]
        props = _Props.of(frame)
        shape = (frame.width, frame.height, frame.format.name, *props.colour)
        ready = self._drained() if self._graph and shape != self._shape else []
        if self._graph is None and self._mode == "auto" and not frame.interlaced_frame:
            return [*ready, frame]
        frame = in_memory(frame)
        if self._graph is None:
            self._graph, self._shape = self._build(frame), shape
        self._given_as.append(props)
        frame.pts = self._given
        self._given += 1
        self._graph.push(frame)
        return ready + self._pulled()

    def _drained(self) -> list[VideoFrame]:
        if self._graph is None:
            return []
        self._graph.push(None)
        ready = self._pulled()
        self._graph = None
        return ready

    def _pulled(self) -> list[VideoFrame]:
        assert self._graph is not None
        ready: list[VideoFrame] = []
        while True:
            try:
                out = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return ready
            assert isinstance(out, VideoFrame)
            self._given_as.popleft().give(out)
            ready.append(out)

    def _build(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self._time_base,
        )
        which = "interlaced" if self._mode == "auto" else "all"
        bwdif = graph.add("bwdif", f"mode=send_frame:parity=auto:deint={which}")
        sink = graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        graph.configure()
        return graph
