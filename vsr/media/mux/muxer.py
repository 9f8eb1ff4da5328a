"""The file that comes out: the upscaled video, and all that went along with the source."""

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
from vsr.media.mux.matroska_header import template_stream
from vsr.media.mux.stream_copy import (
    MUXERS,
    CopyPlan,
    StreamCopier,
    add_streams,
    free_tags,
    give_time,
    has_cover,
)
from vsr.system.address import PIPE, address_of
from vsr.system.files import flush_to_disk, write_failure

_BITEXACT = 0x0400
_MOST_TICKS = 1 << 31


class Dropped(NamedTuple):
    """Packets of the streams beside the video that are missing in an output."""

    broken: int = 0
    """Not taken by the container."""
    unconverted: int = 0
    """Subtitles that could not be converted."""

    def lines(self) -> Iterator[str]:
        """What the user should know, a line each."""
        if self.broken:
            yield f"{self.broken} broken packets of sound and the like are left out"
        if self.unconverted:
            what = "subtitle" if self.unconverted == 1 else "subtitles"
            yield f"{self.unconverted} {what} could not be converted: left out"


class Muxer:
    """Writes one file: packets of the upscaled video, and those of the streams that go along.

    Nothing in the file depends on when or where it is written. Errors become `OutputError`s.
    """

    def __init__(
        self,
        name: Path,
        place: Path,
        video: CodedVideo,
        info: StreamInfo,
        baggage: CopyPlan | None,
        source: Any = None,
    ) -> None:
        """Open `place`, which is to become `name`; `source` is the baggage's container."""
        self.name = name
        self.place = place
        self._info = info
        self._lanes: dict[int, StreamCopier] = {}
        self._times: dict[int, int] = {}
        self._broken = 0
        suffix = ".nut" if name == PIPE else name.suffix.lower()
        where = "pipe:1" if name == PIPE else address_of(place)
        options = _options(suffix, info, source)
        if suffix == ".mp4" and (info.stereo_mode or info.projection):
            options["strict"] = "unofficial"  # else it writes neither
        try:
            self._container: OutputContainer = av.open(
                where, "w", format=MUXERS[suffix], container_options=options
            )
            self._container.flags |= _BITEXACT

            def add_video() -> VideoStream:
                self._video = self._add(video, suffix)
                return self._video

            if baggage is None:
                add_video()
            else:
                self._lanes = add_streams(baggage, source, self._container, suffix, add_video)
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.discard()
            raise write_failure(name, error) from error

    @property
    def dropped(self) -> Dropped:
        """Packets of the source that are missing so far."""
        unconverted = sum(lane.unconverted for lane in self._lanes.values())
        return Dropped(broken=self._broken, unconverted=unconverted)

    def write(self, packet: CodedPacket) -> None:
        """Write a coded frame; decoding times must rise."""
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
        """Write what becomes of a packet of another stream; of one left out, nothing."""
        lane = self._lanes.get(packet.stream.index)
        if lane is not None:
            for becomes in lane.packets(give_time(packet, self._times)):
                self._copy(lane, becomes)

    def _copy(self, lane: StreamCopier, packet: AnyPacket) -> None:
        try:
            self._container.mux(lane.on_time(packet))
        except (av.error.ArgumentError, av.error.InvalidDataError):
            self._broken += 1
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self.name, error) from error

    def _copy_due(self, now: Fraction | None) -> None:
        """Write what lanes have held back until now, or all of it."""
        for lane in self._lanes.values():
            for packet in lane.due(now):
                self._copy(lane, packet)

    def close(self) -> None:
        """Write what comes last, and make sure that it is on the disk."""
        self._copy_due(None)
        try:
            self._container.close()
            if self.name.suffix.lower() == ".mp4" and self._info.stereo_mode:
                _blank_vexu(self.place)
            if self.name != PIPE:
                flush_to_disk(self.place)
        except (av.error.FFmpegError, OSError) as error:
            raise write_failure(self.name, error) from error

    def discard(self) -> None:
        """Leave nothing; a file that is thrown away needs no proper end."""
        if hasattr(self, "_container"):
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()
        if self.name != PIPE:
            self.place.unlink(missing_ok=True)

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
            context.codec_tag = "hvc1"  # the only tag that Apple's players take
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
    """Make a free box of the box for Apple's spatial video that FFmpeg writes beside `st3d`.

    It says that there are two views, but not how they lie in the picture, and FFmpeg believes it
    rather than `st3d`.
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
            if size < 8:  # of 64 bits: media, behind the index
                return
            file.seek(start + size - 8)


def mux(
    name: Path,
    place: Path,
    video: CodedVideo,
    info: StreamInfo,
    packets: Any,
    baggage: CopyPlan,
) -> Dropped:
    """Write a whole file from coded packets, in decoding order, and from what went along.

    The source is read once more, for its other streams alone. Gives what of them is missing.
    """
    with open_input(baggage.path) as source:
        muxer = Muxer(name, place, video, info, baggage, source)
        try:
            others = _others(source, baggage)
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


def _others(source: InputContainer, baggage: CopyPlan) -> Iterator[AnyPacket]:
    """Packets of the streams that go along, each with a time, as a reader of the film has them."""
    wanted = {carried.index for carried in baggage.streams}
    if not wanted:
        return
    video = source.streams[baggage.video]
    assert isinstance(video, VideoStream)
    times: dict[int, int] = {}
    for packet in on_one_clock(packets_of(source), video, frame_rate_of(video)):
        if packet.stream_index in wanted:
            yield give_time(shift_packet(packet, baggage.lead), times)


def _time(packet: Any) -> Any:
    return packet.dts * packet.time_base


def _options(suffix: str, info: StreamInfo, source: Any) -> dict[str, str]:
    if suffix in (".mkv", ".webm"):
        # What sound begins with before time zero, for decoders to settle, stays before zero.
        return {"default_mode": "passthrough", "avoid_negative_ts": "disabled"}
    if suffix == ".nut":
        return {}  # knows no times before zero: with such sound, all is moved alike
    # The muxer's clocks are the source's, so that no time is rounded: each stream's own, and the
    # film's, in which edit lists are written, a common multiple of all.
    clocks = [info.time_base.denominator]
    if source is not None:
        clocks += [stream.time_base.denominator for stream in source.streams if stream.time_base]
    movie = math.lcm(*(clock for clock in clocks if clock < _MOST_TICKS))
    options = {
        "movflags": "+faststart",
        "video_track_timescale": str(info.time_base.denominator),
        "movie_timescale": str(movie if movie < _MOST_TICKS else 1_000_000),
    }
    # Free tags take the place where .mp4 holds cover pictures.
    if source is not None and free_tags(source) and not (suffix == ".mp4" and has_cover(source)):
        options["movflags"] += "+use_metadata_tags"
    return options
