"""Encode frames to packets."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import av
from av.codec.context import Flags
from av.codec.hwaccel import HWAccel
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from vsr.media.encode.codecs import FRAME_PACKING, CodecName
from vsr.media.encode.encoder_options import PARAMETERS, sets_rate, with_parameter
from vsr.media.encode.hardware import hardware_of, quality_options, speed_options
from vsr.media.encode.hdr_params import svt_params, x265_params
from vsr.media.encode.sei import with_messages
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame, Message, StreamInfo
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
        self.pixel_format = codec.pixel_formats.get(name, name)
        context: Any = av.CodecContext.create(codec.encoder, "w", hwaccel=_upload_to(settings))
        context.width, context.height = info.width, info.height
        context.pix_fmt = self.pixel_format
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
        if self.pixel_format != self._info.layout.name:
            picture = picture.reformat(format=self.pixel_format)
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


def _upload_to(settings: EncoderSettings) -> HWAccel | None:
    """Return the device into whose memory PyAV copies frames, for encoders that require it."""
    if settings.encoder == "cpu" or not hardware_of(settings.encoder).uploads:
        return None
    return HWAccel(settings.encoder)


def _options(info: StreamInfo, settings: EncoderSettings) -> dict[str, str]:
    """Return all of FFmpeg's options; those of the user take precedence over defaults."""
    options = _default_options(info, settings)
    for key, value in settings.options.items():
        if key in PARAMETERS:
            options = with_parameter(options, key, value)
        else:
            options[key] = value
    return options


def _default_options(info: StreamInfo, settings: EncoderSettings) -> dict[str, str]:
    codec = settings.capabilities
    options: dict[str, str] = {}
    preset = settings.preset or codec.default_preset
    crf = codec.crf if settings.crf is None else settings.crf
    if sets_rate(settings.options):
        crf = None
    if settings.encoder != "cpu":
        quality = {} if crf is None else quality_options(settings.codec, settings.encoder, crf)
        return quality | speed_options(settings.encoder, preset)
    if crf is not None:
        options["crf"] = str(crf)
    if codec.presets:
        options["preset"] = preset
    if info.layout.down == 2:
        options["chroma_sample_location"] = info.colour.siting
    if settings.codec == "h264":
        # The AVX-512 code of x264's macroblock tree reads uninitialised memory, so that its output
        # differs between runs; and other processors get other code. This chooses that in C.
        parameters = ["cpu-independent=1"]
        if info.stereo_mode in FRAME_PACKING:
            parameters.append(f"frame-packing={FRAME_PACKING[info.stereo_mode]}")
        options["x264-params"] = ":".join(parameters)
    if settings.codec == "hevc":
        options["x265-params"] = ":".join(["log-level=error", *x265_params(info.hdr)])
    if settings.codec == "av1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; by default it prints its settings
        if hdr := svt_params(info.hdr):
            options["svtav1-params"] = ":".join(hdr)
    return options
