"""Decode the last frame that an unfinished run has on disk."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.packet import Packet
from av.video.frame import VideoFrame

from vsr.engine.resume.journal import newest_segment
from vsr.engine.resume.segment_file import concat_segments
from vsr.errors import MediaError, OutputError
from vsr.media.encode.encoder import CodedVideo

_DECODERS = {"av1": "libdav1d"}
"""FFmpeg's decoders, where their name isn't that of the codec."""


def last_frame_of(output: Path) -> VideoFrame:
    """Decode the last frame of the newest finished segment of an unfinished output.

    Raises `MediaError` where no segment is finished.
    """
    found = newest_segment(output)
    if found is None:
        raise MediaError(f"{output}: no segment is finished yet")
    try:
        frames = deque(_decoded(*found), maxlen=1)
    except (OSError, OutputError, av.error.FFmpegError) as error:
        raise MediaError(f"{output}: its newest segment can't be read: {error}") from error
    if not frames:
        raise MediaError(f"{output}: its newest segment holds no frame")
    return frames[0]


def _decoded(segment: Path, video: CodedVideo) -> Iterator[VideoFrame]:
    """Decode the frames of a segment, in presentation order."""
    decoder: Any = av.CodecContext.create(_DECODERS.get(video.codec, video.codec), "r")
    if video.extradata:
        decoder.extradata = video.extradata
    if video.tag:
        decoder.codec_tag = video.tag
    decoder.thread_type = "AUTO"
    for coded in concat_segments([segment]):
        packet: Any = Packet(coded.data)
        packet.pts, packet.dts = coded.pts, coded.dts
        yield from decoder.decode(packet)
    yield from decoder.decode(None)
