"""Convert between PyAV's frames and plain arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from vsr.media.frame import PixelLayout, Plane


class Interleaver:
    """Converts frames of sound to arrays.

    FFmpeg interleaves planar samples: of eight planes or more, PyAV reads beyond the last.
    """

    def __init__(self) -> None:
        self._resampler: AudioResampler | None = None
        self._shape: tuple[str, str, int] | None = None
        """Of the frames that the resampler takes."""

    def samples(self, frame: AudioFrame) -> np.ndarray[Any, Any]:
        """Return the samples of a frame as an array (samples, channels)."""
        if frame.format.is_planar:
            shape = frame.format.name, frame.layout.name, frame.sample_rate
            if self._resampler is None or shape != self._shape:
                self._resampler = AudioResampler(format=frame.format.packed)
                self._shape = shape
            (frame,) = self._resampler.resample(frame)
        samples: np.ndarray[Any, Any] = frame.to_ndarray()
        return samples.reshape(-1, frame.layout.nb_channels)


def planes_of(decoded: VideoFrame, layout: PixelLayout) -> tuple[Plane, ...]:
    """Copy the planes of a frame to CPU memory, converted to `layout` if necessary."""
    if decoded.format.name.replace("yuvj", "yuv") != layout.name:
        wanted = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
        colour = wanted if is_rgb(decoded.format) else {}
        decoded = decoded.reformat(format=layout.name, **colour)
    dtype = np.dtype(np.uint8 if layout.bit_depth == 8 else np.uint16)
    return tuple(read_plane(plane, dtype) for plane in decoded.planes)


def is_rgb(pixel_format: VideoFormat) -> bool:
    """Whether swscale reads a format as RGB, which includes palettes and X'Y'Z'."""
    declared = pixel_format.is_rgb or pixel_format.has_palette
    return bool(declared or pixel_format.name.startswith("xyz"))


def in_memory(decoded: VideoFrame) -> VideoFrame:
    """Copy a frame from GPU memory to CPU memory; return any other frame as it is."""
    if decoded.sw_format is None:
        return decoded
    return with_pts(decoded.reformat(format=decoded.sw_format.name), decoded)


def with_pts(frame: VideoFrame, like: VideoFrame) -> VideoFrame:
    """Set the time of a frame to that of another, in place."""
    frame.pts, frame.duration = like.pts, like.duration
    return frame


def read_plane(plane: Any, dtype: np.dtype[Any]) -> Plane:
    """Copy a plane without row padding; the decoder may reuse the plane's memory."""
    return _rows(plane, dtype)[: plane.height, : plane.width].copy()


def fill_plane(plane: Any, samples: np.ndarray[Any, Any]) -> None:
    """Copy samples (height, width) into a plane."""
    _rows(plane, samples.dtype)[: samples.shape[0], : samples.shape[1]] = samples


def video_frame(planes: Sequence[Plane], layout: PixelLayout) -> VideoFrame:
    """Create a frame without a time from a copy of planes."""
    height, width = planes[0].shape
    frame = VideoFrame(width, height, layout.name)
    for plane, samples in zip(frame.planes, planes, strict=True):
        fill_plane(plane, samples)
    return frame


def _rows(plane: Any, dtype: np.dtype[Any]) -> Plane:
    return np.frombuffer(plane, dtype=dtype).reshape(-1, plane.line_size // dtype.itemsize)
