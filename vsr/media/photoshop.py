"""Photoshop's image resources, which hold IPTC data and thumbnails, in JPEG, TIFF and PNG."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

SEGMENT_HEAD = b"Photoshop 3.0\0"
"""First bytes of JPEG's APP13 segment of resources."""
MAX_SEGMENT = 65533
"""Maximum bytes of a JPEG segment."""
PNG_KEYS = ("Raw profile type iptc", "Raw profile type 8bim")
"""Keywords of PNG's text chunks with resources, in hexadecimal digits, as ImageMagick's."""
_SIGNATURE = b"8BIM"
_IPTC = 0x0404
_THUMBNAILS = (0x0409, 0x040C)
_DIGITS_PER_LINE = 72


class Resource(NamedTuple):
    """One resource."""

    code: int
    content: bytes
    raw: bytes
    """The resource with its head."""


def resources_in(data: bytes) -> Iterator[Resource]:
    """Iterate over resources, up to the first that is damaged."""
    position = 0
    while data[position : position + 4] == _SIGNATURE and len(data) >= position + 12:
        start = position
        (code,) = struct.unpack_from(">H", data, position + 4)
        position += 6 + ((data[position + 6] + 2) & ~1)
        if len(data) < position + 4:
            return
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 4 + length
        position = end + length % 2
        yield Resource(code, data[end - length : end], data[start:position])


def without_thumbnails(data: bytes) -> bytes:
    """Return resources without thumbnails, which show the source."""
    found = list(resources_in(data))
    if not any(resource.code in _THUMBNAILS for resource in found):
        return data
    rest = data[sum(len(resource.raw) for resource in found) :]
    return b"".join(item.raw for item in found if item.code not in _THUMBNAILS) + rest


def iptc_in(data: bytes) -> bytes:
    """Return the records of IPTC-IIM in resources; empty if there are none."""
    return b"".join(item.content for item in resources_in(data) if item.code == _IPTC)


def iptc_resource(records: bytes) -> bytes:
    """Return IPTC records as a resource."""
    head = _SIGNATURE + struct.pack(">H2xI", _IPTC, len(records))
    return head + records + bytes(len(records) % 2)


def from_png_text(text: str) -> bytes | None:
    """Decode resources in a text chunk of PNG: name, length and hexadecimal digits."""
    _, _, rest = text.strip().partition("\n")
    try:
        content = bytes.fromhex("".join(rest.split()[1:]))
    except ValueError:
        return None
    return content if content.startswith(_SIGNATURE) else None


def to_png_text(resources: bytes) -> str:
    """Encode resources for PNG's text chunk `PNG_KEYS[0]`."""
    digits = resources.hex()
    lines = [
        digits[start : start + _DIGITS_PER_LINE]
        for start in range(0, len(digits), _DIGITS_PER_LINE)
    ]
    return "\n".join(["", "iptc", f"{len(resources):8d}", *lines, ""])
