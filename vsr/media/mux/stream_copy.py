"""Copy the source's other streams, chapters and tags to the output (stream copy)."""

import io
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from vsr.errors import OutputError
from vsr.media.decode.container import AnyPacket, frame_rate_of, open_input
from vsr.media.decode.reader import VideoReader
from vsr.media.decode.stream_choice import is_chapters
from vsr.media.mux.copy_plan import CopiedStream, CopyMode, CopyPlan, Selection
from vsr.media.mux.languages import storable_language
from vsr.media.mux.sound_conversion import plan_conversion
from vsr.media.mux.stream_copier import TEXT_CODECS, StreamCopier, storable_tags
from vsr.media.mux.tags import free_tags, global_tags, stream_tags, tags_left_out
from vsr.media.mux.timecode import advanced_tags
from vsr.media.mux.trial_mux import first_packets, flags_of, held_flags, holds
from vsr.media.mux.window import clip_chapters
from vsr.media.packet_content import layout_name, pcm_sample_bytes, plain_pcm
from vsr.system.address import is_pipe

MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".nut": "nut"}
"""FFmpeg's muxer for each suffix of an output."""

_PICTURES = {"mjpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "bmp": "image/bmp"}
_PLAIN_TEXT = {"subrip", "mov_text", "text"}
"""Subtitle codecs that convert to each other without loss."""


def plan_copy(
    reader: VideoReader,
    suffix: str,
    selection: Selection = Selection(),
    is_part: bool = False,
) -> CopyPlan:
    """Plan which streams to copy into a container, by trying each one on its muxer.

    Raises `OutputError` where a film would lose all of its sound, unless `selection` drops it. A
    timecode that can't be moved to the start of a part is left out.
    """
    copied, left_out, conversions, lossy = [], [], [], []
    tags = {**global_tags(reader.container), **reader.stream.metadata}
    if is_part and "timecode" in tags and "timecode" not in _moved(tags, reader.stream):
        left_out.append(f"timecode {tags['timecode']}: it can't be moved to the start of the part")
    others = [
        stream.index
        for stream in reader.container.streams
        if stream.index != reader.index and not selection.drops(stream)
    ]
    first = first_packets(reader.path, others)
    sounds = 0
    for stream in reader.container.streams:
        if stream.index == reader.index:
            left_out += [*_language_left_out(stream, suffix), *_flags_left_out(stream, suffix)]
            continue
        sounds += stream.type == "audio"
        if is_chapters(stream) or selection.drops(stream):
            continue  # MP4 stores chapters as text tracks; they are copied as chapters
        if is_timecode_track(stream) and "timecode" in reader.stream.metadata:
            continue  # the muxer writes one from the video's tag
        if is_timecode_track(stream) and is_part:
            left_out.append(f"{_name(stream)}: it can't be moved to the start of the part")
            continue
        if mode := _mode(stream, suffix, first[stream.index]):
            copied.append(CopiedStream(stream.index, mode))
            if mode == "pcm":
                conversions.append(_conversion_line(stream, sounds, _pcm_name(stream)))
        elif selection.audio == "auto" and (
            conversion := plan_conversion(stream, suffix, first[stream.index])
        ):
            copied.append(CopiedStream(stream.index, "convert", conversion))
            conversions.append(_conversion_line(stream, sounds, str(conversion)))
            if not conversion.is_lossless:
                codec = stream.codec_context.codec.canonical_name
                able = _able(stream, suffix, first[stream.index])
                lossy.append(f"audio {sounds} as {codec}: {suffix} can't hold it{able}")
        else:
            left_out.append(_left_out_line(stream, suffix, first[stream.index]))
            continue
        left_out += [
            *tags_left_out(stream, suffix),
            *_language_left_out(stream, suffix),
            *_flags_left_out(stream, suffix),
        ]
    if suffix == ".mp4" and has_cover(reader.container):
        left_out += [
            f"tag {key}: .mp4 can't hold it beside a cover picture, .mkv can"
            for key in free_tags(reader.container)
        ]
    pictures = reader.pictures if is_pipe(reader.path) else {}
    audio = [c for c in copied if reader.container.streams[c.index].type == "audio"]
    if sounds and not audio and selection.audio != "none":
        raise _silent(reader, suffix, selection, first)
    return CopyPlan(
        path=reader.path,
        video=reader.index,
        streams=tuple(copied),
        left_out=tuple(left_out),
        conversions=tuple(conversions),
        lossy=tuple(lossy),
        audio_tracks=len(audio),
        lead=reader.lead,
        pictures=pictures,
    )


def left_out_of_video(
    reader: VideoReader, selection: Selection, form: str, other: str
) -> tuple[str, ...]:
    """List what a format that stores video alone leaves out, one line each.

    `form` and `other` name that format and one that holds more.
    """
    lost = [
        f"{_name(stream)}: {form} holds video alone, {other} holds more"
        for stream in reader.container.streams
        if stream.index != reader.index and not is_chapters(stream) and not selection.drops(stream)
    ]
    if reader.container.chapters():
        lost.append(f"chapters: {form} holds none")
    if tags := global_tags(reader.container):
        lost.append(f"tags ({', '.join(tags)}): {form} holds none")
    return tuple(lost)


def add_streams(
    plan: CopyPlan,
    source: InputContainer,
    output: OutputContainer,
    suffix: str,
    add_video: Callable[[], VideoStream],
) -> dict[int, StreamCopier]:
    """Add streams to an output, in the source's order, with its chapters and tags.

    `add_video` adds the upscaled stream in its position. Returns the copiers by stream of the
    source.
    """
    copiers = {}
    by_index = {copied.index: copied for copied in plan.streams}
    for stream in source.streams:
        if stream.index == plan.video:
            video = add_video()
            video.metadata.update(_tags_of_part(plan, source, storable_tags(stream, suffix)))
            video.disposition = stream.disposition
        elif copied := by_index.get(stream.index):
            if copied.mode == "attachment":
                _attach(plan, stream, output)
            else:
                copiers[stream.index] = StreamCopier(stream, output, suffix=suffix, copied=copied)
    output.metadata.update(_tags_of_part(plan, source, global_tags(source)))
    output.set_chapters(_chapters(source, plan))
    return copiers


def _chapters(source: InputContainer, plan: CopyPlan) -> Any:
    chapters: list[Any] = source.chapters()
    for chapter in chapters if plan.lead else ():
        ticks = round(plan.lead / (chapter["time_base"] or 1))
        chapter["start"], chapter["end"] = chapter["start"] + ticks, chapter["end"] + ticks
    return chapters if plan.window is None else clip_chapters(chapters, plan.window)


def _tags_of_part(plan: CopyPlan, source: InputContainer, tags: dict[str, str]) -> dict[str, str]:
    """Return tags with the timecode of the part's first frame."""
    if plan.window is None:
        return tags
    return _moved(tags, source.streams[plan.video], plan.window.seconds_before)


def _moved(tags: dict[str, str], video: Stream, seconds: Fraction = Fraction(0)) -> dict[str, str]:
    """Advance the timecode among tags; it is left out where that fails."""
    assert isinstance(video, VideoStream)
    return advanced_tags(tags, seconds, frame_rate_of(video))


def is_timecode_track(stream: Stream) -> bool:
    """Whether a stream is a track of timecodes, as QuickTime has them."""
    return stream.type == "data" and "timecode" in stream.metadata


def has_cover(source: InputContainer) -> bool:
    """Whether one of a file's streams is a cover picture."""
    return any(stream.disposition & Disposition.attached_pic for stream in source.streams)


def set_missing_times(packet: AnyPacket, ends: dict[int, int]) -> AnyPacket:
    """Set the times of a packet without any, in place: it follows the previous one of its stream.

    `ends` maps each stream to the end of its previous packet, and is updated. The first packet of a
    stream, such as a cover picture, is at 0.
    """
    index = packet.stream_index
    if packet.dts is None:
        packet.dts = ends.get(index, 0) if packet.pts is None else packet.pts
    if packet.pts is None:
        packet.pts = packet.dts
    ends[index] = packet.dts + (packet.duration or 0)
    return packet


def _mode(stream: Stream, suffix: str, first: Sequence[AnyPacket]) -> CopyMode | None:
    if stream.disposition & Disposition.attached_pic and suffix in (".mkv", ".webm", ".mov"):
        codec = getattr(stream.codec_context, "name", None)
        return "attachment" if suffix == ".mkv" and codec in _PICTURES else None
    if stream.type == "attachment" and suffix == ".webm":
        return None  # FFmpeg's muxer takes it, and writes nothing
    if holds(stream, MUXERS[suffix], first):
        return "copy"
    codec = stream.codec_context.codec.name if stream.codec_context else ""
    if samples := plain_pcm(stream):
        return "pcm" if _holds_pcm(stream, samples, suffix) else None
    plain = stream.type == "subtitle" and _subtitle_codec(codec) in _PLAIN_TEXT
    return "text" if plain and suffix in TEXT_CODECS else None


def _subtitle_codec(codec: str) -> str:
    return {"srt": "subrip"}.get(codec, codec)


def _holds_pcm(stream: Stream, codec: str, suffix: str) -> bool:
    """Whether a container holds a stream's samples in another PCM codec."""
    context: Any = stream.codec_context
    try:
        trial = av.open(io.BytesIO(), "w", format=MUXERS[suffix])
        copy: Any = trial.add_stream(codec, rate=context.sample_rate)
        copy.codec_context.layout = layout_name(context.layout)
        trial.start_encoding()
        silence: Any = Packet(bytes(pcm_sample_bytes(codec) * context.layout.nb_channels))
        silence.stream, silence.pts, silence.dts = copy, 0, 0
        trial.mux(silence)
        trial.close()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _language_left_out(stream: Stream, suffix: str) -> list[str]:
    """The language of a stream, in words, if a container can't store it."""
    language = stream_tags(stream).get("language", "")
    if storable_language(language, suffix) is not None:
        return []
    return [f"language {language} of stream {stream.index}: {suffix} can't hold it, .mkv can"]


def _flags_left_out(stream: Stream, suffix: str) -> list[str]:
    """Flags of a stream, such as forced, that a container doesn't keep, in words."""
    lost = flags_of(stream) & ~held_flags(MUXERS[suffix], stream.type)
    able = held_flags("matroska", stream.type)
    return [
        f"flag {flag.name} of stream {stream.index}: {suffix} can't hold it"
        + (", .mkv can" if flag & able else "")
        for flag in lost
    ]


def _name(stream: Stream) -> str:
    codec = stream.codec_context.name if stream.codec_context else getattr(stream, "name", None)
    language = f" ({stream.language})" if stream.language else ""
    return f"stream {stream.index}, {codec or 'unknown'} {stream.type}{language}"


def _conversion_line(stream: Stream, number: int, to: str) -> str:
    """Describe the conversion of a sound track by its number among them, from 1."""
    return f"audio {number}: {stream.codec_context.codec.canonical_name} is converted to {to}"


def _pcm_name(stream: Stream) -> str:
    """Describe the PCM that a PCM stream is converted to."""
    context: Any = stream.codec_context
    layout = context.layout
    name = layout_name(layout)
    guess = "" if name == layout.name else f", with {layout.nb_channels} channels taken for {name}"
    return f"{plain_pcm(stream)}, lossless{guess}"


def _left_out_line(stream: Stream, suffix: str, first: Sequence[AnyPacket]) -> str:
    return f"{_name(stream)}: {suffix} can't hold it{_able(stream, suffix, first)}"


def _able(stream: Stream, suffix: str, first: Sequence[AnyPacket]) -> str:
    """Name a container that can hold a stream as it is: ", .mkv can", or "" if none can."""
    others = [other for other in (".mkv", ".mov", ".mp4") if other != suffix]
    able = next((other for other in others if _mode(stream, other, first)), None)
    return f", {able} can" if able else ""


def _silent(
    reader: VideoReader, suffix: str, selection: Selection, first: Mapping[int, list[AnyPacket]]
) -> OutputError:
    """Return the error of a film that would lose all of its sound."""
    streams = [s for s in reader.container.streams if s.type == "audio"]
    lines = "; ".join(_left_out_line(stream, suffix, first[stream.index]) for stream in streams)
    way = "--audio auto may convert it" if selection.audio == "copy" else "it can't be converted"
    return OutputError(
        f"{reader.path}: would lose its sound ({lines}; {way}); --audio none drops it"
    )


def _attach(plan: CopyPlan, stream: Stream, output: OutputContainer) -> None:
    """Attach a cover picture to a Matroska file."""
    codec = stream.codec_context.name
    name = stream.metadata.get("filename") or f"cover.{'jpg' if codec == 'mjpeg' else codec}"
    if picture := plan.pictures.get(stream.index) or _picture_in(plan.path, stream.index):
        attachment = output.add_attachment(name, _PICTURES[codec], picture)
        attachment.metadata.update({"filename": name, "mimetype": _PICTURES[codec]})


def _picture_in(path: Path, index: int) -> bytes:
    """Read the only packet of a cover picture."""
    with open_input(path) as container:
        packets = container.demux(container.streams[index])
        return next((bytes(packet) for packet in packets if packet.size), b"")
