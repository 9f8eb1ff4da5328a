"""Decode a film to frames, interleaved with the packets of its other streams."""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.errors import MediaError
from vsr.media.decode.completeness import ENDS_EARLY, check_end
from vsr.media.decode.concealment import ConcealingDecoder
from vsr.media.decode.conform import Conformer, FormatChange, FrameFormat
from vsr.media.decode.container import AnyPacket, shift_packet
from vsr.media.decode.decoder import Decoder, decoder_of
from vsr.media.decode.deinterlace import Deinterlace
from vsr.media.decode.demuxer import Damage, Demuxer
from vsr.media.decode.describe import (
    describe_first_frame,
    describe_stream,
    frames_within,
    is_indexed,
    rotated_info,
)
from vsr.media.decode.field_frame import FieldFrame
from vsr.media.decode.field_mode import FieldFilter, FieldMode
from vsr.media.decode.field_watch import FieldWatch
from vsr.media.decode.frame_metadata import messages_of
from vsr.media.decode.hw_surface import Surface
from vsr.media.decode.rotation import Rotation, rotation_of
from vsr.media.decode.side_data import (
    TIMECODE,
    is_worth_a_line,
    is_zero_timecode,
    side_data_of,
)
from vsr.media.fingerprint import FrameFingerprint, fingerprint_of
from vsr.media.frame import Frame, Plane
from vsr.media.pyav import planes_of
from vsr.system.address import is_pipe

_SEEK_SECONDS = (2, 10, 60)


class VideoReader:
    """Reads the film in a file, see `stream_choice`, and the file's other streams.

    Iterating gives `Frame`s in presentation order, and the packets of the other streams as they
    come. Damaged frames are decoded as far as possible. A frame that can't be decoded repeats the
    previous one; `damage` lists both. Raises `MediaError` where the file is missing, broken or has
    no video.
    """

    def __init__(
        self,
        path: Path | str,
        deinterlace: Deinterlace = "off",
        apply_rotation: bool = False,
        probe_first_frame: bool = True,
        decoder: Decoder = "cpu",
        keep_on_gpu: bool = False,
        once: bool = False,
        video: int | None = None,
        inverse_telecine: bool = False,
        is_bottom_first: bool = False,
        threads: int = 0,
    ) -> None:
        """Open a file; standard input (`-`) or a named pipe only if it is read `once`.

        `video` chooses one of several video streams, from 1; see `stream_choice.choose`.

        `decoder` "gpu" decodes on an NVIDIA GPU if one supports the codec; see `on_gpu`. Frames are
        copied to CPU memory, unless `keep_on_gpu`: their planes are then a `Surface` where
        possible. `probe_first_frame` decodes the first frame on opening: players trust it over the
        container about size, pixels and colours, and only frames have HDR metadata and the display
        matrix. `apply_rotation` rotates frames as players would, and implies
        `probe_first_frame`. `deinterlace` "double" returns a frame for each field, and
        `inverse_telecine` removes 3:2 pulldown; `info` describes the frames that are returned.
        `is_bottom_first` is the field order of frames whose flags don't tell it. Damaged frames
        depend on the `threads` of the decoder; 0 leaves them to FFmpeg.
        """
        self._field_mode = FieldMode(deinterlace, inverse_telecine, is_bottom_first)
        self.path = Path(path)
        self.notes: list[str] = []
        """Messages for the user, one line each."""
        self.side_data: dict[str, float] = {}
        """Types of side data worth reporting, and the time in seconds of the first of each."""
        self.pictures: dict[int, bytes] = {}
        """Cover pictures by stream, as far as they precede the first frame."""
        self.watch: FieldWatch | None = None
        """Analyses the fields of some frames that pass, if set before they are read."""
        self._decoder_choice, self._keep_on_gpu = decoder, keep_on_gpu
        self.threads = threads
        """Threads of the decoder; 0 for FFmpeg's choice."""
        self._pending: Iterator[Frame | AnyPacket] | None = None
        self._rotation: Rotation | None = None
        self._lead = 0
        """Ticks of the stream added to all times, so that no frame is before time zero."""
        self.video = video
        """The video stream that was asked for, from 1; None for the default one."""
        self.first_pts = 0
        """pts of the film's first frame, if it was probed."""
        self._demuxer = Demuxer(self.path, once, self.notes, video)
        try:
            self._open_decoder()
            info, like = describe_stream(
                path=self.path,
                container=self.container,
                stream=self.stream,
                decoder=self._decoder,
            )
            self.info = self._field_mode.output_info(info, str(self.path))
            self.is_indexed = is_indexed(self.stream)
            """Whether the file lists its frames, so that their count is exact."""
            self._fields = FieldFilter(self._field_mode, self.stream, self.info)
            self._conformer = self._conformer_to(like)
            if probe_first_frame or apply_rotation:
                self._probe_first_frame(apply_rotation)
                self._check_end()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._demuxer.close()

    @property
    def container(self) -> InputContainer:
        """The open file."""
        return self._demuxer.container

    @property
    def stream(self) -> VideoStream:
        """The video stream."""
        return self._demuxer.stream

    @property
    def index(self) -> int:
        """The index of the video stream among the file's streams."""
        return self.stream.index

    @property
    def codec(self) -> str:
        """FFmpeg's name of the video codec, such as `h264`."""
        return self.stream.codec_context.name

    @property
    def damage(self) -> Damage:
        """Damaged and unreadable parts so far."""
        return self._demuxer.damage

    @property
    def lead(self) -> Fraction:
        """Seconds added to all times of the film; 0 unless the first frame was probed."""
        return self._lead * self._ticks * self.info.time_base

    @property
    def frame_format(self) -> FrameFormat:
        """Size, pixel format and colour tags that all frames are converted to."""
        return self._conformer.like

    def announce(self, change: FormatChange, line: str | None) -> None:
        """Note a change of format before its frames are read; see `Conformer.announce`."""
        self._conformer.announce(change, line)

    @property
    def is_rotated(self) -> bool:
        """Whether frames are rotated as players would."""
        return self._rotation is not None

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU decodes."""
        return self._decoder.is_hwaccel

    @property
    def interlaced(self) -> int:
        """Interlaced frames so far."""
        return self._fields.interlaced

    def field_notes(self) -> list[str]:
        """Describe what became of the fields of the frames; to be called after the last one."""
        return self._fields.notes()

    def set_bottom_first(self) -> None:
        """Assume the bottom field first where flags don't tell it; before any frame is read."""
        self.reopen()
        self._field_mode = replace(self._field_mode, is_bottom_first=True)
        self._fields.restart(self.stream, is_bottom_first=True)

    @property
    def field_mode(self) -> FieldMode:
        """What becomes of the fields of the stream's frames."""
        return self._field_mode

    @property
    def source_rate(self) -> Fraction:
        """Average frames per second of the stream, before its fields are processed."""
        return self.info.frame_rate / self._field_mode.frames

    def frames(self) -> Iterator[Frame]:
        """Iterate over the frames, skipping the other streams."""
        for item in self._items(others=False):
            if isinstance(item, Frame):
                yield item

    def __iter__(self) -> Iterator[Frame | AnyPacket]:
        return self._items(others=True)

    def packets(self) -> Iterator[AnyPacket]:
        """Iterate over all packets in file order, undecoded, on one rising clock.

        Needs a reader that has read nothing yet.
        """
        return self._demuxer.packets()

    def decoded_frames(self) -> Iterator[VideoFrame]:
        """Iterate over decoded frames before deinterlacing and conversion."""
        for packet in self._demuxer.packets_to_end(others=False):
            yield from self._concealing.decode(packet, self._lead)

    def sample(self, count: int) -> list[Frame]:
        """Return up to `count` frames spread over the film, as seeking finds them.

        Unreachable ones are skipped. Iterating afterwards needs a new reader.
        """
        stream = self.stream
        found: dict[int, Frame] = {}
        for index in range(count):
            try:
                if stream.duration:
                    position = (stream.start_time or 0) + stream.duration * index // count
                    self.container.seek(position, stream=stream)
                decoded = next(self.container.decode(stream), None)
                if decoded is not None and isinstance(decoded, VideoFrame):
                    frame = self._frame(FieldFrame(decoded, tuple(side_data_of(decoded))), None)
                    found[frame.pts] = frame
            except (av.error.FFmpegError, MediaError):
                continue
        return list(found.values())

    def seek_to_middle(self) -> None:
        """Seek to a keyframe about half-way, if the film can be sought in."""
        stream = self.stream
        if not stream.duration:
            self.reopen()
        else:
            self._seek_to((stream.start_time or 0) + stream.duration // 2)

    def seek_before(self, pts: int, seconds: int = 0) -> None:
        """Seek to a keyframe some seconds before `pts`, if the film can be sought in.

        Frames after a keyframe may differ from those that reading from the start gives.
        """
        ticks = pts - round(seconds / self.info.time_base)
        self._seek_to(ticks // self._ticks - self._lead)

    def _seek_to(self, position: int) -> None:
        self.reopen()
        stream = self.stream
        try:
            self.container.seek(position, stream=stream)
            items = self._read(self._decoded(others=False))
            self._pending = chain([next(items)], items)
        except (av.error.FFmpegError, MediaError, StopIteration):  # no keyframe from there on
            self.reopen()

    def resume_after(self, fingerprints: Sequence[FrameFingerprint]) -> list[Frame]:
        """Seek behind the frames with these fingerprints, and return these frames.

        The next frames are the same as if all had been read. Decoding starts at a keyframe some
        seconds before if that gives the same frames, else at the start. Without fingerprints, the
        film is read from its start. Raises `MediaError` where the frames aren't found.
        """
        if not fingerprints:
            self.reopen()
            self._demuxer.damage = Damage([])
            return []
        for seconds in (*_SEEK_SECONDS, None):
            self.reopen()
            if seconds is not None and not self._seek(fingerprints[0].pts, seconds):
                continue
            last: deque[Frame] = deque(maxlen=len(fingerprints))
            self._pending = self._read(self._decoded(others=False))
            with contextlib.suppress(MediaError):  # no frame can be decoded from there on
                for item in self._pending:
                    assert isinstance(item, Frame)
                    last.append(item)
                    if item.pts >= fingerprints[-1].pts:
                        break
            if [fingerprint_of(frame) for frame in last] == list(fingerprints):
                self._demuxer.damage = Damage([])
                return list(last)
        raise MediaError(f"{self.path}: its frames have changed since the run started")

    def reopen(self) -> None:
        """Open the file again, to read it from its start."""
        self._demuxer.reopen()
        self._open_decoder()
        self._fields.restart(self.stream)
        self._pending = None

    def _seek(self, pts: int, seconds: int) -> bool:
        ticks = pts - round(seconds / self.info.time_base)
        return self._demuxer.seek(ticks // self._ticks - self._lead)

    @property
    def _ticks(self) -> int:
        """Output ticks in a tick of the stream."""
        return self._field_mode.ticks

    def _open_decoder(self) -> None:
        self._decoder = decoder_of(self.stream, self._decoder_choice, self._keep_on_gpu)
        self._decoder.thread_type = "AUTO"
        self._decoder.thread_count = self.threads
        self._concealing = ConcealingDecoder(self._decoder)

    def _conformer_to(self, like: FrameFormat) -> Conformer:
        return Conformer(
            like=like,
            layout=self.info.layout,
            time_base=self.info.time_base,
            notes=self.notes,
        )

    def _probe_first_frame(self, apply_rotation: bool) -> None:
        """Decode up to the first frame, correct `info` by it, and keep what was read."""
        read: list[FieldFrame | AnyPacket] = []
        items = self._decoded(others=True)
        for item in items:
            read.append(item)
            if isinstance(item, Packet) and item.stream.disposition & Disposition.attached_pic:
                self.pictures[item.stream.index] = bytes(item)
            if isinstance(item, FieldFrame):
                self._start_at_zero(item.frame)
                self.first_pts = (item.frame.pts or 0) + self._lead * self.field_mode.ticks
                self._note_side_data(item)
                self.info, like = describe_first_frame(
                    info=self.info, frame=item.frame, stream=self.stream, decoder=self._decoder
                )
                self._conformer = self._conformer_to(like)
                self._conformer.lead = self.lead
                break
        else:
            raise self._no_frame()
        if apply_rotation and (rotation := rotation_of(self.info.display_matrix)):
            self._rotation = rotation
            self.info = rotated_info(self.info, rotation)
        self._pending = self._read(chain(read, items))

    def _start_at_zero(self, first: VideoFrame) -> None:
        """Move the film to time zero where its first frame is before it.

        Containers hide such frames or can't store their times.
        """
        if first.pts is not None and first.pts < 0:
            self._lead = -first.pts // self._ticks
            self._concealing.shift(self._lead)
            self.notes.append(
                f"the film starts {float(self.lead):.3f} s before time zero: "
                "all its times are moved by that much"
            )

    def _check_end(self) -> None:
        """Note a film that is cut short or followed by another; of a pipe, only at its end."""
        notes = check_end(self.path)
        self.notes += notes
        if ENDS_EARLY in notes and not is_pipe(self.path) and self.is_indexed:
            # The last of these frames is incomplete.
            count = frames_within(self.stream, self.path.stat().st_size)
            frame_count = self._field_mode.output_count(count or None)
            self.info = replace(self.info, frame_count=frame_count)

    def _items(self, others: bool) -> Iterator[Frame | AnyPacket]:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            return pending
        return self._read(self._decoded(others))

    def _read(self, decoded: Iterator[FieldFrame | AnyPacket]) -> Iterator[Frame | AnyPacket]:
        previous: Frame | None = None
        for item in decoded:
            if isinstance(item, Packet):
                yield shift_packet(item, self.lead)
                continue
            frame = self._frame(item, previous)
            yield from self._missing_before(frame.pts, previous)
            yield frame
            previous = frame
        yield from self._missing_before(None, previous)
        if previous is None:
            raise self._no_frame()

    def _no_frame(self) -> MediaError:
        return MediaError(f"{self.path}: its video stream has no frame that can be decoded")

    def _missing_before(self, pts: int | None, previous: Frame | None) -> Iterator[Frame]:
        """Repeat the previous frame in place of lost ones; field filters have done so before."""
        if self._ticks > 1 or previous is None:
            return
        for missing in self._concealing.missing_before(pts, previous.pts, self._frames_per_tick):
            self.damage.pts.append(missing)
            yield replace(previous, pts=missing, messages=())

    @property
    def _frames_per_tick(self) -> Fraction:
        """Frames of the stream in one of its ticks."""
        return self.source_rate * self.info.time_base * self._ticks

    def _decoded(self, others: bool) -> Iterator[FieldFrame | AnyPacket]:
        """Decoded frames after the field filter, and other streams' packets."""
        previous: tuple[VideoFrame, int] | None = None
        for packet in self._demuxer.packets_to_end(others):
            if packet is not None and packet.stream is not self.stream:
                if packet.size:  # empty packets only flush decoders
                    yield packet
                continue
            for frame in self._concealing.decode(packet, self._lead):
                if self.watch is not None:
                    self.watch.add(frame)
                if self._ticks > 1 and frame.pts is not None:
                    pts = frame.pts
                    yield from self._repeats(pts, previous)
                    previous = frame, pts
                yield from self._fields.process(frame)
        if self._ticks > 1:
            yield from self._repeats(None, previous)
        yield from self._fields.process(None)

    def _repeats(
        self, pts: int | None, previous: tuple[VideoFrame, int] | None
    ) -> Iterator[FieldFrame]:
        """Add the previous decoded frame to the field filter again in place of lost ones.

        Times are those of the stream, before `lead` is added.
        """
        if previous is None:
            return
        frame, last = previous
        times = None if pts is None else pts + self._lead, last + self._lead
        for missing in self._concealing.missing_before(*times, self._frames_per_tick):
            self.damage.pts.append(missing * self._ticks)
            frame.pts = missing - self._lead
            yield from self._fields.process(frame, is_repeat=True)

    def _frame(self, item: FieldFrame, previous: Frame | None) -> Frame:
        self._note_side_data(item)
        decoded = self._conformer.conform(item.frame, self._decoder.sample_aspect_ratio)
        pts = None if decoded.pts is None else decoded.pts + self._lead * self._ticks
        if pts is None or (previous is not None and pts <= previous.pts):
            # Without a usable time, a frame follows the previous one by one frame.
            rate = self.info.frame_rate * self.info.time_base
            duration = (previous.duration if previous else 0) or round(1 / rate)
            pts = previous.pts + max(1, duration) if previous else 0
        if decoded.is_corrupt:
            self.damage.pts.append(pts)
        return Frame(
            planes=self._planes(decoded),
            pts=pts,
            duration=decoded.duration or 0,
            messages=messages_of(item.side_data),
            bit_depth=self.info.layout.bit_depth,
        )

    def _note_side_data(self, item: FieldFrame) -> None:
        for data in item.side_data:
            unset = data.type == TIMECODE and is_zero_timecode(data)
            if is_worth_a_line(data) and not unset:
                seconds = float((item.frame.pts or 0) * self.info.time_base + self.lead)
                self.side_data.setdefault(data.type, seconds)

    def _planes(self, decoded: VideoFrame) -> Sequence[Plane]:
        layout = self.info.layout
        if self._rotation:
            return tuple(self._rotation.apply(plane) for plane in planes_of(decoded, layout))
        if self._keep_on_gpu and Surface.fits(decoded, layout):
            return Surface(decoded, layout)
        return planes_of(decoded, layout)
