"""Encode frames to packets."""

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av
from av.codec.context import Flags
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from vsr.errors import OutputError
from vsr.media.encode.codecs import FRAME_PACKING, PACKED_FOR_FFV1, PACKED_FOR_NVENC, CodecName
from vsr.media.encode.hdr_params import svt_params, x265_params
from vsr.media.encode.sei import with_messages
from vsr.media.encode.settings import EncoderSettings, check_options
from vsr.media.frame import ColourTags, Frame, Message, PixelLayout, StreamInfo
from vsr.media.pyav import video_frame


class CodedVideo(NamedTuple):
    """Properties of a coded video stream that a muxer needs beside its `StreamInfo`."""

    codec: CodecName
    extradata: bytes
    tag: str
    """FourCC of the codec's profile or pixel format; empty for other codecs."""


class CodedPacket(NamedTuple):
    """A coded frame."""

    data: bytes
    pts: int
    dts: int
    duration: int
    is_keyframe: bool


class VideoEncoder:
    """Encodes frames in presentation order.

    Their layout must be one that `EncoderSettings.layout_for` returns. Raises FFmpeg's errors.
    """

    def __init__(self, info: StreamInfo, settings: EncoderSettings) -> None:
        codec = settings.capabilities
        self._info = info
        name = info.layout.name
        packed = PACKED_FOR_NVENC if settings.encoder == "gpu" else {}
        if settings.codec == "ffv1":
            packed = PACKED_FOR_FFV1
        self._pixel_format = packed.get(name, name)
        context: Any = av.CodecContext.create(codec.encoder, "w")
        context.width, context.height = info.width, info.height
        context.pix_fmt = self._pixel_format
        context.time_base, context.framerate = info.time_base, info.frame_rate
        context.sample_aspect_ratio = info.sample_aspect_ratio
        context.colorspace = info.colour.matrix
        context.color_primaries = info.colour.primaries
        context.color_trc = info.colour.transfer
        self._range = ColorRange.JPEG if info.colour.full_range else ColorRange.MPEG
        context.color_range = self._range.value
        context.thread_type = "AUTO"
        context.flags |= Flags.global_header
        context.options = _options(info, settings)
        context.open()
        self._context = context
        self._durations: dict[int, int] = {}
        self._messages: dict[int, tuple[Message, ...]] = {}
        tag = context.codec_tag if settings.codec in ("prores", "raw") else ""
        self.video = CodedVideo(settings.codec, bytes(context.extradata or b""), tag)

    def encode(self, frame: Frame) -> Iterator[CodedPacket]:
        """Encode a frame; iterate over the finished packets."""
        picture: Any = video_frame(frame.planes, self._info.layout)
        if self._pixel_format != self._info.layout.name:
            picture = picture.reformat(format=self._pixel_format)
        picture.pts, picture.time_base = frame.pts, self._info.time_base
        picture.duration = frame.duration
        picture.colorspace = self._info.colour.matrix
        picture.color_range = self._range.value
        picture.color_primaries = self._info.colour.primaries
        picture.color_trc = self._info.colour.transfer
        self._durations[frame.pts] = frame.duration
        if frame.messages:
            self._messages[frame.pts] = frame.messages
        return self._packets(picture)

    def finish(self) -> Iterator[CodedPacket]:
        """Iterate over the packets of the frames that the encoder has buffered."""
        return self._packets(None)

    def _packets(self, picture: VideoFrame | None) -> Iterator[CodedPacket]:
        for packet in self._context.encode(picture):
            pts = packet.pts
            dts = pts if packet.dts is None else packet.dts
            duration = self._durations.pop(pts, 0)
            data = with_messages(self.video.codec, bytes(packet), self._messages.pop(pts, ()))
            yield CodedPacket(
                data=data,
                pts=pts,
                dts=dts,
                duration=duration,
                is_keyframe=packet.is_keyframe,
            )


def check_settings(settings: EncoderSettings, suffix: str) -> None:
    """Raise `OutputError` where settings don't fit a container, or no GPU can encode."""
    check_options(settings, suffix)
    if settings.encoder == "gpu":
        _try_gpu(settings)


def _try_gpu(settings: EncoderSettings) -> None:
    """Raise `OutputError` where the GPU encoder can't be opened."""
    info = StreamInfo(
        width=256,
        height=256,
        layout=settings.layout_for(PixelLayout()),
        colour=ColourTags(),
        time_base=Fraction(1, 25),
        frame_rate=Fraction(25),
        frame_count=None,
        sample_aspect_ratio=Fraction(1),
    )
    try:
        VideoEncoder(info, settings)
    except av.error.FFmpegError as error:
        reason = str(error.strerror).lower()
        name = settings.capabilities.encoder
        raise OutputError(f"{name} can't be opened ({reason}); use --encoder cpu") from error


def _options(info: StreamInfo, settings: EncoderSettings) -> dict[str, str]:
    codec = settings.capabilities
    options: dict[str, str] = {}
    if settings.encoder == "gpu":
        quality = str(codec.crf if settings.crf is None else settings.crf)
        preset = settings.preset or codec.default_preset
        return {"rc": "vbr", "cq": quality, "b": "0", "preset": preset, "tune": "hq"}
    if codec.crf is not None:
        options["crf"] = str(codec.crf if settings.crf is None else settings.crf)
    if codec.presets:
        options["preset"] = settings.preset or codec.default_preset
    if info.layout.down == 2:
        options["chroma_sample_location"] = info.colour.siting
    if settings.codec == "h264" and info.stereo_mode in FRAME_PACKING:
        options["x264-params"] = f"frame-packing={FRAME_PACKING[info.stereo_mode]}"
    if settings.codec == "hevc":
        options["x265-params"] = ":".join(["log-level=error", *x265_params(info.hdr)])
    if settings.codec == "av1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; by default it prints its settings
        if hdr := svt_params(info.hdr):
            options["svtav1-params"] = ":".join(hdr)
    return options
