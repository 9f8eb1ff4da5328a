"""Encode a film beside its place, copy audio packets into it, and rename it when whole."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import av
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from vsr.errors import OutputError
from vsr.media.frame import Frame, PixelLayout, StreamInfo
from vsr.media.reader import AudioPacket
from vsr.media.samples import fill_plane
from vsr.media.target import check_target

CodecName = Literal["h264", "hevc", "av1", "prores", "ffv1"]


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


_ALL_CHROMA = ((2, 2), (2, 1), (1, 1))
_X26X_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
    *("slow", "slower", "veryslow", "placebo"),
)
_SVT_PRESETS = tuple(str(level) for level in range(13, -1, -1))
_H26X_CONTAINERS = frozenset({".mp4", ".mov", ".mkv"})
_CODECS: dict[str, _Codec] = {
    "h264": _Codec("libx264", 16, _X26X_PRESETS, "medium", _H26X_CONTAINERS, (8, 10), _ALL_CHROMA),
    "hevc": _Codec("libx265", 18, _X26X_PRESETS, "medium", _H26X_CONTAINERS, (8, 10), _ALL_CHROMA),
    "av1": _Codec(
        "libsvtav1", 22, _SVT_PRESETS, "8", frozenset({".mp4", ".mkv"}), (8, 10), ((2, 2),)
    ),
    "prores": _Codec(
        "prores_ks", None, (), "", frozenset({".mov", ".mkv"}), (10,), _ALL_CHROMA[1:]
    ),
    "ffv1": _Codec("ffv1", None, (), "", frozenset({".mkv"}), (8, 10), _ALL_CHROMA),
}
_MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}


@dataclass(frozen=True)
class EncoderSettings:
    """How the video is encoded."""

    codec: CodecName = "h264"
    crf: int | None = None
    """Constant rate factor: lower is better and larger; None for the codec's default."""
    preset: str | None = None
    """The encoder's own word for speed against size; None for the codec's default."""

    def layout_for(self, wanted: PixelLayout) -> PixelLayout:
        """The layout nearest to `wanted` that the codec holds, losing as little as can be."""
        codec = _CODECS[self.codec]
        chroma = (wanted.across, wanted.down)
        if chroma not in codec.chroma:
            # What is finer than the codec can hold becomes its finest, and likewise coarser.
            chroma = codec.chroma[-1] if chroma < codec.chroma[-1] else codec.chroma[0]
        depth = wanted.bit_depth if wanted.bit_depth in codec.depths else codec.depths[-1]
        return PixelLayout(depth, *chroma)


def check_output(path: Path, settings: EncoderSettings, overwrite: bool) -> None:
    """Raise `OutputError` where `path` couldn't be written, before any work is done."""
    check_target(path, "film", _MUXERS, overwrite)
    suffix = path.suffix.lower()
    codec = _CODECS[settings.codec]
    if suffix not in codec.containers:
        allowed = ", ".join(sorted(codec.containers))
        raise OutputError(f"{path}: {suffix} doesn't hold {settings.codec}; use {allowed}")
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


def encoders() -> dict[str, bool]:
    """Whether FFmpeg, as it is here, has the encoder of each codec."""
    return {name: codec.encoder in av.codecs_available for name, codec in _CODECS.items()}


class VideoWriter:
    """One video stream, encoded from frames, and copies of audio streams.

    Frames come in order of presentation, packets in file order. Leaving the `with`
    block without an error puts the file in its place; with one, nothing is left.
    """

    def __init__(
        self,
        path: Path | str,
        info: StreamInfo,
        audio: Sequence[AudioStream] = (),
        settings: EncoderSettings = EncoderSettings(),
        overwrite: bool = False,
    ) -> None:
        """Open the output for frames as `info` describes them; its layout must be one
        that `settings.layout_for` gives. Raises `OutputError`.
        """
        self.path = Path(path)
        check_output(self.path, settings, overwrite)
        self.info = info
        self._overwrite = overwrite
        self._partial = self.path.with_name(
            f".{self.path.stem}.{os.getpid()}.partial{self.path.suffix}"
        )
        # The muxer's clock is the source's, so that no pts is rounded.
        options = {"movflags": "+faststart"} if self.path.suffix.lower() != ".mkv" else {}
        if options and info.time_base.numerator == 1:
            options["video_track_timescale"] = str(info.time_base.denominator)
        try:
            self._container = av.open(
                str(self._partial),
                "w",
                format=_MUXERS[self.path.suffix.lower()],
                container_options=options,
            )
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error
        try:
            self._video = self._open_video(settings)
            self._audio = {stream.index: self._copy_of(stream) for stream in audio}
            self._begin(audio)
        except OutputError:
            self._discard()
            raise
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._discard()
            raise self._failure(error) from error

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._discard()
            return
        try:
            self._container.mux(self._video.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError) as failure:
            self._discard()
            raise self._failure(failure) from failure
        if self.path.exists() and not self._overwrite:
            self._discard()
            raise OutputError(f"{self.path}: appeared while it was being made; left as it is")
        self._partial.replace(self.path)

    def write(self, item: Frame | AudioPacket) -> None:
        """Encode a frame, or copy an audio packet of one of the streams given at the start."""
        try:
            if isinstance(item, Frame):
                self._container.mux(self._video.encode(self._encodable(item)))
            else:
                item.stream = self._audio[item.stream.index]
                self._container.mux(item)
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def _open_video(self, settings: EncoderSettings) -> VideoStream:
        codec = _CODECS[settings.codec]
        options: dict[str, str] = {}
        if codec.crf is not None:
            options["crf"] = str(codec.crf if settings.crf is None else settings.crf)
        if codec.presets:
            options["preset"] = settings.preset or codec.default_preset
        if settings.codec == "hevc":
            options["x265-params"] = "log-level=error"
        if settings.codec == "av1":
            os.environ.setdefault("SVT_LOG", "1")  # it would print its settings otherwise
        stream: Any = self._container.add_stream(
            codec.encoder, rate=self.info.frame_rate, options=options
        )
        stream.width, stream.height = self.info.width, self.info.height
        stream.pix_fmt = self.info.layout.name
        stream.time_base = stream.codec_context.time_base = self.info.time_base
        context = stream.codec_context
        context.sample_aspect_ratio = self.info.sample_aspect_ratio
        context.colorspace = self.info.colour.matrix
        context.color_primaries = self.info.colour.primaries
        context.color_trc = self.info.colour.transfer
        context.color_range = (
            ColorRange.JPEG if self.info.colour.full_range else ColorRange.MPEG
        ).value
        context.thread_type = "AUTO"
        if settings.codec == "hevc" and self.path.suffix.lower() != ".mkv":
            context.codec_tag = "hvc1"  # the only tag that Apple's players take
        context.open()
        video: VideoStream = stream
        return video

    def _begin(self, audio: Sequence[AudioStream]) -> None:
        """Write the header, which some muxers refuse for the audio they are given."""
        try:
            self._container.start_encoding()
        except av.error.FFmpegError as error:
            if not audio:
                raise
            raise self._cannot_hold(*audio) from error

    def _cannot_hold(self, *audio: AudioStream) -> OutputError:
        names = sorted({stream.codec_context.name for stream in audio})
        what = f"{' and '.join(names)} audio"
        return OutputError(f"{self.path}: {self.path.suffix} doesn't hold {what}; use .mkv")

    def _copy_of(self, stream: AudioStream) -> AudioStream:
        try:
            copy = self._container.add_stream_from_template(stream)
        except (av.error.FFmpegError, ValueError) as error:
            raise self._cannot_hold(stream) from error
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        return copy

    def _encodable(self, frame: Frame) -> VideoFrame:
        height, width = frame.planes[0].shape
        picture: Any = VideoFrame(width, height, self.info.layout.name)
        for plane, samples in zip(picture.planes, frame.planes, strict=True):
            fill_plane(plane, samples)
        picture.pts = frame.pts
        picture.time_base = self.info.time_base
        picture.duration = frame.duration
        picture.colorspace = self.info.colour.matrix
        picture.color_range = self._video.codec_context.color_range
        picture.color_primaries = self.info.colour.primaries
        picture.color_trc = self.info.colour.transfer
        encodable: VideoFrame = picture
        return encodable

    def _failure(self, error: Exception) -> OutputError:
        reason = str(getattr(error, "strerror", None) or error).lower()
        return OutputError(f"{self.path}: can't be written: {reason}")

    def _discard(self) -> None:
        # A file that is thrown away needs no proper end.
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.close()
        self._partial.unlink(missing_ok=True)


def output_info(
    source: StreamInfo, scale: int, matrix: int, settings: EncoderSettings
) -> StreamInfo:
    """The stream that comes of upscaling `source`; `matrix` is the one its colours were read by.

    Where the source didn't name its matrix, players would guess it from the new height:
    so it is named now. Chroma lies on the left, where players take it to be in all that
    we write.
    """
    return replace(
        source,
        width=source.width * scale,
        height=source.height * scale,
        layout=settings.layout_for(source.layout),
        colour=replace(source.colour, matrix=matrix, centred_chroma=False),
    )
