"""Make a frame of every field with FFmpeg's bwdif filter."""

from collections import deque
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.media.decode.field_frame import FieldFrame, Properties, add_input, pull_all, shape_of
from vsr.media.decode.side_data import SideData, side_data_of
from vsr.media.pyav import in_memory

TICKS = 2
"""Output ticks in a tick of the stream, so that half frames have exact times."""
_PAUSE = 1.5
"""Intervals are longer before a pause: in frame durations."""


class FieldRateDeinterlacer:
    """Deinterlaces frames to two frames each, one per field.

    The first field has the time of its frame. The second is half-way to the next frame; before a
    pause and at the end, it follows by half the frame's duration. Field order is that of the
    frame's flags. Frames without flags count as top field first, unless set otherwise. Side data
    goes with the first field.
    """

    def __init__(
        self, stream: VideoStream, frame_rate: Fraction, is_bottom_first: bool = False
    ) -> None:
        """`is_bottom_first` is the field order of frames without flags."""
        self._time_base = stream.time_base
        self._unflagged = "bff" if is_bottom_first else "tff"
        self._interval = max(1, round(1 / (frame_rate * (stream.time_base or 1))))
        """Average duration of a frame, in ticks of the stream."""
        self._graph: Graph | None = None
        self._shape: tuple[int | str, ...] | None = None
        self._entered: deque[tuple[Properties, tuple[SideData, ...]]] = deque()
        """Of frames whose fields aren't all returned; each has a time."""
        self._finished: deque[VideoFrame] = deque()
        """Fields that wait for the time of the next frame."""
        self._last_pts: int | None = None
        self._frames = 0
        self.found = 0
        """Frames flagged as interlaced so far."""

    def process(self, frame: VideoFrame | None, is_repeat: bool = False) -> list[FieldFrame]:
        """Add a frame, or None at the end; return the finished frames.

        The side data of a frame that `is_repeat` is ignored.
        """
        if frame is None:
            self._drain()
            return self._timed(is_last=True)
        self._frames += 1
        self.found += frame.interlaced_frame
        parity = "auto" if frame.interlaced_frame else self._unflagged
        shape = (*shape_of(frame), parity)
        if shape != self._shape:
            self._drain()
        properties = self._with_time(Properties.of(frame))
        side_data = () if is_repeat else tuple(side_data_of(frame))
        frame = in_memory(frame)
        if self._graph is None:
            self._graph, self._shape = self._build(frame, parity), shape
        self._entered.append((properties, side_data))
        frame.pts = self._frames
        self._graph.push(frame)
        self._finished += pull_all(self._graph)
        return self._timed(is_last=False)

    def notes(self) -> list[str]:
        """Describe what was done; to be called after the last frame."""
        if not self._frames:
            return []
        order = "bottom" if self._unflagged == "bff" else "top"
        rest = self._frames - self.found
        unflagged = f"; {rest} are not flagged, their {order} field is first" if rest else ""
        count = f"{self._frames} frames deinterlaced (bwdif) to {2 * self._frames}"
        return [f"{count}, one per field{unflagged}"]

    def _with_time(self, properties: Properties) -> Properties:
        """Set a time that follows the last one where a frame has none, or an earlier one."""
        pts, last = properties.pts, self._last_pts
        if pts is None or (last is not None and pts <= last):
            pts = 0 if last is None else last + (properties.duration or self._interval)
        self._last_pts = pts
        return properties._replace(pts=pts)

    def _timed(self, is_last: bool) -> list[FieldFrame]:
        """Return the finished frames whose time is known."""
        ready = []
        while len(self._finished) >= 2 and (is_last or len(self._entered) >= 2):
            properties, side_data = self._entered.popleft()
            assert properties.pts is not None
            interval = properties.duration or self._interval
            if self._entered:
                following = self._entered[0][0].pts
                assert following is not None
                gap = following - properties.pts
                if not properties.duration or gap < _PAUSE * properties.duration:
                    interval = gap
            for field in range(2):
                picture = self._finished.popleft()
                picture.pts = 2 * properties.pts + field * interval
                picture.duration = interval
                properties.set_colour(picture)
                ready.append(FieldFrame(picture, () if field else side_data))
        return ready

    def _drain(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._finished += pull_all(self._graph)
            self._graph = None

    def _build(self, frame: VideoFrame, parity: str) -> Graph:
        graph = Graph()
        source = add_input(graph, frame, self._time_base)
        bwdif = graph.add("bwdif", f"mode=send_field:parity={parity}:deint=all")
        sink = graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        graph.configure()
        return graph
