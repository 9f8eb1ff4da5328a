"""Deinterlace frames with FFmpeg's bwdif filter."""

from collections import deque
from typing import Literal, NamedTuple

import av
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.media.pyav import in_memory

Deinterlace = Literal["auto", "on", "off"]


class _Properties(NamedTuple):
    """Properties of a frame that a filter graph doesn't return."""

    pts: int | None
    duration: int
    colour: tuple[int, int, int, int]
    """Range, matrix, primaries and transfer."""

    @classmethod
    def of(cls, frame: VideoFrame) -> "_Properties":
        colour = frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc
        return cls(frame.pts, frame.duration or 0, colour)

    def set_on(self, frame: VideoFrame) -> None:
        frame.pts, frame.duration = self.pts, self.duration
        frame.color_range, frame.colorspace = self.colour[:2]
        frame.color_primaries, frame.color_trc = self.colour[2:]


class Deinterlacer:
    """Deinterlaces frames one for one.

    In "auto" mode, frames pass unchanged until the first one flagged as interlaced. From there on,
    each flagged frame is deinterlaced and each progressive one passes unchanged, so that mixed
    footage loses no frame.
    """

    def __init__(self, stream: VideoStream, mode: Deinterlace) -> None:
        self.found = 0
        """Interlaced frames so far."""
        self._time_base = stream.time_base
        self._mode = mode
        self._graph: Graph | None = None
        self._shape: tuple[int | str, ...] | None = None
        self._pending: deque[_Properties] = deque()
        """Of the frames inside the filter."""
        self._pushed = 0

    def process(self, frame: VideoFrame | None) -> list[VideoFrame]:
        """Add a frame, or None at the end; return the finished frames, with their own times."""
        if frame is None:
            return self._drain()
        self.found += frame.interlaced_frame
        if self._mode == "off":
            return [frame]
        properties = _Properties.of(frame)
        shape = (frame.width, frame.height, frame.format.name, *properties.colour)
        ready = self._drain() if self._graph and shape != self._shape else []
        if self._graph is None and self._mode == "auto" and not frame.interlaced_frame:
            return [*ready, frame]
        frame = in_memory(frame)
        if self._graph is None:
            self._graph, self._shape = self._build(frame), shape
        self._pending.append(properties)
        frame.pts = self._pushed
        self._pushed += 1
        self._graph.push(frame)
        return ready + self._pull()

    def _drain(self) -> list[VideoFrame]:
        if self._graph is None:
            return []
        self._graph.push(None)
        ready = self._pull()
        self._graph = None
        return ready

    def _pull(self) -> list[VideoFrame]:
        assert self._graph is not None
        ready: list[VideoFrame] = []
        while True:
            try:
                frame = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return ready
            assert isinstance(frame, VideoFrame)
            self._pending.popleft().set_on(frame)
            ready.append(frame)

    def _build(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self._time_base,
        )
        frames = "interlaced" if self._mode == "auto" else "all"
        bwdif = graph.add("bwdif", f"mode=send_frame:parity=auto:deint={frames}")
        sink = graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        graph.configure()
        return graph
