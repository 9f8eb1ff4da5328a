"""Read the times and the count of a film's frames from its packets, without decoding."""

import time
from pathlib import Path

from vsr.errors import MediaError
from vsr.media.decode.container import packets_of
from vsr.media.decode.reader import VideoReader


def frame_times(path: Path) -> list[float]:
    """Return the presentation time of each frame of a film, in seconds and ascending.

    Raises `MediaError` where the file can't be read or its packets have no times.
    """
    with VideoReader(path, probe_first_frame=False) as reader:
        times = [
            float(packet.pts * packet.time_base)
            for packet in reader.packets()
            if packet.stream_index == reader.index
            and packet.pts is not None
            and not packet.is_discard
        ]
    if not times:
        raise MediaError(f"{path}: has no frame times")
    return sorted(times)


def count_frames(path: Path, seconds: float, video: int | None = None) -> int | None:
    """Count the video packets of a film; None where that takes more than `seconds`.

    `video` chooses one of several video streams. Raises `MediaError` where the file can't be read.
    """
    deadline = time.perf_counter() + seconds
    count = 0
    with VideoReader(path, probe_first_frame=False, video=video) as reader:
        for packet in packets_of(reader.container):
            if time.perf_counter() > deadline:
                return None
            count += packet.stream_index == reader.index and not packet.is_discard
    return count
