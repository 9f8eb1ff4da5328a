"""Restore the frames of film from 3:2 pulldown.

FFmpeg's fieldmatch filter joins the fields of each film frame, and a deinterlacer takes frames that
are still combed. The repeated frame of each cycle is dropped here and not by FFmpeg's decimate,
which drops a frame of every cycle, be it video or film, and replaces all times by a constant rate.
"""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vsr.media.decode.deinterlace import Deinterlacer
from vsr.media.decode.field_frame import FieldFrame, Properties, add_input, pull_all, shape_of
from vsr.media.decode.pulldown import CYCLE, TICKS, CycleClock, difference, repeated_frame
from vsr.media.decode.side_data import CAPTIONS, USER_DATA, SideData, side_data_of
from vsr.media.pyav import in_memory, read_plane

_MATCHED = ("yuv420p", "yuv422p", "yuv444p")
"""Pixel formats that fieldmatch returns unchanged. It matches others by a copy in 8 bits, and then
it can't tell which frames stay combed: with `combmatch=full`, FFmpeg 8 matches wrong fields."""

_STREAMED = (CAPTIONS, USER_DATA)
"""Types of side data whose items continue those of the frame before."""
_MAX_COMBED = 2
"""Frames of a cycle of film whose fields match no other ones, as at cuts."""


@dataclass
class _Entered:
    """A frame inside the filter, or one that waits for the end of its cycle."""

    pts: int
    properties: Properties
    side_data: tuple[SideData, ...]
    is_combed: bool = False
    """Whether its fields match no other ones."""
    picture: VideoFrame | None = None
    difference: float = 0.0
    """From the matched frame before."""


class InverseTelecine:
    """Drops the repeated frame of each cycle of five, and spaces the other four evenly.

    A cycle without a repeated frame or with irregular times is video, or film that only its flags
    telecine: all its frames keep their times. So the picture never leaves the sound. Side data of
    a dropped frame goes to its neighbour. Cycles are counted from the first frame of the film by
    time, so that the result doesn't depend on where decoding starts.
    """

    def __init__(
        self,
        stream: VideoStream,
        rate: Fraction,
        origin: int | None,
        is_bottom_first: bool = False,
        deinterlaces: bool = True,
    ) -> None:
        """`rate` is from `pulldown.video_rate`; `origin` is the pts of the first frame, if known.

        `is_bottom_first` is the field order of frames without flags. `deinterlaces` applies to
        frames that are still combed.
        """
        self.origin = origin
        self.found = 0
        """Frames flagged as interlaced so far."""
        self._time_base, self._rate = Fraction(stream.time_base or 1), rate
        self._unflagged = "bff" if is_bottom_first else "tff"
        self._deinterlacer = Deinterlacer(stream, "auto" if deinterlaces else "off")
        self._graph: Graph | None = None
        self._shape: tuple[int | str, ...] | None = None
        self._inside: deque[_Entered] = deque()
        """Frames inside the graph."""
        self._matched: deque[_Entered] = deque()
        """Frames inside the deinterlacer."""
        self._finished: list[_Entered] = []
        self._cycle: list[_Entered] = []
        self._last: NDArray[np.uint8] | None = None
        self._last_pts: int | None = None
        self._is_film = True
        """Whether the cycle before had a repeated frame."""
        self._phase: int | None = None
        """Index of that frame in its cycle."""
        self._pushed: VideoFrame | None = None
        self._action = "deinterlaced (bwdif)" if deinterlaces else "left as they are"
        self._dropped = self._frames = self._combed = 0

    def process(self, frame: VideoFrame | None, is_repeat: bool = False) -> list[FieldFrame]:
        """Add a frame, or None at the end; return the finished frames.

        The side data of a frame that `is_repeat` is ignored.
        """
        if frame is None:
            self._drain()
            return self._sorted() + self._finish_cycle(None)
        self._frames += 1
        self.found += frame.interlaced_frame
        order = "auto" if frame.interlaced_frame else self._unflagged
        shape = (*shape_of(frame), order)
        if shape != self._shape:
            self._drain()
        properties = Properties.of(frame)
        side_data = () if is_repeat else tuple(side_data_of(frame))
        frame = in_memory(frame)
        if self._graph is None:
            self._graph, self._shape = self._build(frame, order), shape
        pts = self._time_of(properties)
        self._inside.append(_Entered(pts=pts, properties=properties, side_data=side_data))
        self._push(frame)
        self._pull()
        return self._sorted()

    def notes(self) -> list[str]:
        """Describe what was done; to be called after the last frame."""
        if not self._frames:
            return []
        found = f"{self._frames} frames had 3:2 pulldown: {self._dropped} repeats are left out"
        if not self._dropped:
            found = "no 3:2 pulldown found: all frames are kept; omit --inverse-telecine"
        combed = f"{self._combed} frames whose fields don't match are {self._action}"
        return [found, combed] if self._combed else [found]

    def _time_of(self, properties: Properties) -> int:
        """Return a frame's time, one that follows the last if it has none or an earlier one."""
        pts, last = properties.pts, self._last_pts
        if pts is None or (last is not None and pts <= last):
            interval = round(1 / (self._rate * self._time_base))
            pts = 0 if last is None else last + max(1, properties.duration or interval)
        self._last_pts = pts
        self.origin = pts if self.origin is None else self.origin
        return pts

    def _push(self, frame: VideoFrame) -> None:
        assert self._graph is not None
        frame.pts = 0 if self._pushed is None else (self._pushed.pts or 0) + 1
        self._pushed = frame
        self._graph.push(frame)

    def _pull(self) -> None:
        """Hand frames with matched fields to the deinterlacer, and sort those that are finished."""
        assert self._graph is not None
        for picture in pull_all(self._graph):
            if not self._inside:
                break  # the copy of the last frame, see `_drain`
            entered = self._inside.popleft()
            entered.is_combed = picture.interlaced_frame
            self._combed += entered.is_combed
            entered.properties.set_on(picture)
            self._matched.append(entered)
            self._finish(self._deinterlacer.process(picture))

    def _finish(self, pictures: list[FieldFrame]) -> None:
        """Measure finished pictures."""
        for picture, _ in pictures:
            entered = self._matched.popleft()
            entered.picture = picture
            bits = picture.format.components[0].bits
            luma = read_plane(picture.planes[0], np.dtype(np.uint8 if bits <= 8 else np.uint16))
            narrow = (luma >> max(0, bits - 8)).astype(np.uint8)
            entered.difference = difference(narrow, self._last)
            self._last = narrow
            self._finished.append(entered)

    def _drain(self) -> None:
        if self._graph is None or self._pushed is None:
            return
        self._push(self._pushed)  # with two inputs, fieldmatch doesn't return the last frame
        self._graph.push(None)
        self._pull()
        self._finish(self._deinterlacer.process(None))
        self._graph = self._pushed = None

    @property
    def _clock(self) -> CycleClock:
        assert self.origin is not None
        return CycleClock(self.origin, self._rate, self._time_base)

    def _sorted(self) -> list[FieldFrame]:
        """Add finished frames to their cycles; return those of the cycles that they complete."""
        ready = []
        for entered in self._finished:
            clock = self._clock
            if self._cycle and clock.cycle_of(entered.pts) != clock.cycle_of(self._cycle[0].pts):
                ready += self._finish_cycle(entered.pts)
            self._cycle.append(entered)
        self._finished.clear()
        return ready

    def _finish_cycle(self, following: int | None) -> list[FieldFrame]:
        """Drop the repeated frame of a complete cycle; `following` is the time of the next one."""
        cycle, self._cycle = self._cycle, []
        if not cycle:
            return []
        clock = self._clock
        times = [entered.pts for entered in cycle]
        ends = [] if following is None else [following]
        is_film, repeated = False, None
        if clock.is_regular([*times, *ends]):
            if len(cycle) == CYCLE and sum(entered.is_combed for entered in cycle) <= _MAX_COMBED:
                differences = [entered.difference for entered in cycle]
                repeated = repeated_frame(differences, self._is_film)
                is_film = repeated is not None
            elif following is None and self._phase is not None:  # the film ends within a cycle
                repeated = self._phase if self._phase < len(cycle) else None
                is_film = True
        if len(cycle) == CYCLE:
            self._is_film, self._phase = is_film, repeated
        if not is_film:
            return [
                _output(entered, TICKS * entered.pts, TICKS * entered.properties.duration)
                for entered in cycle
            ]
        if repeated is not None:
            self._dropped += 1
            _pass_on(cycle, repeated)
        first, *later = clock.film_times(times[0], following, CYCLE)
        step = later[0] - first
        return [
            _output(entered, time, step)
            for entered, time in zip(cycle, [first, *later], strict=False)
        ]

    def _build(self, frame: VideoFrame, order: str) -> Graph:
        graph = Graph()
        source = add_input(graph, frame, self._time_base)
        sink = graph.add("buffersink")
        if frame.format.name in _MATCHED:
            match = graph.add("fieldmatch", f"order={order}:combmatch=full")
            source.link_to(match)
        else:
            match = graph.add("fieldmatch", f"order={order}:ppsrc=1")
            split, narrow = graph.add("split", "2"), graph.add("format", "yuv420p")
            source.link_to(split)
            split.link_to(narrow, 0, 0)
            narrow.link_to(match, 0, 0)
            split.link_to(match, 1, 1)
        match.link_to(sink)
        graph.configure()
        return graph


def _pass_on(cycle: list[_Entered], repeated: int) -> None:
    """Remove the repeated frame of a cycle; its side data goes to the next frame, or the last."""
    dropped = cycle.pop(repeated)
    if repeated < len(cycle):
        cycle[repeated].side_data = _joined(dropped.side_data, cycle[repeated].side_data)
    elif cycle:
        cycle[-1].side_data = _joined(cycle[-1].side_data, dropped.side_data)


def _joined(earlier: tuple[SideData, ...], later: tuple[SideData, ...]) -> tuple[SideData, ...]:
    """Join the side data of two frames; of a type that describes a frame, the later item stays."""
    described = {item.type for item in later}
    kept = (item for item in earlier if item.type in _STREAMED or item.type not in described)
    return (*kept, *later)


def _output(entered: _Entered, pts: int, duration: int) -> FieldFrame:
    picture = entered.picture
    assert picture is not None
    picture.pts, picture.duration = pts, duration
    return FieldFrame(picture, entered.side_data)
