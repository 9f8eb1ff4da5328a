"""What field filters return, and how their graphs are run."""

from fractions import Fraction
from typing import NamedTuple

import av
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from vsr.media.decode.side_data import SideData

Colour = tuple[int, int, int, int]


class FieldFrame(NamedTuple):
    """A finished frame and the side data that goes with it."""

    frame: VideoFrame
    """With its time in output ticks; see `FieldMode.ticks`."""
    side_data: tuple[SideData, ...]


class Properties(NamedTuple):
    """Properties of a frame that a filter graph doesn't return."""

    pts: int | None
    duration: int
    colour: Colour
    """Range, matrix, primaries and transfer."""

    @classmethod
    def of(cls, frame: VideoFrame) -> "Properties":
        """Read the properties of a frame."""
        colour = frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc
        return cls(frame.pts, frame.duration or 0, colour)

    def set_on(self, frame: VideoFrame) -> None:
        """Set time and colour of a frame, in place."""
        frame.pts, frame.duration = self.pts, self.duration
        self.set_colour(frame)

    def set_colour(self, frame: VideoFrame) -> None:
        """Set the colour tags of a frame, in place."""
        frame.color_range, frame.colorspace = self.colour[:2]
        frame.color_primaries, frame.color_trc = self.colour[2:]


def shape_of(frame: VideoFrame) -> tuple[int | str, ...]:
    """Return what a filter graph is built for: frames of another shape need a new graph."""
    return frame.width, frame.height, frame.format.name, *Properties.of(frame).colour


def add_input(graph: Graph, frame: VideoFrame, time_base: Fraction | None) -> FilterContext:
    """Add the input of a graph, for frames of the shape of `frame`."""
    return graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=time_base
    )


def pull_all(graph: Graph) -> list[VideoFrame]:
    """Return the frames that a graph has finished."""
    ready: list[VideoFrame] = []
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return ready
        assert isinstance(frame, VideoFrame)
        ready.append(frame)
