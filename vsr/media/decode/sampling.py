"""Decode short runs of consecutive frames, spread over a film."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

import av
from av.video.frame import VideoFrame

from vsr.media.decode.container import MAX_READ_ERRORS
from vsr.media.decode.reader import VideoReader


def sample_runs(
    reader: VideoReader, places: int, first_length: int, length: int, max_before: int
) -> Iterator[Iterator[VideoFrame]]:
    """Iterate over runs of decoded frames: one at the start, and one at each of `places` later.

    The first run has up to `first_length` frames, which are on one rising clock as those of a
    reader are; the others have up to `length`. At most `max_before` frames are decoded between a
    keyframe and a place. Frames that can't be decoded are skipped. Iterating over the reader
    afterwards needs a new one.
    """
    reader.reopen()
    yield islice(reader.decoded_frames(), first_length)
    start, duration = reader.container.start_time or 0, reader.container.duration
    for index in range(1, places + 1):
        if not duration:
            return
        position = start + duration * index // (places + 1)
        try:
            reader.container.seek(position)
        except av.error.FFmpegError:
            continue
        pts = round(Fraction(position, av.time_base) / reader.info.time_base)
        yield _decoded_run(reader, length=length, first_pts=pts, max_before=max_before)


def _decoded_run(
    reader: VideoReader, length: int, first_pts: int, max_before: int
) -> Iterator[VideoFrame]:
    count = failures = 0
    while count < length and failures < MAX_READ_ERRORS:
        try:
            for decoded in reader.container.decode(reader.stream):
                assert isinstance(decoded, VideoFrame)
                is_early = decoded.pts is not None and decoded.pts < first_pts
                if is_early and max_before:
                    max_before -= 1
                    continue
                yield decoded
                count += 1
                if count == length:
                    return
            return
        except av.error.FFmpegError:
            failures += 1
