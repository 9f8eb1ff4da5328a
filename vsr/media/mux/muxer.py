"""Mux the upscaled video and the source's other streams into the output file."""

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from vsr.media.decode.container import (
    AnyPacket,
    frame_rate_of,
    on_one_clock,
    open_input,
    packets_of,
    shift_packet,
)
from vsr.media.encode.encoder import CodedPacket, CodedVideo
from vsr.media.frame import StreamInfo
from vsr.media.mux.copy_plan import CopyPlan
from vsr.media.mux.matroska_header import template_stream
from vsr.media.mux.stream_copier import StreamCopier
from vsr.media.mux.stream_copy import (
    MUXERS,
    add_streams,
    has_cover,
    set_missing_times,
)
from vsr.media.mux.tags import free_tags
from vsr.media.mux.window import EndFinder, Window, WindowFilter, time_of
from vsr.system.address import PIPE, address_of
from vsr.system.files import flush_to_disk, write_failure

_BITEXACT = 0x0400
_MAX_TICKS = 1 << 31


class Dropped(NamedTuple):
    """Counts of what is missing in an output, of streams beside the upscaled video."""

    broken: int = 0
    """Packets rejected by the container."""
    unconverted: int = 0
    """Subtitles that could not be converted."""
    silenced: int = 0
    """Packets of converted sound that could not be decoded."""
    empty_videos: int = 0
    """Video streams without a keyframe in the part that is upscaled."""

    def lines(self) -> Iterator[str]:
        """Messages for the user, one line each."""
        if self.broken:
            yield f"{self.broken} broken packets of audio or other streams are left out"
        if self.unconverted:
            noun = "subtitle" if self.unconverted == 1 else "subtitles"
            yield f"{self.unconverted} {noun} could not be converted: left out"
        if self.silenced:
            yield f"{self.silenced} broken packets of converted sound are silence"
        if self.empty_videos:
            noun = "stream is" if self.empty_videos == 1 else "streams are"
            yield f"{self.empty_videos} other video {noun} empty: no keyframe in the part"


class Muxer:
    """Writes one file: packets of the upscaled video, and those of the copied streams.

    The file's bytes don't depend on when or where it is written. Raises `OutputError`.
    """

    def __init__(
        self,
        name: Path,
        partial: Path,
        video: CodedVideo,
        info: StreamInfo,
        plan: CopyPlan | None,
        source: Any = None,
    ) -> None:
        """Open the temporary file `partial` of the output `name`.

        `source` is the open container of the streams in `plan`.
        """
        self.name = name
        self.partial = partial
        self._info = info
        self._is_part = plan is not None and plan.window is not None
        self._copiers: dict[int, StreamCopier] = {}
        self._times: dict[int, int] = {}
        self._broken = 0
        suffix = ".nut" if name == PIPE else name.suffix.lower()
        where = "pipe:1" if name == PIPE else address_of(partial)
        options = _options(suffix, info, source, plan)
        if suffix == ".mp4" and (info.stereo_mode or info.projection):
            options["strict"] = "unofficial"  # otherwise it writes neither
        try:
            self._container: OutputContainer = av.open(
                where, "w", format=MUXERS[suffix], container_options=options
            )
            self._container.flags |= _BITEXACT

            def add_video() -> VideoStream:
                self._video = self._add(video, suffix)
                return self._video

            if plan is None:
                add_video()
            else:
                self._copiers = add_streams(
                    plan=plan,
                    source=source,
                    output=self._container,
                    suffix=suffix,
                    add_video=add_video,
                )
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.discard()
            raise write_failure(name, error) from error

    @property
    def dropped(self) -> Dropped:
        """Packets of the source that are missing so far."""
        unconverted = sum(copier.unconverted for copier in self._copiers.values())
        silenced = sum(copier.undecodable for copier in self._copiers.values())
        return Dropped(
            broken=self._broken,
            unconverted=unconverted,
            silenced=silenced,
            empty_videos=sum(map(self._is_empty_video, self._copiers)) if self._is_part else 0,
        )

    def _is_empty_video(self, index: int) -> bool:
        copier = self._copiers[index]
        return copier.is_video and index not in self._times

    def write(self, packet: CodedPacket) -> None:
        """Write a coded frame; decoding times must increase."""
        coded: Any = Packet(packet.data)
        coded.pts, coded.dts, coded.duration = packet.pts, packet.dts, packet.duration
        coded.time_base = self._info.time_base
        coded.is_keyframe = packet.is_keyframe
        coded.stream = self._video
        self._copy_due(packet.dts * self._info.time_base)
        try:
            self._container.mux(coded)
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self.name, error) from error

    def copy(self, packet: AnyPacket) -> None:
        """Copy or convert a packet of another stream; ignore one of a stream that is left out."""
        copier = self._copiers.get(packet.stream.index)
        if copier is not None:
            for converted in copier.packets(set_missing_times(packet, self._times)):
                self._copy(copier, converted)

    def _copy(self, copier: StreamCopier, packet: AnyPacket) -> None:
        try:
            self._container.mux(copier.on_time(packet))
        except (av.error.ArgumentError, av.error.InvalidDataError):
            self._broken += 1
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self.name, error) from error

    def _copy_due(self, now: Fraction | None) -> None:
        """Write buffered packets that are due at `now` seconds; all of them at the end (None)."""
        for copier in self._copiers.values():
            for packet in copier.due(now):
                self._copy(copier, packet)

    def close(self) -> None:
        """Write the last packets and the trailer, and flush the file to the disk."""
        self._copy_due(None)
        try:
            self._container.close()
            if self.name.suffix.lower() == ".mp4" and self._info.stereo_mode:
                _blank_vexu(self.partial)
            if self.name != PIPE:
                flush_to_disk(self.partial)
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self.name, error) from error

    def discard(self) -> None:
        """Delete the temporary file; errors of closing it don't matter."""
        if hasattr(self, "_container"):
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()
        if self.name != PIPE:
            self.partial.unlink(missing_ok=True)

    def _add(self, video: CodedVideo, suffix: str) -> VideoStream:
        info = self._info
        with template_stream(video, info) as like:
            stream: Any = self._container.add_stream_from_template(
                like.streams.video[0], opaque=True
            )
        context = stream.codec_context
        context.width, context.height = info.width, info.height
        context.pix_fmt = info.layout.name
        if video.extradata:
            context.extradata = video.extradata
        if video.tag:
            context.codec_tag = video.tag
        elif video.codec == "hevc" and suffix in (".mp4", ".mov"):
            context.codec_tag = "hvc1"  # the only tag that Apple's players support
        context.framerate = info.frame_rate
        context.sample_aspect_ratio = info.sample_aspect_ratio
        context.colorspace = info.colour.matrix
        context.color_primaries = info.colour.primaries
        context.color_trc = info.colour.transfer
        full = info.colour.full_range
        context.color_range = (ColorRange.JPEG if full else ColorRange.MPEG).value
        stream.time_base = info.time_base
        if info.display_matrix:
            stream.set_display_matrix(info.display_matrix)
        result: VideoStream = stream
        return result


def _blank_vexu(path: Path) -> None:
    """Rename FFmpeg's box for Apple's spatial video, written beside `st3d`, to `free`.

    The box declares two views without their arrangement, and FFmpeg's demuxer prefers it to `st3d`.
    """
    with path.open("r+b") as file:
        while len(head := file.read(8)) == 8:
            size, start = int.from_bytes(head[:4]), file.tell()
            if head[4:] == b"moov":
                found = file.read(size - 8).find(b"vexu")
                if found >= 0:
                    file.seek(start + found)
                    file.write(b"free")
                return
            if size < 8:  # a 64-bit size: the media, which follows the index
                return
            file.seek(start + size - 8)


def mux(
    name: Path,
    partial: Path,
    video: CodedVideo,
    info: StreamInfo,
    packets: Any,
    plan: CopyPlan | None,
) -> Dropped:
    """Write a whole file from coded packets, in decoding order, and the streams in `plan`.

    The source is read again, for its other streams alone; without a plan, it has none. Returns
    counts of missing packets.
    """
    with contextlib.nullcontext() if plan is None else open_input(plan.path) as source:
        muxer = Muxer(name=name, partial=partial, video=video, info=info, plan=plan, source=source)
        try:
            others = iter(()) if plan is None or source is None else _others(source, plan)
            other = next(others, None)
            for packet in packets:
                time = packet.dts * info.time_base
                while other is not None and _time(other) <= time:
                    muxer.copy(other)
                    other = next(others, None)
                muxer.write(packet)
            while other is not None:
                muxer.copy(other)
                other = next(others, None)
            muxer.close()
            return muxer.dropped
        except BaseException:
            muxer.discard()
            raise


def _others(source: InputContainer, plan: CopyPlan) -> Iterator[AnyPacket]:
    """Packets of the copied streams, each with a time, on the clock of `VideoReader`."""
    indices = {copied.index for copied in plan.streams}
    if not indices:
        return
    video = source.streams[plan.video]
    assert isinstance(video, VideoStream)
    times: dict[int, int] = {}
    packets = on_one_clock(packets_of(source), video, frame_rate_of(video))
    if plan.window is not None:
        yield from _others_in_part(source, packets, plan, plan.window)
        return
    for packet in packets:
        if packet.stream_index in indices:
            yield set_missing_times(shift_packet(packet, plan.lead), times)


def _others_in_part(
    source: InputContainer, packets: Iterator[AnyPacket], plan: CopyPlan, window: Window
) -> Iterator[AnyPacket]:
    """Packets of the copied streams that a part has, on its clock."""
    indices = {copied.index for copied in plan.streams}
    clipper, times = WindowFilter(window), dict[int, int]()
    ends = EndFinder(source.streams[index] for index in (*indices, plan.video))
    for packet in packets:
        shift_packet(packet, plan.lead)
        if window.end is not None and ends.is_past(
            packet.stream_index, time_of(packet), window.end
        ):
            break
        if packet.stream_index in indices:
            yield from clipper.clip(set_missing_times(packet, times))
    yield from clipper.flush()


def _time(packet: Any) -> Any:
    return packet.dts * packet.time_base


def _sounds(source: Any) -> Iterator[Any]:
    """Streams whose clock in MP4 is their sample rate."""
    return (s for s in source.streams if s.type == "audio" and s.codec_context is not None)


def _options(suffix: str, info: StreamInfo, source: Any, plan: CopyPlan | None) -> dict[str, str]:
    if suffix in (".mkv", ".webm"):
        # Audio packets before time zero, which prime decoders, keep their times.
        return {"default_mode": "passthrough", "avoid_negative_ts": "disabled"}
    if suffix == ".nut":
        return {}  # has no negative times: FFmpeg moves all streams alike
    # The muxer's clocks are those of the source, so that no time is rounded. Edit lists are written
    # on the movie's clock, a common multiple of the streams' clocks.
    clocks = [info.time_base.denominator]
    if source is not None:
        clocks += [stream.time_base.denominator for stream in source.streams if stream.time_base]
        clocks += [stream.codec_context.sample_rate or 1 for stream in _sounds(source)]
    if plan is not None:
        clocks += [copied.conversion.rate for copied in plan.streams if copied.conversion]
    movie = math.lcm(*(clock for clock in clocks if clock < _MAX_TICKS))
    options = {
        "movflags": "+faststart",
        "video_track_timescale": str(info.time_base.denominator),
        "movie_timescale": str(movie if movie < _MAX_TICKS else 1_000_000),
    }
    # .mp4 stores free tags where it stores cover pictures.
    if source is not None and free_tags(source) and not (suffix == ".mp4" and has_cover(source)):
        options["movflags"] += "+use_metadata_tags"
    return options
