"""Compare converted sound with its source by samples and by loudness over time."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vsr.media.decode.container import AnyPacket, shift_packet
from vsr.media.decode.reader import VideoReader
from vsr.media.pyav import Interleaver
from vsr.media.verify.contents import FilmContents

_WINDOWS_PER_SECOND = 20
_MAX_DIFFERENCE = 0.3
"""Norm of the difference of two loudness curves over that of the first."""
_MAX_LATE_END = 0.2
"""Seconds: encoders pad the last packet."""


@dataclass(frozen=True)
class Sound:
    """Decoded sound of one stream."""

    codec: str
    channels: int
    """The most of any frame."""
    end: float
    """Time of the end of the last sample, in seconds."""
    loudness: NDArray[np.float64]
    """Root of the energy in overlapping windows from time zero on, over all channels."""
    digest: str
    """Hash of the samples that aren't silence, as integers; "" for samples in floating point."""

    @property
    def is_lossless(self) -> bool:
        """Whether the codec keeps the samples of integers."""
        codec = av.Codec(self.codec, "r")
        return bool(self.digest) and codec.lossless and not codec.lossy

    def __str__(self) -> str:
        return f"{self.codec}, {self.channels} channels, to {self.end:.2f} s"

    def is_converted_to(self, other: "Sound") -> bool:
        """Whether another sound has the same channels, loudness and end.

        If both codecs are lossless, the samples must be equal. Silence in gaps doesn't count.
        """
        if self.channels != other.channels or abs(self.end - other.end) > _MAX_LATE_END:
            return False
        if self.is_lossless and other.is_lossless and self.digest != other.digest:
            return False
        length = max(len(self.loudness), len(other.loudness))
        mine, theirs = (_padded(sound.loudness, length) for sound in (self, other))
        difference = np.linalg.norm(mine - theirs)
        return bool(difference <= _MAX_DIFFERENCE * np.linalg.norm(mine))


def read_sound(film: FilmContents, index: int) -> Sound | None:
    """Decode a stream of a film; None where it can't be decoded. Raises `MediaError`."""
    digest = hashlib.blake2b(digest_size=8)
    energy = np.zeros(0)
    channels, end, are_integers = 0, Fraction(0), True
    with VideoReader(film.path, probe_first_frame=False, video=film.number) as reader:
        stream = reader.container.streams[index]
        if stream.codec_context is None:
            return None
        codec, interleaver = stream.codec_context.name, Interleaver()
        for frame in _frames(reader, stream, film):
            start = end if frame.pts is None else frame.pts * (stream.time_base or 1)
            samples = _wide(interleaver.samples(frame))
            channels = max(channels, samples.shape[1])
            end = start + Fraction(frame.samples, frame.sample_rate)
            are_integers = are_integers and samples.dtype.kind == "i"
            shown = samples[max(0, round(-start * frame.sample_rate)) :]
            digest.update(shown[shown.any(axis=1)].tobytes())
            energy = _with_energy(energy, samples, float(start), frame.sample_rate)
    if not channels:
        return None
    return Sound(
        codec=codec,
        channels=channels,
        end=float(end),
        loudness=np.sqrt(energy),
        digest=digest.hexdigest() if are_integers else "",
    )


def _frames(reader: VideoReader, stream: Any, film: FilmContents) -> Iterator[Any]:
    decoder = stream.codec_context
    packets: Iterator[AnyPacket]
    packets = (shift_packet(packet, film.lead) for packet in reader.packets())
    if film.excerpt is not None:
        packets = film.excerpt.packets(packets, reader.index)
    for packet in packets:
        if packet.stream_index == stream.index:
            try:
                yield from decoder.decode(packet)
            except av.error.FFmpegError:
                continue  # silence takes its place
    yield from decoder.decode(None)


def _wide(samples: NDArray[Any]) -> NDArray[Any]:
    """Convert samples to 32-bit integers or 64-bit floats."""
    if samples.dtype.kind == "f":
        return np.asarray(samples, dtype=np.float64)
    offset = 128 if samples.dtype == np.uint8 else 0
    shift = 32 - 8 * samples.dtype.itemsize
    scaled: NDArray[Any] = (samples.astype(np.int64) - offset) << max(0, shift)
    return scaled.astype(np.int32)


def _with_energy(
    energy: NDArray[np.float64], samples: NDArray[Any], start: float, rate: int
) -> NDArray[np.float64]:
    """Add the energy of samples to the two nearest windows, so that small shifts change little.

    Samples before time zero don't count.
    """
    scale = 2.0**31 if samples.dtype.kind == "i" else 1.0
    squares = np.square(samples / scale).sum(axis=1)
    seconds = start + np.arange(len(squares)) / rate
    squares, seconds = squares[seconds >= 0], seconds[seconds >= 0]
    windows = np.floor(seconds * _WINDOWS_PER_SECOND)
    share = seconds * _WINDOWS_PER_SECOND - windows
    first = windows.astype(np.int64)
    length = max(len(energy), int(first.max(initial=0)) + 2)
    total = _padded(energy, length)
    total += np.bincount(first, squares / rate * (1 - share), minlength=length)
    total += np.bincount(first + 1, squares / rate * share, minlength=length)
    return total


def _padded(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return np.pad(values, (0, length - len(values)))
