"""What goes along with the upscaled video: other streams, chapters, tags; and what can't."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream
from av.subtitles.subtitle import SubtitleSet

from vsr.media.decode.container import AnyPacket, open_input
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.stream_choice import is_chapters
from vsr.media.mux.subtitle_cues import Cues
from vsr.media.mux.trial_mux import add_copy, first_packets, holds
from vsr.media.packet_content import plain_pcm, repacked
from vsr.system.address import is_pipe

MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".nut": "nut"}
"""FFmpeg's name of each container that is written."""

Way = Literal["copy", "text", "pcm", "attachment"]
"""How a stream goes along: packet by packet, as the container's own kind of subtitles, as the same
samples of PCM in another order of bytes, or as an attachment, as Matroska holds cover pictures."""

_PICTURES = {"mjpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "bmp": "image/bmp"}
_PLAIN_TEXT = {"subrip", "mov_text", "text"}
"""Subtitles that say no more than the others can hold."""
_TEXT_OF = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip"}
_STALE = ("major_brand", "minor_version", "compatible_brands", "encoder", "vendor_id", "duration")
_STATISTICS = ("bps", "number_of_", "_statistics_", "duration")
_KNOWN_TO_MP4 = frozenset(
    {
        *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"),
        *("copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"),
        *("network", "keywords", "creation_time", "timecode", "track"),
    }
)
_STREAM_TAGS_OF_MP4 = frozenset({"language", "title", "handler_name", "creation_time", "timecode"})


@dataclass(frozen=True)
class CopiedStream:
    """One stream that goes along."""

    index: int
    """In the source."""
    way: Way


@dataclass(frozen=True)
class CopyPlan:
    """All that a film holds beside the video that is upscaled, and where it lies."""

    path: Path
    video: int
    """Index of the video stream that is upscaled."""
    streams: tuple[CopiedStream, ...]
    left_out: tuple[str, ...]
    """What the container can't hold, and which could, in words."""
    audio_tracks: int = 0
    """Of the streams that go along."""
    lead: Fraction = Fraction(0)
    """Seconds by which all of the film is moved, as `VideoReader.lead` has it."""
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    """Cover pictures by stream, of a source that can't be opened again."""


def plan_copy(reader: VideoReader, suffix: str) -> CopyPlan:
    """Plan what goes along into a container, by trying each stream on its muxer."""
    carried, left_out = [], []
    others = [s.index for s in reader.container.streams if s.index != reader.index]
    first = first_packets(reader.path, others)
    for stream in reader.container.streams:
        if stream.index == reader.index or is_chapters(stream):
            continue  # chapters are tracks of text to mp4; they go along as chapters
        if is_timecode_track(stream) and "timecode" in reader.stream.metadata:
            continue  # made anew from the video's tags
        if way := _way(stream, suffix, first[stream.index]):
            carried.append(CopiedStream(stream.index, way))
            left_out += _tags_left_out(stream, suffix)
        else:
            left_out.append(_words(stream, suffix, first[stream.index]))
    if suffix == ".mp4" and has_cover(reader.container):
        left_out += [
            f"tag {key}: .mp4 can't hold it beside a cover picture, .mkv can"
            for key in free_tags(reader.container)
        ]
    pictures = reader.pictures if is_pipe(reader.path) else {}
    sounds = [c for c in carried if reader.container.streams[c.index].type == "audio"]
    return CopyPlan(
        *(reader.path, reader.index, tuple(carried), tuple(left_out)),
        audio_tracks=len(sounds),
        lead=reader.lead,
        pictures=pictures,
    )


def left_out_of_y4m(reader: VideoReader) -> tuple[str, ...]:
    """What a format of pictures alone leaves out, in words."""
    lost = [
        f"{_name(stream)}: y4m holds pictures alone, nut holds more"
        for stream in reader.container.streams
        if stream.index != reader.index and not is_chapters(stream)
    ]
    if reader.container.chapters():
        lost.append("chapters: y4m holds none")
    return tuple(lost)


class StreamCopier:
    """The way of one stream into an output."""

    def __init__(self, source: Stream, output: OutputContainer, suffix: str, way: Way) -> None:
        self.unconverted = 0
        """Subtitles that could not be converted."""
        self._source = source
        self._way = way
        self._cues: Cues | None = None
        if way == "text" and suffix in (".mp4", ".mov") and source.time_base:
            self._cues = Cues(source.time_base)
        copy: Any
        if way == "text":
            copy = output.add_stream(_TEXT_OF[suffix])
            decoder: Any = source.codec_context
            decoder.open(strict=False)
            copy.codec_context.subtitle_header = decoder.subtitle_header
            copy.time_base = source.time_base
        elif way == "pcm":
            of: Any = source.codec_context
            copy = output.add_stream(plain_pcm(source), rate=of.sample_rate)
            copy.codec_context.layout = of.layout
            copy.time_base = source.time_base
        else:
            copy = add_copy(output, source)
        tags = stream_tags(source)
        if suffix in (".mp4", ".mov") and "title" in tags:
            tags.setdefault("handler_name", tags["title"])  # which is what many players show
        copy.metadata.update(tags)
        copy.disposition = source.disposition
        self._copy = copy
        self._last: int | None = None
        self._step = 0 if suffix in (".mkv", ".webm") else 1

    def packets(self, packet: AnyPacket) -> Iterator[AnyPacket]:
        """What a packet of the source becomes."""
        decoder: Any = self._source.codec_context
        if self._way == "copy":
            packet.stream = self._copy
            yield packet
            return
        if self._way == "pcm":
            for coded in repacked(packet, decoder, self._copy.codec_context):
                coded.stream = self._copy
                yield coded
            return
        try:
            words = decoder.decode2(packet)
        except av.error.FFmpegError:
            self.unconverted += 1
            return
        if words:  # none in what fills gaps in mp4
            begin, duration = packet.pts or 0, packet.duration or 0
            if self._cues is None:
                yield from self._encoded(begin, duration, words)
            else:
                self._cues.add(begin, duration, words)

    def due(self, now: Fraction | None) -> Iterator[AnyPacket]:
        """What was held of earlier packets, and is due at `now` seconds; None is the end."""
        if self._cues is None:
            return
        for cue in self._cues.due(now):
            yield from self._encoded(*cue)

    def _encoded(self, begin: int, duration: int, words: SubtitleSet) -> Iterator[AnyPacket]:
        """A subtitle as a packet of the output; none where it can't be encoded."""
        coded: Any
        try:
            coded = self._copy.codec_context.encode_subtitle(words)
        except av.error.FFmpegError:
            self.unconverted += 1
            return
        coded.pts = coded.dts = begin
        coded.duration, coded.time_base = duration, self._source.time_base
        coded.stream = self._copy
        yield coded

    def on_time(self, packet: AnyPacket) -> AnyPacket:
        """A packet in the output's ticks, later than the last one of the stream.

        Muxers refuse the others, which would be lost.
        """
        base = self._copy.time_base
        if not base or not packet.time_base or packet.dts is None:
            return packet
        ticks = {
            name: _rounded(value * packet.time_base / base)
            for name in ("pts", "dts", "duration")
            if (value := getattr(packet, name)) is not None
        }
        least = ticks["dts"] if self._last is None else self._last + self._step
        if least > ticks["dts"]:
            ticks["dts"], ticks["pts"] = least, max(least, ticks.get("pts", least))
        for name, value in ticks.items():
            setattr(packet, name, value)
        packet.time_base = base
        self._last = ticks["dts"]
        return packet


def add_streams(
    baggage: CopyPlan,
    source: InputContainer,
    output: OutputContainer,
    suffix: str,
    add_video: Any,
) -> dict[int, StreamCopier]:
    """Give an output its streams, in the source's order, its chapters and its tags.

    `add_video()` adds the upscaled one at its place.
    """
    lanes = {}
    ways = {carried.index: carried.way for carried in baggage.streams}
    for stream in source.streams:
        if stream.index == baggage.video:
            video = add_video()
            video.metadata.update(stream_tags(stream))
            video.disposition = stream.disposition
        elif ways.get(stream.index) == "attachment":
            _attach(baggage, stream, output)
        elif way := ways.get(stream.index):
            lanes[stream.index] = StreamCopier(stream, output, suffix, way)
    output.metadata.update(global_tags(source))
    output.set_chapters(_chapters(source, baggage.lead))
    return lanes


def _chapters(source: InputContainer, lead: Fraction) -> Any:
    chapters: list[Any] = source.chapters()
    for chapter in chapters if lead else ():
        ticks = round(lead / (chapter["time_base"] or 1))
        chapter["start"], chapter["end"] = chapter["start"] + ticks, chapter["end"] + ticks
    return chapters


def global_tags(source: InputContainer) -> dict[str, str]:
    """What a file says of itself, less what is true of that file alone."""
    return {k: v for k, v in source.metadata.items() if k.lower() not in _STALE}


def stream_tags(stream: Stream) -> dict[str, str]:
    """What a stream says of itself, less what is true of its old packets alone."""
    tags = {
        key: value
        for key, value in stream.metadata.items()
        if key.lower() not in _STALE and not key.lower().startswith(_STATISTICS)
    }
    if "name" in tags and stream.type != "attachment":  # so MP4 calls a title
        tags["title"] = tags.pop("name")
    return tags


def free_tags(source: InputContainer) -> list[str]:
    """What a file says of itself that MP4's usual tags have no place for, by name."""
    return [key for key in global_tags(source) if key.lower() not in _KNOWN_TO_MP4]


def is_timecode_track(stream: Stream) -> bool:
    """Whether a stream is a track of timecodes, as QuickTime has them."""
    return stream.type == "data" and "timecode" in stream.metadata


def has_cover(source: InputContainer) -> bool:
    """Whether one of a file's streams is a cover picture."""
    return any(stream.disposition & Disposition.attached_pic for stream in source.streams)


def give_time(packet: AnyPacket, last: dict[int, int]) -> AnyPacket:
    """A packet that says when it is due: after the last one of its stream, where it didn't.

    `last` holds where each stream is; cover pictures are due at once.
    """
    index = packet.stream_index
    if packet.dts is None:
        packet.dts = last.get(index, 0) if packet.pts is None else packet.pts
    if packet.pts is None:
        packet.pts = packet.dts
    last[index] = packet.dts + (packet.duration or 0)
    return packet


def _rounded(value: Fraction) -> int:
    """To the nearest, and halves away from zero, as FFmpeg rounds times."""
    size = int(abs(value) + Fraction(1, 2))
    return size if value >= 0 else -size


def _way(stream: Stream, suffix: str, first: Sequence[AnyPacket]) -> Way | None:
    if stream.disposition & Disposition.attached_pic and suffix in (".mkv", ".webm"):
        codec = getattr(stream.codec_context, "name", None)
        return "attachment" if suffix == ".mkv" and codec in _PICTURES else None
    if holds(stream, MUXERS[suffix], first):
        return "copy"
    codec = stream.codec_context.codec.name if stream.codec_context else ""
    if samples := plain_pcm(stream):
        return "pcm" if _has_encoder(samples, suffix) else None
    plain = stream.type == "subtitle" and _subtitle_kind(codec) in _PLAIN_TEXT
    return "text" if plain and suffix in _TEXT_OF else None


def _subtitle_kind(codec: str) -> str:
    return {"srt": "subrip"}.get(codec, codec)


def _has_encoder(codec: str, suffix: str) -> bool:
    """Whether a container holds what an encoder of FFmpeg's makes."""
    try:
        trial = av.open(io.BytesIO(), "w", format=MUXERS[suffix])
        trial.add_stream(codec)
        trial.start_encoding()
        trial.close()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _tags_left_out(stream: Stream, suffix: str) -> list[str]:
    """Tags of a stream that a container has no place for, in words."""
    if suffix not in (".mp4", ".mov"):
        return []
    return [
        f"tag {key} of stream {stream.index}: {suffix} can't hold it, .mkv can"
        for key in stream_tags(stream)
        if key.lower() not in _STREAM_TAGS_OF_MP4
    ]


def _name(stream: Stream) -> str:
    codec = stream.codec_context.name if stream.codec_context else getattr(stream, "name", None)
    language = f" ({stream.language})" if stream.language else ""
    return f"stream {stream.index}, {codec or 'unknown'} {stream.type}{language}"


def _words(stream: Stream, suffix: str, first: Sequence[AnyPacket]) -> str:
    others = [other for other in (".mkv", ".mov", ".mp4") if other != suffix]
    able = next((other for other in others if _way(stream, other, first)), None)
    return f"{_name(stream)}: {suffix} can't hold it" + (f", {able} can" if able else "")


def _attach(baggage: CopyPlan, stream: Stream, output: OutputContainer) -> None:
    """Put a cover picture into Matroska."""
    codec = stream.codec_context.name
    name = stream.metadata.get("filename") or f"cover.{'jpg' if codec == 'mjpeg' else codec}"
    if picture := baggage.pictures.get(stream.index) or _picture_in(baggage.path, stream.index):
        attachment = output.add_attachment(name, _PICTURES[codec], picture)
        attachment.metadata.update({"filename": name, "mimetype": _PICTURES[codec]})


def _picture_in(path: Path, index: int) -> bytes:
    """A cover picture's only packet, which is at hand as soon as a file is open."""
    with open_input(path) as again:
        return next((bytes(each) for each in again.demux(again.streams[index]) if each.size), b"")
