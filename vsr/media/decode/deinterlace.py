"""Deinterlace frames one for one with FFmpeg's bwdif filter."""

from collections import deque
from typing import Literal

from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.media.decode.field_frame import FieldFrame, Properties, add_input, pull_all, shape_of
from vsr.media.decode.side_data import side_data_of
from vsr.media.pyav import in_memory

Deinterlace = Literal["auto", "on", "off", "double"]


class Deinterlacer:
    """Deinterlaces frames one for one.

    In "auto" mode, frames pass unchanged until the first one flagged as interlaced. From there on,
    each flagged frame is deinterlaced and each progressive one passes unchanged, so that mixed
    footage loses no frame. The filter also sees the frame before the first flagged one, so that the
    result doesn't depend on where decoding starts.
    """

    def __init__(self, stream: VideoStream, mode: Deinterlace) -> None:
        self.found = 0
        """Interlaced frames so far."""
        self._time_base = stream.time_base
        self._mode = mode
        self._graph: Graph | None = None
        self._shape: tuple[int | str, ...] | None = None
        self._pending: deque[tuple[VideoFrame, Properties] | None] = deque()
        """Of the frames inside the filter, which returns a frame for each."""
        self._pushed = 0
        self._before: VideoFrame | None = None
        """The last frame that passed outside the filter."""

    def process(self, frame: VideoFrame | None, is_repeat: bool = False) -> list[FieldFrame]:
        """Add a frame, or None at the end; return the finished frames, with their own times.

        No frame may be a repeat: this filter returns frames one for one, to be repeated later.
        """
        assert not is_repeat
        return [FieldFrame(done, tuple(side_data_of(done))) for done in self._process(frame)]

    def notes(self) -> list[str]:
        """Describe what was done; to be called after the last frame."""
        if not self.found:
            return []
        action = (
            "left as they are"
            if self._mode == "off"
            else "deinterlaced (bwdif); --deinterlace off leaves them as they are"
        )
        return [f"{self.found} interlaced frames {action}"]

    def _process(self, frame: VideoFrame | None) -> list[VideoFrame]:
        if frame is None:
            return self._drain()
        self.found += frame.interlaced_frame
        if self._mode == "off":
            return [frame]
        shape = shape_of(frame)
        ready = self._drain() if self._graph and shape != self._shape else []
        if self._graph is None and self._mode == "auto" and not frame.interlaced_frame:
            self._before = frame
            return [*ready, frame]
        before, self._before = self._before, None
        if self._graph is None:
            self._graph, self._shape = self._build(in_memory(frame)), shape
            if before is not None and shape_of(before) == shape:
                self._push(before, None)
        self._push(frame, frame)
        return ready + self._pull()

    def _push(self, frame: VideoFrame, source: VideoFrame | None) -> None:
        """Add a frame to the filter; without a source, its output is discarded."""
        assert self._graph is not None
        self._pending.append(None if source is None else (source, Properties.of(source)))
        frame = in_memory(frame)
        pts, frame.pts = frame.pts, self._pushed
        self._pushed += 1
        self._graph.push(frame)
        frame.pts = pts

    def _drain(self) -> list[VideoFrame]:
        if self._graph is None:
            return []
        self._graph.push(None)
        ready = self._pull()
        self._graph = None
        return ready

    def _pull(self) -> list[VideoFrame]:
        assert self._graph is not None
        ready = []
        for frame in pull_all(self._graph):
            if (pending := self._pending.popleft()) is None:
                continue
            source, properties = pending
            if self._mode == "on" or source.interlaced_frame:
                properties.set_on(frame)
                ready.append(frame)
            else:
                ready.append(source)
        return ready

    def _build(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = add_input(graph, frame, self._time_base)
        # With deint=interlaced, the first deinterlaced frame would not use its neighbours.
        bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=all")
        sink = graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        graph.configure()
        return graph
