"""Read everything in a film that `vsr verify` compares."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from vsr.media.decode.completeness import ENDS_EARLY
from vsr.media.decode.container import AnyPacket, open_input, shift_packet
from vsr.media.decode.part import Part
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.stream_choice import candidates, is_chapters
from vsr.media.decode.survey import Survey, survey_film
from vsr.media.frame import StreamInfo
from vsr.media.mux.stream_copy import is_timecode_track
from vsr.media.mux.tags import global_tags, stream_tags
from vsr.media.mux.timecode import advanced_tags
from vsr.media.mux.window import Window
from vsr.media.packet_content import AUDIO_LAYERS, Content
from vsr.media.verify.excerpt import Excerpt, find_excerpt
from vsr.media.verify.subtitle_text import normalised, text_of

_CAPTIONS = b"GA94\x03"
"""The first bytes of captions in MPEG-2, H.264, HEVC and AV1 (ATSC A/53 Part 4)."""


@dataclass
class Track:
    """A stream beside the video, in one of the two files."""

    index: int
    """In its file."""
    type: str
    """FFmpeg's media type, or "picture" for a cover picture."""
    codec: str
    tags: dict[str, str]
    disposition: int
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=8))
    packets: int = 0
    first: Fraction | None = None
    last: Fraction | None = None
    time_base: Fraction = Fraction(0)
    content: Content | None = None
    """Extracts the content of packets; None for an attachment."""
    cues: list[tuple[Fraction, bytes]] = field(default_factory=list)
    """Of text: start and content of each."""

    def add(self, content: bytes, start: Fraction | None, end: Fraction | None) -> None:
        """Add a packet."""
        self.packets += 1
        self.digest.update(len(content).to_bytes(8, "big") + content)
        if start is not None:
            self.first = start if self.first is None else self.first
            self.last = end

    def add_cues(self) -> None:
        """Add all cues as packets; cues with the same start become one."""
        lines_at: dict[Fraction, list[bytes]] = {}
        for start, content in self.cues:
            lines_at.setdefault(start, []).append(content)
        for start, lines in sorted(lines_at.items()):
            text = b"{\\r}\n".join(lines).decode(errors="replace")
            self.add(normalised(text).encode(), start, start)


@dataclass
class FilmContents:
    """Everything in a file that is compared."""

    path: Path
    number: int | None
    """The video stream, if one was chosen."""
    lead: Fraction
    """Seconds added to all times."""
    info: StreamInfo
    times: list[int]
    tracks: list[Track]
    chapters: list[tuple[Fraction, Fraction, str]]
    """Start and end in seconds, and title."""
    tags: dict[str, str]
    survey: Survey
    captioned: int = 0
    """Video packets with captions."""
    video_tags: dict[str, str] = field(default_factory=dict)
    is_cut_short: bool = False
    """Whether the file can't be read to its end."""
    read_errors: int = 0
    """Places where reading failed and then continued."""
    window: Window | None = None
    """The part that all of this is of; None for a whole film."""

    def seconds(self) -> list[Fraction]:
        """Return the times of the frames in seconds."""
        return [time * self.info.time_base for time in self.times]

    def readable(self) -> str:
        """Describe how far the file could be read."""
        if self.is_cut_short:
            return "not to its end"
        if self.read_errors:
            return f"but for {self.read_errors} place{'s' if self.read_errors > 1 else ''}"
        return "whole"


def read_contents(
    path: Path,
    number: int | None = None,
    part: Part | None = None,
    output: FilmContents | None = None,
) -> FilmContents:
    """Read a whole file, or what an `output` of its `part` should contain.

    `number` chooses one of several video streams. Raises `MediaError` where the file can't be
    opened, or where the part isn't found.
    """
    excerpt: Excerpt | None = None
    with VideoReader(path, probe_first_frame=True, video=number) as reader:
        info, index, lead = reader.info, reader.index, reader.lead
        is_cut_short = ENDS_EARLY in reader.notes
        if part is not None and output is not None:
            excerpt = find_excerpt(reader, part, output.seconds(), output.info.frame_rate)
    survey = survey_film(path, number)
    with VideoReader(path, probe_first_frame=False, video=number) as reader:
        container = reader.container
        video = container.streams[index]
        tracks = {
            stream.index: _track(stream)
            for stream in container.streams
            if stream.index != index and not is_chapters(stream) and not is_timecode_track(stream)
        }
        times, captioned = _packets_of(reader, tracks, lead, excerpt)
        chapters = [
            (
                Fraction(chapter["start"] * (chapter["time_base"] or 1)) + lead,
                Fraction(chapter["end"] * (chapter["time_base"] or 1)) + lead,
                chapter["metadata"].get("title", ""),
            )
            for chapter in container.chapters()
        ]
        contents = FilmContents(
            path=path,
            number=number,
            lead=lead,
            info=info,
            times=times or _frames_of(path, number),
            tracks=list(tracks.values()),
            chapters=chapters,
            tags=global_tags(container),
            survey=survey,
            captioned=captioned,
            video_tags=dict(video.metadata),
            is_cut_short=is_cut_short or reader.damage.ends_early,
            read_errors=reader.damage.read_errors,
        )
        if excerpt is not None:
            _cut(contents, excerpt)
        return contents


def _cut(contents: FilmContents, excerpt: Excerpt) -> None:
    """Cut frames, chapters, captions and timecodes to a part, and move them to its clock."""
    contents.window = window = excerpt.window
    contents.times = excerpt.frame_times()
    contents.info = replace(contents.info, time_base=excerpt.time_base)
    before, rate = window.seconds_before, contents.info.frame_rate
    contents.chapters = list(excerpt.chapters(contents.chapters))
    contents.survey.captions = {
        time - window.start: payload
        for time, payload in contents.survey.captions.items()
        if time >= window.start
    }
    contents.tags = advanced_tags(contents.tags, before, rate)
    contents.video_tags = advanced_tags(contents.video_tags, before, rate)
    for track in contents.tracks:
        track.tags = advanced_tags(track.tags, before, rate)


def upscaled_video(source: Path, output: Path, number: int) -> int:
    """Find the upscaled stream in an output that may lack other video streams of its source.

    It differs from all other streams of the source in codec or size. Streams are counted from 1.
    """
    with open_input(source) as before, open_input(output) as after:
        if len(candidates(before)) == len(candidates(after)):
            return number
        others = [_shape(s) for n, s in enumerate(candidates(before), 1) if n != number]
        for position, stream in enumerate(candidates(after), 1):
            if _shape(stream) not in others:
                return position
            others.remove(_shape(stream))
    return number


def _shape(stream: VideoStream) -> tuple[str, int, int]:
    context = stream.codec_context
    return (context.name, context.width, context.height) if context else ("", 0, 0)


def _packets_of(
    reader: VideoReader, tracks: dict[int, Track], lead: Fraction, excerpt: Excerpt | None
) -> tuple[list[int], int]:
    """Add all packets to their tracks; return the times of video packets, and the captioned count.

    Times are moved by `lead`. There are none unless every video packet has one. Of an excerpt, only
    its packets count.
    """
    times, all_timed, captioned = [], True, 0
    texts = {index for index, track in tracks.items() if track.codec == "text"}
    packets: Iterator[AnyPacket]
    packets = (shift_packet(packet, lead) for packet in reader.packets())
    if excerpt is not None:
        packets = excerpt.packets(packets, reader.index)
    for packet in packets:
        if packet.stream_index == reader.index:
            all_timed = all_timed and packet.pts is not None
            if packet.pts is not None and not packet.is_discard:
                times.append(packet.pts)
            captioned += _CAPTIONS in bytes(packet)
        elif track := tracks.get(packet.stream_index):
            _add_packet(track, packet, packet.stream_index in texts)
    for index in texts:
        tracks[index].add_cues()
    return sorted(times) if all_timed else [], captioned


def _frames_of(path: Path, number: int | None) -> list[int]:
    """Return the times of decoded frames, where packets lack times."""
    with VideoReader(path, probe_first_frame=True, video=number) as reader:
        return [frame.pts for frame in reader.frames()]


def _add_packet(track: Track, packet: Any, is_text: bool) -> None:
    time = None if packet.pts is None else packet.pts * packet.time_base
    if is_text:
        if content := text_of(packet):  # empty for the samples that fill gaps in MP4
            track.cues.append((time or Fraction(0), content))
        return
    assert track.content is not None
    content = track.content.of(packet)
    if not track.content.is_pcm:
        track.add(content, time, time)
        return
    # Containers split PCM into packets at different samples.
    track.packets += len(content)
    track.digest.update(content)
    if time is not None:
        track.first = time if track.first is None else track.first
        track.last = time + track.content.seconds


def _track(stream: Stream) -> Track:
    codec = stream.codec_context.name if stream.codec_context else getattr(stream, "name", "")
    if codec in ("subrip", "srt", "mov_text", "text"):
        codec = "text"
    if codec in AUDIO_LAYERS:
        codec = "mpeg"
    media_type: str = stream.type
    if stream.disposition & Disposition.attached_pic:
        media_type = "picture"
    content = None if stream.type == "attachment" else Content(stream)
    if content is not None and content.is_pcm:
        codec = "pcm"
    track = Track(
        index=stream.index,
        type=media_type,
        codec=codec,
        tags=stream_tags(stream),
        disposition=int(stream.disposition),
        time_base=stream.time_base or Fraction(0),
        content=content,
    )
    if stream.type == "attachment":
        track.digest.update(stream.data)  # type: ignore[attr-defined]
        track.packets = 1
        track.codec = stream.metadata.get("filename", "")
    return track
