"""Between PyAV's frames, whose rows may be padded, and plain arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from vsr.media.frame import PixelLayout, Plane


def planes_of(decoded: VideoFrame, layout: PixelLayout) -> tuple[Plane, ...]:
    """The planes of a frame, converted to `layout` if need be; copies, in the CPU's memory."""
    if decoded.format.name.replace("yuvj", "yuv") != layout.name:
        wanted = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
        colour = wanted if is_rgb(decoded.format) else {}
        decoded = decoded.reformat(format=layout.name, **colour)
    kind = np.dtype(np.uint8 if layout.bit_depth == 8 else np.uint16)
    return tuple(read_plane(plane, kind) for plane in decoded.planes)


def is_rgb(pixel_format: VideoFormat) -> bool:
    """Whether swscale reads a format as RGB: palettes and X'Y'Z' too."""
    named = pixel_format.is_rgb or pixel_format.has_palette
    return bool(named or pixel_format.name.startswith("xyz"))


def in_memory(decoded: VideoFrame) -> VideoFrame:
    """A frame that a card holds, in the CPU's memory; any other as it is."""
    if decoded.sw_format is None:
        return decoded
    return with_pts(decoded.reformat(format=decoded.sw_format.name), decoded)


def with_pts(frame: VideoFrame, like: VideoFrame) -> VideoFrame:
    """A frame, given the time of another."""
    frame.pts, frame.duration = like.pts, like.duration
    return frame


def read_plane(plane: Any, kind: np.dtype[Any]) -> Plane:
    """A copy without the padding at the ends of rows; the decoder may reuse its memory."""
    return _rows(plane, kind)[: plane.height, : plane.width].copy()


def fill_plane(plane: Any, samples: np.ndarray[Any, Any]) -> None:
    """Copy samples (height, width) into a plane."""
    _rows(plane, samples.dtype)[: samples.shape[0], : samples.shape[1]] = samples


def video_frame(planes: Sequence[Plane], layout: PixelLayout) -> VideoFrame:
    """A frame of FFmpeg's with a copy of the planes, without a time."""
    height, width = planes[0].shape
    frame = VideoFrame(width, height, layout.name)
    for plane, samples in zip(frame.planes, planes, strict=True):
        fill_plane(plane, samples)
    return frame


def _rows(plane: Any, kind: np.dtype[Any]) -> Plane:
    return np.frombuffer(plane, dtype=kind).reshape(-1, plane.line_size // kind.itemsize)
