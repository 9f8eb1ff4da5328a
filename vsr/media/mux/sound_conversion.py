"""Convert sound that a container can't hold, in time with the film.

Sound with exact samples becomes FLAC or ALAC where the container holds that, all other sound AAC or
Opus at a high rate. In a pipe with raw video, it becomes raw as well. FFmpeg's resampler fills gaps
with silence and trims overlaps, so that each sample keeps its time. Encoders start some samples
early (priming); their packets have times before the sound's first sample, which containers store.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.context import Flags
from av.stream import Stream

from vsr.media.decode.container import AnyPacket
from vsr.media.packet_content import layout_name

_MAX_SILENCE = 1
"""Seconds of a gap that is filled with silence; after a longer one, the encoder starts again."""
_MAX_OFFSET = Fraction(1, 100)
"""Seconds between a packet's time and the end of the previous one that count as rounding."""
_FRAME_SIZE = 1024
_LOSSLESS = {
    ".mp4": ("flac",),
    ".mov": ("alac", "pcm_s16le", "pcm_s24le"),  # ALAC has few layouts
    ".mkv": ("flac",),
}
_LOSSY = {
    ".mp4": ("aac",),
    ".mov": ("aac",),
    ".mkv": ("libopus", "aac"),
    ".webm": ("libopus",),
}
"""FFmpeg's encoders by the suffix of the output, the preferred one first."""
_CODECS = {"libopus": "opus"}
"""Codecs of encoders with another name."""
_FORMATS = {
    ("aac", 32): "fltp",
    ("libopus", 32): "flt",
    ("flac", 16): "s16",
    ("flac", 32): "s32",
    ("alac", 16): "s16p",
    ("alac", 32): "s32p",
    ("pcm_s16le", 16): "s16",
    ("pcm_s24le", 32): "s32",
}
"""Sample formats of encoders, by the bits of a sample."""
_BITS_PER_CHANNEL = {"aac": 160_000, "libopus": 128_000}
"""Bits per second of a channel."""
# fmt: off
_AAC_RATES = (
    7350, 8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200,
    96_000,
)
# fmt: on
_OPUS_RATE = 48_000
_AAC_BITS_PER_SAMPLE = 6
"""The most that AAC stores of a channel (ISO/IEC 14496-3): 6144 bits in 1024 samples."""
_OPUS_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
"""Layouts of one to eight channels (RFC 7845, 5.1.1.2)."""


@dataclass(frozen=True)
class Conversion:
    """An encoder and its parameters."""

    encoder: str
    """FFmpeg's name."""
    sample_format: str
    rate: int
    """Samples per second."""
    layout: str
    """FFmpeg's name of the channel layout."""
    bit_rate: int = 0
    """Bits per second; 0 for a lossless codec."""

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return _CODECS.get(self.encoder, self.encoder)

    @property
    def is_lossless(self) -> bool:
        """Whether all samples keep their values."""
        return not self.bit_rate

    def __str__(self) -> str:
        quality = f"{self.bit_rate // 1000} kb/s" if self.bit_rate else "lossless"
        return f"{self.codec}, {quality}"

    def configure(self, context: Any) -> None:
        """Set the parameters of an encoder that isn't open yet."""
        context.sample_rate, context.layout = self.rate, self.layout
        context.format = self.sample_format
        context.time_base = Fraction(1, self.rate)
        if self.bit_rate:
            context.bit_rate = self.bit_rate


@dataclass(frozen=True)
class _Sound:
    """Properties of decoded sound."""

    rate: int
    layout: str
    channels: int
    sample_format: str
    """Of packed samples."""


def plan_conversion(source: Stream, suffix: str, packets: Sequence[AnyPacket]) -> Conversion | None:
    """Choose a codec that a container holds; None for a stream that can't be decoded or encoded.

    `packets` are the first ones, to try the decoder on; none for a pipe.
    """
    if source.type != "audio" or source.codec_context is None:
        return None
    sound = _decoded(source.codec_context, packets)
    if sound is None:
        return None
    if suffix == ".nut":
        return Conversion("pcm_f32le", "flt", rate=sound.rate, layout=sound.layout)
    candidates = [*_lossless(source, suffix, sound), *_lossy(suffix, sound)]
    return next((candidate for candidate in candidates if _opens(candidate)), None)


class SoundConverter:
    """Decodes the packets of a stream and encodes its samples again."""

    def __init__(self, source: Stream, conversion: Conversion) -> None:
        self.undecodable = 0
        """Packets that could not be decoded; silence takes their place."""
        self._decoder: Any = source.codec_context
        self._time_base = source.time_base or Fraction(1, conversion.rate)
        self._conversion = conversion
        self._encoder = _new_encoder(conversion)
        self._resampler: AudioResampler | None = None
        self._parameters: tuple[str, str, int] | None = None
        """Of the frames that the resampler takes."""
        self._end: Fraction | None = None
        """Time of the next sample of the source, in seconds."""
        self._position: int | None = None
        """Time of the next sample of the output, in samples."""

    def packets(self, packet: AnyPacket | None) -> Iterator[AnyPacket]:
        """Convert a packet of the source; None at its end."""
        try:
            frames = self._decoder.decode(packet)
        except av.error.EOFError:
            frames = []
        except av.error.FFmpegError:
            self.undecodable += 1
            frames = []
        for frame in frames:
            yield from self._convert(frame)
        if packet is None:
            yield from self._finish()

    def _convert(self, frame: AudioFrame) -> Iterator[AnyPacket]:
        base = frame.time_base = frame.time_base or self._time_base  # unset at the end
        if frame.pts is None:
            frame.pts = round((self._end or 0) / base)
        start = frame.pts * base
        if self._end is not None and start - self._end > _MAX_SILENCE:
            yield from self._finish()
            self._encoder, self._position = _new_encoder(self._conversion), None
        self._end = start + Fraction(frame.samples, frame.sample_rate)
        parameters = frame.format.name, frame.layout.name, frame.sample_rate
        if self._parameters != parameters:
            yield from self._encode(self._drain())
            self._resampler, self._parameters = self._new_resampler(), parameters
        assert self._resampler is not None
        yield from self._encode(self._resampler.resample(frame))

    def _new_resampler(self) -> AudioResampler:
        options = {"async": "1", "min_hard_comp": str(float(_MAX_OFFSET))}
        if self._position is not None:
            options["first_pts"] = str(self._position)
        to = self._conversion
        return AudioResampler(
            format=to.sample_format,
            layout=to.layout,
            rate=to.rate,
            frame_size=_FRAME_SIZE,  # without one, equal formats would bypass the options
            options=options,
        )

    def _drain(self) -> list[AudioFrame]:
        """Close the resampler; return the samples that it has buffered."""
        frames = self._resampler.resample(None) if self._resampler else []
        self._resampler = self._parameters = None
        return frames

    def _encode(self, frames: list[AudioFrame]) -> Iterator[AnyPacket]:
        for frame in frames:
            if self._position is None:
                self._position = frame.pts or 0
            frame.pts, frame.time_base = self._position, Fraction(1, self._conversion.rate)
            self._position += frame.samples
            yield from self._encoder.encode(frame)

    def _finish(self) -> Iterator[AnyPacket]:
        yield from self._encode(self._drain())
        if self._position is not None:
            yield from self._encoder.encode(None)


def _new_encoder(conversion: Conversion) -> Any:
    """Open an encoder. Raises FFmpeg's error where it refuses its parameters."""
    context: Any = av.CodecContext.create(conversion.encoder, "w")
    conversion.configure(context)
    context.flags |= Flags.global_header
    context.open()
    return context


def _opens(conversion: Conversion) -> bool:
    try:
        _new_encoder(conversion)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _decoded(context: Any, packets: Sequence[AnyPacket]) -> _Sound | None:
    """Decode packets up to the first frame; None where a decoder refuses the stream.

    Where packets give no frame and no error, the sound is as the container describes it.
    """
    failures = 0
    try:
        context.open(strict=False)
    except (av.error.FFmpegError, ValueError):
        return None
    try:
        for packet in packets:
            try:
                frames = context.decode(packet)
            except av.error.FFmpegError:
                failures += 1
                continue
            if frames:
                return _sound(frames[0])
    finally:
        context.flush_buffers()
    is_known = context.sample_rate and context.layout.nb_channels and context.format
    return None if failures or not is_known else _sound(context)


def _sound(shape: Any) -> _Sound:
    """Describe a frame or a decoder; channels without positions get the usual ones."""
    return _Sound(
        rate=shape.sample_rate,
        layout=layout_name(shape.layout),
        channels=shape.layout.nb_channels,
        sample_format=shape.format.packed.name,
    )


def _lossless(source: Stream, suffix: str, sound: _Sound) -> Iterator[Conversion]:
    """Iterate over conversions that keep all samples, of sound that is coded without loss."""
    codec = source.codec_context.codec
    bits = {"u8": 16, "s16": 16, "s32": 32}.get(sound.sample_format)
    # All of these are encoded from 24 of the 32 bits.
    has_all_bits = codec.name.startswith(("pcm_s32", "pcm_u32"))
    if not bits or has_all_bits or not codec.lossless or codec.lossy:
        return
    for encoder in _LOSSLESS.get(suffix, ()):
        if sample_format := _FORMATS.get((encoder, bits)):
            yield Conversion(encoder, sample_format, rate=sound.rate, layout=sound.layout)


def _lossy(suffix: str, sound: _Sound) -> Iterator[Conversion]:
    for encoder in _LOSSY[suffix]:
        is_opus = encoder == "libopus"
        rate = _OPUS_RATE if is_opus else _aac_rate(sound.rate)
        most = _BITS_PER_CHANNEL[encoder]
        per_channel = most if is_opus else min(most, _AAC_BITS_PER_SAMPLE * rate)
        layouts = [sound.layout]
        if is_opus and sound.channels <= len(_OPUS_LAYOUTS):
            layouts.append(_OPUS_LAYOUTS[sound.channels - 1])
        for layout in layouts:
            yield Conversion(
                encoder=encoder,
                sample_format=_FORMATS[encoder, 32],
                rate=rate,
                layout=layout,
                bit_rate=per_channel * sound.channels,
            )


def _aac_rate(rate: int) -> int:
    """Return the lowest rate of AAC that isn't below `rate`, or its highest."""
    return next((allowed for allowed in _AAC_RATES if allowed >= rate), _AAC_RATES[-1])
