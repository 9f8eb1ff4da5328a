"""Copy or convert the packets of one stream."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.layout import AudioLayout
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.subtitle import SubtitleSet

from vsr.media.decode.container import AnyPacket
from vsr.media.mux.copy_plan import CopiedStream
from vsr.media.mux.languages import storable_language
from vsr.media.mux.pcm_gaps import PcmGaps
from vsr.media.mux.sound_conversion import SoundConverter
from vsr.media.mux.subtitle_cues import Cues
from vsr.media.mux.tags import stream_tags
from vsr.media.mux.trial_mux import add_copy
from vsr.media.packet_content import layout_name, plain_pcm, repacked

TEXT_CODECS = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip"}
"""Each container's codec of text subtitles."""


class StreamCopier:
    """Copies or converts the packets of one stream into an output."""

    def __init__(
        self, source: Stream, output: OutputContainer, suffix: str, copied: CopiedStream
    ) -> None:
        self.unconverted = 0
        """Subtitles that could not be converted."""
        self.is_video = source.type == "video"
        self._source = source
        self._mode = mode = copied.mode
        self._converter: SoundConverter | None = None
        self._cues: Cues | None = None
        if mode == "text" and suffix in (".mp4", ".mov") and source.time_base:
            self._cues = Cues(source.time_base)
        copy: Any
        if mode == "text":
            copy = output.add_stream(TEXT_CODECS[suffix])
            decoder: Any = source.codec_context
            decoder.open(strict=False)
            copy.codec_context.subtitle_header = decoder.subtitle_header
            copy.time_base = source.time_base
        elif mode == "pcm":
            context: Any = source.codec_context
            copy = output.add_stream(plain_pcm(source), rate=context.sample_rate)
            copy.codec_context.layout = layout_name(context.layout)
            copy.time_base = source.time_base
        elif copied.conversion is not None:
            to = copied.conversion
            self._converter = SoundConverter(source, to)
            copy = output.add_stream(to.encoder, rate=to.rate)
            to.configure(copy.codec_context)
            copy.time_base = Fraction(1, to.rate)
        else:
            copy = add_copy(output, source)
        tags = storable_tags(source, suffix)
        if suffix in (".mp4", ".mov") and "title" in tags:
            tags.setdefault("handler_name", tags["title"])  # the name that many players show
        copy.metadata.update(tags)
        copy.disposition = source.disposition
        self._copy = copy
        self._gaps = _gaps_of(source, copied) if suffix in (".mp4", ".mov") else None
        self._last: int | None = None
        self._step = 0 if suffix in (".mkv", ".webm") else 1

    def packets(self, packet: AnyPacket) -> Iterator[AnyPacket]:
        """Convert a packet of the source."""
        yield from self._filled(self._copied(packet))

    def _filled(self, packets: Iterator[AnyPacket]) -> Iterator[AnyPacket]:
        """Fill the gaps between packets of PCM, where the container would close them."""
        for packet in packets:
            for filled in (packet,) if self._gaps is None else self._gaps.fill(packet):
                filled.stream = self._copy
                yield filled

    def _copied(self, packet: AnyPacket) -> Iterator[AnyPacket]:
        decoder: Any = self._source.codec_context
        if self._mode == "copy":
            yield packet
            return
        if self._converter is not None:
            yield from self._converter.packets(packet)
            return
        if self._mode == "pcm":
            yield from repacked(packet, decoder, self._copy.codec_context)
            return
        try:
            subtitles = decoder.decode2(packet)
        except av.error.FFmpegError:
            self.unconverted += 1
            return
        if subtitles:  # empty for the samples that fill gaps in MP4
            start, duration = packet.pts or 0, packet.duration or 0
            if self._cues is None:
                yield from self._encoded(start, duration, subtitles)
            else:
                self._cues.add(start, duration, subtitles)

    @property
    def undecodable(self) -> int:
        """Packets of converted sound that could not be decoded."""
        return self._converter.undecodable if self._converter else 0

    def due(self, now: Fraction | None) -> Iterator[AnyPacket]:
        """Iterate over buffered packets that are due at `now` seconds; None at the end."""
        if self._converter is not None and now is None:
            yield from self._filled(self._converter.packets(None))
        if self._cues is None:
            return
        for cue in self._cues.due(now):
            yield from self._encoded(*cue)

    def _encoded(self, start: int, duration: int, subtitles: SubtitleSet) -> Iterator[AnyPacket]:
        """Encode subtitles for the output; no packet where that fails."""
        coded: Any
        try:
            coded = self._copy.codec_context.encode_subtitle(subtitles)
        except av.error.FFmpegError:
            self.unconverted += 1
            return
        coded.pts = coded.dts = start
        coded.duration, coded.time_base = duration, self._source.time_base
        coded.stream = self._copy
        yield coded

    def on_time(self, packet: AnyPacket) -> AnyPacket:
        """Convert a packet's times to the output's ticks, later than the previous packet.

        Muxers reject packets whose time doesn't increase.
        """
        base = self._copy.time_base
        if not base or not packet.time_base or packet.dts is None:
            return packet
        ticks = {
            name: _rounded(value * packet.time_base / base)
            for name in ("pts", "dts", "duration")
            if (value := getattr(packet, name)) is not None
        }
        earliest = ticks["dts"] if self._last is None else self._last + self._step
        if earliest > ticks["dts"]:
            ticks["dts"], ticks["pts"] = earliest, max(earliest, ticks.get("pts", earliest))
        for name, value in ticks.items():
            setattr(packet, name, value)
        packet.time_base = base
        self._last = ticks["dts"]
        return packet


def storable_tags(stream: Stream, suffix: str) -> dict[str, str]:
    """Return a stream's tags, with a code of its language that a container stores."""
    tags = stream_tags(stream)
    if language := storable_language(tags.get("language", ""), suffix):
        tags["language"] = language
    return tags


def _gaps_of(source: Stream, copied: CopiedStream) -> PcmGaps | None:
    """Return what fills the gaps of a stream with silence; None for streams other than sound."""
    context: Any = source.codec_context
    if source.type != "audio" or context is None:
        return None
    channels, rate = context.layout.nb_channels, context.sample_rate
    if copied.conversion is not None:
        to = copied.conversion
        return PcmGaps(to.codec, AudioLayout(to.layout).nb_channels, to.rate)
    codec = plain_pcm(source) if copied.mode == "pcm" else context.name
    return PcmGaps(codec, channels, rate)


def _rounded(value: Fraction) -> int:
    """Round to the nearest integer, ties away from zero, as FFmpeg rounds times."""
    size = int(abs(value) + Fraction(1, 2))
    return size if value >= 0 else -size
