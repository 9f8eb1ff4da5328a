"""Extract the content of packets in a form that doesn't depend on the container."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.layout import AudioLayout
from av.bitstream import BitStreamFilterContext
from av.stream import Stream

from vsr.media.pyav import Interleaver

AUDIO_LAYERS = frozenset({"mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float"})
"""MPEG audio decoders: some containers specify only that it is one of these."""
_PCM = re.compile(r"pcm_(?:[suf](8|16|24|32|64)(?:le|be)?|mulaw|alaw)")
"""Codecs whose packets are samples, interleaved by channel."""
_START_CODE = b"\0\0\1"
_PARAMETERS = {"h264": (7, 8, 9), "hevc": (32, 33, 34, 35)}
"""NAL unit types of parameter sets and delimiters, which some containers store in headers."""


class Content:
    """Extracts the content of packets of one stream, as bytes independent of the container."""

    def __init__(self, stream: Stream) -> None:
        """`stream` belongs to the container that is read."""
        context: Any = stream.codec_context
        self.codec = context.name if context is not None else ""
        self.is_pcm = stream.type == "audio" and self.codec.startswith("pcm_")
        extradata = bytes(context.extradata or b"") if context is not None else b""
        self.seconds = Fraction(0)
        """Duration of the last packet, for PCM."""
        self._decoder, self._interleaver = context, Interleaver()
        self._adts: BitStreamFilterContext | None = None
        if self.codec == "aac" and not extradata:
            self._adts = BitStreamFilterContext("aac_adtstoasc", stream)
        self._length_size = _length_size(self.codec, extradata)

    def of(self, packet: Any) -> bytes:
        """Return the content of a packet; a broken packet as it is."""
        try:
            return self._parsed(packet)
        except av.error.FFmpegError:
            return bytes(packet)

    def _parsed(self, packet: Any) -> bytes:
        if self.is_pcm:
            frames = self._decoder.decode(packet)
            rate = self._decoder.sample_rate
            self.seconds = Fraction(sum(frame.samples for frame in frames), rate or 1)
            return b"".join(self._interleaver.samples(frame).tobytes() for frame in frames)
        if self._adts is not None:
            return b"".join(bytes(part) for part in self._adts.filter(packet))
        if self.codec in _PARAMETERS:
            units = _units(bytes(packet), self._length_size)
            return b"".join(_START_CODE + unit for unit in units if self._is_picture(unit))
        return bytes(packet)

    def _is_picture(self, unit: bytes) -> bool:
        unit_type = unit[0] & 31 if self.codec == "h264" else unit[0] >> 1 & 63
        return unit_type not in _PARAMETERS[self.codec]


def plain_pcm(stream: Stream) -> str:
    """Return the little-endian PCM codec for a PCM stream's samples; "" for other streams."""
    context: Any = stream.codec_context
    if stream.type != "audio" or context is None or not context.name.startswith("pcm_"):
        return ""
    sample = context.format.packed.name
    if sample == "s32" and not context.name.startswith(("pcm_s32", "pcm_u32")):
        return "pcm_s24le"  # from discs: 20 or 24 bits
    return {"u8": "pcm_u8", "flt": "pcm_f32le", "dbl": "pcm_f64le"}.get(sample, f"pcm_{sample}le")


def pcm_sample_bytes(codec: str) -> int:
    """Return the bytes of a sample of one channel in a PCM codec; 0 for other codecs."""
    found = _PCM.fullmatch(codec)
    return 0 if found is None else int(found[1] or 8) // 8


def layout_name(layout: AudioLayout) -> str:
    """Return FFmpeg's name of a channel layout; channels without positions get the usual ones."""
    name = layout.name
    return AudioLayout(f"{layout.nb_channels}c").name if name.endswith(" channels") else name


def repacked(packet: Any, decoder: Any, encoder: Any) -> Iterator[Any]:
    """Re-encode a PCM packet in another PCM codec, with the times of the packet."""
    for frame in decoder.decode(packet):
        frame.pts = None
        for coded in encoder.encode(frame):
            coded.pts, coded.dts, coded.duration = packet.pts, packet.dts, packet.duration
            coded.time_base = packet.time_base
            yield coded


def _length_size(codec: str, extradata: bytes) -> int:
    """Bytes of the length field before each NAL unit; 0 where start codes separate them."""
    offset = {"h264": 4, "hevc": 21}.get(codec)
    if offset is None or len(extradata) <= offset or extradata[0] != 1:
        return 0
    return (extradata[offset] & 3) + 1


def _units(data: bytes, length_size: int) -> Iterator[bytes]:
    """Iterate over NAL units, without start codes or length fields."""
    if not length_size:
        yield from (unit.rstrip(b"\0") for unit in data.split(_START_CODE) if unit.strip(b"\0"))
        return
    position = 0
    while position + length_size <= len(data):
        size = int.from_bytes(data[position : position + length_size], "big")
        position += length_size
        if unit := data[position : position + size].rstrip(b"\0"):
            yield unit
        position += size
