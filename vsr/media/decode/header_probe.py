"""Read stream properties that PyAV doesn't expose, by way of a Matroska header.

Chroma siting, spherical projection and the Dolby Vision configuration have no attributes in PyAV.
FFmpeg's Matroska muxer writes all three. A header with the parameters of the stream is therefore
written to memory, and its elements (RFC 9559) are parsed.
"""

import io
from collections.abc import Iterator
from typing import NamedTuple

import av
from av.video.stream import VideoStream

from vsr.media.frame import ChromaSiting

PROJECTION = 0x7670
"""Id of Matroska's Projection element."""
_PROJECTION_TYPE = 0x7671
_CHROMA_SITING_HORZ, _CHROMA_SITING_VERT = 0x55B7, 0x55B8
_BLOCK_ADD_ID_TYPE, _BLOCK_ADD_ID_EXTRA_DATA = 0x41E7, 0x41ED
_PARENTS = frozenset({0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x55B0, 0x41E4, PROJECTION})
"""Elements with children: Segment, Tracks, TrackEntry, Video, Colour, BlockAdditionMapping,
Projection."""
_DOLBY_VISION_TYPES = (b"dvcC", b"dvvC", b"dvwC")

_SITINGS: dict[tuple[int, int], ChromaSiting] = {
    (1, 2): "left",
    (2, 2): "center",
    (1, 1): "topleft",
}
"""By ChromaSitingHorz and ChromaSitingVert: 1 is at the first luma sample, 2 half-way."""


class HeaderFields(NamedTuple):
    """Properties of a stream that PyAV doesn't expose."""

    siting: ChromaSiting
    """Position of chroma samples; left where the stream doesn't specify it."""
    projection: bytes
    """Content of Matroska's Projection element; empty for flat pictures."""
    dolby_vision: bytes
    """Dolby Vision configuration record; empty without one."""


def probe_header(stream: VideoStream) -> HeaderFields:
    """Read the properties of a stream that its bitstream or container specifies."""
    written = io.BytesIO()
    try:
        with av.open(written, "w", format="matroska") as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return HeaderFields("left", b"", b"")  # a codec that Matroska doesn't support
    found = dict(_elements(written.getvalue()))
    across = int.from_bytes(found.get(_CHROMA_SITING_HORZ, b""))
    down = int.from_bytes(found.get(_CHROMA_SITING_VERT, b""))
    dolby_vision = b""
    if found.get(_BLOCK_ADD_ID_TYPE, b"") in _DOLBY_VISION_TYPES:
        dolby_vision = found.get(_BLOCK_ADD_ID_EXTRA_DATA, b"")
    siting = _SITINGS.get((across, down), "left")
    # A rotated flat picture has the element too, with type 0.
    is_flat = not any(found.get(_PROJECTION_TYPE, b""))
    return HeaderFields(siting, b"" if is_flat else found[PROJECTION], dolby_vision)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate over the elements of a header with one track, nested ones included."""
    position = 0
    while position < len(data):
        key, position = _vint(data, position, keeps_marker=True)
        size, position = _vint(data, position, keeps_marker=False)
        content = data[position : position + size]  # an unknown size extends to the end
        yield key, content
        if key in _PARENTS:
            yield from _elements(content)
        position += size


def _vint(data: bytes, position: int, keeps_marker: bool) -> tuple[int, int]:
    """Parse an integer of variable length (RFC 8794, 4); return it and the position after it."""
    length = 9 - data[position].bit_length()
    value = int.from_bytes(data[position : position + length])
    return value if keeps_marker else value & ((1 << 7 * length) - 1), position + length
