"""Choose the decoder of a stream, and the layout of its frames."""

from dataclasses import replace
from typing import Any, Literal

import av
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.media.frame import LAYOUTS, PixelLayout
from vsr.media.pyav import is_rgb

Decoder = Literal["cpu", "gpu"]

_MOST_THREADS = 16
_DECODER_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def decoder_of(stream: VideoStream, device: Decoder, keep_on_gpu: bool) -> VideoCodecContext:
    """Choose a decoder. For VP8 and VP9 with alpha it is libvpx: FFmpeg's own ones ignore alpha.

    `keep_on_gpu` leaves frames in the memory of the GPU that decodes them.
    """
    own = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and own.name in _DECODER_WITH_ALPHA:
        decoder = av.CodecContext.create(_DECODER_WITH_ALPHA[own.name], "r")
        assert isinstance(decoder, VideoCodecContext)
        return decoder
    return (_decoder_on_gpu(own, keep_on_gpu) if device == "gpu" else None) or own


def automatic_threads(cores: int) -> int:
    """Return the threads that FFmpeg chooses for a decoder on so many cores.

    Source: `ff_frame_thread_init`. Damaged frames depend on them, since a thread may read parts of
    a frame before another one has concealed them.
    """
    return min(cores + 1, _MOST_THREADS) if cores > 1 else 1


def layout_of(stream: VideoStream, decoder: VideoCodecContext) -> PixelLayout:
    """Return the layout for the planes that a decoder returns for a stream."""
    pixel_format = stream.codec_context.format
    assert pixel_format is not None
    layout = nearest_layout(pixel_format)
    if decoder.name in _DECODER_WITH_ALPHA.values():
        layout = replace(layout, alpha=True)
    return layout


def _decoder_on_gpu(own: VideoCodecContext, keep_on_gpu: bool) -> VideoCodecContext | None:
    """Create a decoder on an NVIDIA GPU; None without a GPU that supports the codec."""
    try:
        accelerator = HWAccel("cuda", is_hw_owned=keep_on_gpu)
        decoder: Any = av.CodecContext.create(own.name, "r", accelerator)
        if not decoder.is_hwaccel:
            return None
        decoder.extradata = own.extradata
        decoder.width, decoder.height = own.width, own.height
        result: VideoCodecContext = decoder
        return result
    except (av.error.FFmpegError, NotImplementedError, ValueError):
        return None


def nearest_layout(pixel_format: VideoFormat) -> PixelLayout:
    """Return the layout of a pixel format, or else the smallest one with the least loss."""
    plain = pixel_format.name.replace("yuvj", "yuv")
    if plain in LAYOUTS:
        return LAYOUTS[plain]
    components = pixel_format.components
    bits = bits_of(pixel_format)
    depth = 8 if bits <= 8 else 10 if bits <= 10 else 12
    alpha = not pixel_format.has_palette and any(part.is_alpha for part in components)
    if is_rgb(pixel_format):
        return PixelLayout(bit_depth=depth, across=1, down=1, alpha=alpha)
    if len(components) < 3:
        depth = min(depth, 10) if alpha else depth
        return PixelLayout(bit_depth=depth, across=2, down=2, alpha=alpha)
    # A frame of 16 by 16 pixels shows the subsampling of any format.
    probe = VideoFrame(16, 16, pixel_format.name).format
    wide, high = 16 // probe.chroma_width(16), 16 // probe.chroma_height(16)
    chroma = 2 if wide >= 2 else 1, 2 if wide >= 2 and high >= 2 else 1
    if alpha and chroma == (2, 2):
        depth = min(depth, 10)  # FFmpeg's maximum for 4:2:0 with alpha
    return PixelLayout(depth, *chroma, alpha)


def bits_of(pixel_format: VideoFormat) -> int:
    """Return the maximum bits per sample of a pixel format; 32 for floating point."""
    if pixel_format.has_palette:
        return 8
    return max(part.bits for part in pixel_format.components)
