"""Decode a film: planes as they are, and the packets of its audio tracks, in file order."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from vsr.errors import MediaError
from vsr.media.frame import LAYOUTS, ColourTags, Frame, PixelLayout, Plane, StreamInfo
from vsr.media.samples import read_plane

if TYPE_CHECKING:
    AudioPacket = Packet[Any]
else:
    AudioPacket = Packet  # generic only in its type stubs

_BT709 = 1


class VideoReader:
    """The first video stream of a file, with all its audio streams beside it.

    Iterating gives `Frame`s in presentation order and audio packets, as they come.
    Raises `MediaError` where the file is missing, broken or holds no video.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._container = open_input(self.path)
        try:
            self._stream = self._video_stream()
            self._stream.thread_type = "AUTO"
            self.info = self._describe()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    @property
    def audio(self) -> tuple[AudioStream, ...]:
        """The audio streams, in file order: templates for a writer's."""
        return self._container.streams.audio

    @property
    def codec(self) -> str:
        """FFmpeg's name of the video's codec, such as `h264`."""
        return self._stream.codec_context.name

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the file holds beside what iterating gives, in words."""
        taken = {self._stream.index, *(stream.index for stream in self.audio)}
        others = [stream for stream in self._container.streams if stream.index not in taken]
        kinds = Counter(stream.type or "unknown" for stream in others)
        words = [f"{count} {kind} stream{'s' * (count > 1)}" for kind, count in kinds.items()]
        if self._container.chapters():
            words.append("chapters")
        return tuple(words)

    def frames(self) -> Iterator[Frame]:
        """The frames alone; audio is passed over unread."""
        for item in self._items(audio=False):
            if isinstance(item, Frame):
                yield item

    def __iter__(self) -> Iterator[Frame | AudioPacket]:
        return self._items(audio=True)

    def sample(self, count: int) -> list[Frame]:
        """Some frames spread over the film, at most `count`: those that seeking comes by.

        What can't be reached is passed over. Reading on afterwards needs a new reader.
        """
        stream = self._stream
        found: dict[int, Frame] = {}
        for number in range(count):
            try:
                if stream.duration:
                    place = (stream.start_time or 0) + stream.duration * number // count
                    self._container.seek(place, stream=stream)
                decoded = next(self._container.decode(stream), None)
                if decoded is not None and isinstance(decoded, VideoFrame):
                    frame = self._frame(decoded, None)
                    found[frame.pts] = frame
            except (av.error.FFmpegError, MediaError):
                continue
        return list(found.values())

    def _items(self, audio: bool) -> Iterator[Frame | AudioPacket]:
        streams = (self._stream, *self.audio) if audio else (self._stream,)
        previous: Frame | None = None
        try:
            for packet in self._container.demux(*streams):
                if packet.stream is not self._stream:
                    if packet.size:  # the empty ones only flush decoders
                        yield packet
                    continue
                for decoded in packet.decode():
                    assert isinstance(decoded, VideoFrame)
                    previous = self._frame(decoded, previous)
                    yield previous
        except av.error.FFmpegError as error:
            place = "its start" if previous is None else f"{self._seconds(previous):.2f} s"
            raise MediaError(f"{self.path}: damaged near {place}: {_reason(error)}") from error
        if previous is None:
            raise MediaError(f"{self.path}: its video stream holds no frame that can be decoded")

    def _seconds(self, frame: Frame) -> float:
        return float(frame.pts * self.info.time_base)

    def _video_stream(self) -> VideoStream:
        for stream in self._container.streams.video:
            # A cover picture is a video stream to FFmpeg, not to the person who plays the file.
            if not stream.disposition & av.stream.Disposition.attached_pic:
                if stream.codec_context is None:
                    raise MediaError(f"{self.path}: no decoder for its video stream")
                return stream
        held = [f"{s.type} ({s.name})" for s in self._container.streams if s.type == "audio"]
        what = f"only {', '.join(held)}" if held else "nothing to play"
        raise MediaError(f"{self.path}: no video stream, {what}")

    def _describe(self) -> StreamInfo:
        stream, context = self._stream, self._stream.codec_context
        name = context.pix_fmt
        if not name or not context.width or not context.height:
            raise MediaError(f"{self.path}: no frame size or pixel format found; is it cut short?")
        if stream.time_base is None:
            raise MediaError(f"{self.path}: its video stream has no time base")
        layout = _layout_for(context.format)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        jpeg = name.startswith("yuvj")
        rgb = bool(context.format and context.format.is_rgb)
        return StreamInfo(
            width=context.width,
            height=context.height,
            layout=layout,
            colour=ColourTags(
                matrix=_BT709 if rgb else context.colorspace,
                primaries=context.color_primaries,
                transfer=context.color_trc,
                full_range=not rgb and (jpeg or context.color_range == ColorRange.JPEG),
                centred_chroma=jpeg and context.name == "mjpeg",
            ),
            time_base=stream.time_base,
            frame_rate=Fraction(rate),
            frame_count=self._frame_count(rate),
            sample_aspect_ratio=Fraction(stream.sample_aspect_ratio or 1),
        )

    def _frame_count(self, rate: Fraction) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        if self._stream.duration and self._stream.time_base:
            return round(self._stream.duration * self._stream.time_base * rate)
        if self._container.duration:
            return round(self._container.duration * rate / av.time_base)
        return None

    def _frame(self, decoded: VideoFrame, previous: Frame | None) -> Frame:
        if (decoded.width, decoded.height) != (self.info.width, self.info.height):
            raise MediaError(
                f"{self.path}: frame size changes in mid-stream, from "
                f"{self.info.width}x{self.info.height} to {decoded.width}x{decoded.height}"
            )
        pts = decoded.pts
        if pts is None or (previous is not None and pts <= previous.pts):
            # No time of its own, or none that can follow: one frame after the last.
            step = 1 / (self.info.frame_rate * self.info.time_base)
            pts = 0 if previous is None else previous.pts + max(1, previous.duration or round(step))
        return Frame(_planes(decoded, self.info.layout), pts, decoded.duration or 0)


def frame_times(path: Path) -> list[float]:
    """When each frame of a film is shown, in seconds and in order; nothing is decoded.

    Raises `MediaError` where it can't be read or doesn't tell.
    """
    with VideoReader(path) as reader:
        stream = reader._stream
        assert stream.time_base is not None
        try:
            times = [
                float(packet.pts * stream.time_base)
                for packet in reader._container.demux(stream)
                if packet.pts is not None and packet.size and not packet.is_discard
            ]
        except av.error.FFmpegError as error:
            raise MediaError(f"{path}: damaged: {_reason(error)}") from error
    if not times:
        raise MediaError(f"{path}: doesn't say when its frames are shown")
    return sorted(times)


def open_input(path: Path) -> "av.container.InputContainer":
    """Open a media file; raises `MediaError` in one line where that can't be done."""
    if not path.exists():
        raise MediaError(f"{path}: no such file")
    if path.is_dir():
        raise MediaError(f"{path}: is a folder, not a video file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: is empty (0 bytes)")
    try:
        return av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(
            f"{path}: can't be read as video ({_reason(error)}); is it complete?"
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def _layout_for(pixel_format: Any) -> PixelLayout:
    """The layout nearest to a pixel format: its own, or the smallest that loses least."""
    plain = pixel_format.name.replace("yuvj", "yuv")
    if plain in LAYOUTS:
        return LAYOUTS[plain]
    depth = 8 if pixel_format.components[0].bits <= 8 else 10
    if pixel_format.is_rgb or pixel_format.has_palette:
        return PixelLayout(depth, 1, 1)
    if len(pixel_format.components) < 3:
        return PixelLayout(depth, 2, 2)
    # A probe of 16 by 16 tells the subsampling of any format.
    probe = VideoFrame(16, 16, pixel_format.name).format
    wide, high = 16 // probe.chroma_width(16), 16 // probe.chroma_height(16)
    return PixelLayout(depth, 2 if wide >= 2 else 1, 2 if wide >= 2 and high >= 2 else 1)


def _planes(decoded: VideoFrame, layout: PixelLayout) -> tuple[Plane, Plane, Plane]:
    if decoded.format.name.replace("yuvj", "yuv") != layout.name:
        wanted = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
        colour = wanted if decoded.format.is_rgb else {}
        decoded = decoded.reformat(format=layout.name, **colour)
    kind = np.dtype(np.uint8 if layout.bit_depth == 8 else np.uint16)
    y, cb, cr = (read_plane(plane, kind) for plane in decoded.planes)
    return y, cb, cr
