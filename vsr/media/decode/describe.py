"""Describe a video stream: size, layout, colour, rate and frame count."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.errors import MediaError
from vsr.media.decode.conform import FrameFormat, format_of, is_full_range
from vsr.media.decode.container import frame_rate_of
from vsr.media.decode.decoder import bits_of, layout_of, nearest_layout
from vsr.media.decode.frame_metadata import display_matrix_of, hdr_of, stereo_mode_of
from vsr.media.decode.header_probe import probe_header
from vsr.media.decode.rotation import Rotation
from vsr.media.decode.transparency import is_opaque
from vsr.media.frame import ColourTags, StreamInfo
from vsr.media.pyav import is_rgb
from vsr.system.address import is_pipe

_BT709 = 1
_MAX_PIXELS = 1 << 27
"""Of a frame: four times those of 8K."""
_MIN_BYTES_PER_FRAME = 10
"""A header that promises more frames than the file's size allows is ignored."""


def describe_stream(
    path: Path, container: InputContainer, stream: VideoStream, decoder: VideoCodecContext
) -> tuple[StreamInfo, FrameFormat]:
    """Describe a stream from its container, and the frames that its decoder returns.

    Raises `MediaError` where size, pixel format or time base are unknown, or the size is excessive.
    """
    context = stream.codec_context
    name, pixel_format = context.pix_fmt, context.format
    if context.name == "webp" and not name:
        raise MediaError(
            f"{path}: an animated WebP, which FFmpeg doesn't decode; `vsr image IN OUT.apng` "
            "upscales it, and writes an animation that `vsr upscale` reads"
        )
    if not name or not pixel_format or not context.width or not context.height:
        raise MediaError(f"{path}: no frame size or pixel format found; is it cut short?")
    if context.width * context.height > _MAX_PIXELS:
        raise MediaError(f"{path}: frames of {context.width}x{context.height}: too large")
    if stream.time_base is None:
        raise MediaError(f"{path}: its video stream has no time base")
    layout = layout_of(stream, decoder)
    if layout.alpha and is_opaque(path, context.name):
        layout = replace(layout, alpha=False)
    rate = frame_rate_of(stream)
    rgb = is_rgb(pixel_format)
    colour = ColourTags(
        matrix=_BT709 if rgb else context.colorspace,
        primaries=context.color_primaries,
        transfer=context.color_trc,
        full_range=is_full_range(name, context.color_range) and not rgb,
    )
    size = context.width, context.height
    frame_format = FrameFormat(
        size=size,
        pixels=name.replace("yuvj", "yuv"),
        colour=colour,
        aspect=Fraction(context.sample_aspect_ratio or 1),
    )
    header = probe_header(stream)
    info = StreamInfo(
        width=context.width,
        height=context.height,
        layout=layout,
        colour=replace(colour, siting=header.siting if layout.down == 2 else "left"),
        time_base=stream.time_base,
        frame_rate=rate,
        frame_count=_estimate_frame_count(path, container, stream, rate),
        sample_aspect_ratio=Fraction(stream.sample_aspect_ratio or 1),
        coded_bits=bits_of(pixel_format),
        projection=header.projection,
        dolby_vision=header.dolby_vision,
    )
    return info, frame_format


def describe_first_frame(
    info: StreamInfo, frame: VideoFrame, stream: VideoStream, decoder: VideoCodecContext
) -> tuple[StreamInfo, FrameFormat]:
    """Correct a description by the first decoded frame, which players trust over the container."""
    frame_format = format_of(frame, decoder.sample_aspect_ratio)
    if frame.sw_format is None and frame_format.pixels != stream.codec_context.pix_fmt:
        layout = replace(nearest_layout(frame.format), alpha=info.layout.alpha)
        info = replace(info, layout=layout, coded_bits=bits_of(frame.format))
    info = replace(
        info,
        width=frame_format.size[0],
        height=frame_format.size[1],
        colour=replace(frame_format.colour, siting=info.colour.siting),
        hdr=hdr_of(frame),
        display_matrix=display_matrix_of(frame),
        stereo_mode=stereo_mode_of(frame),
    )
    return info, frame_format


def rotated_info(info: StreamInfo, rotation: Rotation) -> StreamInfo:
    """Describe a stream after its frames are rotated; 3D layout and projection are lost."""
    info = replace(info, display_matrix=None, stereo_mode=0, projection=b"")
    if not rotation.transposed:
        return info
    return replace(
        info,
        width=info.height,
        height=info.width,
        sample_aspect_ratio=1 / info.sample_aspect_ratio,
        layout=replace(info.layout, across=info.layout.down),
    )


def is_indexed(stream: VideoStream) -> bool:
    """Whether a file lists its frames, so that their count is exact."""
    return 0 < stream.frames <= len(stream.index_entries)


def frames_within(stream: VideoStream, size: int) -> int:
    """Count the indexed frames that start in the first `size` bytes of a file."""
    return sum(entry.pos < size for entry in stream.index_entries)


def _estimate_frame_count(
    path: Path, container: InputContainer, stream: VideoStream, rate: Fraction
) -> int | None:
    count = 0
    if stream.frames:
        count = stream.frames
    elif stream.duration and stream.time_base:
        count = round(stream.duration * stream.time_base * rate)
    elif container.duration:
        count = round(container.duration * rate / av.time_base)
    if path.is_file() and not is_pipe(path):
        limit = path.stat().st_size // _MIN_BYTES_PER_FRAME
        count = count if count <= limit else 0
    return count if count > 0 else None
