"""Test which streams a muxer supports, by writing each one to memory and reading it again."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from vsr.media.decode.container import AnyPacket, open_input, packets_of
from vsr.media.packet_content import AUDIO_LAYERS, pcm_sample_bytes
from vsr.system.address import is_pipe

_TRIAL_PACKETS = 6
"""Of each stream, if the searched part of the file has that many."""
_SEARCHED_BYTES = 16_000_000
_SEARCHED_PACKETS = 4000
_ALL_FLAGS = ~(Disposition.default | Disposition.attached_pic | Disposition.timed_thumbnails)
"""Muxers decide by themselves what is the default; pictures are tracks of their own."""
_FLAGS = tuple(flag for flag in Disposition if flag & _ALL_FLAGS)
_TRIED_CODECS = {
    "mp4": ("mov_text", "pcm_s16le"),
    "mov": ("mov_text", "pcm_s16le"),
    "matroska": ("subrip", "pcm_s16le"),
    "webm": ("webvtt", "libopus"),
    "nut": ("pcm_s16le", "pcm_s16le"),  # which holds no subtitles
}
"""For each muxer, of subtitles and of other streams."""
_NO_STYLES = b"[Script Info]\nScriptType: v4.00+\n[V4+ Styles]\nFormat: Name\n[Events]\n"


def add_copy(output: OutputContainer, source: Stream) -> Stream:
    """Add a stream with the parameters of `source`; the muxer alone decides if it is supported.

    `OutputContainer.add_stream_from_template` first looks the codec up in a table, which lacks
    those that Matroska and QuickTime store under Windows tags. The parameters are therefore copied
    by a bitstream filter that leaves packets unchanged. The codec tag of the source's container is
    dropped if a decoder identifies the codec.
    """
    if source.codec_context is None and source.type in ("data", "attachment"):
        return output.add_stream_from_template(source)
    untagged = source
    if source.codec_context is not None:
        nothing = av.open("untagged", "w", format="null")
        untagged = nothing.add_stream_from_template(source, opaque=True)
    copy = output.add_data_stream()
    BitStreamFilterContext("null", untagged, copy)
    copy.time_base = source.time_base
    return copy


def holds(source: Stream, muxer: str, packets: Sequence[AnyPacket] = ()) -> bool:
    """Whether FFmpeg's `muxer` supports a stream with these first packets.

    The stream that is read again must have the same codec, and all parameters that its decoder
    needs. The packets are modified: their times become those of the last trial.
    """
    written = io.BytesIO()
    try:
        trial = av.open(written, "w", format=muxer)
        copy = add_copy(trial, source)
        trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    taken, packets = 0, packets or _silence(source)
    for packet in packets:
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            packet.stream = copy
            trial.mux(packet)
            taken += 1
    try:
        trial.close()
    except (av.error.FFmpegError, ValueError):
        return not packets  # some muxers can't close an empty file
    if not packets:
        return True
    return taken > 0 and _is_read_again(source, written)


def _silence(stream: Stream) -> Sequence[AnyPacket]:
    """Return a packet of a PCM stream whose packets aren't known; none for other codecs."""
    context: Any = stream.codec_context
    size = pcm_sample_bytes(context.name) if stream.type == "audio" and context else 0
    if not size:
        return ()
    packet: Any = Packet(bytes(size * context.layout.nb_channels))
    packet.pts = packet.dts = 0
    packet.duration, packet.time_base = 1, Fraction(1, context.sample_rate)
    return (packet,)


@cache
def held_flags(muxer: str, kind: str) -> Disposition:
    """The flags, such as forced, that FFmpeg's `muxer` keeps of a stream of a `kind`.

    Empty streams, one for each flag, are written and read again.
    """
    written, kept = io.BytesIO(), Disposition(0)
    text, sound = _TRIED_CODECS[muxer]
    with av.open(written, "w", format=muxer) as trial:
        for flag in _FLAGS:
            stream: Any = trial.add_stream(text if kind == "subtitle" else sound)
            stream.disposition = flag
            if stream.type == "subtitle":
                stream.codec_context.subtitle_header = _NO_STYLES
                stream.time_base = Fraction(1, 1000)
        trial.start_encoding()
        for stream in trial.streams:
            packet: Any = Packet(bytes(4))
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = 0
            packet.duration = 1
            trial.mux(packet)
    written.seek(0)
    with av.open(written, "r") as container:
        for flag, stream in zip(_FLAGS, container.streams, strict=True):
            kept |= flag & stream.disposition
    return kept


def flags_of(stream: Stream) -> Disposition:
    """The flags of a stream that muxers are asked for."""
    return Disposition(stream.disposition) & _ALL_FLAGS


def first_packets(path: Path, indices: Iterable[int]) -> dict[int, list[AnyPacket]]:
    """Read the first packets of some streams, within the first part of a file.

    None for a pipe, which can't be read twice.
    """
    found: dict[int, list[AnyPacket]] = {index: [] for index in indices}
    if is_pipe(path) or not found:
        return found
    wanted, size = set(found), 0
    with open_input(path) as container:
        for count, packet in enumerate(packets_of(container)):
            size += packet.size
            if not wanted or count > _SEARCHED_PACKETS or size > _SEARCHED_BYTES:
                break
            index = packet.stream_index
            if index in wanted and packet.dts is not None:
                found[index].append(packet)
                if len(found[index]) == _TRIAL_PACKETS:
                    wanted.remove(index)
    return found


def _is_read_again(source: Stream, written: io.BytesIO) -> bool:
    written.seek(0)
    try:
        with av.open(written, "r", metadata_errors="replace") as container:
            if not container.streams:
                return False
            copy = container.streams[0]
            names = [_codec(stream) for stream in (source, copy)]
            if names[0] != names[1] and not set(names) <= AUDIO_LAYERS:
                return False
            return _opens(copy) or not _opens(source)
    except (av.error.FFmpegError, ValueError):
        return False


def _opens(stream: Stream) -> bool:
    """Whether a decoder accepts the parameters of an audio stream; True for other streams."""
    context: Any = stream.codec_context
    if stream.type != "audio" or context is None:
        return True
    try:
        context.open(strict=False)
    except av.error.FFmpegError:
        return False
    return True


def _codec(stream: Stream) -> Any:
    context = stream.codec_context
    return context.name if context is not None else getattr(stream, "name", None)
