"""What decodes a stream, and how its frames then lie."""

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

_DECODER_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def decoder_of(stream: VideoStream, wanted: Decoder, keep_on_gpu: bool) -> VideoCodecContext:
    """What decodes a stream: FFmpeg's own decoders of VP8 and VP9 pass over their alpha.

    Frames that a card decodes are left in its memory if `keep_on_gpu` says so.
    """
    own = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and own.name in _DECODER_WITH_ALPHA:
        decoder = av.CodecContext.create(_DECODER_WITH_ALPHA[own.name], "r")
        assert isinstance(decoder, VideoCodecContext)
        return decoder
    return (_decoder_on_gpu(own, keep_on_gpu) if wanted == "gpu" else None) or own


def layout_of(stream: VideoStream, decoder: VideoCodecContext) -> PixelLayout:
    """How planes are to lie that a decoder gives of a stream."""
    coded_as = stream.codec_context.format
    assert coded_as is not None
    layout = nearest_layout(coded_as)
    if decoder.name in _DECODER_WITH_ALPHA.values():
        layout = replace(layout, alpha=True)
    return layout


def _decoder_on_gpu(own: VideoCodecContext, keep_on_gpu: bool) -> VideoCodecContext | None:
    """A decoder like a stream's own on an NVIDIA card, if there is one that knows the codec."""
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
    """The layout nearest to a pixel format: its own, or the smallest that loses least."""
    plain = pixel_format.name.replace("yuvj", "yuv")
    if plain in LAYOUTS:
        return LAYOUTS[plain]
    components = pixel_format.components
    bits = bits_of(pixel_format)
    depth = 8 if bits <= 8 else 10 if bits <= 10 else 12
    alpha = not pixel_format.has_palette and any(part.is_alpha for part in components)
    if is_rgb(pixel_format):
        return PixelLayout(depth, 1, 1, alpha)
    if len(components) < 3:
        return PixelLayout(min(depth, 10) if alpha else depth, 2, 2, alpha)
    # A probe of 16 by 16 tells the subsampling of any format.
    probe = VideoFrame(16, 16, pixel_format.name).format
    wide, high = 16 // probe.chroma_width(16), 16 // probe.chroma_height(16)
    chroma = 2 if wide >= 2 else 1, 2 if wide >= 2 and high >= 2 else 1
    if alpha and chroma == (2, 2):
        depth = min(depth, 10)  # the most that FFmpeg has with alpha in 4:2:0
    return PixelLayout(depth, *chroma, alpha)


def bits_of(pixel_format: VideoFormat) -> int:
    """The most bits that a sample of a pixel format has; 32 for floating point."""
    if pixel_format.has_palette:
        return 8
    return max(part.bits for part in pixel_format.components)
