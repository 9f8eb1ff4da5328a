"""The packets, frames and times that a film holds."""

from fractions import Fraction
from pathlib import Path

import av

from vsr.media.decode.reader import VideoReader
from vsr.media.frame import Frame


def audio_packets(path: Path) -> list[list[tuple[int | None, bytes]]]:
    with av.open(str(path)) as container:
        streams = container.streams.audio
        packets: list[list[tuple[int | None, bytes]]] = [[] for _ in streams]
        for packet in container.demux(*streams):
            if packet.size:
                packets[streams.index(packet.stream)].append((packet.pts, bytes(packet)))
    return packets


def frames_of(path: Path) -> list[Frame]:
    with VideoReader(path) as reader:
        return list(reader.frames())


def pts_of(path: Path) -> tuple[list[int], Fraction]:
    with VideoReader(path) as reader:
        return [frame.pts for frame in reader.frames()], reader.info.time_base
