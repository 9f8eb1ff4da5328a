"""Frames to packets: which codecs there are, and what each is told."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import av
from av.codec.context import Flags
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from vsr.errors import OutputError
from vsr.media.encode.sei import with_messages
from vsr.media.frame import (
    ChromaSiting,
    ColourTags,
    Frame,
    Hdr,
    Message,
    PixelLayout,
    StreamInfo,
)
from vsr.media.pyav import video_frame

CodecName = Literal["h264", "hevc", "av1", "prores", "ffv1", "raw"]


@dataclass(frozen=True)
class _Codec:
    """What FFmpeg's encoder of a codec takes."""

    encoder: str
    crf: int | None
    """The constant rate factor by default; None for a codec without one."""
    presets: tuple[str, ...]
    """What `--preset` may be, fastest first; empty for a codec without any."""
    default_preset: str
    containers: frozenset[str]
    depths: tuple[int, ...]
    chroma: tuple[tuple[int, int], ...]
    """(across, down) subsamplings that it can encode."""
    longest_side: int
    """Pixels."""
    bits_per_pixel: float
    """Of its output, roughly, to foretell sizes by."""
    sitings: tuple[ChromaSiting, ...] = ("left",)
    """Where it can say that chroma lies."""
    alpha: tuple[tuple[int, int], ...] = ()
    """Subsamplings with which it holds alpha."""
    aspect: bool = True
    """Whether its bitstream says how wide a pixel is."""


_ALL_CHROMA = ((2, 2), (2, 1), (1, 1))
_X26X_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
    *("slow", "slower", "veryslow", "placebo"),
)
_SVT_PRESETS = tuple(str(level) for level in range(13, -1, -1))
_H26X_CONTAINERS = frozenset({".mp4", ".mov", ".mkv"})
_ALL_SITINGS: tuple[ChromaSiting, ...] = ("left", "center", "topleft")
_CODECS: dict[str, _Codec] = {
    "h264": _Codec(
        *("libx264", 16, _X26X_PRESETS, "medium", _H26X_CONTAINERS, (8, 10), _ALL_CHROMA),
        longest_side=16_384,
        bits_per_pixel=0.12,
        sitings=_ALL_SITINGS,
    ),
    "hevc": _Codec(
        *("libx265", 18, _X26X_PRESETS, "medium", _H26X_CONTAINERS, (8, 10, 12), _ALL_CHROMA),
        longest_side=16_384,
        bits_per_pixel=0.08,
        sitings=_ALL_SITINGS,
    ),
    "av1": _Codec(
        *("libsvtav1", 22, _SVT_PRESETS, "8", frozenset({".mp4", ".mkv", ".webm"})),
        *((8, 10), ((2, 2),)),
        longest_side=16_384,
        bits_per_pixel=0.08,
        sitings=("left", "topleft"),
        aspect=False,
    ),
    "prores": _Codec(
        *("prores_ks", None, (), "", frozenset({".mov", ".mkv"}), (10,), _ALL_CHROMA[1:]),
        longest_side=65_535,
        bits_per_pixel=4.0,
        alpha=((1, 1),),
        aspect=False,
    ),
    "ffv1": _Codec(
        *("ffv1", None, (), "", frozenset({".mkv"}), (8, 10, 12), _ALL_CHROMA),
        longest_side=65_535,
        bits_per_pixel=7.0,
        alpha=_ALL_CHROMA,
    ),
    "raw": _Codec(
        *("rawvideo", None, (), "", frozenset({".nut"}), (8, 10, 12), _ALL_CHROMA),
        longest_side=65_535,
        bits_per_pixel=12.0,
        alpha=_ALL_CHROMA,
    ),
}
_NVENC_PRESETS = tuple(f"p{level}" for level in range(1, 8))
_ON_GPU: dict[str, _Codec] = {
    name: replace(
        _CODECS[name],
        encoder=f"{name}_nvenc",
        crf=crf,
        presets=_NVENC_PRESETS,
        default_preset="p6",
        depths=depths,
        chroma=chroma,
        longest_side=longest,
        sitings=("left",),
        aspect=True,
    )
    for name, crf, depths, chroma, longest in (
        ("h264", 19, (8,), ((2, 2), (1, 1)), 4096),
        ("hevc", 21, (8, 10), ((2, 2), (1, 1)), 8192),
        ("av1", 25, (8, 10), ((2, 2),), 8192),
    )
}
"""What NVIDIA's encoders take: as NVENC's own tables of formats have it, without what only some
generations of cards do."""
_PACKED = {"yuv420p10le": "p010le", "yuv444p10le": "yuv444p16le"}
"""Layouts that NVENC takes under another name: ten bits at the top of sixteen."""
_READ_BY_ALL = {"yuva422p12le": "yuva422p16le", "yuva444p12le": "yuva444p16le"}
"""Layouts that FFV1 holds, but decoders before FFmpeg 8 don't know: twelve bits at the top of
sixteen."""
FRAME_PACKING = {5: 0, 9: 1, 7: 2, 1: 3, 3: 4, 13: 5}
"""x264's arrangement of two views, by Matroska's StereoMode; it has none with views exchanged."""
ENCODED = ("h264", "hevc", "av1", "prores", "ffv1")
"""What `--codec` may be; `raw` is for pipes."""


@dataclass(frozen=True)
class EncoderSettings:
    """How the video is encoded."""

    codec: CodecName = "h264"
    crf: int | None = None
    """Constant rate factor: lower is better and larger; None for the codec's default."""
    preset: str | None = None
    """The encoder's own word for speed against size; None for the codec's default."""
    encoder: Literal["cpu", "gpu"] = "cpu"
    """Whose: NVIDIA's cards encode h264, hevc and av1 by themselves, faster and less well."""

    def layout_for(self, wanted: PixelLayout) -> PixelLayout:
        """The layout nearest to `wanted` that the codec holds, losing as little as can be."""
        codec = _codec_of(self)
        chroma = (wanted.across, wanted.down)
        if chroma not in codec.chroma:
            # What is finer than the codec can hold becomes its finest, and likewise coarser.
            chroma = codec.chroma[-1] if chroma < codec.chroma[-1] else codec.chroma[0]
        if wanted.alpha and codec.alpha and chroma not in codec.alpha:
            chroma = codec.alpha[0]
        depth = wanted.bit_depth if wanted.bit_depth in codec.depths else codec.depths[-1]
        return PixelLayout(depth, *chroma, alpha=wanted.alpha and bool(codec.alpha))


class CodedVideo(NamedTuple):
    """What a muxer must know of a coded video stream beside its `StreamInfo`."""

    codec: CodecName
    extradata: bytes
    tag: str
    """Four characters, where the codec has kinds."""


class CodedPacket(NamedTuple):
    """A coded frame."""

    data: bytes
    pts: int
    dts: int
    duration: int
    is_keyframe: bool


class VideoEncoder:
    """Encodes frames that come in order of presentation.

    Their layout must be one that `EncoderSettings.layout_for` gives. FFmpeg's errors are
    passed on.
    """

    def __init__(self, info: StreamInfo, settings: EncoderSettings) -> None:
        codec = _codec_of(settings)
        self._info = info
        name = info.layout.name
        packed = _PACKED if settings.encoder == "gpu" else {}
        if settings.codec == "ffv1":
            packed = _READ_BY_ALL
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
        context.options = _options(info, settings, codec)
        context.open()
        self._context = context
        self._durations: dict[int, int] = {}
        self._messages: dict[int, tuple[Message, ...]] = {}
        tag = context.codec_tag if settings.codec in ("prores", "raw") else ""
        self.video = CodedVideo(settings.codec, bytes(context.extradata or b""), tag)

    def encode(self, frame: Frame) -> Iterator[CodedPacket]:
        """Give a frame, get the packets that are ready."""
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
        """The packets of the frames that were held back."""
        return self._packets(None)

    def _packets(self, picture: VideoFrame | None) -> Iterator[CodedPacket]:
        for packet in self._context.encode(picture):
            pts = packet.pts
            dts = pts if packet.dts is None else packet.dts
            duration = self._durations.pop(pts, 0)
            data = with_messages(self.video.codec, bytes(packet), self._messages.pop(pts, ()))
            yield CodedPacket(data, pts, dts, duration, packet.is_keyframe)


def check_settings(settings: EncoderSettings, suffix: str) -> None:
    """Raise `OutputError` where a codec doesn't go with a container, or takes no such option."""
    codec = _codec_of(settings)
    if suffix not in codec.containers:
        allowed = ", ".join(sorted(codec.containers))
        raise OutputError(f"{suffix} doesn't hold {settings.codec}; use {allowed}")
    for option, value, takes in (
        ("crf", settings.crf, codec.crf is not None),
        ("preset", settings.preset, bool(codec.presets)),
    ):
        if value is not None and not takes:
            raise OutputError(f"--{option} means nothing to {settings.codec}; leave it out")
    if settings.preset is not None and settings.preset not in codec.presets:
        known = ", ".join(codec.presets)
        raise OutputError(
            f"unknown preset {settings.preset!r} for {settings.codec}; use one of {known}"
        )
    if settings.encoder == "gpu":
        _try_gpu(settings)


def output_info(
    source: StreamInfo, scale: int, matrix: int, settings: EncoderSettings
) -> StreamInfo:
    """The stream that comes of upscaling `source`; `matrix` is the H.273 code to write.

    Where the source didn't name its matrix, players would guess it from the new height:
    so it is named now. Chroma stays where it lay if the codec can say so, else it moves to the
    left, where players take it to be. Raises `OutputError` where frames become too large.
    """
    codec = _codec_of(settings)
    width, height = source.width * scale, source.height * scale
    if max(width, height) > codec.longest_side:
        raise OutputError(
            f"{settings.codec} holds frames of up to {codec.longest_side} pixels a side, "
            f"and x{scale} would make {width}x{height}; use a smaller --scale or another --codec"
        )
    siting = source.colour.siting if source.colour.siting in codec.sitings else "left"
    return replace(
        source,
        width=width,
        height=height,
        layout=settings.layout_for(source.layout),
        coded_bits=None,
        colour=replace(source.colour, matrix=matrix, siting=siting),
    )


def losses(
    source: StreamInfo, output: StreamInfo, settings: EncoderSettings, source_codec: str = ""
) -> list[str]:
    """What the codec can't hold of the source, in words."""
    lost = []
    if source.layout.alpha and not output.layout.alpha:
        lost.append(f"transparency ({settings.codec} holds none; prores and ffv1 do)")
    held = output.layout.bit_depth
    if source_codec == settings.codec == "prores" and output.layout.across == 1:
        held = 12  # as it is decoded; FFmpeg encodes it from 10
    if source.bits > held:
        deeper = "" if settings.codec in ("hevc", "ffv1") else "; hevc and ffv1 hold 12"
        if settings.codec == "ffv1" and output.layout.name in _READ_BY_ALL:
            deeper = f", stored as {_READ_BY_ALL[output.layout.name]}"
        lost.append(f"{source.bits} bit depth ({settings.codec} is written with {held}{deeper})")
    finer = (source.layout.across, source.layout.down) < (output.layout.across, output.layout.down)
    if finer:
        lost.append(f"chroma finer than {output.layout.name} (h264, hevc and ffv1 hold it)")
    return lost


def says_aspect(settings: EncoderSettings) -> bool:
    """Whether the codec's own bitstream says how wide a pixel is."""
    return _codec_of(settings).aspect


def foretold_bytes(info: StreamInfo, settings: EncoderSettings, frames: int) -> int:
    """About how much the coded video will take."""
    per_pixel = _codec_of(settings).bits_per_pixel * info.layout.bit_depth / 8
    return round(info.width * info.height * frames * per_pixel / 8)


def encoders() -> dict[str, bool]:
    """Whether FFmpeg, as it is here, has the encoder of each codec."""
    return {name: _CODECS[name].encoder in av.codecs_available for name in ENCODED}


def _codec_of(settings: EncoderSettings) -> _Codec:
    if settings.encoder == "cpu":
        return _CODECS[settings.codec]
    if settings.codec not in _ON_GPU:
        known = ", ".join(_ON_GPU)
        raise OutputError(f"no card encodes {settings.codec}; use one of {known}, or --encoder cpu")
    return _ON_GPU[settings.codec]


def _try_gpu(settings: EncoderSettings) -> None:
    """Raise `OutputError` where there is no card that encodes."""
    layout = settings.layout_for(PixelLayout())
    info = StreamInfo(
        *(256, 256, layout, ColourTags(), Fraction(1, 25), Fraction(25), None, Fraction(1))
    )
    try:
        VideoEncoder(info, settings)
    except av.error.FFmpegError as error:
        reason = str(error.strerror).lower()
        name = _codec_of(settings).encoder
        raise OutputError(f"{name} can't be opened ({reason}); use --encoder cpu") from error


def _options(info: StreamInfo, settings: EncoderSettings, codec: _Codec) -> dict[str, str]:
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
        options["x265-params"] = ":".join(["log-level=error", *_x265_hdr(info.hdr)])
    if settings.codec == "av1":
        os.environ.setdefault("SVT_LOG", "1")  # it would print its settings otherwise
        if hdr := _svt_hdr(info.hdr):
            options["svtav1-params"] = ":".join(hdr)
    return options


def _x265_hdr(hdr: Hdr) -> list[str]:
    words = []
    if hdr.mastering:
        rx, ry, gx, gy, bx, by, wx, wy = (round(50_000 * value) for value in hdr.mastering[:8])
        least, most = (round(10_000 * value) for value in hdr.mastering[8:])
        primaries = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})"
        words.append(f"master-display={primaries}L({most},{least})")
    if hdr.light:
        words.append(f"max-cll={hdr.light[0]},{hdr.light[1]}")
    return words


def _svt_hdr(hdr: Hdr) -> list[str]:
    words = []
    if hdr.mastering:
        rx, ry, gx, gy, bx, by, wx, wy, least, most = (_decimal(value) for value in hdr.mastering)
        primaries = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})"
        words.append(f"mastering-display={primaries}L({most},{least})")
    if hdr.light:
        words.append(f"content-light={hdr.light[0]},{hdr.light[1]}")
    return words


def _decimal(value: Fraction) -> str:
    return f"{float(value):.6f}"
