"""Open media files and read their packets on one rising clock."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from vsr.errors import MediaError
from vsr.media.decode.stream_choice import enable_streams, is_chapters
from vsr.media.decode.timeline import Timeline
from vsr.media.dicom import is_dicom
from vsr.system.address import PIPE, input_of, is_pipe
from vsr.system.files import reason

if TYPE_CHECKING:
    AnyPacket = Packet[Any]
else:
    AnyPacket = Packet  # generic only in its type stubs

MAX_READ_ERRORS = 16
"""Consecutive read errors after which a file counts as ended."""
_LOCAL_ONLY = {"protocol_whitelist": "file,pipe"}
"""Keeps a playlist that is named like a video from opening network connections."""


def open_input(
    path: Path, once: bool = False, watch: Callable[[bytes], None] = lambda data: None
) -> InputContainer:
    """Open a media file.

    Standard input (`-`) and named pipes are accepted only with `once`: the caller reads them a
    single time. `watch` is called with the bytes read from a pipe; see `input_of`. Raises
    `MediaError` where the file is missing, empty or not a video.
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
        if is_dicom(path):
            raise MediaError(f"{path}: is a DICOM file, not a film; `vsr image` upscales it")
        if from_pipe and not once:
            raise MediaError(f"{name}: is a pipe, which can be read only once; name a file")
        opened: InputContainer = av.open(
            input_of(path, watch),
            "r",
            metadata_errors="replace",
            container_options=_LOCAL_ONLY,
        )
        enable_streams(opened)
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(
            f"{name}: can't be read as video ({reason(error)}); is it complete?"
        ) from error
    if from_pipe and _lacks_index(opened):
        opened.close()
        raise MediaError(
            f"{name}: an MP4 with its index at the end, which a pipe can't seek to; give the "
            "file by name, or write it with -movflags +faststart first"
        )
    return opened


def packets_of(
    container: InputContainer,
    ahead: Iterable[AnyPacket] = (),
    ends_early: Callable[[], None] = lambda: None,
    reads_on: Callable[[], None] = lambda: None,
) -> Iterator[AnyPacket]:
    """Iterate over all packets in file order, continuing after read errors.

    Packets that were already read (`ahead`) come first. Empty packets, which only flush decoders,
    and packets of chapter tracks are skipped. `ends_early` is called where reading fails before the
    end of the file, `reads_on` where it fails and then succeeds again.
    """
    yield from ahead
    streams = [stream for stream in container.streams if not is_chapters(stream)]
    failures = 0
    while failures < MAX_READ_ERRORS:
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
    """Shift all packets of a file where its clock steps back; see `Timeline`."""
    timeline = Timeline(video, frame_rate)
    for packet in packets:
        yield from timeline.feed(packet)
    yield from timeline.flush()


def shift_packet(packet: AnyPacket, seconds: Fraction) -> AnyPacket:
    """Add `seconds` to a packet's times, in place."""
    if seconds:
        ticks = round(seconds / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks
    return packet


def frame_rate_of(stream: VideoStream) -> Fraction:
    """Return the average frames per second of a stream.

    FFmpeg's guess is the lowest rate that represents all timestamps, so no average exceeds it. A
    larger average comes from a clock instead, as in raw DV.
    """
    rates = [rate for rate in (stream.average_rate, stream.guessed_rate) if rate and rate > 0]
    return Fraction(min(rates, default=Fraction(25)))


def _lacks_index(container: InputContainer) -> bool:
    """Whether an MP4 read from a pipe has no stream parameters, as its index follows the media."""
    contexts = [stream.codec_context for stream in container.streams.video]
    known = [context for context in contexts if context and context.pix_fmt]
    return "mp4" in container.format.name and bool(contexts) and not known
