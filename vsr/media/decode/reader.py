"""Decode a film: planes as they are, and the packets of all its other streams, in file order."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.errors import MediaError
from vsr.media.decode.completeness import StreamEnd, holds_another, is_cut_short, is_input_cut_short
from vsr.media.decode.conform import Conformer, FormatChange, FrameFormat, is_full_range, look_of
from vsr.media.decode.decoded import (
    Deinterlace,
    Deinterlacer,
    Rotation,
    display_matrix_of,
    hdr_of,
    messages_of,
    stereo_mode_of,
    turn_of,
)
from vsr.media.decode.decoder import Decoder, bits_of, decoder_of, layout_of, nearest_layout
from vsr.media.decode.hw_surface import Surface
from vsr.media.decode.side_data import (
    TIMECODE,
    SideData,
    is_worth_a_line,
    is_zero_timecode,
    side_data_of,
)
from vsr.media.decode.stream_choice import choose, is_chapters, wake
from vsr.media.decode.timeline import Timeline
from vsr.media.frame import ColourTags, Frame, Plane, StreamInfo
from vsr.media.mux.matroska_header import likeness_of
from vsr.media.pyav import is_rgb, planes_of
from vsr.system.address import PIPE, input_of, is_pipe, seekable_input

if TYPE_CHECKING:
    AnyPacket = Packet[Any]
else:
    AnyPacket = Packet  # generic only in its type stubs

_BT709 = 1
_MOST_PIXELS = 1 << 27
"""Of a frame: 8K holds a quarter of them."""
_LOCAL = {"protocol_whitelist": "file,pipe"}
"""A playlist that calls itself a film must not reach out."""
_READ_ERRORS_IN_A_ROW = 16
ENDS_EARLY = "the source can't be read to its end; what came before is kept"
"""The note on a file that breaks off."""
ANOTHER_FOLLOWS = (
    "another film follows the first in this file, and may not be read: make two files of it"
)
"""The note on films in a row whose container has one index or header alone."""
_FEWEST_BYTES = 10
"""Of a file, for each frame: a header that promises more frames isn't believed."""
_SUSPECT_FRAMES = 32
"""After an error, so many frames may still show its traces: decoders run in threads."""
_SEEK_SECONDS = (2, 10, 60)


class FrameFingerprint(NamedTuple):
    """A frame's time and its content, to know it again."""

    pts: int
    digest: str


@dataclass
class Damage:
    """What could not be read as it was meant."""

    pts: list[int]
    """Of frames that were damaged, or that repeat the one before for want of their own."""
    ends_early: bool = False
    """Whether reading failed before the end of the file."""
    read_errors: int = 0
    """Places where reading failed, and went on behind."""


class VideoReader:
    """The film in a file (see `choice`), with all the file's other streams beside it.

    Iterating gives `Frame`s in presentation order, and the packets of the other streams as
    they come. What is damaged is decoded as far as can be; a frame that can't be
    repeats the one before it, and `damage` tells. Raises `MediaError` where the file is
    missing, broken or holds no video.
    """

    def __init__(
        self,
        path: Path | str,
        deinterlace: Deinterlace = "off",
        upright: bool = False,
        closely: bool = True,
        decoder: Decoder = "cpu",
        on_card: bool = False,
        once: bool = False,
    ) -> None:
        """Open a file; standard input (`-`) or a named pipe only where it is read `once`.

        `decoder` "gpu" is an NVIDIA card's where there is one that knows the codec, as `on_gpu`
        then tells. Frames come to the CPU's memory all the same, unless `on_card`: then their
        planes are a `Surface` wherever they can be. `closely` decodes the first frame at once:
        where the container disagrees with it about size, pixels or colours, players believe the
        frame, and only frames tell HDR metadata and how the picture is turned.
        `upright` turns frames as players would.
        """
        self.path = Path(path)
        self.damage = Damage([])
        self.notes: list[str] = []
        """What the user should know, a line each."""
        self.side_data: dict[str, float] = {}
        """Kinds that are worth a line, and the second at which each was read first."""
        self._deinterlace = deinterlace
        self._wanted, self._on_card = decoder, on_card
        self._pending: Iterator[Frame | AnyPacket] | None = None
        self._turn: Rotation | None = None
        self.pictures: dict[int, bytes] = {}
        """Cover pictures by stream, as far as `closely` came by them."""
        self._pipe_end = StreamEnd()
        self._container = open_input(self.path, once, self._pipe_end.feed)
        self._index: int | None = None
        self._lead = 0
        """Ticks by which all is moved, so that no picture is before time zero."""
        self._read_ahead: list[AnyPacket] = []
        try:
            self._open_stream()
            self.info = self._describe()
            if closely or upright:
                self._look_closely(upright)
                self._check_end()
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
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    @property
    def container(self) -> InputContainer:
        """The open file, for what goes along with the frames."""
        return self._container

    @property
    def index(self) -> int:
        """The video stream's place among the file's streams."""
        return self._stream.index

    @property
    def codec(self) -> str:
        """FFmpeg's name of the video's codec, such as `h264`."""
        return self._stream.codec_context.name

    @property
    def lead(self) -> Fraction:
        """Seconds by which all of the film is moved; known to a reader that looks closely."""
        return self._lead * self.info.time_base

    @property
    def look(self) -> FrameFormat:
        """Size, pixel format and colour tags of the frames as `info` describes them."""
        return self._conformer.like

    def announce(self, change: FormatChange, line: str | None) -> None:
        """Note a change of pixels before its frames are read; see `Conformer.announce`."""
        self._conformer.announce(change, line)

    @property
    def is_turned(self) -> bool:
        """Whether frames are turned as players would."""
        return self._turn is not None

    @property
    def on_gpu(self) -> bool:
        """Whether a card decodes."""
        return self._decoder.is_hwaccel

    @property
    def interlaced(self) -> int:
        """Interlaced frames so far."""
        return self._deinterlacer.found

    def frames(self) -> Iterator[Frame]:
        """The frames alone; the other streams are passed over unread."""
        for item in self._items(others=False):
            if isinstance(item, Frame):
                yield item

    def __iter__(self) -> Iterator[Frame | AnyPacket]:
        return self._items(others=True)

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

    def stretches(
        self, places: int, at_first: int, at_a_place: int, before: int
    ) -> Iterator[Iterator[tuple[VideoFrame, Fraction | None]]]:
        """Consecutive decoded frames from the beginning, and from each of some places after it.

        The first run has the times of `frames`, the others those of the file. Each run has at most
        `at_first` or `at_a_place` frames, with their pixels' aspect. Up to `before` frames may be
        decoded between a keyframe and a place. What can't be decoded is skipped. Reading on
        afterwards needs a new reader.
        """
        self._reopen()
        yield islice(self._on_clock(), at_first)
        start, duration = self._container.start_time or 0, self._container.duration
        for number in range(1, places + 1):
            if not duration:
                return
            place = start + duration * number // (places + 1)
            try:
                self._container.seek(place)
            except av.error.FFmpegError:
                continue
            pts = round(Fraction(place, av.time_base) / self.info.time_base)
            yield self._decoded_run(at_a_place, pts, before)

    def _on_clock(self) -> Iterator[tuple[VideoFrame, Fraction | None]]:
        context = self._stream.codec_context
        for packet in self._packets(others=False):
            for decoded in self._decode(packet):
                yield decoded, context.sample_aspect_ratio

    def _decoded_run(
        self, length: int, place: int, before: int
    ) -> Iterator[tuple[VideoFrame, Fraction | None]]:
        context = self._stream.codec_context
        count = failures = 0
        while count < length and failures < _READ_ERRORS_IN_A_ROW:
            try:
                for decoded in self._container.decode(self._stream):
                    assert isinstance(decoded, VideoFrame)
                    is_early = decoded.pts is not None and decoded.pts < place
                    if is_early and before:
                        before -= 1
                        continue
                    yield decoded, context.sample_aspect_ratio
                    count += 1
                    if count == length:
                        return
                return
            except av.error.FFmpegError:
                failures += 1

    def go_to_middle(self) -> None:
        """Place the reader at a keyframe about half-way, if the film can be sought in."""
        self._reopen()
        stream = self._stream
        if not stream.duration:
            return
        place = (stream.start_time or 0) + stream.duration // 2
        try:
            self._container.seek(place, stream=stream)
            items = self._read(self._decoded(others=False))
            self._pending = chain([next(items)], items)
        except (av.error.FFmpegError, MediaError):  # no keyframe from there on
            self._reopen()

    def go_on_after(self, marks: Sequence[FrameFingerprint]) -> list[Frame]:
        """Place the reader behind the frames that `marks` tell of, and give these.

        What is read next is what would be read next had all been read. From a keyframe some
        seconds before if that leads to the same frames, else from the start. Raises `MediaError`
        where they are not to be found.
        """
        for seconds in (*_SEEK_SECONDS, None):
            self._reopen()
            if seconds is not None and not self._seek(marks[0].pts, seconds):
                continue
            last: deque[Frame] = deque(maxlen=len(marks))
            self._pending = self._read(self._decoded(others=False))
            for item in self._pending:
                assert isinstance(item, Frame)
                last.append(item)
                if item.pts >= marks[-1].pts:
                    break
            if [mark_of(frame) for frame in last] == list(marks):
                self.damage = Damage([])
                return list(last)
        raise MediaError(f"{self.path}: its frames are no longer what they were")

    def _reopen(self) -> None:
        self._container.close()
        self._container = open_input(self.path)
        self._open_stream()
        self._pending = None

    def _seek(self, pts: int, seconds: int) -> bool:
        place = pts - self._lead - round(seconds / self.info.time_base)
        try:
            self._container.seek(place, stream=self._stream)
        except av.error.FFmpegError:
            return False
        return True

    def _open_stream(self) -> None:
        self._stream = self._video_stream()
        self._decoder = decoder_of(self._stream, self._wanted, self._on_card)
        self._decoder.thread_type = "AUTO"
        self._deinterlacer = Deinterlacer(self._stream, self._deinterlace)
        self._owed: list[int] = []
        self._suspect = 0

    def _items(self, others: bool) -> Iterator[Frame | AnyPacket]:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            return pending
        return self._read(self._decoded(others))

    def _read(self, decoded: Iterator[VideoFrame | AnyPacket]) -> Iterator[Frame | AnyPacket]:
        previous: Frame | None = None
        for item in decoded:
            if isinstance(item, Packet):
                yield moved(item, self.lead)
                continue
            frame = self._frame(item, previous)
            yield from self._missing_before(frame.pts, previous)
            yield frame
            previous = frame
        yield from self._missing_before(None, previous)
        if previous is None:
            raise self._no_frame()

    def _no_frame(self) -> MediaError:
        return MediaError(f"{self.path}: its video stream holds no frame that can be decoded")

    def _decoded(self, others: bool) -> Iterator[VideoFrame | AnyPacket]:
        """Decoded frames, deinterlaced, and other streams' packets."""
        for packet in self._packets(others):
            if packet is not None and packet.stream is not self._stream:
                if packet.size:  # the empty ones only flush decoders
                    yield packet
                continue
            for frame in self._decode(packet):
                yield from self._deinterlacer.pass_on(frame)
        yield from self._deinterlacer.pass_on(None)

    def _decode(self, packet: AnyPacket | None) -> list[VideoFrame]:
        if packet is not None and packet.size and not packet.is_discard:
            if packet.pts is not None:
                self._owed.append(packet.pts + self._lead)
            if packet.is_corrupt:
                self._suspect = _SUSPECT_FRAMES
        try:
            return self._decoder.decode(packet if packet is not None and packet.size else None)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self._suspect = _SUSPECT_FRAMES
            return []

    def packets(self) -> Iterator[AnyPacket]:
        """All packets in file order, undecoded, on one rising clock, of a reader that is new."""
        return self._on_one_clock(self._noting_errors())

    def _packets(self, others: bool) -> Iterator[AnyPacket | None]:
        """Packets on one rising clock, reading on behind what can't be read; None at the end."""
        for packet in self._on_one_clock(self._noting_errors()):
            if others or packet.stream_index == self._stream.index:
                yield packet
        if self._pipe_end.is_cut_short():
            self._end_early()
        yield None

    def _noting_errors(self) -> Iterator[AnyPacket]:
        ahead = self._take_ahead()
        return packets_of(self._container, ahead, self._end_early, self._count_read_error)

    def _on_one_clock(self, packets: Iterator[AnyPacket]) -> Iterator[AnyPacket]:
        return on_one_clock(packets, self._stream, self.info.frame_rate)

    def _take_ahead(self) -> list[AnyPacket]:
        ahead, self._read_ahead = self._read_ahead, []
        return ahead

    def _end_early(self) -> None:
        self.damage.ends_early = True

    def _count_read_error(self) -> None:
        self.damage.read_errors += 1

    def _missing_before(self, pts: int | None, previous: Frame | None) -> Iterator[Frame]:
        """Repeats of the last frame, where packets that gave none had one to give.

        Only after an error: there are films whose packets don't all hold a frame.
        """
        gone = [owed for owed in self._owed if pts is None or owed < pts]
        self._owed = [owed for owed in self._owed if pts is not None and owed > pts]
        if not self._suspect or previous is None:
            return
        self._suspect -= 1
        shortest = 0.6 / (self.info.frame_rate * self.info.time_base)
        last = previous.pts
        for owed in sorted(gone):
            if owed - last >= shortest and (pts is None or pts - owed >= shortest):
                self.damage.pts.append(owed)
                yield replace(previous, pts=owed, messages=())
                last = owed

    def _video_stream(self) -> VideoStream:
        if self._index is None:
            self._index = self._choose()
        stream = self._container.streams[self._index]
        assert isinstance(stream, VideoStream)
        if stream.codec_context is None:
            raise MediaError(f"{self.path}: no decoder for its video stream")
        return stream

    def _choose(self) -> int:
        if choice := choose(self._container):
            if choice.note:
                self.notes.append(choice.note)
            if choice.read and not is_pipe(self.path):
                self._container.close()
                self._container = open_input(self.path)
            else:
                self._read_ahead = choice.read
            return choice.index
        held = [f"{s.type} ({s.name})" for s in self._container.streams if s.type == "audio"]
        what = f"only {', '.join(held)}" if held else "nothing to play"
        raise MediaError(f"{self.path}: no video stream, {what}")

    def _describe(self) -> StreamInfo:
        stream, context = self._stream, self._stream.codec_context
        name, coded_as = context.pix_fmt, context.format
        if context.name == "webp" and not name:
            raise MediaError(
                f"{self.path}: an animated WebP, which FFmpeg doesn't decode; convert it to an "
                "animated PNG or a GIF first"
            )
        if not name or not coded_as or not context.width or not context.height:
            raise MediaError(f"{self.path}: no frame size or pixel format found; is it cut short?")
        if context.width * context.height > _MOST_PIXELS:
            raise MediaError(f"{self.path}: frames of {context.width}x{context.height}: too large")
        if stream.time_base is None:
            raise MediaError(f"{self.path}: its video stream has no time base")
        layout = layout_of(stream, self._decoder)
        rate = rate_of(stream)
        rgb = is_rgb(coded_as)
        full = is_full_range(name, context.color_range)
        tags = ColourTags(
            matrix=_BT709 if rgb else context.colorspace,
            primaries=context.color_primaries,
            transfer=context.color_trc,
            full_range=full and not rgb,
        )
        size = context.width, context.height
        aspect = Fraction(context.sample_aspect_ratio or 1)
        look = FrameFormat(size, name.replace("yuvj", "yuv"), tags, aspect)
        self._conformer = Conformer(look, layout, stream.time_base, self.notes)
        like = likeness_of(stream)
        return StreamInfo(
            width=context.width,
            height=context.height,
            layout=layout,
            colour=replace(tags, siting=like.siting if layout.down == 2 else "left"),
            time_base=stream.time_base,
            frame_rate=Fraction(rate),
            frame_count=self._frame_count(rate),
            sample_aspect_ratio=Fraction(stream.sample_aspect_ratio or 1),
            coded_bits=bits_of(coded_as),
            projection=like.projection,
            dolby_vision=like.dolby_vision,
        )

    def _look_closely(self, upright: bool) -> None:
        """Learn from the first frame, and read on from there as if not."""
        info = self.info
        read: list[VideoFrame | AnyPacket] = []
        items = self._decoded(others=True)
        for item in items:
            read.append(item)
            if isinstance(item, Packet) and item.stream.disposition & Disposition.attached_pic:
                self.pictures[item.stream.index] = bytes(item)
            if isinstance(item, VideoFrame):
                self._begin_at_zero(item)
                self._note_side_data(item)
                look = look_of(item, self._decoder.sample_aspect_ratio)
                if item.sw_format is None and look.pixels != self._stream.codec_context.pix_fmt:
                    layout = replace(nearest_layout(item.format), alpha=info.layout.alpha)
                    info = replace(info, layout=layout, coded_bits=bits_of(item.format))
                self._conformer = Conformer(look, info.layout, info.time_base, self.notes)
                self._conformer.lead = self.lead
                info = replace(
                    info,
                    width=look.size[0],
                    height=look.size[1],
                    colour=replace(look.colour, siting=info.colour.siting),
                    hdr=hdr_of(item),
                    display_matrix=display_matrix_of(item),
                    stereo_mode=stereo_mode_of(item),
                )
                break
        else:
            raise self._no_frame()
        if upright and (turn := turn_of(info.display_matrix)):
            self._turn = turn
            info = replace(info, display_matrix=None, stereo_mode=0, projection=b"")
            if turn.transposed:
                info = replace(
                    info,
                    width=info.height,
                    height=info.width,
                    sample_aspect_ratio=1 / info.sample_aspect_ratio,
                    layout=replace(info.layout, across=info.layout.down),
                )
        self.info = info
        self._pending = self._read(chain(read, items))

    def _begin_at_zero(self, first: VideoFrame) -> None:
        """Move all of the film where its first picture is before time zero.

        Containers hide such pictures or hold no times for them.
        """
        if first.pts is not None and first.pts < 0:
            self._lead = -first.pts
            self._owed = [pts + self._lead for pts in self._owed]
            self.notes.append(
                f"the film begins {float(self.lead):.3f} s before time zero: all of it is moved"
            )

    @property
    def is_indexed(self) -> bool:
        """Whether the file lists its frames: their count is more than an estimate."""
        return 0 < self._stream.frames <= len(self._stream.index_entries)

    def _check_end(self) -> None:
        """Note a film that breaks off, or is followed by another; of a pipe, only at its end."""
        file = seekable_input() if self.path == PIPE else None
        if file is not None and is_input_cut_short(file):
            self.notes.append(ENDS_EARLY)
        if not is_pipe(self.path) and holds_another(self.path):
            self.notes.append(ANOTHER_FOLLOWS)
        if not is_pipe(self.path) and is_cut_short(self.path):
            self.notes.append(ENDS_EARLY)
            if self.is_indexed:
                size = self.path.stat().st_size
                entries = self._stream.index_entries
                count = sum(entry.pos < size for entry in entries)  # the last one in part
                self.info = replace(self.info, frame_count=count or None)

    def _frame_count(self, rate: Fraction) -> int | None:
        stream, count = self._stream, 0
        if stream.frames:
            count = stream.frames
        elif stream.duration and stream.time_base:
            count = round(stream.duration * stream.time_base * rate)
        elif self._container.duration:
            count = round(self._container.duration * rate / av.time_base)
        if self.path.is_file() and not is_pipe(self.path):
            most = self.path.stat().st_size // _FEWEST_BYTES
            count = count if count <= most else 0
        return count if count > 0 else None

    def _frame(self, decoded: VideoFrame, previous: Frame | None) -> Frame:
        side_data = self._note_side_data(decoded)
        decoded = self._conformer.conform(decoded, self._decoder.sample_aspect_ratio)
        pts = None if decoded.pts is None else decoded.pts + self._lead
        if pts is None or (previous is not None and pts <= previous.pts):
            # No time of its own, or none that can follow: one frame after the last.
            step = 1 / (self.info.frame_rate * self.info.time_base)
            pts = 0 if previous is None else previous.pts + max(1, previous.duration or round(step))
        if decoded.is_corrupt:
            self.damage.pts.append(pts)
        messages = messages_of(side_data)
        return Frame(self._planes(decoded), pts, decoded.duration or 0, messages)

    def _note_side_data(self, decoded: VideoFrame) -> list[SideData]:
        items = side_data_of(decoded)
        for item in items:
            unset = item.kind == TIMECODE and is_zero_timecode(item)
            if is_worth_a_line(item) and not unset:
                seconds = float((decoded.pts or 0) * self.info.time_base + self.lead)
                self.side_data.setdefault(item.kind, seconds)
        return items

    def _planes(self, decoded: VideoFrame) -> Sequence[Plane]:
        layout = self.info.layout
        if self._turn:
            return tuple(self._turn.apply(plane) for plane in planes_of(decoded, layout))
        if self._on_card and Surface.fits(decoded, layout):
            return Surface(decoded, layout)
        return planes_of(decoded, layout)


def packets_of(
    container: InputContainer,
    ahead: Iterable[AnyPacket] = (),
    ends_early: Callable[[], None] = lambda: None,
    reads_on: Callable[[], None] = lambda: None,
) -> Iterator[AnyPacket]:
    """All packets in file order, reading on behind what can't be read.

    Those that were read `ahead` come first. Empty ones, which only flush decoders, and those of
    chapters are left out. `ends_early` is called where reading fails before the end, `reads_on`
    where it fails and goes on behind.
    """
    yield from ahead
    streams = [stream for stream in container.streams if not is_chapters(stream)]
    failures = 0
    while failures < _READ_ERRORS_IN_A_ROW:
        try:
            for packet in container.demux(*streams):
                if packet.size:
                    if failures:
                        reads_on()
                    failures = 0
                    yield packet
            break
        except av.error.FFmpegError:
            failures += 1
    if failures:
        ends_early()


def on_one_clock(
    packets: Iterable[AnyPacket], video: VideoStream, frame_rate: Fraction
) -> Iterator[AnyPacket]:
    """Packets of a whole file, moved where its clock steps back; see `Timeline`."""
    timeline = Timeline(video, frame_rate)
    for packet in packets:
        yield from timeline.feed(packet)
    yield from timeline.flush()


def moved(packet: AnyPacket, seconds: Fraction) -> AnyPacket:
    """A packet, moved in time."""
    if seconds:
        ticks = round(seconds / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks
    return packet


def rate_of(stream: VideoStream) -> Fraction:
    """Frames per second, on average.

    FFmpeg's guess is the lowest rate by which all times can be told: no average is above it, so
    one that is was taken from a clock, as of raw DV.
    """
    rates = [rate for rate in (stream.average_rate, stream.guessed_rate) if rate and rate > 0]
    return Fraction(min(rates, default=Fraction(25)))


def mark_of(frame: Frame) -> FrameFingerprint:
    """What to know a frame by."""
    digest = hashlib.blake2b(digest_size=16)
    for plane in frame.planes:
        digest.update(plane.tobytes())
    return FrameFingerprint(frame.pts, digest.hexdigest())


def frame_times(path: Path) -> list[float]:
    """When each frame of a film is shown, in seconds and in order; nothing is decoded.

    Raises `MediaError` where it can't be read or doesn't tell.
    """
    with VideoReader(path, closely=False) as reader:
        times = [
            float(packet.pts * packet.time_base)
            for packet in reader.packets()
            if packet.stream_index == reader.index
            and packet.pts is not None
            and not packet.is_discard
        ]
    if not times:
        raise MediaError(f"{path}: doesn't say when its frames are shown")
    return sorted(times)


def count_frames(path: Path, seconds: float) -> int | None:
    """Count the packets of a film without decoding; None where that takes more than `seconds`.

    Raises `MediaError` where it can't be read.
    """
    end = time.perf_counter() + seconds
    count = 0
    with VideoReader(path, closely=False) as reader:
        for packet in packets_of(reader.container):
            if time.perf_counter() > end:
                return None
            count += packet.stream_index == reader.index and not packet.is_discard
    return count


def open_input(
    path: Path, once: bool = False, watch: Callable[[bytes], None] = lambda data: None
) -> InputContainer:
    """Open a media file; standard input (`-`) or a named pipe only where it is read `once`.

    `watch` is called with what is read from a pipe; see `input_of`. Raises `MediaError` in one line
    where that can't be done.
    """
    name = "standard input" if path == PIPE else str(path)
    from_pipe = is_pipe(path)
    try:
        if not from_pipe and not path.exists():
            raise MediaError(f"{path}: no such file")
        if not from_pipe and path.is_dir():
            raise MediaError(f"{path}: is a folder, not a video file")
        if not from_pipe and path.is_file() and path.stat().st_size == 0:
            raise MediaError(f"{path}: is empty (0 bytes)")
        if from_pipe and not once:
            raise MediaError(f"{name}: is a pipe, which can be read only once; name a file")
        opened: InputContainer = av.open(
            input_of(path, watch),
            mode="r",
            metadata_errors="replace",
            container_options=_LOCAL,
        )
        wake(opened)
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(
            f"{name}: can't be read as video ({reason_of(error)}); is it complete?"
        ) from error
    if from_pipe and _lacks_index(opened):
        opened.close()
        raise MediaError(
            f"{name}: an MP4 whose index lies at its end, where a pipe can't be read; give the "
            "file by name, or write it with -movflags +faststart first"
        )
    return opened


def _lacks_index(container: InputContainer) -> bool:
    """Whether nothing is known of an MP4's pictures: its index came after them, in a pipe."""
    contexts = [stream.codec_context for stream in container.streams.video]
    known = [context for context in contexts if context and context.pix_fmt]
    return "mp4" in container.format.name and bool(contexts) and not known


def reason_of(error: Exception) -> str:
    """An error of FFmpeg's or the system's in a few words."""
    return str(getattr(error, "strerror", None) or error).lower()
